//! The store as readers see it, on any thread and without waiting for the writer.
//!
//! A read takes the newest revision, then a view of the database (which so holds at least that revision), then asks the index, and last
//! makes sure that no compaction has passed its revision meanwhile: only then nothing it found can be gone, and nothing it
//! did not find was there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse};
use api::{LeaseId, Revision};
use arc_swap::ArcSwap;
use backend::{Backend, Bucket, RevisionKey};
use bytes::Bytes;

use crate::hash::Hashes;
use crate::index::KeyIndex;
use crate::range::Reader;
use crate::stream::RangeStream;
use crate::watch::{History, HistoryError, WatchHub};
use crate::{HashKv, MvccError, RangeAnswer, Writer, kv, restore, txn};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Revisions a compaction looks at in one slice (`--compaction-batch-limit`).
    pub compaction_batch: usize,
    /// `--max-request-bytes`: what watch answers and range streams are cut by.
    pub max_request_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            compaction_batch: 1000,
            max_request_bytes: api::limits::MAX_REQUEST_BYTES as usize,
        }
    }
}

/// The key-value store; cheap to clone, usable on any thread.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Replaced when the leader sends a snapshot.
    pub core: ArcSwap<Core>,
    pub hub: Arc<WatchHub>,
    pub options: StoreOptions,
}

/// No compaction has finished.
pub(crate) const NEVER: i64 = i64::MIN;

/// One database and what is kept in memory about it.
pub(crate) struct Core {
    pub backend: Backend,
    pub index: KeyIndex,
    /// The newest revision that may be read.
    pub revision: AtomicI64,
    /// The newest compaction; -1 before any.
    pub compacted: AtomicI64,
    /// The newest compaction whose deletes are all handed over; `NEVER` before any.
    pub finished: AtomicI64,
    /// Bytes of all keys and values put since the start.
    pub put_bytes: AtomicU64,
    pub hashes: Hashes,
}

impl Core {
    pub fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Acquire)
    }

    pub fn finished(&self) -> Option<i64> {
        Some(self.finished.load(Ordering::Acquire)).filter(|revision| *revision != NEVER)
    }

    pub fn set_finished(&self, revision: i64) {
        self.finished.store(revision, Ordering::Release);
    }

    /// Runs a read at one moment, and again if a compaction overtook it. `oldest` is the oldest revision that the read is about (0: the newest).
    pub fn read<T>(&self, oldest: i64, mut read: impl FnMut(&Reader<'_>) -> Result<T, MvccError>) -> Result<T, MvccError> {
        loop {
            let current = self.revision();
            let compacted = self.compacted();
            if compacted > current {
                // Written and compacted between the two lines above.
                continue;
            }
            let view = self.backend.view();
            let reader = Reader {
                index: &self.index,
                keys: view.keys()?,
                own: None,
                current,
                compacted,
            };
            let result = read(&reader);
            let at = if oldest <= 0 { current } else { oldest };
            let overtaken = self.compacted();
            // Overtaken, what was found may have holes. The next round tells: an old revision is gone, the newest is a newer one now.
            if overtaken == compacted || overtaken <= at {
                return result;
            }
        }
    }
}

