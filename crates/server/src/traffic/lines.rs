//! The transport's lines in the server's log.

use peer::{Level, Log, Value};

use crate::log::{self, Field, field};

pub(super) struct Lines;

fn level_of(level: Level) -> log::Level {
    match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    }
}

impl Log for Lines {
    fn is_on(&self, level: Level) -> bool {
        log::is_on(level_of(level))
    }

    fn write(&self, level: Level, message: &str, fields: &[(&'static str, Value)]) {
        let fields: Vec<Field<'_>> = fields
            .iter()
            .map(|(name, value)| match value {
                Value::Text(text) => field(name, text.as_str()),
                Value::Number(number) => field(name, *number),
                Value::Duration(duration) => field(name, *duration),
            })
            .collect();
        log::current().log(level_of(level), message, &fields);
    }
}
