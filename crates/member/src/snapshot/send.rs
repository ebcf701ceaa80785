//! The state of this member for another one: what goes into a MsgSnap, and the database image behind it (`peer-protocol.md` 5).
//!
//! Go stops its apply for as long as it takes to begin one. Here every commit of the database is a boundary between two entries, with all
//! effects up to that index and none behind it: the membership, index and term that go with the image are read from that very commit, and
//! nobody waits.

use std::io;

use api::pb::raftpb;
use api::{MemberId, RaftIndex};
use backend::{Backend, BackendError, ReadView};

use super::DiskSnapshot;
use crate::cluster::{self, LoadError};

/// Why no snapshot can be made.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Membership(#[from] LoadError),
    #[error("the database holds the effects of no entry yet")]
    Empty,
}

/// A snapshot to be sent. It holds on to the pages of its commit, so it should not be kept longer than the sending takes.
pub struct Outgoing {
    snapshot: raftpb::Snapshot,
    image: ReadView,
}

impl Outgoing {
    /// Takes the newest commit. Called by whoever owns the committer, right after a commit, it lacks nothing that was applied before that.
    ///
    /// # Errors
    /// `SendError`: this member goes on; the other one is told that sending has failed, and asks again.
    pub fn take(backend: &Backend) -> Result<Outgoing, SendError> {
        let image = backend.view().committed();
        let (index, term) = image
            .applied()
            .filter(|(index, term)| index.0 > 0 && term.0 > 0)
            .ok_or(SendError::Empty)?;
        let state = cluster::load(&image)?;
        Ok(Outgoing {
            snapshot: DiskSnapshot::of(&state, index, term).snapshot,
            image,
        })
    }

    /// What takes the place of the message's snapshot: metadata, and the v2 store's JSON, without which 3.5 and 3.6 panic.
    pub fn snapshot(&self) -> &raftpb::Snapshot {
        &self.snapshot
    }

    /// The index that it stands for, which is the image's consistent index.
    pub fn index(&self) -> RaftIndex {
        RaftIndex(self.snapshot.metadata.as_ref().and_then(|metadata| metadata.index).unwrap_or(0))
    }

    /// Whether this member is in its membership: raft drops a snapshot without itself. A member that is not may have been removed, or
    /// the entry that adds it is not applied yet.
    pub fn is_for(&self, member: MemberId) -> bool {
        let conf_state = self.snapshot.metadata.as_ref().and_then(|metadata| metadata.conf_state.as_ref());
        conf_state.is_some_and(|state| state.voters.contains(&member.0) || state.learners.contains(&member.0))
    }

    /// Length of the database image, in bytes.
    pub fn image_size(&self) -> u64 {
        self.image.image_size()
    }

    /// Gives the database image, piece by piece. Any thread; it may take its time.
    ///
    /// # Errors
    /// `BackendError::Image` with the error of `chunk`.
    pub fn write_image(&self, chunk: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), BackendError> {
        self.image.write_image(chunk)
    }
}
