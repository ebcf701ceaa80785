//! The write-ahead log and the `.snap` files, as etcd 3.5 to 3.7 write them (`contract/data-dir.md` 2 and 3).
//!
//! Step 6 of the life of a Put: what raft wants kept is appended here and synced before anybody is told. A plain synchronous
//! library over `world::Disk`: it never spawns, waits or looks at a clock, never decides when to sync (the log thread does), and
//! never tries a failed write again.

mod error;
pub mod snap;
pub mod v2store;

use std::path::{Path, PathBuf};

use api::pb::raftpb::{Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use world::DynDisk;

pub use error::{SnapError, WalError};

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

/// What raft wants kept: entries first, then the hard state. An empty hard state is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogBatch<'b> {
    pub entries: &'b [Entry],
    pub hard_state: Option<&'b HardState>,
}

/// A log opened for appending, and all it held after the start snapshot.
pub struct Opened {
    pub wal: Wal,
    pub metadata: Bytes,
    pub hard_state: HardState,
    /// Those with an index above the start's, without gap.
    pub entries: Vec<Entry>,
    /// Set if the end of the last segment was torn and has been cut off.
    pub repaired: Option<Repair>,
}

/// What the repair of a torn end did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The segment, which now ends at `offset`.
    pub file: PathBuf,
    pub offset: u64,
    /// How many bytes were cut off, not counting zeros at the end. More than one torn write's worth means lost records.
    pub lost_bytes: u64,
    /// The copy made before.
    pub broken: PathBuf,
    /// What was wrong at `offset`.
    pub reason: String,
}

/// What reading found, without changing anything.
#[derive(Clone, Debug)]
pub struct ReadOutcome {
    pub metadata: Option<Bytes>,
    pub hard_state: HardState,
    pub entries: Vec<Entry>,
    /// Whether the start snapshot has a record (always required for reading, not for writing).
    pub start_found: bool,
    pub end: End,
}

/// Where and why reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The name of the last file read.
    pub file: String,
    /// The end of its last good record.
    pub offset: u64,
    /// `None`: a clean end. Else what is wrong there: the file ends inside a record, or a power cut tore it.
    pub torn: Option<String>,
}

/// A log open for appending. Holds the locks of its segments.
pub struct Wal {}

impl Wal {
    pub fn create(_disk: &DynDisk, _dir: &Path, _metadata: &[u8]) -> Result<Wal, WalError> {
        unimplemented!()
    }
    pub fn open(_disk: &DynDisk, _dir: &Path, _start: &walpb::Snapshot) -> Result<Opened, WalError> {
        unimplemented!()
    }
    pub fn append(&mut self, _batch: &LogBatch<'_>) -> Result<(), WalError> {
        unimplemented!()
    }
    /// Whether something was appended since the last sync that must be synced before anybody is told of it.
    pub fn needs_sync(&self) -> bool {
        unimplemented!()
    }
    pub fn sync(&mut self) -> Result<(), WalError> {
        unimplemented!()
    }
    pub fn save_snapshot(&mut self, _snapshot: &walpb::Snapshot) -> Result<(), WalError> {
        unimplemented!()
    }
    pub fn release_locks_to(&mut self, _index: u64) {
        unimplemented!()
    }
    pub fn segment_to_prepare(&mut self) -> Option<PrepareJob> {
        unimplemented!()
    }
    pub fn prepared(&mut self, _segment: Result<Prepared, WalError>) {
        unimplemented!()
    }
    /// A clean stop: syncs, removes the prepared segment, lets the locks go.
    pub fn close(self) -> Result<(), WalError> {
        unimplemented!()
    }
}

pub struct PrepareJob {}
impl PrepareJob {
    pub fn run(self, _disk: &DynDisk) -> Result<Prepared, WalError> {
        unimplemented!()
    }
}
pub struct Prepared {}

/// True if the folder holds a log.
pub fn exists(_disk: &DynDisk, _dir: &Path) -> Result<bool, WalError> {
    unimplemented!()
}
pub fn read(_disk: &DynDisk, _dir: &Path, _start: &walpb::Snapshot) -> Result<ReadOutcome, WalError> {
    unimplemented!()
}
pub fn valid_snapshots(_disk: &DynDisk, _dir: &Path) -> Result<Vec<walpb::Snapshot>, WalError> {
    unimplemented!()
}
/// Removes the oldest segments beyond `keep` that nobody holds locked; gives their names.
pub fn purge(_disk: &DynDisk, _dir: &Path, _keep: usize) -> Result<Vec<String>, WalError> {
    unimplemented!()
}
