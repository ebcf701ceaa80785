//! Watch: a shared, append-only log of events, a cursor for every watcher, a bounded queue for every stream.
//!
//! Stands at step 11 of the life of a Put. Apply appends the events of a transaction to the log and is done. [`WatchHub::pump`]
//! routes them to the queues of the streams that watch those keys; the server takes answers from its stream with
//! [`WatchStream::poll`] and writes them out. An event is encoded once, however many watchers see it. A watcher whose stream
//! has a full queue falls behind: it keeps the revision it has to go on from, and `poll` reads what it missed from the log
//! or, when that has moved on, from the store's history, once there is room. So a slow stream costs memory up to a limit, and
//! never slows a writer or another stream. No threads, no clock, no sockets: the shell calls in and is woken by a callback.
//!
//! | file | what |
//! | --- | --- |
//! | `event` | events and their one encoding |
//! | `log` | the newest events, in memory |
//! | `router`, `intervals` | which watchers a key concerns |
//! | `hub` | all watchers; appending, routing, compaction |
//! | `stream`, `queue` | one client's stream and what waits to be sent on it |
//! | `catch_up` | watchers that are behind |
//! | `answer` | what goes over the wire |

mod answer;
mod catch_up;
mod event;
mod hub;
mod intervals;
mod log;
mod queue;
mod router;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::time::Duration;

use api::Revision;
use bytes::Bytes;

pub use answer::{Events, WatchAnswer};
pub use event::{Event, EventKind, Previous, TxnEvents};
pub use hub::{WatchHub, WatchMetrics};
pub use stream::{Polled, WatchStream};

/// The id in answers that are about no watcher or about all of a stream.
pub const NO_WATCHER: i64 = -1;
/// Shortest progress interval (`--watch-progress-notify-interval`).
pub const SHORTEST_PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Default of `--watch-progress-notify-interval`.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// The store as watchers that are behind need it.
pub trait History {
    /// Visits the entries of the `key` bucket with `from <= main <= to` in order (flag: tombstone) until `visit` breaks.
    fn scan(&self, from: i64, to: i64, visit: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError>;
    /// The stored key-value pair of `key` as of main revision `main - 1`; `None` also when that is compacted.
    fn value_before(&self, key: &[u8], main: i64) -> Option<Bytes>;
}

/// History could not be read: the stream has to end.
#[derive(Debug, thiserror::Error)]
#[error("reading history: {0}")]
pub struct HistoryError(pub String);

/// The progress interval of one stream: `base`, raised to [`SHORTEST_PROGRESS_INTERVAL`], plus up to a tenth, chosen by `chance`, so
/// that streams opened at the same moment do not all speak up at the same moment ever after.
pub fn progress_interval(base: Duration, chance: u64) -> Duration {
    let base = base.max(SHORTEST_PROGRESS_INTERVAL);
    let tenth = u64::try_from(base.as_nanos() / 10).unwrap_or(u64::MAX);
    base + Duration::from_nanos(chance % tenth.max(1))
}
