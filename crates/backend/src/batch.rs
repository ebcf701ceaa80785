//! What one log entry changes in the database: built by apply, handed over whole, never changed afterwards.

use api::{RaftIndex, Revision, Term};
use bytes::Bytes;

use crate::Bucket;

/// The key of an entry of bucket `key`: a revision, and whether it is a tombstone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionKey {
    pub revision: Revision,
    // A tombstone's key is one byte longer than, and so sorts after, the put of the same revision.
    pub tombstone: bool,
}

impl RevisionKey {
    pub const fn put(revision: Revision) -> RevisionKey {
        RevisionKey {
            revision,
            tombstone: false,
        }
    }

    pub const fn tombstone(revision: Revision) -> RevisionKey {
        RevisionKey { revision, tombstone: true }
    }

    /// Reads a key of bucket `key`; `None` if it has neither of the two forms.
    pub fn parse(key: &[u8]) -> Option<RevisionKey> {
        Revision::from_key(key).map(|(revision, tombstone)| RevisionKey { revision, tombstone })
    }

    /// Calls `with` with the bytes of this key as they stand in the file.
    pub fn with_bytes<R>(self, with: impl FnOnce(&[u8]) -> R) -> R {
        if self.tombstone {
            with(&self.revision.to_tombstone_key())
        } else {
            with(&self.revision.to_key())
        }
    }
}

/// A new entry of bucket `key`.
#[derive(Clone, Debug)]
pub(crate) struct RevisionPut {
    pub key: RevisionKey,
    pub value: Bytes,
}

/// A change in one of the small buckets: `None` deletes.
#[derive(Clone, Debug)]
pub(crate) struct SmallOp {
    pub bucket: Bucket,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// The changes of one entry of the raft log (or of one slice of a compaction). They reach the file in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) puts: Vec<RevisionPut>,
    pub(crate) deletes: Vec<RevisionKey>,
    pub(crate) small: Vec<SmallOp>,
    pub(crate) applied: Option<(RaftIndex, Term)>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds an entry to bucket `key`. Revisions must grow, within the batch and from batch to batch.
    pub fn put_revision(&mut self, key: RevisionKey, value: Bytes) {
        if let Some(last) = self.puts.last() {
            assert!(last.key < key, "revisions of a batch do not grow");
        }
        self.puts.push(RevisionPut { key, value });
    }

    /// Removes entries of bucket `key` (compaction). They never come back.
    pub fn delete_revisions(&mut self, keys: Vec<RevisionKey>) {
        assert!(self.deletes.is_empty(), "one slice of deletes a batch");
        assert!(keys.is_sorted(), "deletes of a slice in key order");
        self.deletes = keys;
    }

    /// Sets a key of a small bucket.
    ///
    /// # Panics
    /// For [`Bucket::Key`]: see [`Batch::put_revision`].
    pub fn put(&mut self, bucket: Bucket, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        assert!(bucket != Bucket::Key, "the key bucket takes revisions");
        self.small.push(SmallOp {
            bucket,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    /// Removes a key of a small bucket; a missing key is no error.
    ///
    /// # Panics
    /// For [`Bucket::Key`]: see [`Batch::delete_revisions`].
    pub fn delete(&mut self, bucket: Bucket, key: impl Into<Bytes>) {
        assert!(bucket != Bucket::Key, "the key bucket takes revisions");
        self.small.push(SmallOp {
            bucket,
            key: key.into(),
            value: None,
        });
    }

    /// The log entry whose effects these are: goes into the same transaction as they. Must never go down.
    pub fn set_consistent_index(&mut self, index: RaftIndex, term: Term) {
        assert!(index.0 > 0, "index 0 is never written");
        self.applied = Some((index, term));
    }

    /// The raft configuration as JSON (`meta/confState`): written for tools and the hash, never read by the server.
    pub fn set_conf_state(&mut self, json: impl Into<Bytes>) {
        self.put(Bucket::Meta, crate::schema::CONF_STATE, json);
    }

    /// Changes of data, not counting the consistent index.
    pub fn operations(&self) -> usize {
        self.puts.len() + self.deletes.len() + self.small.len()
    }

    /// Bytes of the values put.
    pub(crate) fn bytes(&self) -> usize {
        let puts: usize = self.puts.iter().map(|p| p.value.len()).sum();
        let small: usize = self.small.iter().filter_map(|op| op.value.as_ref()).map(Bytes::len).sum();
        puts + small
    }

    pub fn is_empty(&self) -> bool {
        self.operations() == 0 && self.applied.is_none()
    }

    /// The value put under a revision in this very batch (a transaction reads its own writes).
    pub fn get_revision(&self, key: RevisionKey) -> Option<&Bytes> {
        let at = self.puts.binary_search_by(|p| p.key.cmp(&key)).ok()?;
        Some(&self.puts[at].value)
    }
}
