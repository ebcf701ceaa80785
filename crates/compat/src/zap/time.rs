//! Moments in the form of etcd's log lines: `2006-01-02T15:04:05.000000Z0700`.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends a moment as the wall clock `offset_seconds` ahead of UTC shows it.
pub fn timestamp(time: SystemTime, offset_seconds: i32, out: &mut String) {
    let (seconds, micros) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX / 2), after.subsec_micros()),
        // Before 1970 the fraction counts forward from the second below.
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX / 2);
            if before.subsec_nanos() == 0 {
                (-whole, 0)
            } else {
                (-whole - 1, 1_000_000 - before.subsec_micros().max(1))
            }
        }
    };
    let local = seconds + i64::from(offset_seconds);
    let (year, month, day) = date(local.div_euclid(86_400));
    let clock = local.rem_euclid(86_400);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}");
    if offset_seconds == 0 {
        out.push('Z');
    } else {
        let minutes = offset_seconds.abs() / 60;
        let _ = write!(
            out,
            "{}{:02}{:02}",
            if offset_seconds < 0 { '-' } else { '+' },
            minutes / 60,
            minutes % 60
        );
    }
}

/// The date of a day counted from 1970-01-01, by the Gregorian calendar. Years begin in March here, so that the leap day is the last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shown(micros: u64, offset: i32) -> String {
        let mut out = String::new();
        timestamp(UNIX_EPOCH + Duration::from_micros(micros), offset, &mut out);
        out
    }

    #[test]
    fn prints_as_zap() {
        assert_eq!(shown(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown(951_782_399_000_001, 0), "2000-02-28T23:59:59.000001Z");
        assert_eq!(shown(951_782_400_000_000, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(shown(1_795_438_631_854_126, 3600), "2026-11-23T13:57:11.854126+0100");
        assert_eq!(shown(1_795_438_631_854_126, -12_600), "2026-11-23T09:27:11.854126-0330");
        let mut early = String::new();
        timestamp(UNIX_EPOCH - Duration::from_millis(500), 0, &mut early);
        assert_eq!(early, "1969-12-31T23:59:59.500000Z");
    }
}
