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
