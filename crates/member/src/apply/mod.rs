//! Gives each committed entry its effect, in log order, exactly once.
//!
//! Stands at step 8 of the life of a Put. Entries at or below the database's consistent index change nothing; every other entry moves
//! it, together with its effects, in one batch. Never decides by the clock, local configuration (but the two that etcd has), or who waits.

use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use api::pb::raftpb;
use api::{RaftIndex, Status};

use crate::alarms::Alarms;
use crate::cluster::{Cluster, Member};
use crate::lessor::Lessor;
use crate::replicate::{Committed, Proposal};
use crate::snapshot::DiskSnapshot;
use crate::stats::Progress;

/// What a request was answered. Headers hold the revision; ids and term are the server's to add.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    /// To be held back while a physical compaction runs: see [`Compaction`].
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

/// Why applying cannot go on. Always the end of the process.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("entry {index}: {problem}")]
    Entry { index: u64, problem: String },
    #[error("entry {index}: {error}")]
    Store { index: u64, error: mvcc::MvccError },
}

/// The machine. One thread owns it.
pub struct Applier {
    parts: Parts,
}

/// What an applier works on.
pub struct Parts {
    pub writer: mvcc::Writer,
    pub store: mvcc::Store,
    pub backend: backend::Backend,
    pub lessor: Lessor,
    pub cluster: Cluster,
    pub alarms: Alarms,
    pub progress: Arc<Progress>,
}

impl Applier {
    /// Applies entries in order. `now` is only used for deadlines of leases.
    ///
    /// # Errors
    /// `ApplyError`: the process has to end.
    pub fn apply(&mut self, now: Duration, committed: &[Committed], done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        let _ = (now, committed, done, &self.parts.progress);
        unimplemented!()
    }

    /// Regular work between entries, about every 500 ms: the storage version follows the cluster version.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub fn tick(&mut self, now: Duration, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        let _ = (now, done);
        unimplemented!()
    }
}
