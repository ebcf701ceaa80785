//! The open database: what is current, who may read, and the state of the one writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::freelist::Freelist;
use crate::reclaim::Plan;
use crate::version::{FileHandle, Version};
use crate::{ReadTx, WriteTx};

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Takes a shared lock and writes nothing; the file must exist.
    pub read_only: bool,
    /// The page size in bytes of a file that is created now; `None` = the disk's.
    pub page_size: Option<usize>,
    /// Stores the list of free pages with every commit. etcd does not: it is found by a walk when the file is opened.
    pub freelist_sync: bool,
    /// Bytes of address space reserved for the map (etcd: 10 GiB, or the quota and a tenth). A file that outgrows it is mapped anew.
    pub initial_map: usize,
    pub verify: Verify,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_only: false,
            page_size: None,
            freelist_sync: false,
            initial_map: 0,
            verify: Verify::AsNeeded,
        }
    }
}

/// Whether the whole tree is walked when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Only if the list of free pages is needed and not stored in the file.
    AsNeeded,
    /// Always; any fault refuses the file.
    Always,
}

/// An open database file. Dropping it gives the lock back once the last [`ReadTx`] is gone too.
pub struct Db {
    pub(crate) handle: Arc<FileHandle>,
    /// The last commit. Locked for the time of copying or replacing a pointer only, never while the disk works.
    current: Mutex<Arc<Version>>,
    pub(crate) writer: Mutex<Writer>,
    free_pages: AtomicU64,
    pub(crate) options: Options,
}

/// What the one writer keeps between transactions.
pub(crate) struct Writer {
    pub freelist: Freelist,
    /// Earlier commits that may still have readers, oldest first.
    history: Vec<Arc<Version>>,
    pub file_len: u64,
    /// The mark of the meta that the next commit overwrites.
    pub older_mark: u64,
    /// After a failed write or sync: why nothing is written any more.
    pub poisoned: Option<String>,
    /// Room for keys, values and pages of a transaction, kept because fresh memory is dear.
    pub arena: Vec<u8>,
    pub out: Vec<u8>,
    pub plan: Option<Plan>,
}

impl Db {
    pub(crate) fn assemble(version: Arc<Version>, freelist: Freelist, options: Options, file_len: u64, older_mark: u64) -> Db {
        Db {
            handle: Arc::clone(&version.handle),
            free_pages: AtomicU64::new(freelist.free_pages()),
            current: Mutex::new(version),
            writer: Mutex::new(Writer {
                freelist,
                history: Vec::new(),
                file_len,
                older_mark,
                poisoned: None,
                arena: Vec::new(),
                out: Vec::new(),
                plan: None,
            }),
            options,
        }
    }

    /// The last commit, for as long as the answer lives. Never waits for the writer.
    pub fn begin_read(&self) -> ReadTx {
        ReadTx { version: self.current() }
    }

    /// The one write transaction. Waits until an earlier one has ended.
    ///
    /// # Panics
    /// If the database was opened for reading only.
    pub fn begin_write(&self) -> WriteTx<'_> {
        assert!(!self.options.read_only, "a write to a database opened for reading");
        let mut writer = self.writer.lock();
        let base = self.current();
        writer.release_pages(base.meta.txid);
        self.note_free_pages(&writer);
        WriteTx::new(self, writer, base)
    }

    /// Bytes up to the high-water mark as of the last commit ("db size").
    pub fn size(&self) -> u64 {
        self.current.lock().meta.mark * self.handle.page_size as u64
    }

    /// Bytes of free pages, without those that a reader may still see. 0 in a database opened for reading only.
    pub fn free_bytes(&self) -> u64 {
        self.free_pages.load(Ordering::Relaxed) * self.handle.page_size as u64
    }

    /// The page size of this file, in bytes.
    pub fn page_size(&self) -> usize {
        self.handle.page_size
    }

    pub(crate) fn current(&self) -> Arc<Version> {
        Arc::clone(&self.current.lock())
    }

    /// Makes a commit the current one.
    pub(crate) fn publish(&self, writer: &mut Writer, version: Arc<Version>) {
        let before = std::mem::replace(&mut *self.current.lock(), version);
        writer.history.push(before);
    }

    pub(crate) fn note_free_pages(&self, writer: &Writer) {
        self.free_pages.store(writer.freelist.free_pages(), Ordering::Relaxed);
    }
}

impl Writer {
    /// Frees the pages that no open reader sees any more.
    fn release_pages(&mut self, latest: u64) {
        // Nobody can come to hold an earlier commit anew except from someone who holds it. `get_mut` also orders the last
        // reads of a reader that is gone before the writes that follow.
        self.history.retain_mut(|version| Arc::get_mut(version).is_none());
        let mut readers: Vec<u64> = self.history.iter().map(|version| version.meta.txid).collect();
        // Who begins to read from now on sees at least `latest`, which nothing freed so far belongs to.
        readers.retain(|reader| *reader < latest);
        debug_assert!(readers.is_sorted());
        self.freelist.release(latest, readers);
    }
}
