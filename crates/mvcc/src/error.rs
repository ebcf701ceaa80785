//! Why a request on the store fails.

use backend::{BackendError, RevisionKey};

/// Errors of reads and writes. Those that [`MvccError::api`] knows are answers to the client; the others mean that the
/// database is damaged, and on the write path they end the process.
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
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The index knows a revision that the database does not have.
    #[error("bucket key: revision {0:?} is missing")]
    Missing(RevisionKey),
    /// A key of bucket `key` that is no revision.
    #[error("bucket key: key {0:?} is not a revision")]
    NotARevision(Vec<u8>),
    /// A value of bucket `key` that is no key-value pair.
    #[error("bucket key: a value is not a key-value pair")]
    Malformed,
    /// The same, where the revision is known.
    #[error("bucket key: the value of revision {0:?} is not a key-value pair")]
    MalformedAt(RevisionKey),
}

impl MvccError {
    /// What the client is told; `None` for faults of the database.
    pub fn api(&self) -> Option<api::Error> {
        match self {
            MvccError::Compacted => Some(api::Error::Compacted),
            MvccError::FutureRevision => Some(api::Error::FutureRev),
            MvccError::KeyNotFound => Some(api::Error::KeyNotFound),
            MvccError::LeaseNotFound => Some(api::Error::LeaseNotFound),
            _ => None,
        }
    }
}

impl From<crate::kv::Malformed> for MvccError {
    fn from(_: crate::kv::Malformed) -> MvccError {
        MvccError::Malformed
    }
}
