//! The `Grpc-Timeout` header: `1S`, `300m`, ...

use std::time::Duration;

/// What a `Grpc-Timeout` asks for; none when it is none. A negative one is over at once.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let unit = match text.bytes().last()? {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let count: i64 = number.parse().ok()?;
    // Go multiplies without a look at overflow, so that a very long time is a random one. Here it is just long.
    Some(Duration::from_nanos(u64::try_from(count).unwrap_or(0).saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("1S"), Some(Duration::from_secs(1)));
        assert_eq!(parse("300m"), Some(Duration::from_millis(300)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("-1S"), Some(Duration::ZERO));
        for bad in ["", "S", "bogus", "1", "1s", "1 S", "1.5S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
