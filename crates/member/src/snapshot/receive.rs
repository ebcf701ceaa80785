//! A leader's snapshot on its way into this member (`data-dir.md` 4.3).
//!
//! Four steps, by four threads: whoever receives it writes the image to `snap/tmp*`, syncs it, renames it to
//! `snap/{index:016x}.snap.db`, syncs the folder, [`Incoming::check`]s it and gives the message to raft. The log's thread saves it
//! ([`Incoming::save`]): only then may raft answer the leader. The applier changes over ([`crate::apply::Applier::install`]). A power cut
//! anywhere in between leaves a directory that opens: with the old state, or with the new one once the log has both the record and a hard
//! state that commits it.

use std::path::{Path, PathBuf};

use api::pb::{raftpb, walpb};
use api::{RaftIndex, Term};
use backend::{Backend, BackendError};
use wal::{LogBatch, SnapError, Wal, WalError, snap};
use world::DynDisk;

use crate::cluster::{self, LoadError};
use crate::database::{self, DatabaseFile, Unfit};

/// Why a received snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Snap(#[from] SnapError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Membership(#[from] LoadError),
    #[error(transparent)]
    Store(#[from] mvcc::MvccError),
    #[error("{}: {error}", path.display())]
    Swap { path: PathBuf, error: std::io::Error },
    #[error("the received database holds the effects of entries up to index {held} only, and not up to the snapshot's index {index}")]
    Behind { index: u64, held: u64 },
    #[error("{0}")]
    Unfit(String),
}

impl From<Unfit> for ReceiveError {
    fn from(unfit: Unfit) -> ReceiveError {
        match unfit {
            Unfit::Backend(error) => error.into(),
            Unfit::Refused(text) => ReceiveError::Unfit(text),
        }
    }
}

/// A snapshot whose database image lies beside the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    snapshot: raftpb::Snapshot,
}

impl Incoming {
    pub fn new(snapshot: raftpb::Snapshot) -> Incoming {
        Incoming { snapshot }
    }

    /// The index that it stands for.
    pub fn index(&self) -> RaftIndex {
        RaftIndex(self.snapshot.metadata.as_ref().and_then(|metadata| metadata.index).unwrap_or(0))
    }

    pub fn term(&self) -> Term {
        Term(self.snapshot.metadata.as_ref().and_then(|metadata| metadata.term).unwrap_or(0))
    }

    /// Reads the received image through, before raft hears of it: what is wrong with it is the sender's or the network's fault, and must
    /// not cost this member the state that it has. On an error the file is to be deleted and the message to be refused.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, file: &DatabaseFile) -> Result<(), ReceiveError> {
        let index = self.index().0;
        let path = snap::find_database(&file.disk, &file.snap_dir, index)?;
        let options = backend::Options {
            read_only: true,
            verify: true,
            ..file.options.clone()
        };
        let (received, _) = Backend::open(&file.disk, &path, options)?;
        self.fits(&received, &path).map(|_| ())
    }

    /// Whether this is the database of this snapshot, and one that this version may work on. Gives its membership.
    pub(crate) fn fits(&self, received: &Backend, path: &Path) -> Result<cluster::State, ReceiveError> {
        let (index, held) = (self.index().0, received.consistent_index().0);
        if held < index {
            return Err(ReceiveError::Behind { index, held });
        }
        let view = received.view();
        let state = cluster::load(&view)?;
        database::check(&view, &state, path)?;
        Ok(state)
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

    /// Makes it this member's: the `.snap` file, the log's record of it, then the batch that raft asked for with it (whose hard state
    /// commits its index), synced. The other way round a power cut would leave a log that commits what it does not have.
    ///
    /// # Errors
    /// From the disk; the process has to end then.
    pub fn save(&self, disk: &DynDisk, snap_dir: &Path, wal: &mut Wal, batch: &LogBatch<'_>) -> Result<(), ReceiveError> {
        snap::save(disk, snap_dir, &self.snapshot)?;
        wal.save_snapshot(&self.record())?;
        wal.append(batch)?;
        wal.sync()?;
        wal.release_locks_to(self.index().0);
        Ok(())
    }
}
