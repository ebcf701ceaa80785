//! Orders proposals and says what must be written, sent, applied and answered: the machine around consensus.
//!
//! Stands at step 5 of the life of a Put. `raft` decides; this gives it the log's acknowledgements, the applier's reports, the peers'
//! messages and the readers' questions, and turns what it wants into effects. Never writes the log, sends or applies: these are
//! effects, and each answers with an input.

mod log;
mod machine;
mod reads;
mod status;

use std::sync::Arc;

use api::pb::raftpb;
use api::pb::walpb;
use api::{MemberId, RaftIndex, Term};
use bytes::Bytes;

pub use machine::Replicator;
pub use status::{PeerStatus, ReplicationStatus};

use crate::propose::RequestIds;

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
    /// A snapshot received from the leader, which takes the place of the whole log. [`crate::snapshot::Incoming::save`] writes it, and the
    /// rest of the batch behind it.
    pub snapshot: Option<raftpb::Snapshot>,
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
    /// Leadership moved while the proposal waited: it is in no log, and may be tried again.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
}

impl From<Refusal> for api::Status {
    fn from(refusal: Refusal) -> api::Status {
        match refusal {
            Refusal::TooManyRequests => api::Error::RequestTooManyRequests.into(),
            Refusal::Stopped => api::Error::Stopped.into(),
            Refusal::LeaderChanged => api::Error::LeaderChanged.into(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// One heartbeat interval has passed. A single voter without a leader campaigns at once.
    Tick,
    /// A message of another member.
    FromPeer(Box<raftpb::Message>),
    /// A peer can be reached for the first time since the start: the wait for an election may be cut short.
    PeerActive,
    /// A message to this member was dropped.
    PeerUnreachable(MemberId),
    /// The snapshot for this member was received by it, or was not.
    SnapshotSent(MemberId, bool),
    /// Hand leadership over to this member.
    TransferLeader(MemberId),
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
    /// Another leader is known, or none (0).
    LeaderChanged(MemberId),
    /// Delete old segments and snapshots ([`crate::snapshot::purge`]).
    Purge,
    /// Send to other members. A message that can't be sent is dropped and reported by `Input::PeerUnreachable`.
    Send(Vec<raftpb::Message>),
    /// Send the state of the applier to a member that is too far behind for the log. The message's snapshot is only a place-holder:
    /// [`crate::snapshot`] makes the real one. Its end is told by `Input::SnapshotSent`.
    SendSnapshot(raftpb::Message),
    /// The log has this received snapshot: the applier has to change over to its database (`snap/{index:016x}.snap.db`), before the entries
    /// that later effects hand over.
    InstallSnapshot(raftpb::Snapshot),
    /// The member cannot go on; the text says why and what to do. The process has to end.
    Stop(String),
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

    fn extend(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.list.extend(effects);
    }

    /// Reads at one index that follow each other become one effect.
    fn read_at(&mut self, index: RaftIndex, contexts: Vec<ReadContext>) {
        match self.list.last_mut() {
            Some(Effect::ReadAt(at, list)) if *at == index => list.extend(contexts),
            _ => self.list.push(Effect::ReadAt(index, contexts)),
        }
    }

    /// Messages that follow each other become one effect.
    fn send(&mut self, message: raftpb::Message) {
        match self.list.last_mut() {
            Some(Effect::Send(messages)) => messages.push(message),
            _ => self.list.push(Effect::Send(vec![message])),
        }
    }
}

/// What a `Replicator` starts from.
#[derive(Clone)]
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
    /// Ticks without a leader after which a follower campaigns.
    pub election_ticks: u32,
    /// Ask before campaigning (`--pre-vote`).
    pub pre_vote: bool,
    /// Entries kept in memory behind a disk snapshot for members that are slow (`--snapshot-catchup-entries`).
    pub catch_up_entries: u64,
    /// Ids of read requests, unique in the cluster.
    pub ids: Arc<RequestIds>,
    /// What the election jitter is drawn from.
    pub seed: u64,
    /// Where consensus says what it does.
    pub logger: Arc<dyn raft::Logger>,
}

/// Why a member cannot start to replicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("the log's hard state commits index {commit}, but the log ends at {last}")]
    CommitBeyondLog { commit: u64, last: u64 },
    #[error("entry {index} of the log has type {kind}, which no version of etcd proposes")]
    UnknownEntryType { index: u64, kind: i32 },
    #[error("raft: {0}")]
    Raft(String),
}
