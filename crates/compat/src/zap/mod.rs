//! Log lines in the shape of zap, Go etcd's logger: JSON by default, or tab-separated for people.
//!
//! Log collectors parse these lines, so the order of the keys, the form of the time and the escapes are zap's. Only makes lines:
//! where they go, and which are left out, is the logger's business (`server/log`).

mod line;
mod time;

pub use line::{console_line, json_line};
pub use time::timestamp;

use crate::duration::GoDuration;
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// For those who look for a fault.
    Debug = 0,
    /// What a running server says.
    Info = 1,
    /// Worth a look.
    Warn = 2,
    /// Something failed.
    Error = 3,
    /// A fault of the program; only a level name here.
    DPanic = 4,
    /// The process stops with a panic.
    Panic = 5,
    /// The process stops.
    Fatal = 6,
}

impl Level {
    /// As it stands in lines and in `--log-level`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::DPanic => "dpanic",
            Level::Panic => "panic",
            Level::Fatal => "fatal",
        }
    }

    /// From `--log-level`: lower or upper case, and empty for `info`, as zap reads it.
    pub fn parse(text: &str) -> Option<Level> {
        match text {
            "debug" | "DEBUG" => Some(Level::Debug),
            "info" | "INFO" | "" => Some(Level::Info),
            "warn" | "WARN" | "warning" | "WARNING" => Some(Level::Warn),
            "error" | "ERROR" => Some(Level::Error),
            "dpanic" | "DPANIC" => Some(Level::DPanic),
            "panic" | "PANIC" => Some(Level::Panic),
            "fatal" | "FATAL" => Some(Level::Fatal),
            _ => None,
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A list of texts.
    Texts(Cow<'a, [String]>),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A duration; written as text.
    Duration(GoDuration),
    /// A moment; written as the line's own time is.
    Time(SystemTime),
    /// JSON that is written as it is.
    Json(Cow<'a, str>),
}

/// A key and its value; lines hold fields in the order they are given.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    /// The key, in etcd's lower-case-with-dashes.
    pub key: &'static str,
    /// The value.
    pub value: Value<'a>,
}

/// A field of any value a line can hold.
pub fn field<'a>(key: &'static str, value: impl Into<Value<'a>>) -> Field<'a> {
    Field { key, value: value.into() }
}

/// The field `error`.
pub fn error<'a>(error: &dyn fmt::Display) -> Field<'a> {
    Field {
        key: "error",
        value: Value::Text(Cow::Owned(error.to_string())),
    }
}

/// A field with the text of anything that prints itself.
pub fn display<'a>(key: &'static str, value: &dyn fmt::Display) -> Field<'a> {
    Field {
        key,
        value: Value::Text(Cow::Owned(value.to_string())),
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Value::Text(Cow::Owned(value))
    }
}

impl<'a> From<&'a [String]> for Value<'a> {
    fn from(value: &'a [String]) -> Self {
        Value::Texts(Cow::Borrowed(value))
    }
}

impl From<Vec<String>> for Value<'_> {
    fn from(value: Vec<String>) -> Self {
        Value::Texts(Cow::Owned(value))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<Duration> for Value<'_> {
    fn from(value: Duration) -> Self {
        Value::Duration(value.into())
    }
}

impl From<GoDuration> for Value<'_> {
    fn from(value: GoDuration) -> Self {
        Value::Duration(value)
    }
}

impl From<SystemTime> for Value<'_> {
    fn from(value: SystemTime) -> Self {
        Value::Time(value)
    }
}

macro_rules! numbers {
    ($($kind:ident as $wide:ty: $($narrow:ty),+;)+) => {
        $($(impl From<$narrow> for Value<'_> {
            fn from(value: $narrow) -> Self {
                Value::$kind(value as $wide)
            }
        })+)+
    };
}

numbers! {
    Int as i64: i32, i64, isize;
    Uint as u64: u8, u16, u32, u64, usize;
}

/// All that one line says.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// How much it matters.
    pub level: Level,
    /// When it was said.
    pub time: SystemTime,
    /// Seconds that the clock on the wall is ahead of UTC.
    pub offset_seconds: i32,
    /// The logger's name; empty for the usual one.
    pub logger: &'a str,
    /// The source file; only its last two parts are written.
    pub file: &'a str,
    /// The line in it.
    pub line: u32,
    /// What happened.
    pub message: &'a str,
    /// The particulars.
    pub fields: &'a [Field<'a>],
}
