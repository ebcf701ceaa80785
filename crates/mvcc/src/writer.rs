//! Changes, in the order of the log.
//!
//! Between two calls of [`Writer::finish`] everything belongs to one log entry: its revisions are in the index already, where
//! no reader looks for them yet, and its pairs in a batch. `finish` hands the batch over and only then shows the new revision.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::response_op::Response;
use api::pb::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse};
use api::pb::mvccpb::KeyValue;
use api::{LeaseId, RaftIndex, Revision, Term};
use backend::{Backend, Batch, Bucket, ReadView, RevisionKey, schema};
use bytes::Bytes;
use world::fail;

use crate::MvccError;
use crate::compact::CompactJob;
use crate::index::{KeyRange, Until};
use crate::kv::{self, Kv};
use crate::range::Reader;
use crate::restore::{self, Restored};
use crate::store::{Core, Store};
use crate::txn::{self, Path, header, response};
use crate::watch::{Event, EventKind, Previous, TxnEvents};

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

/// No leases at all, for stores that are only read or tested without a lessor.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLeases;

impl LeaseSink for NoLeases {
    fn exists(&self, _: LeaseId) -> bool {
        false
    }
    fn lease_of(&self, _: &[u8]) -> Option<LeaseId> {
        None
    }
    fn attach(&mut self, _: LeaseId, _: &Bytes) {}
    fn detach(&mut self, _: LeaseId, _: &[u8]) {}
}

/// The one who changes the store: owned by apply.
pub struct Writer {
    store: Store,
    core: Arc<Core>,
    /// The newest revision, with what the current entry has changed.
    revision: i64,
    /// Changes of the transaction under way: the next sub revision.
    changes: i64,
    batch: Batch,
    /// Taken for the first value that the current entry reads.
    view: Option<ReadView>,
    events: Vec<TxnEvents>,
    /// A compaction of the current entry, to be shown to readers when it ends.
    compact_to: Option<i64>,
    /// The newest compaction asked for and the newest one finished, as bucket `meta` has them.
    scheduled: Option<i64>,
    resume: Option<CompactJob>,
}

impl Writer {
    pub(crate) fn new(store: Store, restored: Restored) -> Writer {
        let mut writer = Writer {
            revision: restored.core.revision(),
            core: restored.core.clone(),
            store,
            changes: 0,
            batch: Batch::new(),
            view: None,
            events: Vec::new(),
            compact_to: None,
            scheduled: restored.scheduled,
            resume: None,
        };
        writer.resume = restored
            .unfinished
            .map(|unfinished| CompactJob::new(&writer.store, writer.core.clone(), unfinished.to, unfinished.previous, false));
        writer
    }

    /// Applies a Put (checked by [`crate::check::put`]). On an error nothing has changed. In all answers here the header has its `revision` alone.
    pub fn put(&mut self, request: &PutRequest, leases: &mut dyn LeaseSink) -> Result<PutResponse, MvccError> {
        if request.lease != 0 && !leases.exists(LeaseId(request.lease)) {
            return Err(MvccError::LeaseNotFound);
        }
        let response = self.put_one(request, leases)?;
        self.end_txn();
        Ok(response)
    }

    /// Applies a DeleteRange.
    pub fn delete_range(&mut self, request: &DeleteRangeRequest, leases: &mut dyn LeaseSink) -> Result<DeleteRangeResponse, MvccError> {
        let response = self.delete(request, leases)?;
        self.end_txn();
        Ok(response)
    }

    /// Applies a Txn (checked by [`crate::check::txn`]). On an error nothing has changed.
    pub fn txn(&mut self, request: &TxnRequest, leases: &mut dyn LeaseSink) -> Result<TxnResponse, MvccError> {
        let reader = self.reader()?;
        let path = txn::path(&reader, request)?;
        txn::check(&reader, request, &path, leases)?;
        let mut answer = self.execute(request, &path, leases)?;
        answer.header = Some(header(self.seen()));
        self.end_txn();
        Ok(answer)
    }

    /// Deletes these keys, sorted bytewise, in one transaction: the revocation of a lease. The lessor forgets them by itself. Gives the number deleted.
    pub fn delete_keys(&mut self, keys: &[Bytes]) -> Result<i64, MvccError> {
        assert!(keys.is_sorted(), "keys of a lease in order");
        let mut deleted = 0;
        for key in keys {
            if self.core.index.get(key, self.seen()).is_some() {
                self.tombstone(key)?;
                deleted += 1;
            }
        }
        self.end_txn();
        Ok(deleted)
    }

