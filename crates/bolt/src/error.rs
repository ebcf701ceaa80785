//! What can go wrong, one enum per kind of call. Texts begin with bbolt's own words where it has any.

use std::io;
use std::path::PathBuf;

/// A page that is not what its place in the tree demands: the file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{}: page {}: {}", .0.path.display(), .0.page, .0.fault)]
pub struct PageError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    page: u64,
    fault: PageFault,
}

impl PageError {
    #[cold]
    pub(crate) fn new(path: &std::path::Path, page: u64, fault: PageFault) -> PageError {
        PageError(Box::new(Inner {
            path: path.to_owned(),
            page,
            fault,
        }))
    }

    /// The page's number; its first byte is at this times the page size.
    pub fn page(&self) -> u64 {
        self.0.page
    }

    pub fn fault(&self) -> &PageFault {
        &self.0.fault
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0.path
    }
}

/// What is wrong with a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    #[error("out of bounds: {mark}")]
    OutOfBounds { mark: u64 },
    #[error("Page expected to be: {expected}, but self identifies as {found}")]
    WrongId { expected: u64, found: u64 },
    #[error("invalid type: flags {flags:#06x}")]
    InvalidType { flags: u16 },
    #[error("{overflow} overflow pages reach beyond the high-water mark {mark}")]
    Overflow { overflow: u32, mark: u64 },
    #[error("element {index} of {count} lies outside the page")]
    Element { index: usize, count: usize },
    #[error("bucket header of {len} bytes is too short")]
    BucketHeader { len: usize },
    #[error("the tree is deeper than {limit} levels or runs in a circle")]
    Circle { limit: u64 },
    #[error("multiple references")]
    MultipleReferences,
    #[error("page already freed")]
    AlreadyFreed,
    #[error("{0}")]
    Other(String),
}

/// Why a database did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock; to be tried again by the caller (etcd waits for ever, every 50 ms).
    #[error("timeout")]
    Locked,
    /// No valid meta was found.
    #[error("invalid database ({}: no meta page at offset {offset})", path.display())]
    Invalid { path: PathBuf, offset: u64 },
    #[error("version mismatch ({}: version {found} at offset {offset})", path.display())]
    VersionMismatch { path: PathBuf, offset: u64, found: u32 },
    #[error("checksum error ({}: meta at offset {offset})", path.display())]
    Checksum { path: PathBuf, offset: u64 },
    #[error("file size too small {size} ({}: {needed} bytes needed)", path.display())]
    TooSmall { path: PathBuf, size: u64, needed: u64 },
    #[error("{}: {count} faults, the first: {first}", path.display())]
    Faulty { path: PathBuf, count: usize, first: String },
    #[error("{}: page size {size} is not a power of two from 1024 to 65536", path.display())]
    PageSize { path: PathBuf, size: u64 },
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{}: {action}: {source}", path.display())]
    Disk {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
}

/// Why an operation of a write transaction was refused. The transaction goes on as if it had not been asked.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    #[error("bucket not found")]
    BucketNotFound,
    #[error("bucket already exists")]
    BucketExists,
    #[error("bucket name required")]
    BucketNameRequired,
    #[error("key required")]
    KeyRequired,
    #[error("key too large")]
    KeyTooLarge,
    #[error("value too large")]
    ValueTooLarge,
    /// A bucket where a value is asked for, or the other way round.
    #[error("incompatible value")]
    IncompatibleValue,
    #[error(transparent)]
    Page(#[from] PageError),
}

/// Why a commit did not happen. After `Disk` and `Poisoned` it is unknown what the file holds until it is opened again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written.
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{}: {action} at offset {offset}: {source}", path.display())]
    Disk {
        path: PathBuf,
        action: &'static str,
        offset: u64,
        source: io::Error,
    },
    #[error("{}: no more commits after an earlier failure: {reason}", path.display())]
    Poisoned { path: PathBuf, reason: String },
}
