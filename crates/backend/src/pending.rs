//! The changes that are not in the file yet: an append-only log that readers walk without a lock.
//!
//! One [`Epoch`] collects batches until the committer seals it; the next batches go to a new one. The appender publishes a
//! batch by storing the lengths that the epoch's vectors have after it ([`End`]); a reader copies the newest `End` and never
//! looks beyond it. Nothing is ever changed or removed, so a prefix stays what it was for as long as somebody holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{RaftIndex, Term};
use bytes::Bytes;

use crate::batch::{Batch, RevisionPut, SmallOp};
use crate::{Bucket, RevisionKey};

/// How long the vectors of an epoch are after one of its batches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    pub puts: usize,
    /// Slices of deletes, not single ones.
    pub deletes: usize,
    pub small: usize,
    /// Changes of data so far.
    pub operations: usize,
    /// Bytes of values so far.
    pub bytes: usize,
    /// The newest consistent index handed over in this epoch, and its term.
    pub applied: Option<(RaftIndex, Term)>,
}

/// The batches handed over between two commits.
#[derive(Default)]
pub(crate) struct Epoch {
    /// In the order of their revisions.
    puts: boxcar::Vec<RevisionPut>,
    /// Each slice in key order.
    deletes: boxcar::Vec<Vec<RevisionKey>>,
    small: boxcar::Vec<SmallOp>,
    ends: boxcar::Vec<End>,
    published: AtomicUsize,
}

impl Epoch {
    /// Appends a batch and publishes it. The caller is the only appender at this moment (it holds the appender's lock).
    pub fn append(&self, batch: Batch) -> End {
        let mut end = self.end();
        end.operations += batch.operations();
        end.bytes += batch.bytes();
        for put in batch.puts {
            self.puts.push(put);
            end.puts += 1;
        }
        if !batch.deletes.is_empty() {
            self.deletes.push(batch.deletes);
            end.deletes += 1;
        }
        for op in batch.small {
            self.small.push(op);
            end.small += 1;
        }
        end.applied = batch.applied.or(end.applied);
        self.ends.push(end);
        // Pairs with the acquire in `end`: whoever sees the number sees the batch.
        self.published.fetch_add(1, Ordering::Release);
        end
    }

    /// Where the newest published batch ends.
    pub fn end(&self) -> End {
        match self.published.load(Ordering::Acquire) {
            0 => End::default(),
            n => *self.ends.get(n - 1).expect("published batches are there"),
        }
    }

    /// Batches so far, those without changes of data included.
    pub fn batches(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }
}

/// An epoch up to one of its batches.
#[derive(Clone)]
pub(crate) struct Prefix {
    pub epoch: Arc<Epoch>,
    pub end: End,
}

impl Prefix {
    fn put(&self, at: usize) -> &RevisionPut {
        debug_assert!(at < self.end.puts);
        self.epoch.puts.get(at).expect("published puts are there")
    }

    /// All puts of bucket `key` from the first with a key not below `from`.
    pub fn puts_from(&self, from: RevisionKey) -> impl Iterator<Item = &RevisionPut> {
        let (mut low, mut high) = (0, self.end.puts);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.put(middle).key < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..self.end.puts).map(|at| self.put(at))
    }

    pub fn puts(&self) -> impl Iterator<Item = &RevisionPut> {
        (0..self.end.puts).map(|at| self.put(at))
    }

    /// A value put under a revision, whether deleted since or not.
    pub fn find(&self, key: RevisionKey) -> Option<&Bytes> {
        if self.end.puts == 0 || key < self.put(0).key {
            return None;
        }
        self.puts_from(key).next().filter(|p| p.key == key).map(|p| &p.value)
    }

    /// Slices of deletes of bucket `key`, in the order they came.
    pub fn deletes(&self) -> impl Iterator<Item = &[RevisionKey]> {
        (0..self.end.deletes).map(|at| self.epoch.deletes.get(at).expect("published deletes are there").as_slice())
    }

    /// Whether a revision was deleted in this prefix.
    pub fn deleted(&self, key: RevisionKey) -> bool {
        self.deletes().any(|slice| {
            // A look at both ends first: most questions are about revisions that no compaction is near.
            slice.first().is_some_and(|f| *f <= key) && slice.last().is_some_and(|l| *l >= key) && slice.binary_search(&key).is_ok()
        })
    }

    /// Changes of the small buckets, oldest first.
    pub fn small(&self) -> impl DoubleEndedIterator<Item = &SmallOp> {
        (0..self.end.small).map(|at| self.epoch.small.get(at).expect("published changes are there"))
    }

    /// The newest change of a key: `Some(None)` if it was deleted. The consistent index and its term are not among the
    /// changes; they stand in [`End::applied`].
    pub fn find_small(&self, bucket: Bucket, key: &[u8]) -> Option<Option<&Bytes>> {
        let op = self.small().rev().find(|op| op.bucket == bucket && op.key == key)?;
        Some(op.value.as_ref())
    }
}