    /// Applies a Compaction: from [`Writer::finish`] on, readers below `revision` are refused. The job, to be stepped only after
    /// that, deletes what nobody can see any more.
    pub fn compact(&mut self, revision: i64) -> Result<CompactJob, MvccError> {
        let compacted = self.compact_to.unwrap_or_else(|| self.core.compacted());
        if revision <= compacted {
            return Err(MvccError::Compacted);
        }
        if revision > self.revision {
            return Err(MvccError::FutureRevision);
        }
        // A hash over what an unfinished compaction left would differ from member to member.
        let complete = self.scheduled == self.core.finished();
        fail::point("compactBeforeCommitScheduledCompact");
        let key = Revision::new(revision, 0).to_key();
        self.batch.put(Bucket::Meta, schema::SCHEDULED_COMPACT, key.to_vec());
        self.scheduled = Some(revision);
        self.compact_to = Some(revision);
        Ok(CompactJob::new(&self.store, self.core.clone(), revision, compacted, complete))
    }

    /// A compaction that an earlier run did not finish, to be stepped like any other and before any other.
    pub fn resume_compaction(&mut self) -> Option<CompactJob> {
        self.resume.take()
    }

    /// The batch of the current entry, for changes in other buckets (leases, auth, alarms, members).
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// The store this writes to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The newest revision, with what the current entry has changed.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Ends the entry: hands its batch with its consistent index to the backend, shows the new revision to readers, and
    /// appends its events to the watch log. Called for every entry, also for one that changed nothing.
    pub fn finish(&mut self, index: RaftIndex, term: Term) {
        assert!(self.changes == 0, "an entry ends between transactions");
        self.batch.set_consistent_index(index, term);
        self.view = None;
        self.core.backend.append(std::mem::take(&mut self.batch));
        // Only now, when every view shows its pairs.
        self.core.revision.store(self.revision, Ordering::Release);
        if let Some(revision) = self.compact_to.take() {
            fail::point("compactAfterCommitScheduledCompact");
            self.core.compacted.store(revision, Ordering::Release);
            self.store.inner.hub.compacted(revision);
        }
        for txn in self.events.drain(..) {
            self.store.inner.hub.append(txn);
        }
    }

    /// Replaces the whole content by that of another database (a snapshot from the leader). Every [`Store`] handle follows.
    /// A compaction that the snapshot left unfinished comes out of [`Writer::resume_compaction`].
    pub fn restore(&mut self, backend: Backend, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<(), MvccError> {
        assert!(self.batch.is_empty() && self.changes == 0, "restored in the middle of an entry");
        let restored = restore::restore(backend, attach)?;
        let core = restored.core.clone();
        let store = self.store.clone();
        *self = Writer::new(store, restored);
        self.store.inner.core.store(core.clone());
        self.store.inner.hub.restored(core.revision(), core.compacted());
        Ok(())
    }

    /// The revision that the transaction under way reads at: its own as soon as it has changed something.
    fn seen(&self) -> i64 {
        self.revision + i64::from(self.changes > 0)
    }

    fn end_txn(&mut self) {
        self.revision = self.seen();
        self.changes = 0;
    }

    fn reader(&mut self) -> Result<Reader<'_>, MvccError> {
        let current = self.seen();
        let view = self.view.get_or_insert_with(|| self.core.backend.view());
        Ok(Reader {
            index: &self.core.index,
            keys: view.keys()?,
            own: Some(&self.batch),
            current,
            compacted: self.compact_to.unwrap_or_else(|| self.core.compacted()),
        })
    }

    fn execute(&mut self, request: &TxnRequest, path: &Path, leases: &mut dyn LeaseSink) -> Result<TxnResponse, MvccError> {
        let mut responses = Vec::with_capacity(path.ops(request).len());
        for (op, nested) in path.walk(request) {
            responses.push(response(match op {
                Request::RequestRange(r) => Response::ResponseRange(self.reader()?.range(r)?.into_message()?),
                Request::RequestPut(r) => Response::ResponsePut(self.put_one(r, leases)?),
                Request::RequestDeleteRange(r) => Response::ResponseDeleteRange(self.delete(r, leases)?),
                Request::RequestTxn(r) => {
                    let nested = nested.expect("a nested transaction has its path");
                    Response::ResponseTxn(self.execute(r, nested, leases)?)
                }
            }));
        }
        Ok(TxnResponse {
            // Of a nested one it stays empty, as in Go.
            header: Some(header(0)),
            succeeded: path.succeeded,
            responses,
        })
    }

