//! Leaves out lines that repeat: of equal ones within a second the first 100, then every 100th, as etcd configures zap.
//!
//! Equal means the same level and a message of the same hash; the fields do not count. The table has a fixed size, so two messages
//! may share a counter, as in zap.

use compat::zap::Level;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const FIRST: u64 = 100;
const THEREAFTER: u64 = 100;
const WINDOW_NANOS: u64 = 1_000_000_000;
const LEVELS: usize = 7;
const COUNTERS: usize = 4096;

#[derive(Default)]
struct Counter {
    window_ends: AtomicU64,
    seen: AtomicU64,
}

/// Counts lines and says which are written.
pub(super) struct Sampler {
    counters: Box<[Counter]>,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler {
            counters: (0..LEVELS * COUNTERS).map(|_| Counter::default()).collect(),
        }
    }
}

impl Sampler {
    /// Whether this line is written.
    pub(super) fn admits(&self, level: Level, message: &str, now: SystemTime) -> bool {
        let nanos = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        let counter = &self.counters[level as usize * COUNTERS + hash(message) as usize % COUNTERS];
        let seen = counter.count(nanos);
        seen <= FIRST || (seen - FIRST).is_multiple_of(THEREAFTER)
    }
}

impl Counter {
    /// Counts one more and gives the count in the running window. Two threads at the edge of a window may both begin the next one:
    /// a few lines more are written then, which is harmless.
    fn count(&self, nanos: u64) -> u64 {
        if self.window_ends.load(Ordering::Acquire) > nanos {
            return self.seen.fetch_add(1, Ordering::AcqRel) + 1;
        }
        self.seen.store(1, Ordering::Release);
        self.window_ends.store(nanos.saturating_add(WINDOW_NANOS), Ordering::Release);
        1
    }
}

/// FNV-1a of 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_hundred_then_every_hundredth() {
        let sampler = Sampler::default();
        let start = UNIX_EPOCH + Duration::from_secs(10);
        let count = |from: u64, many: u64| {
            (from..from + many)
                .filter(|i| sampler.admits(Level::Info, "m", start + Duration::from_nanos(*i)))
                .count()
        };
        assert_eq!(count(0, 100), 100);
        assert_eq!(count(100, 250), 2);
        assert!(sampler.admits(Level::Info, "other", start), "another message has its own count");
        assert!(sampler.admits(Level::Warn, "m", start), "and so has another level");
        assert!(
            sampler.admits(Level::Info, "m", start + Duration::from_secs(1)),
            "the next second begins anew"
        );
    }
}