impl Store {
    /// Builds the index from the database. `attach` hears of every live key that has a lease.
    pub fn open(backend: Backend, options: StoreOptions, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<(Store, Writer), MvccError> {
        let restored = restore::restore(backend, attach)?;
        let hub = WatchHub::new(restored.core.revision(), restored.core.compacted(), options.max_request_bytes);
        let inner = Arc::new(Inner {
            core: ArcSwap::new(restored.core.clone()),
            hub,
            options,
        });
        let store = Store { inner };
        let writer = Writer::new(store.clone(), restored);
        Ok((store, writer))
    }

    /// The newest revision whose effects can be read.
    pub fn revision(&self) -> i64 {
        self.inner.core.load().revision()
    }

    /// The revision of the newest compaction; -1 before any.
    pub fn compact_revision(&self) -> i64 {
        self.inner.core.load().compacted()
    }

    /// Bytes of all keys and values put since the start.
    pub fn put_bytes(&self) -> u64 {
        self.inner.core.load().put_bytes.load(Ordering::Relaxed)
    }

    /// Keys in the index, deleted ones that are still remembered included (`etcd_debugging_mvcc_keys_total` counts so).
    pub fn keys(&self) -> usize {
        self.inner.core.load().index.len()
    }

    /// The database below, which stays what it is: after a snapshot was installed, ask again.
    pub fn backend(&self) -> Backend {
        self.inner.core.load().backend.clone()
    }

    /// The watch streams of this store.
    pub fn watch_hub(&self) -> &Arc<WatchHub> {
        &self.inner.hub
    }

    /// Answers a Range (checked by [`crate::check::range`]) at one moment. `serializable` is for the caller.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeAnswer, MvccError> {
        let core = self.inner.core.load();
        core.read(request.revision, |reader| reader.range(request))
    }

    /// The same in chunks (checked by [`crate::check::range_stream`] too).
    pub fn range_stream(&self, request: RangeRequest) -> RangeStream {
        RangeStream::new(self.clone(), request, self.inner.options.max_request_bytes)
    }

    /// Answers a Txn that only reads; [`Writer::txn`] does the others.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, MvccError> {
        assert!(Store::is_read_only(request), "a transaction that writes goes through the log");
        let core = self.inner.core.load();
        // The oldest revision it asks for decides whether a compaction has overtaken it.
        let oldest = [&request.success, &request.failure]
            .into_iter()
            .flatten()
            .filter_map(|op| match &op.request {
                Some(Request::RequestRange(range)) if range.revision > 0 => Some(range.revision),
                _ => None,
            })
            .min();
        core.read(oldest.unwrap_or(0), |reader| txn::read_only(reader, request))
    }

    /// Whether a Txn holds nothing but ranges. A nested one counts as a write, as in Go.
    pub fn is_read_only(request: &TxnRequest) -> bool {
        let mut ops = request.success.iter().chain(&request.failure);
        ops.all(|op| matches!(op.request, Some(Request::RequestRange(_))))
    }

    /// HashKV; revision 0 asks for the newest.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, MvccError> {
        self.inner.core.load().hash_kv(revision)
    }

    /// The remembered hashes of finished compactions, newest first.
    pub fn compaction_hashes(&self) -> Vec<HashKv> {
        self.inner.core.load().hashes.newest_first()
    }
}

impl History for Store {
    fn scan(&self, from: i64, to: i64, visit: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError> {
        let view = self.inner.core.load().backend.view();
        let mut malformed = None;
        let end = Revision::new(to.saturating_add(1), 0).to_key();
        let scanned = view.scan(
            Bucket::Key,
            &Revision::new(from, 0).to_key(),
            &end,
            &mut |key, value| match RevisionKey::parse(key) {
                Some(key) => visit(key.revision, key.tombstone, Bytes::copy_from_slice(value)),
                None => {
                    malformed = Some(MvccError::NotARevision(key.to_vec()));
                    ControlFlow::Break(())
                }
            },
        );
        match (scanned, malformed) {
            (Err(error), _) => Err(HistoryError(error.to_string())),
            (_, Some(error)) => Err(HistoryError(error.to_string())),
            _ => Ok(()),
        }
    }

    fn value_before(&self, key: &[u8], main: i64) -> Option<Bytes> {
        let core = self.inner.core.load();
        let at = main - 1;
        let found = core.read(at.max(1), |reader| {
            if at < reader.compacted {
                return Err(MvccError::Compacted);
            }
            let Some(found) = reader.index.get(key, at) else { return Ok(None) };
            Ok(Some(reader.value(found.modified)?.to_bytes()))
        });
        // A watcher that asks for a value that is gone gets none, as in Go; damage shows on every other path.
        found.ok().flatten().filter(|stored| kv::Kv::parse(stored).is_ok())
    }
}
