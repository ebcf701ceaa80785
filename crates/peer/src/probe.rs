//! Probes: how long a peer takes to answer, and how far its clock is from ours.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::MemberId;
use http::{Method, StatusCode};
use tokio::time::{MissedTickBehavior, interval};

use crate::body::Body;
use crate::client::{self, Patience, Poster};
use crate::seam::{Level, Value};
use crate::shared::Shared;
use crate::url::Urls;

/// Clocks further apart than this are worth a line in the log.
const DRIFT_LIMIT: Duration = Duration::from_secs(1);

/// Probes one peer until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>, peer: MemberId, urls: Arc<Urls>) {
    let timing = &shared.config.timing;
    let patience = Patience {
        dial: timing.dial,
        read: Some(timing.silence),
        write: Some(timing.silence),
    };
    let mut poster = Poster::new(shared.clone(), patience);
    let mut ticks = interval(timing.probe);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut healthy = true;
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let url = urls.pick();
        let asked = Instant::now();
        let answer = match client::request(&url, Method::GET, "/raft/probing").body(Body::Full(None)) {
            Ok(request) => poster.ask(&url, request).await,
            Err(error) => Err(io::Error::other(error)),
        };
        let round_trip = asked.elapsed();
        let problem = match answer {
            Ok((StatusCode::OK, body)) => {
                shared.metrics.round_trip(peer, round_trip);
                judge_clock(&shared, peer, &body, round_trip);
                None
            }
            Ok((status, _)) => Some(format!("unexpected http status {status}")),
            Err(error) => Some(error.to_string()),
        };
        // Told when it begins, not every time.
        if let Some(problem) = problem.as_ref().filter(|_| healthy) {
            let fields = [("remote-peer-id", Value::from(peer)), ("error", Value::from(problem.clone()))];
            shared.log(Level::Warn, "prober detected unhealthy status", &fields);
        }
        healthy = problem.is_none();
    }
}

fn judge_clock(shared: &Shared, peer: MemberId, body: &[u8], round_trip: Duration) {
    let theirs = std::str::from_utf8(body).ok().and_then(stated_time);
    let Some(theirs) = theirs else {
        return;
    };
    // They looked at their clock half a round trip ago, more or less.
    let ours = SystemTime::now() - round_trip / 2;
    let drift = ours.duration_since(theirs).unwrap_or_else(|ahead| ahead.duration());
    if drift > DRIFT_LIMIT {
        let fields = [
            ("remote-peer-id", Value::from(peer)),
            ("clock-drift", drift.into()),
            ("rtt", round_trip.into()),
        ];
        shared.log(Level::Warn, "prober found high clock drift", &fields);
    }
}

/// The answer to a probe.
pub(crate) fn answer(now: SystemTime) -> String {
    format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", rfc3339(now))
}

/// The time in an answer to a probe.
fn stated_time(answer: &str) -> Option<SystemTime> {
    let (_, rest) = answer.split_once("\"Now\":\"")?;
    parse_rfc3339(rest.split('"').next()?)
}

/// As Go's RFC3339Nano: nanoseconds without trailing zeros.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days as i64);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match since.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let digits = rest
        .strip_prefix('.')
        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let nanos = match digits {
        0 => 0,
        digits => number(20..20 + digits.min(9))? * 10_i64.pow(9 - digits.min(9) as u32),
    };
    let zone = rest.get(if digits == 0 { 0 } else { 1 + digits }..)?;
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
            let value = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            let minutes = value(*h1, *h2) * 60 + value(*m1, *m2);
            if *sign == b'+' { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(UNIX_EPOCH + Duration::new(u64::try_from(seconds).ok()?, nanos as u32))
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
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

    #[test]
    fn times_as_go_writes_them() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 500_000_000, "2000-02-29T00:00:00.5Z"),
            (1_795_413_007, 787_883_499, "2026-11-23T05:50:07.787883499Z"),
            (4_102_444_799, 1, "2099-12-31T23:59:59.000000001Z"),
        ] {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            assert_eq!(rfc3339(time), text);
            assert_eq!(stated_time(&answer(time)), Some(time), "{text}");
        }
        let zoned = parse_rfc3339("2026-11-23T07:50:07.787883499+02:00");
        assert_eq!(zoned, parse_rfc3339("2026-11-23T05:50:07.787883499Z"));
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-11-23T05:50:07",
            "2026-11-23T05:50:07.Z",
            "ä026-11-23T05:50:07Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text:?}");
        }
    }
}
