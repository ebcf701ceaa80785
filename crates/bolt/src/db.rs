//! The open database: who may read, who may write, and what is current.

use std::path::Path;

use world::DynDisk;

use crate::{OpenError, ReadTx, WriteTx};

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
    _private: (),
}

impl Db {
    /// Opens or creates the database at `path`.
    ///
    /// # Errors
    /// `Locked` at once if another process has it; the others tell what is wrong with the file.
    pub fn open(_disk: &DynDisk, _path: &Path, _options: Options) -> Result<Db, OpenError> {
        unimplemented!()
    }

    /// The last commit, for as long as the answer lives. Never waits for the writer.
    pub fn begin_read(&self) -> ReadTx {
        unimplemented!()
    }

    /// The one write transaction. Waits until an earlier one has ended.
    pub fn begin_write(&self) -> WriteTx<'_> {
        unimplemented!()
    }

    /// Bytes up to the high-water mark as of the last commit ("db size").
    pub fn size(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes of free pages, without those that a reader may still see.
    pub fn free_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// The page size of this file, in bytes.
    pub fn page_size(&self) -> usize {
        unimplemented!()
    }
}
