//! etcd's buckets on bolt: batched commits, lock-free read views, the consistent index, hashes.
//!
//! Stands at step 10 of the life of a Put: apply hands over a [`Batch`] for each log entry with [`Backend::append`], which
//! never touches the disk; a [`Committer`], on a thread of its own, writes whole batches to the file in one transaction.
//! A [`ReadView`] shows the file as of the last commit plus the batches not yet in it, so a reader never waits for either.
//! Never decides when to commit (the shell does), never interprets a key-value pair (mvcc does), and never goes on after a
//! failed commit.
//!
//! | module | its one job |
//! | --- | --- |
//! | `batch` | what one log entry changes |
//! | `pending` | the append-only log of batches not in the file yet |
//! | `view` | reading: the file and the pending batches as one |
//! | `commit` | writing: the pending batches into the file |
//! | `open` | opening and creating, the buckets |
//! | `schema` | names, encodings and checks of what stands in the small buckets |

mod batch;
mod bucket;
mod commit;
mod error;
mod open;
mod pending;
pub mod schema;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use api::{RaftIndex, Term};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use world::fail;

pub use batch::{Batch, RevisionKey};
pub use bucket::Bucket;
pub use commit::{Committed, Committer};
pub use error::BackendError;
pub use open::Options;
pub use view::{AscendingReader, Entries, KeyReader, ReadView, Value, Visit};

use pending::{Epoch, Prefix};
use view::State;

/// Bytes of values after which a commit is due whatever their number.
const MOST_PENDING_BYTES: usize = 16 << 20;

/// What may wait, in commits that are due for it.
const MOST_COMMITS_BEHIND: usize = 8;

/// The database, shared by everybody; a cheap handle. All clones of a handle follow when [`Backend::replace`] puts another database in
/// the place of the first.
#[derive(Clone)]
pub struct Backend {
    slot: Slot,
}

/// Where the handles and the committer find the database of the moment.
pub(crate) type Slot = Arc<ArcSwap<Shared>>;

/// What the handles and the committer share.
pub(crate) struct Shared {
    pub db: bolt::Db,
    /// Replaced by the committer alone.
    state: ArcSwap<State>,
    /// Held for the moment of an append or of a seal, never across I/O.
    appender: Mutex<Appender>,
    consistent_index: AtomicU64,
    term: AtomicU64,
    committed_index: AtomicU64,
    pending: Pending,
    batch_limit: usize,
}

/// How much is not in the file.
#[derive(Default)]
struct Pending {
    operations: AtomicUsize,
    batches: AtomicUsize,
    bytes: AtomicUsize,
}

struct Appender {
    epoch: Arc<Epoch>,
    /// The newest revision handed over or in the file.
    newest: Option<RevisionKey>,
}

impl Backend {
    /// Opens (or creates) the database file and its buckets.
    ///
    /// # Errors
    /// `Open(Locked)` at once if another process has the file; the others tell what is wrong with it.
    pub fn open(disk: &world::DynDisk, path: &Path, options: Options) -> Result<(Backend, Committer), BackendError> {
        let slot = Arc::new(ArcSwap::from_pointee(open::open(disk, path, options)?));
        let committer = Committer::new(slot.clone());
        Ok((Backend { slot }, committer))
    }

    /// A handle to the database that this one shows now, which stays with it: for whoever keeps in memory what stands in the file.
    #[must_use]
    pub fn pinned(&self) -> Backend {
        Backend {
            slot: Arc::new(ArcSwap::new(self.slot.load_full())),
        }
    }

    /// From now on all clones of this handle show the other database, and their committer writes to it. A commit under way still goes to
    /// the old one. What was handed over to the old one and is not in its file is dropped.
    pub fn replace(&self, other: &Backend) {
        self.slot.store(other.slot.load_full());
    }

    /// Hands over a batch: visible to every view taken from now on, in the file with the next commit. Never blocks on I/O.
    ///
    /// # Panics
    /// If a revision or the consistent index does not grow: going on would corrupt the database.
    pub fn append(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        fail::point("beforeWritebackBuf");
        self.slot.load().append(batch);
        fail::point("afterWritebackBuf");
    }

    /// What the database holds now. Free of locks.
    pub fn view(&self) -> ReadView {
        ReadView::new(self.slot.load().state.load_full())
    }

    /// Bytes up to the file's high-water mark as of the last commit ("db size", the quota's measure).
    pub fn size(&self) -> u64 {
        self.slot.load().db.size()
    }

    /// The same without free pages.
    pub fn size_in_use(&self) -> u64 {
        let shared = self.slot.load();
        shared.db.size().saturating_sub(shared.db.free_bytes())
    }

    /// The newest log entry whose effects were handed over (in the file or on their way to it). 0 in a new database.
    pub fn consistent_index(&self) -> RaftIndex {
        RaftIndex(self.slot.load().consistent_index.load(Ordering::Acquire))
    }

    /// The term of that entry; 0 if the file has none.
    pub fn term(&self) -> Term {
        Term(self.slot.load().term.load(Ordering::Acquire))
    }

    /// The newest log entry whose effects are in the file.
    pub fn committed_index(&self) -> RaftIndex {
        self.slot.load().committed_index()
    }

