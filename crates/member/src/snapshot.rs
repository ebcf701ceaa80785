//! Disk snapshots: the points from which the log need not be read again, and what may be deleted behind them.
//!
//! The order of a disk snapshot is what makes it safe (`data-dir.md` 4.3): the database commits (its consistent index at or above the
//! snapshot's), the `.snap` file is written and synced, the log records it, and only then older segments are let go.

use std::path::{Path, PathBuf};

use api::RaftIndex;
use api::pb::{raftpb, walpb};
use world::DynDisk;

/// A disk snapshot that is due. The shell carries it out in this order: commit the database, [`DiskSnapshot::write_file`], then
/// `Input::SnapshotSaved(record())`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskSnapshot {
    /// With the v2 store's JSON as data: 3.5 and 3.6 need it to come back.
    pub snapshot: raftpb::Snapshot,
}

impl DiskSnapshot {
    /// The index that it stands for.
    pub fn index(&self) -> RaftIndex {
        RaftIndex(self.snapshot.metadata.as_ref().and_then(|m| m.index).unwrap_or(0))
    }

    /// What the log has to record.
    pub fn record(&self) -> walpb::Snapshot {
        let metadata = self.snapshot.metadata.clone().unwrap_or_default();
        walpb::Snapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: metadata.conf_state,
        }
    }

    /// Writes and syncs the `.snap` file. The database must have committed an index at or above [`DiskSnapshot::index`] before.
    ///
    /// # Errors
    /// `SnapshotError` from the disk; the process has to end then.
    pub fn write_file(&self, disk: &DynDisk, snap_dir: &Path) -> Result<(), SnapshotError> {
        let _ = (disk, snap_dir);
        unimplemented!()
    }
}

/// A failure while writing or deleting snapshots.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{path}: {error}")]
    Disk { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Other(String),
}

/// Deletes old segments, `.snap` and `.snap.db` files, as many as are beyond the limits (0 keeps all). A segment that is locked, or that a
/// recovery from the oldest kept `.snap` needs, stays.
///
/// # Errors
/// `SnapshotError` from the disk. Nothing is lost by it: the next round tries again.
pub fn purge(disk: &DynDisk, wal_dir: &Path, snap_dir: &Path, max_wals: usize, max_snapshots: usize) -> Result<Purged, SnapshotError> {
    let _ = (disk, wal_dir, snap_dir, max_wals, max_snapshots);
    unimplemented!()
}

/// What [`purge`] deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub files: Vec<PathBuf>,
}
