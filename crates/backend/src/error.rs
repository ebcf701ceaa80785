//! What can go wrong with the database.

/// Errors of the backend. Those of a commit are fatal: the content of the file is unknown and the process must end.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The file cannot be opened; `Locked` means that another process holds it, and the caller may try again.
    #[error(transparent)]
    Open(#[from] bolt::OpenError),
    /// A page of the file is damaged.
    #[error(transparent)]
    Page(#[from] bolt::PageError),
    /// A change was refused by the storage engine: what was handed over does not fit its limits.
    #[error("database refuses a change: {0}")]
    Refused(#[from] bolt::TxError),
    /// A write or a sync failed.
    #[error(transparent)]
    Commit(#[from] bolt::CommitError),
    /// An earlier commit failed.
    #[error("the database takes no more commits after a failed one")]
    Poisoned,
    /// Whoever received the database image failed.
    #[error("cannot hand over the database image: {0}")]
    Image(#[source] std::io::Error),
    /// The file lacks a bucket that every database of etcd has.
    #[error("bucket {0} is missing")]
    MissingBucket(&'static str),
    /// A value that the schema gives a form has another one.
    #[error("bucket {bucket}, key {key}: {problem}")]
    Schema {
        bucket: &'static str,
        key: String,
        problem: String,
    },
    /// The file was written by a version that this one must not touch.
    #[error("cannot use the database: {0}")]
    Version(#[from] crate::schema::VersionError),
}

impl BackendError {
    /// Whether another process has the file open: the caller may try again.
    pub fn is_locked(&self) -> bool {
        matches!(self, BackendError::Open(bolt::OpenError::Locked))
    }

    pub(crate) fn schema(bucket: crate::Bucket, key: &[u8], problem: impl Into<String>) -> BackendError {
        BackendError::Schema {
            bucket: bucket.title(),
            key: key.escape_ascii().to_string(),
            problem: problem.into(),
        }
    }
}
