//! What a node says of itself, for metrics and for people.

use api::pb::raftpb::HardState;

use crate::SoftState;
use crate::progress::{Config, ProgressMap};

/// A node's state without what it knows of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicStatus {
    pub id: u64,
    pub hard_state: HardState,
    pub soft_state: SoftState,
    /// The last index that is applied.
    pub applied: u64,
    /// Whom leadership is being handed to, 0 if nobody.
    pub lead_transferee: u64,
}

/// A node's state, its configuration and, at the leader, what it knows of the members.
#[derive(Clone, Debug)]
pub struct Status {
    pub basic: BasicStatus,
    pub config: Config,
    /// Empty but at the leader.
    pub progress: ProgressMap,
}
