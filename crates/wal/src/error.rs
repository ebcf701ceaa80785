//! What can go wrong with the log and with snapshot files. Every text names the file, and the offset where there is one.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the log. The texts begin as those of etcd 3.7, because tools and people look for them.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// A call to the disk failed.
    #[error("wal: {call} {} failed: {source}", path.display())]
    Disk {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A write or sync failed before; what the file holds is unknown, and nothing is tried again.
    #[error("wal: an earlier write or sync of {} failed, nothing more is written", dir.display())]
    Poisoned { dir: PathBuf },
    #[error("walpb: crc mismatch: expected: {expected:x} computed: {computed:x}: in file '{file}' at position: {offset}")]
    CrcMismatch {
        expected: u32,
        computed: u32,
        file: String,
        offset: u64,
    },
    /// A record reaches beyond the end of its file, or was torn by a power cut. In the last segment `Wal::open` repairs it.
    #[error("unexpected EOF: {detail}: in file '{file}' at position: {offset}")]
    UnexpectedEof { detail: String, file: String, offset: u64 },
    #[error("wal: {what} cannot be decoded: {detail}: in file '{file}' at position: {offset}")]
    Undecodable {
        what: &'static str,
        detail: String,
        file: String,
        offset: u64,
    },
    #[error("wal: unexpected block type {kind}: in file '{file}' at position: {offset}")]
    UnknownRecord { kind: i64, file: String, offset: u64 },
    #[error("wal: conflicting metadata found: in file '{file}' at position: {offset}")]
    MetadataConflict { file: String, offset: u64 },
    #[error("wal: file not found which matches the snapshot index '{index}': in '{}'", dir.display())]
    FileNotFound { index: u64, dir: PathBuf },
    #[error("wal: file sequence numbers do not increase continuously: '{before}' is followed by '{after}'")]
    NotContinuous { before: String, after: String },
    #[error(
        "wal: snapshot mismatch: index {index} was asked for with term {wanted} and is recorded with term {found}: in file '{file}' at position: {offset}"
    )]
    SnapshotMismatch {
        index: u64,
        wanted: u64,
        found: u64,
        file: String,
        offset: u64,
    },
    #[error(
        "wal: slice bounds out of range, snapshot[Index: {start_index}, Term: {start_term}], current entry[Index: {index}, Term: {term}], len(ents): {entries}: in file '{file}' at position: {offset}"
    )]
    Gap {
        start_index: u64,
        start_term: u64,
        index: u64,
        term: u64,
        entries: usize,
        file: String,
        offset: u64,
    },
    #[error("fileutil: file already locked: '{}'", path.display())]
    Locked { path: PathBuf },
    #[error("wal: there is a log in '{}' already", dir.display())]
    AlreadyExists { dir: PathBuf },
    /// 3.5 and later want the membership in every snapshot record but the first.
    #[error("wal: a snapshot record for index {index} without its ConfState")]
    SnapshotWithoutConfState { index: u64 },
}

impl WalError {
    /// True for a record that ends too early: what a power cut leaves in the last segment.
    pub fn is_unexpected_eof(&self) -> bool {
        matches!(self, WalError::UnexpectedEof { .. })
    }
}

/// An error with a `.snap` file.
#[derive(Debug, thiserror::Error)]
pub enum SnapError {
    #[error("snap: {call} {} failed: {source}", path.display())]
    Disk {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("snap: no available snapshot: in '{}'", dir.display())]
    NoSnapshot { dir: PathBuf },
    #[error("snap: empty snapshot: '{}'", path.display())]
    Empty { path: PathBuf },
    #[error("snap: crc mismatch: expected: {expected:x} computed: {computed:x}: in file '{}'", path.display())]
    CrcMismatch { expected: u32, computed: u32, path: PathBuf },
    #[error("snap: '{}' cannot be decoded: {detail}", path.display())]
    Undecodable { detail: String, path: PathBuf },
    /// The received database image that should be there is not.
    #[error("snap: snapshot file doesn't exist: '{}'", path.display())]
    NoDatabase { path: PathBuf },
}

/// Gives an `io::Error` its file.
pub(crate) trait At<T> {
    fn at(self, call: &'static str, path: &Path) -> Result<T, WalError>;
    fn at_snap(self, call: &'static str, path: &Path) -> Result<T, SnapError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, call: &'static str, path: &Path) -> Result<T, WalError> {
        self.map_err(|source| WalError::Disk {
            call,
            path: path.to_owned(),
            source,
        })
    }

    fn at_snap(self, call: &'static str, path: &Path) -> Result<T, SnapError> {
        self.map_err(|source| SnapError::Disk {
            call,
            path: path.to_owned(),
            source,
        })
    }
}
