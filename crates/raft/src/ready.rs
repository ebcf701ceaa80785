//! What a node wants done.

use std::fmt;

use api::pb::raftpb::{Entry, HardState, Message, Snapshot};
use bytes::Bytes;

/// What a node is in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
    PreCandidate,
}

impl fmt::Display for Role {
    /// Go raft's names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Follower => "StateFollower",
            Role::Candidate => "StateCandidate",
            Role::Leader => "StateLeader",
            Role::PreCandidate => "StatePreCandidate",
        })
    }
}

/// What need not survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftState {
    /// The leader of the term, 0 if there is none or none is known.
    pub lead: u64,
    pub role: Role,
}

/// The answer to `read_index`: what is applied at `index` or later may answer the read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    pub index: u64,
    pub request_ctx: Bytes,
}

/// What a node wants done. Without asynchronous storage writes the order is: write `entries`, `hard_state` and `snapshot` (and sync them
/// if `must_sync`), send `messages`, apply `snapshot` and `committed_entries`, call `advance`. With them the same work comes as messages
/// to the two local targets, in their order, and the fields here only repeat it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// Only if it changed.
    pub soft_state: Option<SoftState>,
    /// Only if it changed.
    pub hard_state: Option<HardState>,
    /// Reads that may be answered.
    pub read_states: Vec<ReadState>,
    /// To be written to the log before `messages` are sent.
    pub entries: Vec<Entry>,
    /// To be written before `messages` are sent, and to be applied.
    pub snapshot: Option<Snapshot>,
    /// To be applied; already written.
    pub committed_entries: Vec<Entry>,
    /// To be sent.
    pub messages: Vec<Message>,
    /// Whether `hard_state` and `entries` must be synced, or may be written lazily.
    pub must_sync: bool,
}
