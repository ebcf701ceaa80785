//! Go's `time.Duration`: a signed count of nanoseconds, its text and its parser.
//!
//! Flags, `ETCD_*` variables and log lines carry durations in this shape, and scripts compare the texts, so both directions are
//! Go's to the letter ("1h0m0s", "1.5s", "100ms"). Never measures time.

use std::fmt;
use std::time::Duration;

/// A signed duration in nanoseconds, as flags and the configuration file give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

impl GoDuration {
    /// From nanoseconds, the unit of the configuration file.
    pub const fn from_nanos(nanos: i64) -> Self {
        GoDuration(nanos)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        GoDuration(millis * 1_000_000)
    }

    /// The count of nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The same as an unsigned duration; negative ones become zero, which is what every reader of these settings means by them.
    pub const fn to_std(self) -> Duration {
        if self.0 < 0 {
            Duration::ZERO
        } else {
            Duration::from_nanos(self.0.unsigned_abs())
        }
    }

    /// Parses Go's duration text: signed decimal numbers, each with a unit (`ns`, `us`, `µs`, `ms`, `s`, `m`, `h`).
    ///
    /// # Errors
    /// `DurationError`, whose text is that of `time.ParseDuration`.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        parse(text)
    }
}

impl From<Duration> for GoDuration {
    fn from(value: Duration) -> Self {
        GoDuration(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return out.write_str("0s");
        }
        if self.0 < 0 {
            out.write_str("-")?;
        }
        match nanos {
            0..1_000 => write!(out, "{nanos}ns"),
            1_000..1_000_000 => write!(out, "{}µs", Fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(out, "{}ms", Fraction(nanos, 1_000_000)),
            _ => {
                let seconds = nanos / 1_000_000_000;
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if hours > 0 {
                    write!(out, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(out, "{minutes}m")?;
                }
                write!(out, "{}s", Fraction(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `.0 / .1` in decimals without trailing zeros.
struct Fraction(u64, u64);

impl fmt::Display for Fraction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0 / self.1)?;
        let rest = self.0 % self.1;
        if rest == 0 {
            return Ok(());
        }
        let width = self.1.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        write!(out, ".{}", digits.trim_end_matches('0'))
    }
}

/// Why a duration was refused; the text is Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not a duration at all, or out of range.
    Invalid(String),
    /// A number without its unit.
    MissingUnit(String),
    /// A unit Go does not know.
    UnknownUnit(String, String),
}

impl fmt::Display for DurationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::strconv::quote;
        match self {
            DurationError::Invalid(text) => write!(out, "time: invalid duration {}", quote(text)),
            DurationError::MissingUnit(text) => write!(out, "time: missing unit in duration {}", quote(text)),
            DurationError::UnknownUnit(unit, text) => write!(out, "time: unknown unit {} in duration {}", quote(unit), quote(text)),
        }
    }
}

impl std::error::Error for DurationError {}

fn parse(text: &str) -> Result<GoDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    // In 128 bits nothing below overflows before the range is checked.
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let whole = &rest[..digits];
        rest = &rest[digits..];
        let mut part = "";
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            part = &after[..digits];
            rest = &after[digits..];
        }
        if whole.is_empty() && part.is_empty() {
            return Err(invalid());
        }
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..end];
        rest = &rest[end..];
        let scale = match unit {
            "" => return Err(DurationError::MissingUnit(text.to_owned())),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000u128,
            _ => return Err(DurationError::UnknownUnit(unit.to_owned(), text.to_owned())),
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        total += u128::from(whole) * scale + fraction(part, scale);
        if total > 1 << 63 {
            return Err(invalid());
        }
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(nanos)) => Ok(GoDuration(nanos)),
        (true, Ok(nanos)) => Ok(GoDuration(-nanos)),
        (true, Err(_)) => Ok(GoDuration(i64::MIN)),
        (false, Err(_)) => Err(invalid()),
    }
}

/// `0.digits` of `scale` nanoseconds, rounded down; digits beyond what nanoseconds can show do not count.
fn fraction(digits: &str, scale: u128) -> u128 {
    let kept = &digits.as_bytes()[..digits.len().min(18)];
    let value = kept.iter().fold(0u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    value * scale / 10u128.pow(kept.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (7_200_000_000_000, "2h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (-1_000_000_000, "-1s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
            assert_eq!(GoDuration::parse(text), Ok(GoDuration(nanos)), "{text}");
        }
    }

    #[test]
    fn parses_as_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+5s", 5_000_000_000),
            ("-.5s", -500_000_000),
            ("1.s", 1_000_000_000),
            ("1h15m30.918273645s", 4_530_918_273_645),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
        ] {
            assert_eq!(GoDuration::parse(text).map(GoDuration::nanos), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_as_go() {
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("-", "time: invalid duration \"-\""),
            ("5", "time: missing unit in duration \"5\""),
            ("-1", "time: missing unit in duration \"-1\""),
            ("1x", "time: unknown unit \"x\" in duration \"1x\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("99999999999999999999h", "time: invalid duration \"99999999999999999999h\""),
        ] {
            assert_eq!(GoDuration::parse(text).map_err(|e| e.to_string()), Err(error.to_owned()));
        }
    }
}
