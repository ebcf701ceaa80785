//! What raft reads of the stored log.

use api::pb::raftpb::{ConfState, Entry, HardState, Snapshot};

/// Why the storage does not give something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The entry is older than the first of the log.
    #[error("requested index is unavailable due to compaction")]
    Compacted,
    /// The snapshot is older than the stored one.
    #[error("requested index is older than the existing snapshot")]
    SnapOutOfDate,
    /// The entry is newer than the last of the log.
    #[error("requested entry at index is unavailable")]
    Unavailable,
    /// A snapshot is being made; ask again later.
    #[error("snapshot is temporarily unavailable")]
    SnapshotTemporarilyUnavailable,
}

/// What raft reads of the stored log. The answers are what has been handed to the storage, synced or not; they must not wait for a disk.
///
/// The log has a position before its first entry (`first_index - 1`, where it was compacted) whose term is known and whose content is not.
pub trait Storage {
    /// What was stored when the node starts; empty messages for a new one.
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError>;

    /// The entries of `[lo, hi)`, as many as fit into `max_size` encoded bytes, but at least one.
    ///
    /// # Errors
    /// `Compacted` if `lo` is before the first entry, `Unavailable` if the log does not reach `hi`.
    fn entries(&self, lo: u64, hi: u64, max_size: u64) -> Result<Vec<Entry>, StorageError>;

    /// The term of entry `index`, in `[first_index - 1, last_index]`.
    fn term(&self, index: u64) -> Result<u64, StorageError>;

    /// The last entry's index.
    fn last_index(&self) -> Result<u64, StorageError>;

    /// The index of the first entry there may be; greater by one than `last_index` if there is none.
    fn first_index(&self) -> Result<u64, StorageError>;

    /// The newest snapshot, for a peer that needs entries which are no more.
    fn snapshot(&self) -> Result<Snapshot, StorageError>;
}
