//! Go's `strconv`: numbers, booleans and quoting, with Go's error texts.
//!
//! The texts reach users through flag errors and feature gates. Base 0 as in Go: `0x`, `0o`, `0b`, a leading `0` for octal, and
//! underscores between digits.

use std::fmt;

/// Which of the two things went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumErrorKind {
    /// Not such a value at all.
    Syntax,
    /// A number that does not fit.
    Range,
}

/// A refused text; prints as Go's `*strconv.NumError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumError {
    /// The Go function the text would have been given to.
    pub function: &'static str,
    /// The refused text.
    pub input: String,
    /// What is wrong with it.
    pub kind: NumErrorKind,
}

impl fmt::Display for NumError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.kind {
            NumErrorKind::Syntax => "invalid syntax",
            NumErrorKind::Range => "value out of range",
        };
        write!(out, "strconv.{}: parsing {}: {reason}", self.function, quote(&self.input))
    }
}

impl std::error::Error for NumError {}

/// `strconv.ParseBool`.
///
/// # Errors
/// `NumErrorKind::Syntax` for anything but Go's twelve spellings.
pub fn parse_bool(text: &str) -> Result<bool, NumError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(NumError {
            function: "ParseBool",
            input: text.to_owned(),
            kind: NumErrorKind::Syntax,
        }),
    }
}

/// `strconv.ParseUint(text, base, bits)`.
///
/// # Errors
/// `NumError` for what Go refuses.
pub fn parse_uint(text: &str, base: u32, bits: u32) -> Result<u64, NumError> {
    unsigned(text, base, bits).map_err(|kind| NumError {
        function: "ParseUint",
        input: text.to_owned(),
        kind,
    })
}

/// `strconv.ParseInt(text, base, bits)`.
///
/// # Errors
/// `NumError` for what Go refuses.
pub fn parse_int(text: &str, base: u32, bits: u32) -> Result<i64, NumError> {
    let error = |kind| NumError {
        function: "ParseInt",
        input: text.to_owned(),
        kind,
    };
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let size = unsigned(digits, base, 64).map_err(error)?;
    let limit = 1u64 << (bits - 1);
    match (negative, size) {
        (false, size) if size < limit => Ok(size as i64),
        (true, size) if size <= limit => Ok((size as i64).wrapping_neg()),
        _ => Err(error(NumErrorKind::Range)),
    }
}

fn unsigned(text: &str, base: u32, bits: u32) -> Result<u64, NumErrorKind> {
    let (radix, digits, underscores) = if base == 0 { prefix(text) } else { (base, text, false) };
    if digits.is_empty() || (underscores && !underscores_are_placed_well(text)) {
        return Err(NumErrorKind::Syntax);
    }
    let mut value: u64 = 0;
    let mut overflow = false;
    for c in digits.chars() {
        if c == '_' && underscores {
            continue;
        }
        let digit = c.to_digit(radix).ok_or(NumErrorKind::Syntax)?;
        match value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit))) {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    if overflow || (bits < 64 && value >> bits != 0) {
        Err(NumErrorKind::Range)
    } else {
        Ok(value)
    }
}

/// The radix a base-0 text asks for, its digits, and whether underscores may stand in them.
fn prefix(text: &str) -> (u32, &str, bool) {
    let bytes = text.as_bytes();
    if bytes.len() >= 3 && bytes[0] == b'0' {
        match bytes[1].to_ascii_lowercase() {
            b'x' => return (16, &text[2..], true),
            b'o' => return (8, &text[2..], true),
            b'b' => return (2, &text[2..], true),
            _ => {}
        }
    }
    if bytes.len() >= 2 && bytes[0] == b'0' {
        (8, &text[1..], true)
    } else {
        (10, text, true)
    }
}

/// Underscores may only separate digits, or the prefix from the digits.
fn underscores_are_placed_well(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
        let after_prefix = at == 2 && bytes[0] == b'0' && !bytes[1].is_ascii_digit();
        *byte != b'_' || (at > 0 && (digit(bytes.get(at - 1)) || after_prefix) && digit(bytes.get(at + 1)))
    })
}

/// `strconv.Quote`: a Go string literal. Printable characters stay, the rest is escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// What Go prints as it is: everything but controls, separators other than the space, and unassigned or private code points. The
/// unassigned ones are not told apart here.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers() {
        for (text, want) in [
            ("0", Ok(0)),
            ("10", Ok(10)),
            ("0x10", Ok(16)),
            ("010", Ok(8)),
            ("0b11", Ok(3)),
            ("1_000", Ok(1000)),
            ("0x_1", Ok(1)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(NumErrorKind::Range)),
            ("-1", Err(NumErrorKind::Syntax)),
            ("+1", Err(NumErrorKind::Syntax)),
            ("", Err(NumErrorKind::Syntax)),
            ("1__0", Err(NumErrorKind::Syntax)),
            ("_1", Err(NumErrorKind::Syntax)),
            ("0x", Err(NumErrorKind::Syntax)),
            ("08", Err(NumErrorKind::Syntax)),
        ] {
            assert_eq!(parse_uint(text, 0, 64).map_err(|e| e.kind), want, "{text}");
        }
        assert_eq!(
            parse_uint("4294967296", 0, 32).unwrap_err().to_string(),
            "strconv.ParseUint: parsing \"4294967296\": value out of range"
        );
    }

    #[test]
    fn signed_numbers() {
        assert_eq!(parse_int("-9223372036854775808", 0, 64), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775807", 0, 64), Ok(i64::MAX));
        assert_eq!(parse_int("9223372036854775808", 0, 64).unwrap_err().kind, NumErrorKind::Range);
        assert_eq!(parse_int("+7", 0, 64), Ok(7));
        assert_eq!(
            parse_int("a", 10, 64).unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"a\": invalid syntax"
        );
        assert_eq!(parse_int("128", 10, 8).unwrap_err().kind, NumErrorKind::Range);
    }

    #[test]
    fn booleans_and_quotes() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(
            parse_bool("maybe").unwrap_err().to_string(),
            "strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(quote("a\"b\\\n\u{1}é\u{feff}"), "\"a\\\"b\\\\\\n\\x01é\\ufeff\"");
    }
}
