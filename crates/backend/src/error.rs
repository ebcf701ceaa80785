//! What can go wrong with the database.

/// Errors of the backend. Those of a commit are fatal: the content of the file is unknown and the process must end.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Another process holds the file; the caller retries.
    #[error("the database file is locked by another process")]
    Locked,
    /// The file cannot be opened.
    #[error("{0}")]
    Open(String),
    /// A page of the file is damaged.
    #[error("{0}")]
    Page(String),
    /// A write or a sync failed.
    #[error("commit failed: {0}")]
    Commit(String),
    /// An earlier commit failed.
    #[error("the database is unusable after a failed commit")]
    Poisoned,
    /// A value that the schema gives a form has another one.
    #[error("bucket {bucket}, key {key}: {problem}")]
    Schema {
        bucket: &'static str,
        key: String,
        problem: String,
    },
    /// The file was written by a version that this one must not touch.
    #[error("storage version {0} is not supported")]
    StorageVersion(String),
}
