//! The write-ahead log and the `.snap` files, as etcd 3.5 to 3.7 write them (`contract/data-dir.md` 2 and 3).
//!
//! Step 6 of the life of a Put: what raft wants kept is appended here and synced before anybody is told. A plain synchronous
//! library over `world::Disk`: it never spawns, waits or looks at a clock, never decides when to sync (the log thread does), and
//! never tries a failed write again.

mod codec;
mod error;
mod names;
mod open;
mod purge;
mod received;
mod records;
mod replay;
mod segment;
pub mod snap;
pub mod v2store;
mod writer;

pub use codec::kind;
pub use error::{SnapError, WalError};
pub use names::{SegmentName, exists, segments};
pub use open::{Opened, Repair};
pub use purge::purge;
pub use received::ReceivedDatabase;
pub use records::{Record, Records};
pub use replay::{End, ReadOutcome, read, valid_snapshots};
pub use segment::{PrepareJob, Prepared};
pub use writer::{LogBatch, Wal};

/// The size at which a segment is followed by the next: 64 000 000 bytes, a decimal number, as in etcd.
pub const SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// Settings that only tests change.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size at which a segment is cut.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: SEGMENT_BYTES,
        }
    }
}
