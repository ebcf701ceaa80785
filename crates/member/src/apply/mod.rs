//! Gives each committed entry its effect, in log order, exactly once.
//!
//! Stands at step 8 of the life of a Put. Entries at or below the database's consistent index change nothing; every other entry moves
//! it, together with its effects, in one batch. Never decides by the clock, local configuration (but the two that etcd has), or who waits.

mod alarm;
mod data;
mod install;
mod membership;
mod outcome;
mod short;
mod space;

use std::sync::Arc;
use std::time::Duration;

use api::pb::raftpb;
use api::{Error, RaftIndex, Status, Term};
use prost::Message;

use crate::alarms::Alarms;
use crate::cluster::{Cluster, MemberChange, Version};
use crate::database::DatabaseFile;
use crate::lessor::LeaseWriter;
use crate::limits::VERSION_INTERVAL;
use crate::propose::RequestIds;
use crate::quota::Quota;
use crate::replicate::{Committed, EntryKind};
use crate::request::{self, Request};
use crate::snapshot::DiskSnapshot;
use crate::stats::Progress;

pub use outcome::{Answer, ApplyError, ApplyOutcome, Compaction, Observer, Response};
pub use short::is_short;
use space::Space;

/// What an applier works on and is told at its start.
pub struct Parts {
    pub writer: mvcc::Writer,
    pub backend: backend::Backend,
    /// Where the database of a snapshot from the leader takes the place of this one.
    pub file: DatabaseFile,
    pub leases: LeaseWriter,
    pub cluster: Cluster,
    pub alarms: Alarms,
    pub quota: Quota,
    pub ids: Arc<RequestIds>,
    pub progress: Arc<Progress>,
    /// The last entry whose effects the database holds.
    pub consistent_index: RaftIndex,
    /// The entry before the first that will be handed over: the last disk snapshot's.
    pub snapshot: (RaftIndex, Term),
    /// Disk snapshots are made when more than this many entries were applied since the last.
    pub snapshot_count: u64,
    pub max_learners: usize,
    /// Gate `LeaseCheckpointPersist`.
    pub lease_checkpoint_persist: bool,
    /// When an own proposal that was not applied is made again: the request timeout.
    pub retry: Duration,
    /// The time now: the first look at the storage version is due.
    pub started: Duration,
}

/// The machine. One thread owns it.
pub struct Applier {
    parts: Parts,
    /// The last entry handed over.
    last: (RaftIndex, Term),
    /// The index of the newest disk snapshot, made or asked for.
    snapshot_at: RaftIndex,
    /// A disk snapshot is wanted whatever the count says.
    snapshot_forced: bool,
    space: Space,
    /// When to look at the storage version next.
    version_look: Duration,
    /// The newest entry that a lower storage version could not hold.
    newest_of_3_6: RaftIndex,
    observer: Option<Box<dyn Observer>>,
}

impl Applier {
    pub fn new(parts: Parts) -> Applier {
        let (index, term) = parts.snapshot;
        parts.progress.set_applied(index, term);
        Applier {
            last: parts.snapshot,
            snapshot_at: index,
            snapshot_forced: false,
            space: Space::default(),
            version_look: parts.started,
            newest_of_3_6: RaftIndex(0),
            observer: None,
            parts,
        }
    }

    /// Has somebody told of what is applied.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Applies entries in order. `now` is only used for deadlines of leases.
    ///
    /// # Errors
    /// `ApplyError`: the process has to end.
    pub fn apply(&mut self, now: Duration, committed: &[Committed], done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        if let Some(observer) = &mut self.observer {
            observer.begin();
        }
        for entry in committed {
            assert_eq!(entry.index.0, self.last.0.0 + 1, "entries are applied without a gap");
            assert!(entry.term >= self.last.1, "terms never go down");
            if entry.index > self.parts.consistent_index {
                self.apply_new(now, entry, done)?;
                self.parts.writer.finish(entry.index, entry.term);
                self.parts.consistent_index = entry.index;
            }
            self.last = (entry.index, entry.term);
            done.applied = entry.index;
            // Readers have to find the effects before they learn of the index, and the index before the answer is given.
            self.parts.progress.set_applied(entry.index, entry.term);
        }
        if self.version_look.is_zero() {
            self.look_at_version(now)?;
        }
        self.snapshot_if_due(done);
        Ok(())
    }

    fn look_at_version(&mut self, now: Duration) -> Result<(), ApplyError> {
        self.version_look = now + VERSION_INTERVAL;
        self.follow_cluster_version()
    }

    fn apply_new(&mut self, now: Duration, entry: &Committed, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        match entry.kind {
            // A leader's own entry, or a membership change that the leader had to drop.
            EntryKind::Normal if entry.data.is_empty() => Ok(()),
            EntryKind::Normal => self.apply_request(now, entry, done),
            EntryKind::ConfChange => self.apply_conf_change(entry, done),
        }
    }

    fn apply_request(&mut self, now: Duration, entry: &Committed, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        let decoded = request::decode(entry.data.clone()).map_err(|error| ApplyError::Entry {
            index: entry.index.0,
            problem: error.to_string(),
        })?;
        let (id, op) = (decoded.id, decoded.request.op());
        let outcome = self.execute(now, entry, id, decoded.request, done)?;
        if let Some(observer) = &mut self.observer {
            observer.applied(op, &outcome.result);
        }
        let waiter = outcome.waiter;
        match self.space.after(outcome, &self.parts, now, done) {
            Some(result) if self.parts.ids.is_own(waiter) => done.answers.push(Answer { id: waiter, result }),
            // Nobody waits here; or it is answered once the alarm that it causes is raised.
            Some(_) | None => {}
        }
        if let Some(held) = self.space.release(id) {
            done.answers.extend(held);
        }
        Ok(())
    }

