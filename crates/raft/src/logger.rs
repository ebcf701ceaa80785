//! Where raft's log lines go. The lines are Go raft's own, word for word; operators search for them.

use std::fmt;

/// How grave a line is. `Fatal` lines precede a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// Takes raft's log lines. A line that is not wanted should cost nothing: `line` is formatted only if the logger does so.
pub trait Logger: Send + Sync {
    fn log(&self, level: Level, line: fmt::Arguments<'_>);
}

/// Drops every line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Logger for Silent {
    fn log(&self, _: Level, _: fmt::Arguments<'_>) {}
}
macro_rules! debug {
    ($logger:expr, $($arg:tt)*) => { $logger.log($crate::logger::Level::Debug, format_args!($($arg)*)) };
}
macro_rules! info {
    ($logger:expr, $($arg:tt)*) => { $logger.log($crate::logger::Level::Info, format_args!($($arg)*)) };
}
macro_rules! warning {
    ($logger:expr, $($arg:tt)*) => { $logger.log($crate::logger::Level::Warn, format_args!($($arg)*)) };
}
macro_rules! error {
    ($logger:expr, $($arg:tt)*) => { $logger.log($crate::logger::Level::Error, format_args!($($arg)*)) };
}
/// The own state is broken: says so and ends the process, since going on could lose acknowledged writes.
macro_rules! fatal {
    ($logger:expr, $($arg:tt)*) => {{
        $logger.log($crate::logger::Level::Fatal, format_args!($($arg)*));
        panic!($($arg)*)
    }};
}
#[allow(unused_imports)]
pub(crate) use {debug, error, fatal, info, warning};