    fn put_one(&mut self, request: &PutRequest, leases: &mut dyn LeaseSink) -> Result<PutResponse, MvccError> {
        let mut previous = None;
        if request.prev_kv || request.ignore_value || request.ignore_lease {
            previous = self.reader()?.get(&request.key)?;
            if previous.is_none() && (request.ignore_value || request.ignore_lease) {
                return Err(MvccError::KeyNotFound);
            }
        }
        let before = previous.as_ref().map(|stored| Kv::parse(stored)).transpose()?;
        let (mut value, mut lease) = (&request.value[..], request.lease);
        if let Some(before) = &before {
            value = if request.ignore_value { before.value } else { value };
            lease = if request.ignore_lease { before.lease } else { lease };
        }
        self.enter(&request.key, value, LeaseId(lease), leases);
        let prev_kv = match previous.filter(|_| request.prev_kv) {
            Some(stored) => Some(kv::message(&stored)?),
            None => None,
        };
        Ok(PutResponse {
            header: Some(header(self.seen())),
            prev_kv,
        })
    }

    /// Gives a new pair its revision and enters it everywhere.
    fn enter(&mut self, key: &[u8], value: &[u8], lease: LeaseId, leases: &mut dyn LeaseSink) {
        let revision = self.next_revision();
        self.core.put_bytes.fetch_add((key.len() + value.len()) as u64, Ordering::Relaxed);
        let entered = self.core.index.put(key, revision);
        let stored = Kv {
            key,
            create_revision: entered.created,
            mod_revision: revision.main,
            version: entered.version,
            value,
            lease: lease.0,
        }
        .encode();
        // Batch and event share this one allocation.
        let key = kv::key_of(&stored).expect("encoded a moment ago");
        self.batch.put_revision(RevisionKey::put(revision), stored.clone());
        let previous = match entered.previous {
            Some(_) => Previous::Lookup,
            None => Previous::None,
        };
        let old_lease = entered.previous.and_then(|_| leases.lease_of(&key));
        if let Some(old) = old_lease {
            leases.detach(old, &key);
        }
        if lease != LeaseId(0) {
            // A copy: the lessor keeps the key for as long as it is attached, and must not keep the value with it.
            leases.attach(lease, &Bytes::copy_from_slice(&key));
        }
        self.event(EventKind::Put, key, stored, previous);
    }

    fn delete(&mut self, request: &DeleteRangeRequest, leases: &mut dyn LeaseSink) -> Result<DeleteRangeResponse, MvccError> {
        let range = KeyRange::of(&request.key, &request.range_end);
        let mut found: Vec<(Bytes, Revision)> = Vec::new();
        let seen = self.seen();
        if range.until == Until::Single {
            let at = self.core.index.get(range.from, seen);
            found.extend(at.map(|at| (request.key.clone(), at.modified)));
        } else {
            self.core.index.range(range, seen, 0, &mut |key, at| {
                found.push((Bytes::copy_from_slice(key), at.modified));
                ControlFlow::Continue(())
            });
        }
        let mut prev_kvs: Vec<KeyValue> = Vec::new();
        if request.prev_kv {
            let reader = self.reader()?;
            for (_, at) in &found {
                prev_kvs.push(kv::message(&reader.value(*at)?.to_bytes())?);
            }
        }
        for (key, _) in &found {
            self.tombstone(key)?;
            if let Some(lease) = leases.lease_of(key) {
                leases.detach(lease, key);
            }
        }
        Ok(DeleteRangeResponse {
            header: Some(header(self.seen())),
            deleted: found.len() as i64,
            prev_kvs,
        })
    }

    fn tombstone(&mut self, key: &[u8]) -> Result<(), MvccError> {
        let revision = self.next_revision();
        // The caller has just seen it alive.
        let gone = self.core.index.tombstone(key, revision);
        assert!(gone.is_ok(), "deletes a key that does not exist");
        let stored = Kv { key, ..Kv::default() }.encode();
        let key = kv::key_of(&stored)?;
        self.batch.put_revision(RevisionKey::tombstone(revision), stored.clone());
        self.event(EventKind::Delete, key, stored, Previous::Lookup);
        Ok(())
    }

    /// The next revision of the transaction under way.
    fn next_revision(&mut self) -> Revision {
        let revision = Revision::new(self.revision + 1, self.changes);
        self.changes += 1;
        revision
    }

    fn event(&mut self, kind: EventKind, key: Bytes, kv: Bytes, previous: Previous) {
        let revision = self.revision + 1;
        let event = Event { kind, key, kv, previous };
        match self.events.last_mut() {
            Some(txn) if txn.revision == revision => txn.events.push(event),
            _ => self.events.push(TxnEvents {
                revision,
                events: vec![event],
            }),
        }
    }
}