    /// One request. The outer error ends the process, the inner one is the client's.
    fn execute(
        &mut self,
        now: Duration,
        entry: &Committed,
        id: u64,
        request: Request,
        done: &mut ApplyOutcome,
    ) -> Result<Outcome, ApplyError> {
        if let Some(error) = self.closed_by_alarm(&request) {
            return Ok(Outcome::of(id, Err(error.into())));
        }
        // Measured before the request is executed, as Go does.
        let fits = self.fits_quota(&request);
        let result = match request {
            Request::Put(put) => self.put(entry, &put)?.map(Response::Put),
            Request::DeleteRange(delete) => self.delete_range(entry, &delete)?.map(Response::DeleteRange),
            Request::Txn(txn) => self.txn(entry, &txn)?.map(Response::Txn),
            Request::Compaction(compaction) => return self.compact(entry, id, &compaction, done),
            Request::LeaseGrant(grant) => self.lease_grant(now, &grant).map(Response::LeaseGrant),
            Request::LeaseRevoke(revoke) => self.lease_revoke(entry, &revoke)?.map(Response::LeaseRevoke),
            Request::LeaseCheckpoint(checkpoint) => Ok(self.lease_checkpoint(now, &checkpoint)),
            Request::Alarm(alarm) => self.alarm(&alarm).map(Response::Alarm),
            Request::ClusterVersionSet(set) => Ok(self.set_cluster_version(entry, &set)?),
            Request::ClusterMemberAttrSet(set) => Ok(self.set_attributes(entry, id, set)?),
            Request::DowngradeInfoSet(set) => Ok(self.set_downgrade(&set)),
            Request::DowngradeVersionTest => {
                self.newest_of_3_6 = entry.index;
                Ok(Response::Done)
            }
            Request::Auth(field) => Err(auth_refused(field)),
            // Reads through the log are of old versions, and change nothing.
            Request::Range(_) | Request::Nothing => Ok(Response::Done),
        };
        Ok(Outcome { waiter: id, result, fits })
    }

    fn apply_conf_change(&mut self, entry: &Committed, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        let fail = |problem| ApplyError::Entry {
            index: entry.index.0,
            problem,
        };
        let change = raftpb::ConfChange::decode(entry.data.clone()).map_err(|e| fail(format!("membership change: {e}")))?;
        let id = change.id.unwrap_or(0);
        let wanted = MemberChange::read(&change).map_err(fail)?;
        let result = self.change_membership(&wanted, done);
        // The first members of a cluster are added by entries with id 0, for which nobody waits.
        if id != 0 && self.parts.ids.is_own(id) {
            done.answers.push(Answer { id, result });
        }
        Ok(())
    }

    /// Asks for a disk snapshot when enough was applied since the last, or when a lower cluster version wants one.
    fn snapshot_if_due(&mut self, done: &mut ApplyOutcome) {
        let (index, term) = self.last;
        let due = index.0 - self.snapshot_at.0 > self.parts.snapshot_count || self.snapshot_forced;
        if !due || index <= self.snapshot_at || index > self.parts.consistent_index {
            return;
        }
        self.snapshot_at = index;
        self.snapshot_forced = false;
        done.snapshot = Some(self.parts.cluster.read(|state| DiskSnapshot::of(state, index, term)));
    }

    /// Regular work between entries, about every 500 ms: the storage version follows the cluster version, and an alarm that did not come
    /// through is asked for again.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub fn tick(&mut self, now: Duration, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        if now >= self.version_look {
            self.look_at_version(now)?;
        }
        self.space.retry(&self.parts, now, done);
        self.snapshot_if_due(done);
        Ok(())
    }

    /// Asks for a disk snapshot at the newest applied entry (for tests and tools).
    pub fn force_snapshot(&mut self) {
        self.snapshot_forced = true;
    }

    /// The last entry applied, with its term.
    pub fn applied(&self) -> (RaftIndex, Term) {
        self.last
    }

    /// The writing half of the store, for the end of a compaction that the last life left behind and the like.
    pub fn writer(&mut self) -> &mut mvcc::Writer {
        &mut self.parts.writer
    }

    fn store_error(entry: &Committed, error: mvcc::MvccError) -> Result<Status, ApplyError> {
        match error.api() {
            Some(answer) => Ok(answer.into()),
            None => Err(ApplyError::Store {
                index: entry.index.0,
                error,
            }),
        }
    }

    fn cluster_version(&self) -> Option<Version> {
        self.parts.cluster.version()
    }
}

/// What executing a request gave.
struct Outcome {
    /// The request's id; 0 if the answer is given elsewhere.
    waiter: u64,
    result: Result<Response, Status>,
    /// Whether the database had room for it.
    fits: bool,
}

impl Outcome {
    fn of(waiter: u64, result: Result<Response, Status>) -> Outcome {
        Outcome {
            waiter,
            result,
            fits: true,
        }
    }
}

fn auth_refused(field: u32) -> Status {
    Status::new(
        api::Code::Unimplemented,
        format!("etcdserver: authentication is not part of this version yet (request {field})"),
    )
}

impl From<crate::lessor::LeaseError> for Status {
    fn from(error: crate::lessor::LeaseError) -> Status {
        use crate::lessor::LeaseError;
        match error {
            LeaseError::NotFound | LeaseError::Expired => Error::LeaseNotFound.into(),
            LeaseError::Exists => Error::LeaseExist.into(),
            LeaseError::TtlTooLarge => Error::LeaseTTLTooLarge.into(),
            LeaseError::NotPrimary => Status::new(api::Code::Unknown, error.to_string()),
        }
    }
}
