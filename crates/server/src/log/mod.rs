//! The server's log: zap-shaped lines to stderr, stdout or files.
//!
//! `log::info("serving client traffic", &[field("address", &address)])` writes a line with the caller's place in the source. A line
//! below the level costs one load. Messages and keys are etcd's own where the same thing happens, because people alert on them.
//! The form of a line is `compat::zap`'s; nothing here stands in the way of a Put.

mod sampler;
mod sink;

pub use compat::zap::{Field, Level, Value, display, error as error_field, field};
pub use sink::{OpenError, Sinks};

use arc_swap::ArcSwapOption;
use compat::zap::{self, Entry};
use sampler::Sampler;
use std::panic::Location;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The form of lines: `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Parts with tabs between.
    Console,
}

/// A logger; clones write to the same places.
#[derive(Clone)]
pub struct Logger {
    shared: Arc<Shared>,
    name: &'static str,
}

struct Shared {
    level: Level,
    format: Format,
    sinks: Sinks,
    sampler: Sampler,
}

impl Logger {
    /// A logger of this level and form.
    pub fn new(level: Level, format: Format, sinks: Sinks) -> Logger {
        Logger {
            shared: Arc::new(Shared {
                level,
                format,
                sinks,
                sampler: Sampler::default(),
            }),
            name: "",
        }
    }

    /// The logger before the configuration is known: JSON from `info` up, on stderr.
    pub fn preliminary() -> Logger {
        Logger::new(Level::Info, Format::Json, Sinks::stderr())
    }

    /// The same logger under a name, which its lines show.
    pub fn named(&self, name: &'static str) -> Logger {
        Logger {
            shared: Arc::clone(&self.shared),
            name,
        }
    }

    /// Whether lines of this level are written.
    pub fn is_on(&self, level: Level) -> bool {
        level >= self.shared.level
    }

    /// Writes a line.
    #[track_caller]
    pub fn log(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        self.log_at(Location::caller(), level, message, fields);
    }

    /// Writes a line at level `debug`.
    #[track_caller]
    pub fn debug(&self, message: &str, fields: &[Field<'_>]) {
        self.log_at(Location::caller(), Level::Debug, message, fields);
    }

    /// Writes a line at level `info`.
    #[track_caller]
    pub fn info(&self, message: &str, fields: &[Field<'_>]) {
        self.log_at(Location::caller(), Level::Info, message, fields);
    }

    /// Writes a line at level `warn`.
    #[track_caller]
    pub fn warn(&self, message: &str, fields: &[Field<'_>]) {
        self.log_at(Location::caller(), Level::Warn, message, fields);
    }

    fn log_at(&self, place: &Location<'_>, level: Level, message: &str, fields: &[Field<'_>]) {
        if !self.is_on(level) {
            return;
        }
        let now = SystemTime::now();
        if !self.shared.sampler.admits(level, message, now) {
            return;
        }
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        let entry = Entry {
            level,
            time: now,
            offset_seconds: world::os::local_offset_seconds(seconds),
            logger: self.name,
            file: place.file(),
            line: place.line(),
            message,
            fields,
        };
        let mut line = String::with_capacity(256);
        match self.shared.format {
            Format::Json => zap::json_line(&entry, &mut line),
            Format::Console => zap::console_line(&entry, &mut line),
        }
        self.shared.sinks.write(line.as_bytes());
    }
}

static CURRENT: ArcSwapOption<Logger> = ArcSwapOption::const_empty();
/// The level of `CURRENT`, beside it so that a line that is off costs one load.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Makes this the logger of the functions below. Before, they write as `Logger::preliminary` does.
pub fn install(logger: Logger) {
    LEVEL.store(logger.shared.level as u8, Ordering::Relaxed);
    CURRENT.store(Some(Arc::new(logger)));
}

/// The logger of the functions below.
pub fn current() -> Logger {
    match &*CURRENT.load() {
        Some(logger) => Logger::clone(logger),
        None => Logger::preliminary(),
    }
}

/// Whether lines of this level are written: for those whose fields are dear.
pub fn is_on(level: Level) -> bool {
    level as u8 >= LEVEL.load(Ordering::Relaxed)
}

fn emit(place: &Location<'_>, level: Level, message: &str, fields: &[Field<'_>]) {
    if !is_on(level) {
        return;
    }
    match &*CURRENT.load() {
        Some(logger) => logger.log_at(place, level, message, fields),
        None => Logger::preliminary().log_at(place, level, message, fields),
    }
}

/// Writes a line at level `debug`.
#[track_caller]
pub fn debug(message: &str, fields: &[Field<'_>]) {
    emit(Location::caller(), Level::Debug, message, fields);
}

/// Writes a line at level `info`.
#[track_caller]
pub fn info(message: &str, fields: &[Field<'_>]) {
    emit(Location::caller(), Level::Info, message, fields);
}

/// Writes a line at level `warn`.
#[track_caller]
pub fn warn(message: &str, fields: &[Field<'_>]) {
    emit(Location::caller(), Level::Warn, message, fields);
}

/// Writes a line at level `error`.
#[track_caller]
pub fn error(message: &str, fields: &[Field<'_>]) {
    emit(Location::caller(), Level::Error, message, fields);
}

/// Writes a line at level `fatal` and ends the process with status 1.
#[track_caller]
pub fn fatal(message: &str, fields: &[Field<'_>]) -> ! {
    emit(Location::caller(), Level::Fatal, message, fields);
    process::exit(1)
}

/// Writes a line at level `panic` and ends the process as a Go panic does: a line on stderr, status 2.
#[track_caller]
pub fn panic(message: &str, fields: &[Field<'_>]) -> ! {
    emit(Location::caller(), Level::Panic, message, fields);
    Sinks::stderr().write(format!("panic: {message}\n").as_bytes());
    process::exit(2)
}

/// Consensus' lines, under the logger name that etcd gives them.
pub struct RaftLines;

impl raft::Logger for RaftLines {
    fn log(&self, level: raft::Level, line: std::fmt::Arguments<'_>) {
        let level = match level {
            raft::Level::Debug => Level::Debug,
            raft::Level::Info => Level::Info,
            raft::Level::Warn => Level::Warn,
            raft::Level::Error => Level::Error,
            raft::Level::Fatal => Level::Panic,
        };
        if is_on(level) {
            current().named("raft").log(level, &line.to_string(), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_is_on() {
        let (sinks, written) = Sinks::memory();
        let logger = Logger::new(Level::Info, Format::Json, sinks);
        logger.debug("not written", &[]);
        logger.info("written", &[field("a", 1)]);
        logger.named("raft").log(Level::Warn, "named", &[]);
        let lines: Vec<serde_json::Value> = written
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["msg"], "written");
        assert_eq!(lines[0]["level"], "info");
        assert!(
            lines[0]["caller"].as_str().is_some_and(|caller| caller.starts_with("log/mod.rs:")),
            "{}",
            lines[0]
        );
        assert_eq!(lines[1]["logger"], "raft");
    }

    #[test]
    fn equal_lines_are_sampled() {
        let (sinks, written) = Sinks::memory();
        let logger = Logger::new(Level::Debug, Format::Console, sinks);
        for _ in 0..100 {
            logger.info("same", &[]);
            logger.warn("same", &[]);
        }
        assert_eq!(
            written.text().lines().count(),
            200,
            "the first hundred of each level are all written"
        );
        assert!(written.text().starts_with("20"), "console lines begin with the time");
    }
}
