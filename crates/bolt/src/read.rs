//! A committed state and its buckets.

use std::io;

use crate::{BucketStats, CheckReport, Cursor, PageError};

/// A committed state, unchanged for as long as this lives. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct ReadTx {
    _private: (),
}

impl ReadTx {
    /// The top-level bucket of this name.
    pub fn bucket(&self, _name: &[u8]) -> Result<Option<Bucket<'_>>, PageError> {
        unimplemented!()
    }

    /// The names of the top-level buckets, in order.
    pub fn buckets(&self) -> Result<Vec<&[u8]>, PageError> {
        unimplemented!()
    }

    /// The bucket that holds the top-level buckets.
    pub fn root(&self) -> Bucket<'_> {
        unimplemented!()
    }

    /// Bytes up to the high-water mark of this state.
    pub fn size(&self) -> u64 {
        unimplemented!()
    }

    /// The number of the commit.
    pub fn txid(&self) -> u64 {
        unimplemented!()
    }

    /// Hands over the database image (data-dir contract 5.4) piece by piece, exactly [`ReadTx::size`] bytes.
    pub fn write_image(&self, _chunk: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        unimplemented!()
    }

    /// Walks all pages and reports every fault.
    pub fn check(&self) -> CheckReport {
        unimplemented!()
    }
}

/// A bucket of a committed state.
#[derive(Clone, Copy)]
pub struct Bucket<'t> {
    _tx: &'t ReadTx,
}

impl<'t> Bucket<'t> {
    /// The value of a key; `None` too if the key names a nested bucket.
    pub fn get(&self, _key: &[u8]) -> Result<Option<&'t [u8]>, PageError> {
        unimplemented!()
    }

    /// The nested bucket of this name.
    pub fn bucket(&self, _name: &[u8]) -> Result<Option<Bucket<'t>>, PageError> {
        unimplemented!()
    }

    /// A cursor before the first element.
    pub fn cursor(&self) -> Cursor<'t> {
        unimplemented!()
    }

    pub fn sequence(&self) -> u64 {
        unimplemented!()
    }

    /// Counts pages, keys and bytes as bbolt's `Bucket.Stats` does, nested buckets included.
    pub fn stats(&self) -> Result<BucketStats, PageError> {
        unimplemented!()
    }
}