    /// Operations handed over and not in the file yet. Entries that only moved the consistent index do not count.
    pub fn pending_ops(&self) -> usize {
        self.slot.load().pending.operations.load(Ordering::Relaxed)
    }

    /// Bytes of values handed over and not in the file yet.
    pub fn pending_bytes(&self) -> usize {
        self.slot.load().pending.bytes.load(Ordering::Relaxed)
    }

    /// Whether so much waits that a commit should not wait for its interval.
    pub fn should_commit(&self) -> bool {
        self.pending_reach(1)
    }

    /// Whether so much waits that the committer must be let catch up before more is handed over: behind a disk that stalls, memory
    /// would grow for ever.
    pub fn is_behind(&self) -> bool {
        self.pending_reach(MOST_COMMITS_BEHIND)
    }

    /// Whether as much waits as is due for so many commits.
    fn pending_reach(&self, commits: usize) -> bool {
        // Bytes count, because large values fill memory long before they are many, and batches, because a long run of entries
        // without effect must not pile up for ever.
        let shared = self.slot.load();
        let operations = shared.batch_limit.saturating_mul(commits);
        shared.pending.operations.load(Ordering::Relaxed) >= operations
            || shared.pending.bytes.load(Ordering::Relaxed) >= MOST_PENDING_BYTES.saturating_mul(commits)
            || shared.pending.batches.load(Ordering::Relaxed) >= operations.saturating_mul(10)
    }
}

impl Shared {
    pub(crate) fn new(db: bolt::Db, newest: Option<RevisionKey>, applied: Option<(RaftIndex, Term)>, batch_limit: usize) -> Shared {
        let epoch = Arc::new(Epoch::default());
        let (index, term) = applied.unwrap_or_default();
        let state = State {
            base: db.begin_read(),
            base_applied: applied,
            sealed: None,
            active: epoch.clone(),
        };
        Shared {
            db,
            state: ArcSwap::from_pointee(state),
            appender: Mutex::new(Appender { epoch, newest }),
            consistent_index: AtomicU64::new(index.0),
            term: AtomicU64::new(term.0),
            committed_index: AtomicU64::new(index.0),
            pending: Pending::default(),
            batch_limit,
        }
    }

    fn append(&self, batch: Batch) {
        let mut appender = self.appender.lock();
        if let Some(first) = batch.puts.first() {
            assert!(
                appender.newest.is_none_or(|newest| newest < first.key),
                "revision {:?} after {:?}",
                first.key,
                appender.newest
            );
            appender.newest = batch.puts.last().map(|p| p.key);
        }
        if let Some((index, term)) = batch.applied {
            let before = self.consistent_index.load(Ordering::Relaxed);
            assert!(index.0 >= before, "consistent index {index} after {before}");
            self.term.store(term.0, Ordering::Release);
            self.consistent_index.store(index.0, Ordering::Release);
        }
        // Counted before it can be seen, so that the committer never takes away more than was added.
        self.pending.operations.fetch_add(batch.operations(), Ordering::Relaxed);
        self.pending.batches.fetch_add(1, Ordering::Relaxed);
        self.pending.bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
        appender.epoch.append(batch);
    }

    /// Ends the current epoch and shows it to new views as the one being written. `None` if it is empty.
    pub(crate) fn seal(&self) -> Option<Prefix> {
        let mut appender = self.appender.lock();
        if appender.epoch.batches() == 0 {
            return None;
        }
        let epoch = std::mem::replace(&mut appender.epoch, Arc::new(Epoch::default()));
        let sealed = Prefix { end: epoch.end(), epoch };
        let before = self.state.load();
        assert!(before.sealed.is_none(), "one epoch is written at a time");
        // Still under the lock: a batch in the new epoch must not be appended before views can find that epoch.
        self.state.store(Arc::new(State {
            base: before.base.clone(),
            base_applied: before.base_applied,
            sealed: Some(sealed.clone()),
            active: appender.epoch.clone(),
        }));
        Some(sealed)
    }

    /// The sealed epoch is in the file: views start from there.
    pub(crate) fn publish(&self, applied: Option<(RaftIndex, Term)>) {
        let before = self.state.load();
        let sealed = before.sealed.as_ref().expect("published without a sealed epoch");
        let base_applied = applied.or(before.base_applied);
        self.state.store(Arc::new(State {
            base: self.db.begin_read(),
            base_applied,
            sealed: None,
            active: before.active.clone(),
        }));
        if let Some((index, _)) = base_applied {
            self.committed_index.store(index.0, Ordering::Release);
        }
        self.pending.operations.fetch_sub(sealed.end.operations, Ordering::Relaxed);
        self.pending.batches.fetch_sub(sealed.epoch.batches(), Ordering::Relaxed);
        self.pending.bytes.fetch_sub(sealed.end.bytes, Ordering::Relaxed);
    }

    /// The file was rewritten without a change of content.
    pub(crate) fn rebase(&self) {
        let before = self.state.load();
        assert!(before.sealed.is_none(), "reclaimed during a commit");
        self.state.store(Arc::new(State {
            base: self.db.begin_read(),
            base_applied: before.base_applied,
            sealed: None,
            active: before.active.clone(),
        }));
    }

    pub(crate) fn committed_index(&self) -> RaftIndex {
        RaftIndex(self.committed_index.load(Ordering::Acquire))
    }
}
