//! Changes, in the order of the log.

#![allow(clippy::unimplemented)]

use api::pb::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse};
use api::{LeaseId, RaftIndex, Term};
use backend::{Backend, Batch};
use bytes::Bytes;

use crate::{HashKv, MvccError};

/// What the writer needs of the lessor.
pub trait LeaseSink {
    /// Whether the lease exists.
    fn exists(&self, lease: LeaseId) -> bool;
    /// The lease a key is attached to.
    fn lease_of(&self, key: &[u8]) -> Option<LeaseId>;
    /// Attaches a key to an existing lease.
    fn attach(&mut self, lease: LeaseId, key: &Bytes);
    /// Takes a key off a lease.
    fn detach(&mut self, lease: LeaseId, key: &[u8]);
}

/// The one who changes the store: owned by apply. Between two [`Writer::finish`] everything belongs to one log entry.
pub struct Writer {}

impl Writer {
    /// Applies a Put. On an error nothing has changed. (Header: `revision` only, as in all answers here.)
    pub fn put(&mut self, request: &PutRequest, leases: &mut dyn LeaseSink) -> Result<PutResponse, MvccError> {
        let _ = (request, leases);
        unimplemented!()
    }
    /// Applies a DeleteRange.
    pub fn delete_range(&mut self, request: &DeleteRangeRequest, leases: &mut dyn LeaseSink) -> Result<DeleteRangeResponse, MvccError> {
        let _ = (request, leases);
        unimplemented!()
    }
    /// Applies a Txn. On an error nothing has changed.
    pub fn txn(&mut self, request: &TxnRequest, leases: &mut dyn LeaseSink) -> Result<TxnResponse, MvccError> {
        let _ = (request, leases);
        unimplemented!()
    }
    /// Deletes these keys (sorted) in one transaction: the revocation of a lease. The keys are not detached. Gives the number deleted.
    pub fn delete_keys(&mut self, keys: &[Bytes]) -> Result<i64, MvccError> {
        let _ = keys;
        unimplemented!()
    }
    /// Applies a Compaction: readers below `revision` are refused from [`Writer::finish`] on; the job deletes what nobody can see any more.
    pub fn compact(&mut self, revision: i64) -> Result<CompactJob, MvccError> {
        let _ = revision;
        unimplemented!()
    }
    /// A compaction that the last run did not finish, to be stepped like any other.
    pub fn resume_compaction(&mut self) -> Option<CompactJob> {
        unimplemented!()
    }
    /// The batch of the current entry, for changes in other buckets (leases, auth, alarms, members).
    pub fn batch(&mut self) -> &mut Batch {
        unimplemented!()
    }
    /// The revision that readers see, without what the current entry has changed.
    pub fn revision(&self) -> i64 {
        unimplemented!()
    }
    /// Ends the entry: hands its batch with its consistent index to the backend, shows the new revision to readers, and
    /// appends its events to the watch log. Called for every entry, also for one that changed nothing.
    pub fn finish(&mut self, index: RaftIndex, term: Term) {
        let _ = (index, term);
        unimplemented!()
    }
    /// Replaces the whole content by that of another database (a snapshot from the leader). Every [`crate::Store`] handle follows.
    pub fn restore(&mut self, backend: Backend, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<(), MvccError> {
        let _ = (backend, attach);
        unimplemented!()
    }
}

/// What a step of a compaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again, after a pause (`--compaction-sleep-interval`, 10 ms).
    More,
    /// Finished; the hash is remembered if the compaction before it was complete.
    Done(HashKv),
}

/// The physical part of a compaction. May be stepped on any thread; jobs one after another, in the order they were made.
pub struct CompactJob {}

impl CompactJob {
    /// Looks at the next slice of revisions and hands the deletes of those that nobody can see to the backend.
    pub fn step(&mut self) -> Result<Step, MvccError> {
        unimplemented!()
    }
    /// The revision it compacts to.
    pub fn revision(&self) -> i64 {
        unimplemented!()
    }
}
