//! Orders proposals and says what must be written, applied and answered: the machine around consensus.
//!
//! Stands at step 5 of the life of a Put. This version serves a membership of one voter, which agrees with itself: what its log has
//! synced is committed. The inputs and effects have the shape that consensus among several needs. Never writes the log and never
//! applies: both are effects, and both answer with an input.

mod solo;

use api::pb::raftpb;
use api::pb::walpb;
use api::{MemberId, RaftIndex, Term};
use bytes::Bytes;

pub use solo::Replicator;

/// The id of a request: in its entry's header, and under which its waiter is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// One waiting linearizable read, or a batch of them under one number; the shell knows what it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadContext(pub u64);

/// What an entry is to the log and to consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A request, or a leader's empty entry.
    Normal,
    /// A change of the membership.
    ConfChange,
}

/// Bytes to be put in order, as they will stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub id: ProposalId,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// A committed entry on its way to the applier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub index: RaftIndex,
    pub term: Term,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// What the log has to write. Batches are written in the order in which they were handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct LogBatch {
    pub entries: Vec<raftpb::Entry>,
    pub hard_state: Option<raftpb::HardState>,
    /// Whether the batch has to be synced and acknowledged. A change of the commit index alone needs neither.
    pub must_sync: bool,
    /// What to report in `Input::LogSynced` once this batch, and so all before it, is durable. Acknowledging only the last of
    /// several batches that one sync covered is enough.
    pub ack: LogAck,
}

/// Says up to which batch the log is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogAck(pub u64);

/// Why a proposal was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`crate::limits::MAX_UNAPPLIED`] entries wait to be applied.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The member is stopping.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// A second member would need consensus with it.
    #[error("etcdserver: several members come with consensus, this version serves a cluster of one")]
    SeveralMembers,
}

impl From<Refusal> for api::Status {
    fn from(refusal: Refusal) -> api::Status {
        match refusal {
            Refusal::TooManyRequests => api::Error::RequestTooManyRequests.into(),
            Refusal::Stopped => api::Error::Stopped.into(),
            Refusal::SeveralMembers => api::Status::new(api::Code::Unimplemented, refusal.to_string()),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// One heartbeat interval has passed. The first one makes a single voter campaign.
    Tick,
    /// New proposals, in order.
    Propose(Vec<Proposal>),
    /// The log is durable up to here.
    LogSynced(LogAck),
    /// The applier is done up to this index; the membership changes that took effect since its last report.
    Applied(RaftIndex, Vec<raftpb::ConfChangeV2>),
    /// A linearizable read asks for its index.
    Read(ReadContext),
    /// A disk snapshot was written (database committed, `.snap` in place): the log has to record it.
    SnapshotSaved(walpb::Snapshot),
    /// The process is about to end: new proposals are refused.
    Leave,
}

/// What must be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write to the log.
    Append(LogBatch),
    /// Record a disk snapshot in the log (after the batches before it, always synced), then let go of older segments.
    RecordSnapshot(walpb::Snapshot),
    /// Hand over to the applier, in order.
    Apply(Vec<Committed>),
    /// These reads may be answered once this index is applied.
    ReadAt(RaftIndex, Vec<ReadContext>),
    /// Answer this proposal with an error.
    Refuse(ProposalId, Refusal),
    /// This member has become the leader of this term (its empty entry is committed).
    BecameLeader(Term),
    /// Delete old segments and snapshots ([`crate::snapshot::purge`]).
    Purge,
}

/// The effects of one or more steps, in the order in which they are to be carried out.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effects {
    pub fn new() -> Effects {
        Effects::default()
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Takes all effects; the buffer keeps its space.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.list.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn last_mut(&mut self) -> Option<&mut Effect> {
        self.list.last_mut()
    }
}

/// What a `Replicator` starts from.
#[derive(Clone, Debug)]
pub struct Start {
    pub member: MemberId,
    /// The hard state found in the log.
    pub hard_state: raftpb::HardState,
    /// The entries found in the log behind `applied_to`, oldest first, without a gap.
    pub entries: Vec<raftpb::Entry>,
    /// Index and term before the first of `entries`: the disk snapshot, or 0.
    pub snapshot: (RaftIndex, Term),
    pub conf_state: raftpb::ConfState,
    /// How long a tick is.
    pub tick: std::time::Duration,
}

/// Why a member cannot start to replicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("the membership has {0} members: several members come with consensus, this version serves a cluster of one")]
    SeveralVoters(usize),
    #[error("this member ({0}) is not a voter of its cluster")]
    NotAVoter(MemberId),
    #[error("the log's hard state commits index {commit}, but the log ends at {last}")]
    CommitBeyondLog { commit: u64, last: u64 },
    #[error("entry {index} of the log has type {kind}, which no version of etcd proposes")]
    UnknownEntryType { index: u64, kind: i32 },
}
