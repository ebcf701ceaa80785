//! Why a request on the store fails.

use backend::BackendError;

/// Errors of reads and writes. All but `Backend` are answers to the client ([`MvccError::api`]).
#[derive(Debug, thiserror::Error)]
pub enum MvccError {
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("requested lease not found")]
    LeaseNotFound,
    /// The database is damaged or a commit failed: fatal on the write path.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl MvccError {
    /// What the client is told; `None` for faults of the database.
    pub fn api(&self) -> Option<api::Error> {
        match self {
            MvccError::Compacted => Some(api::Error::Compacted),
            MvccError::FutureRevision => Some(api::Error::FutureRev),
            MvccError::KeyNotFound => Some(api::Error::KeyNotFound),
            MvccError::LeaseNotFound => Some(api::Error::LeaseNotFound),
            MvccError::Backend(_) => None,
        }
    }
}
