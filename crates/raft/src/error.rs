//! Why a message or a proposal was not taken. The texts are Go raft's.

/// Why [`RawNode`](crate::RawNode) did not take something. Its state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// There is no leader, leadership is being handed over, too much is uncommitted, or this node is not in the configuration.
    #[error("raft proposal dropped")]
    ProposalDropped,
    /// A message of a local type that claims to come from a peer.
    #[error("raft: cannot step raft local message")]
    LocalMessage,
    /// An answer from a node that is not in the configuration.
    #[error("raft: cannot step as peer not found")]
    PeerNotFound,
    /// A message type that raft does not know, or a message that lacks what its type needs.
    #[error("raft: malformed message")]
    Malformed,
    /// Entries that contradict committed ones: this node's log or the sender's is corrupt.
    #[error("raft: entries conflict with committed ones")]
    Conflict,
}
