//! What a command prints: raft's log lines and the environment's own, behind one level.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use raft::{Level, Logger};

/// Shared between the environment and the loggers of its nodes.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    text: String,
    threshold: Threshold,
}

/// Lines below it are dropped. `Silent` drops the environment's own lines too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    From(Level),
    Silent,
}

impl Default for Threshold {
    fn default() -> Self {
        Threshold::From(Level::Debug)
    }
}

const NAMES: [(&str, Threshold); 6] = [
    ("DEBUG", Threshold::From(Level::Debug)),
    ("INFO", Threshold::From(Level::Info)),
    ("WARN", Threshold::From(Level::Warn)),
    ("ERROR", Threshold::From(Level::Error)),
    ("FATAL", Threshold::From(Level::Fatal)),
    ("NONE", Threshold::Silent),
];

impl Output {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics while holding it")
    }

    pub fn write(&self, text: &str) {
        let mut inner = self.inner();
        if inner.threshold != Threshold::Silent {
            inner.text.push_str(text);
        }
    }

    pub fn line(&self, line: impl fmt::Display) {
        self.write(&format!("{line}\n"));
    }

    pub fn take(&self) -> String {
        std::mem::take(&mut self.inner().text)
    }

    pub fn is_silent(&self) -> bool {
        self.inner().threshold == Threshold::Silent
    }

    pub fn threshold(&self) -> Threshold {
        self.inner().threshold
    }

    pub fn set_threshold(&self, threshold: Threshold) {
        self.inner().threshold = threshold;
    }

    /// Sets the level by its name, in capitals or not.
    pub fn set_level(&self, name: &str) -> Result<(), String> {
        let named = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, threshold) = named.ok_or("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]")?;
        self.set_threshold(*threshold);
        Ok(())
    }

    /// Takes away what was printed, so that the lines to come can be indented.
    pub fn begin_indent(&self) -> String {
        self.take()
    }

    pub fn end_indent(&self, before: String) {
        let mut inner = self.inner();
        let indented = std::mem::replace(&mut inner.text, before);
        for line in indented.lines() {
            inner.text.push_str("  ");
            inner.text.push_str(line);
            inner.text.push('\n');
        }
    }
}

impl Logger for Output {
    fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        let threshold = Threshold::From(level);
        let mut inner = self.inner();
        if matches!(inner.threshold, Threshold::From(least) if least <= level) {
            let (name, _) = NAMES.iter().find(|(_, of)| *of == threshold).expect("every level has a name");
            inner.text.push_str(&format!("{name} {line}\n"));
        }
    }
}
