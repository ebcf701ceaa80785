//! An entry as one line: zap's JSON encoder, and its console encoder.

use super::{Entry, Value, timestamp};
use std::fmt::Write;

/// Whether a space follows colons and commas: not in JSON lines, but in the fields of console lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Tight,
    Spaced,
}

/// Appends the entry as a JSON object and a line feed.
pub fn json_line(entry: &Entry<'_>, out: &mut String) {
    out.push_str("{\"level\":\"");
    out.push_str(entry.level.name());
    out.push_str("\",\"ts\":\"");
    timestamp(entry.time, entry.offset_seconds, out);
    out.push('"');
    if !entry.logger.is_empty() {
        out.push_str(",\"logger\":");
        text(entry.logger, out);
    }
    out.push_str(",\"caller\":\"");
    caller(entry, out);
    out.push_str("\",\"msg\":");
    text(entry.message, out);
    for field in entry.fields {
        out.push(',');
        text(field.key, out);
        out.push(':');
        value(&field.value, Spacing::Tight, entry.offset_seconds, out);
    }
    out.push_str("}\n");
}

/// Appends the entry with tabs between its parts and its fields as a JSON object at the end, and a line feed.
pub fn console_line(entry: &Entry<'_>, out: &mut String) {
    timestamp(entry.time, entry.offset_seconds, out);
    out.push('\t');
    out.push_str(entry.level.name());
    if !entry.logger.is_empty() {
        out.push('\t');
        out.push_str(entry.logger);
    }
    out.push('\t');
    caller(entry, out);
    out.push('\t');
    out.push_str(entry.message);
    for (at, field) in entry.fields.iter().enumerate() {
        out.push_str(if at == 0 { "\t{" } else { ", " });
        text(field.key, out);
        out.push_str(": ");
        value(&field.value, Spacing::Spaced, entry.offset_seconds, out);
    }
    if !entry.fields.is_empty() {
        out.push('}');
    }
    out.push('\n');
}

/// The last directory, the file and the line, as zap shortens paths.
fn caller(entry: &Entry<'_>, out: &mut String) {
    let file = entry.file;
    let short = match file.rfind('/').and_then(|last| file[..last].rfind('/')) {
        Some(slash) => &file[slash + 1..],
        None => file,
    };
    let _ = write!(out, "{short}:{}", entry.line);
}

fn value(value: &Value<'_>, spacing: Spacing, offset_seconds: i32, out: &mut String) {
    // Writing into a String cannot fail, so the results of write! say nothing.
    match value {
        Value::Text(value) => text(value, out),
        Value::Texts(list) => {
            out.push('[');
            for (at, part) in list.iter().enumerate() {
                if at > 0 {
                    out.push_str(if spacing == Spacing::Spaced { ", " } else { "," });
                }
                text(part, out);
            }
            out.push(']');
        }
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Uint(number) => drop(write!(out, "{number}")),
        Value::Float(number) if number.is_nan() => out.push_str("\"NaN\""),
        Value::Float(number) if number.is_infinite() => out.push_str(if *number > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }),
        Value::Float(number) => drop(write!(out, "{number}")),
        Value::Bool(value) => drop(write!(out, "{value}")),
        Value::Duration(duration) => drop(write!(out, "\"{duration}\"")),
        Value::Time(time) => {
            out.push('"');
            timestamp(*time, offset_seconds, out);
            out.push('"');
        }
        Value::Json(json) => out.push_str(json),
    }
}

/// A JSON string with zap's escapes: unlike Go's own encoder it leaves `<`, `>` and `&` alone.
fn text(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Level, display, error, field};
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn entry<'a>(fields: &'a [Field<'a>]) -> Entry<'a> {
        Entry {
            level: Level::Info,
            time: UNIX_EPOCH + Duration::from_micros(1_795_438_631_854_126),
            offset_seconds: 0,
            logger: "",
            file: "crates/server/src/log/mod.rs",
            line: 42,
            message: "serving \"client\"\ttraffic",
            fields,
        }
    }

    #[test]
    fn json() {
        let urls = ["http://a:1".to_owned(), "http://b:2".to_owned()];
        let fields = [
            field("urls", &urls[..]),
            field("took", Duration::from_millis(1500)),
            field("count", 7u32),
            field("delta", -7i64),
            field("share", 0.5),
            field("ok", true),
            field("raw", Value::Json("{\"a\":1}".into())),
            display("id", &format_args!("{:x}", 255)),
            error(&"no <such> \u{1}"),
        ];
        let mut out = String::new();
        json_line(
            &Entry {
                logger: "raft",
                ..entry(&fields)
            },
            &mut out,
        );
        assert_eq!(
            out,
            "{\"level\":\"info\",\"ts\":\"2026-11-23T12:57:11.854126Z\",\"logger\":\"raft\",\"caller\":\"log/mod.rs:42\",\
             \"msg\":\"serving \\\"client\\\"\\ttraffic\",\"urls\":[\"http://a:1\",\"http://b:2\"],\"took\":\"1.5s\",\"count\":7,\
             \"delta\":-7,\"share\":0.5,\"ok\":true,\"raw\":{\"a\":1},\"id\":\"ff\",\"error\":\"no <such> \\u0001\"}\n"
        );
    }

    #[test]
    fn console() {
        let mut out = String::new();
        console_line(
            &Entry {
                message: "up-to-date",
                ..entry(&[field("version", "3.7"), field("n", 1)])
            },
            &mut out,
        );
        assert_eq!(
            out,
            "2026-11-23T12:57:11.854126Z\tinfo\tlog/mod.rs:42\tup-to-date\t{\"version\": \"3.7\", \"n\": 1}\n"
        );
        out.clear();
        console_line(
            &Entry {
                message: "alone",
                file: "main.rs",
                ..entry(&[])
            },
            &mut out,
        );
        assert_eq!(out, "2026-11-23T12:57:11.854126Z\tinfo\tmain.rs:42\talone\n");
    }

    #[test]
    fn levels() {
        assert_eq!(Level::parse("warning"), Some(Level::Warn));
        assert_eq!(Level::parse("bogus"), None);
        assert!(Level::Debug < Level::Fatal);
    }
}
