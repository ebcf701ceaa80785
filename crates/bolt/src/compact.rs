//! Copies a database into a new file without its free pages.

use std::path::Path;

use world::DynDisk;

use crate::{CommitError, OpenError, PageError, ReadTx};

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Source(#[from] PageError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Copies all buckets of `source` into a new file at `path`, with pages filled to `fill` (etcd: 0.9), committing every
/// `tx_keys` keys (etcd: 10 000).
pub fn compact_into(_source: &ReadTx, _disk: &DynDisk, _path: &Path, _fill: f32, _tx_keys: usize) -> Result<(), CompactError> {
    unimplemented!()
}
