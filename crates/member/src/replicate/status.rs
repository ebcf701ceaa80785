//! Where a member and its peers stand in the log.

use api::{MemberId, RaftIndex, Term};
use raft::{MemoryStorage, RawNode};

/// A member as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub id: MemberId,
    /// The last entry that it is known to hold.
    pub matched: u64,
    pub is_learner: bool,
    /// Heard of since the last check of the quorum.
    pub is_active: bool,
}

/// The state of replication at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationStatus {
    pub term: Term,
    pub leader: MemberId,
    pub last: RaftIndex,
    pub committed: RaftIndex,
    /// All members, this one included, by id; empty on a member that does not lead.
    pub peers: Vec<PeerStatus>,
}

impl ReplicationStatus {
    pub(super) fn of(node: &RawNode<MemoryStorage>) -> ReplicationStatus {
        let status = node.status();
        let peers = status.progress.iter().map(|(id, progress)| PeerStatus {
            id: MemberId(*id),
            matched: progress.matched,
            is_learner: progress.is_learner,
            is_active: progress.recent_active,
        });
        ReplicationStatus {
            term: Term(status.basic.hard_state.term()),
            leader: MemberId(status.basic.soft_state.lead),
            last: RaftIndex(node.last_index()),
            committed: RaftIndex(status.basic.hard_state.commit()),
            peers: peers.collect(),
        }
    }
}
