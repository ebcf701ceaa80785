//! The one write transaction: its changes are seen by itself alone until `commit`.

use std::marker::PhantomData;

use crate::{CommitError, Db, TxError};

/// An opened bucket of one [`WriteTx`]. Of no use in another, or after the bucket was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketId(u32);

/// What a commit did.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitStats {
    pub txid: u64,
    /// Data pages written, overflow pages included.
    pub pages_written: u64,
    pub bytes_written: u64,
    /// Calls of write for data pages.
    pub writes: u64,
    /// Pages given up by this commit.
    pub pages_freed: u64,
}

/// The write transaction. Dropping it is a rollback.
pub struct WriteTx<'db> {
    _db: PhantomData<&'db Db>,
}

impl WriteTx<'_> {
    /// The number this commit will have.
    pub fn txid(&self) -> u64 {
        unimplemented!()
    }

    /// Finds a bucket: `&[name]`, or a path of names for a nested one.
    pub fn bucket(&mut self, _path: &[&[u8]]) -> Result<Option<BucketId>, TxError> {
        unimplemented!()
    }

    /// Makes a bucket; all but the last name of the path must exist.
    pub fn create_bucket(&mut self, _path: &[&[u8]]) -> Result<BucketId, TxError> {
        unimplemented!()
    }

    pub fn create_bucket_if_missing(&mut self, _path: &[&[u8]]) -> Result<BucketId, TxError> {
        unimplemented!()
    }

    /// Deletes a bucket with all that is in it.
    pub fn delete_bucket(&mut self, _path: &[&[u8]]) -> Result<(), TxError> {
        unimplemented!()
    }

    pub fn put(&mut self, _bucket: BucketId, _key: &[u8], _value: &[u8]) -> Result<(), TxError> {
        unimplemented!()
    }

    /// Returns whether the key was there.
    pub fn delete(&mut self, _bucket: BucketId, _key: &[u8]) -> Result<bool, TxError> {
        unimplemented!()
    }

    /// The value as this transaction sees it.
    pub fn get(&self, _bucket: BucketId, _key: &[u8]) -> Result<Option<&[u8]>, TxError> {
        unimplemented!()
    }

    pub fn sequence(&self, _bucket: BucketId) -> u64 {
        unimplemented!()
    }

    pub fn set_sequence(&mut self, _bucket: BucketId, _sequence: u64) {
        unimplemented!()
    }

    /// How full pages are made when a node is split, 0.1 to 1.0; 0.5 unless told. Holds for this transaction.
    pub fn set_fill_percent(&mut self, _bucket: BucketId, _fill: f32) {
        unimplemented!()
    }

    /// Makes the changes durable and visible to new readers: data, sync, meta, sync.
    pub fn commit(self) -> Result<CommitStats, CommitError> {
        unimplemented!()
    }

    /// Forgets the changes; the same as dropping it.
    pub fn rollback(self) {}
}
