//! Snapshots: the points from which the log need not be read again, what may be deleted behind them, and the state of one member for
//! another that is too far behind for the log.
//!
//! The order of a disk snapshot is what makes it safe (`data-dir.md` 4.3): the database commits (its consistent index at or above the
//! snapshot's), the `.snap` file is written and synced, the log records it, and only then older segments are let go.

mod receive;
mod send;

use std::path::Path;

use api::pb::{raftpb, walpb};
use api::{RaftIndex, Term};
use wal::{SnapError, WalError, snap, v2store};
use world::DynDisk;

use crate::cluster::State;

pub use receive::{Incoming, ReceiveError};
pub use send::{Outgoing, SendError};

/// A disk snapshot that is due. The shell carries it out in this order: commit the database, [`DiskSnapshot::write_file`], then
/// `Input::SnapshotSaved(record())`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskSnapshot {
    /// With the v2 store's JSON as data: 3.5 and 3.6 need it to come back.
    pub snapshot: raftpb::Snapshot,
}

impl DiskSnapshot {
    /// The snapshot of a membership as of this index.
    pub fn of(state: &State, index: RaftIndex, term: Term) -> DiskSnapshot {
        let data = v2store::encode(&membership(state));
        let metadata = raftpb::SnapshotMetadata {
            conf_state: Some(state.conf_state()),
            index: Some(index.0),
            term: Some(term.0),
        };
        DiskSnapshot {
            snapshot: raftpb::Snapshot {
                data: Some(data.into()),
                metadata: Some(metadata),
            },
        }
    }

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

    /// Writes and syncs the `.snap` file, and removes received databases that it has overtaken. The database must have committed an
    /// index at or above [`DiskSnapshot::index`] before.
    ///
    /// # Errors
    /// From the disk; the process has to end then.
    pub fn write_file(&self, disk: &DynDisk, snap_dir: &Path) -> Result<(), SnapError> {
        snap::save(disk, snap_dir, &self.snapshot)?;
        snap::remove_databases_below(disk, snap_dir, self.index().0)?;
        Ok(())
    }
}

fn membership(state: &State) -> v2store::Membership {
    let member = |m: &crate::cluster::Member| v2store::Member {
        id: m.id,
        peer_urls: m.peer_urls.clone(),
        is_learner: m.is_learner,
        name: m.name.clone(),
        client_urls: m.client_urls.clone(),
    };
    v2store::Membership {
        members: state.members.values().map(member).collect(),
        removed: state.removed.iter().copied().collect(),
        cluster_version: state.version.map(|version| version.to_string()),
    }
}

/// A failure while deleting what is no longer needed. Nothing is lost by it: the next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Snap(#[from] SnapError),
}

/// Deletes old segments, `.snap` and `.snap.db` files, as many as are beyond the limits (0 keeps all), and gives their names. A
/// segment that is locked stays: the log holds those that a start from the newest disk snapshot needs.
///
/// # Errors
/// `PurgeError` from the disk.
pub fn purge(disk: &DynDisk, wal_dir: &Path, snap_dir: &Path, max_wals: usize, max_snapshots: usize) -> Result<Vec<String>, PurgeError> {
    let mut deleted = Vec::new();
    if max_snapshots > 0 {
        deleted.extend(snap::purge(disk, snap_dir, max_snapshots)?);
    }
    if max_wals > 0 {
        deleted.extend(wal::purge(disk, wal_dir, max_wals)?);
    }
    Ok(deleted)
}
