//! Moves over the elements of a bucket in key order.

use crate::{Bucket, PageError};

/// A key and its value (empty if the key names a nested bucket).
pub type Element<'t> = (&'t [u8], &'t [u8]);

/// A place in a bucket. Slices it gives live as long as the transaction.
pub struct Cursor<'t> {
    _bucket: Bucket<'t>,
}

impl<'t> Cursor<'t> {
    /// Moves to the first element with a key not below this one.
    pub fn seek(&mut self, _key: &[u8]) -> Result<Option<Element<'t>>, PageError> {
        unimplemented!()
    }

    pub fn first(&mut self) -> Result<Option<Element<'t>>, PageError> {
        unimplemented!()
    }

    pub fn last(&mut self) -> Result<Option<Element<'t>>, PageError> {
        unimplemented!()
    }

    /// Moves to the next element; `None` at the end, where the cursor stays.
    pub fn next(&mut self) -> Result<Option<Element<'t>>, PageError> {
        unimplemented!()
    }

    pub fn prev(&mut self) -> Result<Option<Element<'t>>, PageError> {
        unimplemented!()
    }

    /// Whether the element last given is a nested bucket.
    pub fn at_bucket(&self) -> bool {
        unimplemented!()
    }
}
