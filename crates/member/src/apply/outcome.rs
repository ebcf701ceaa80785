//! What applying gives back to the shell.

use api::pb::etcdserverpb as pb;
use api::pb::raftpb;
use api::{RaftIndex, Status};

use crate::cluster::Member;
use crate::replicate::Proposal;
use crate::request::Op;
use crate::snapshot::DiskSnapshot;

/// What a request was answered. Headers hold the revision; ids and term are the server's to add.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compaction(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    Alarm(pb::AlarmResponse),
    /// The membership after a change of it.
    Members(Vec<Member>),
    /// Requests of the members among themselves: nothing to tell.
    Done,
}

/// An answer for the waiter of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: u64,
    pub result: Result<Response, Status>,
}

/// A compaction whose deletes are to be carried out, slice by slice, behind the apply; jobs one after another.
pub struct Compaction {
    pub job: mvcc::CompactJob,
    /// The answer of a physical compaction: to be given when the job is done. (The others were answered at once.)
    pub answer_when_done: Option<Answer>,
}

/// What applying brought about. The shell empties it after each call; the buffers are used again.
#[derive(Default)]
pub struct ApplyOutcome {
    pub answers: Vec<Answer>,
    /// For `Input::Applied`.
    pub applied: RaftIndex,
    pub conf_changes: Vec<raftpb::ConfChangeV2>,
    /// Own proposals that follow from what was applied (the `NOSPACE` alarm).
    pub proposals: Vec<Proposal>,
    pub compactions: Vec<Compaction>,
    /// A disk snapshot is due.
    pub snapshot: Option<DiskSnapshot>,
    /// This member was removed: the process stops about a second later.
    pub removed_self: bool,
}

/// Is told of requests as they are applied, for metrics and the log. Decides nothing.
pub trait Observer: Send {
    /// Entries are about to be applied.
    fn begin(&mut self);

    /// The next request of them was applied, with this result.
    fn applied(&mut self, op: Op, result: &Result<Response, Status>);
}

/// Why applying cannot go on. Always the end of the process.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("entry {index}: {problem}")]
    Entry { index: u64, problem: String },
    #[error("entry {index}: {error}")]
    Store { index: u64, error: mvcc::MvccError },
    #[error("snapshot of index {index}: {error}")]
    Snapshot { index: u64, error: crate::snapshot::ReceiveError },
}
