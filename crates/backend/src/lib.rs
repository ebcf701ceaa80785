//! etcd's buckets on bolt: batched commits, lock-free read views, the consistent index, hashes.
//!
//! Stands at step 10 of the life of a Put: apply hands over a [`Batch`] for each log entry with [`Backend::append`], which
//! never touches the disk; a [`Committer`], on a thread of its own, writes whole batches to the file in one transaction.
//! A [`ReadView`] shows the file as of the last commit plus the batches not yet in it, so a reader never waits for either.
//! Never decides when to commit (the shell does), never interprets a key-value pair (mvcc does), and never goes on after a
//! failed commit.

mod batch;
mod bucket;
mod error;
pub mod schema;

use std::ops::ControlFlow;
use std::path::Path;

use api::{RaftIndex, Term};
use bytes::Bytes;

pub use batch::{Batch, RevisionKey};
pub use bucket::Bucket;
pub use error::BackendError;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// For tools: takes a shared lock and never writes.
    pub read_only: bool,
    /// Address space reserved for the map, in bytes (etcd: 10 GiB, or the quota plus 10 %).
    pub initial_map: u64,
    /// Operations after which [`Backend::should_commit`] says yes (`--backend-batch-limit`).
    pub batch_limit: usize,
    /// Page size of a new file; `None` takes that of the disk.
    pub page_size: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_only: false,
            initial_map: 10 << 30,
            batch_limit: 10_000,
            page_size: None,
        }
    }
}

/// Called with a key and its value; `Break` ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Operations written; 0 if there was nothing.
    pub operations: usize,
    /// The consistent index in the file after it.
    pub consistent_index: RaftIndex,
}

/// The database, shared by everybody.
#[derive(Clone)]
pub struct Backend {}

#[allow(clippy::unimplemented)]
impl Backend {
    /// Opens (or creates) the database file and its buckets.
    pub fn open(disk: &world::DynDisk, path: &Path, options: Options) -> Result<(Backend, Committer), BackendError> {
        let _ = (disk, path, options);
        unimplemented!()
    }
    /// Hands over a batch: visible to every view taken from now on, in the file with the next commit. Never blocks on I/O.
    pub fn append(&self, batch: Batch) {
        let _ = batch;
        unimplemented!()
    }
    /// What the database holds now. Free of locks.
    pub fn view(&self) -> ReadView {
        unimplemented!()
    }
    /// Bytes of the file in use or free: high-water mark times page size ("db size", the quota's measure).
    pub fn size(&self) -> u64 {
        unimplemented!()
    }
    /// The same without free pages.
    pub fn size_in_use(&self) -> u64 {
        unimplemented!()
    }
    /// The newest log entry whose effects were handed over (in the file or on their way to it). 0 in a new database.
    pub fn consistent_index(&self) -> RaftIndex {
        unimplemented!()
    }
    /// The term of that entry.
    pub fn term(&self) -> Term {
        unimplemented!()
    }
    /// The newest log entry whose effects are in the file.
    pub fn committed_index(&self) -> RaftIndex {
        unimplemented!()
    }
    /// Operations handed over and not in the file yet.
    pub fn pending_ops(&self) -> usize {
        unimplemented!()
    }
    /// Whether so much waits that a commit should not wait for its interval.
    pub fn should_commit(&self) -> bool {
        unimplemented!()
    }
}

/// Writes what was handed over. One exists; the shell gives it a thread and calls [`Committer::commit`] each 100 ms, when
/// [`Backend::should_commit`] says so, and when somebody needs everything in the file.
pub struct Committer {}

#[allow(clippy::unimplemented)]
impl Committer {
    /// Writes all batches handed over so far in one transaction. After `Ok` they survive a power cut.
    ///
    /// # Errors
    /// Every error is final: the process must end.
    pub fn commit(&mut self) -> Result<Committed, BackendError> {
        unimplemented!()
    }
    /// One small step of giving space back: moves at most `max_pages` pages from the file's end and cuts it. False: nothing more to gain now.
    pub fn reclaim(&mut self, max_pages: usize) -> Result<bool, BackendError> {
        let _ = max_pages;
        unimplemented!()
    }
}

/// The database at one moment. Cheap to take and to clone, needs no lock, and holds on to the pages it reaches: short-lived, please.
#[derive(Clone)]
pub struct ReadView {}

#[allow(clippy::unimplemented)]
impl ReadView {
    /// A value of a small bucket or, by its 17 or 18 bytes, of bucket `key`.
    pub fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        let _ = (bucket, key);
        unimplemented!()
    }
    /// A value of bucket `key`.
    pub fn get_revision(&self, key: RevisionKey) -> Result<Option<Bytes>, BackendError> {
        let _ = key;
        unimplemented!()
    }
    /// Visits the entries with `from <= key` and (unless empty) `key < to`, in key order.
    pub fn scan(&self, bucket: Bucket, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), BackendError> {
        let _ = (bucket, from, to, visit);
        unimplemented!()
    }
    /// The hash of `Maintenance.Hash`. Call after a commit, as Go does.
    pub fn hash(&self) -> Result<u32, BackendError> {
        unimplemented!()
    }
    /// Length of the image that [`ReadView::write_image`] writes.
    pub fn image_size(&self) -> u64 {
        unimplemented!()
    }
    /// The database file as of the commit below this view (batches not yet in the file are left out: commit first).
    pub fn write_image(&self, chunk: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), BackendError> {
        let _ = chunk;
        unimplemented!()
    }
}
