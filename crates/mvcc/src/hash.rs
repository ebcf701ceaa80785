//! HashKV: one number for everything that can still be read at a revision, equal on all members (data-dir contract 6.5).

use std::ops::ControlFlow;

use api::Revision;
use backend::{Bucket, RevisionKey};
use parking_lot::Mutex;

use crate::MvccError;
use crate::index::KeepSet;
use crate::store::Core;

/// Hashes of compactions that are remembered.
const REMEMBERED: usize = 10;

/// An answer of HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    /// The revision it was computed at (`hash_revision`).
    pub revision: i64,
    /// The compact revision that it was computed under: -1 before any.
    pub compact_revision: i64,
}

/// Hashes the entries of bucket `key` as they are fed, in order, and leaves out what members may or may not still have.
pub(crate) struct Hasher<'k> {
    hash: u32,
    compacted: i64,
    revision: i64,
    keep: &'k KeepSet,
}

impl<'k> Hasher<'k> {
    pub fn new(compacted: i64, revision: i64, keep: &'k KeepSet) -> Hasher<'k> {
        Hasher {
            hash: crc32c::crc32c(Bucket::Key.name()),
            compacted,
            revision,
            keep,
        }
    }

    /// Goes on from where [`Hasher::sum`] was.
    pub fn resumed(self, hash: u32) -> Hasher<'k> {
        Hasher { hash, ..self }
    }

    pub fn add(&mut self, at: RevisionKey, key: &[u8], value: &[u8]) {
        let main = at.revision.main;
        if main > self.revision {
            return;
        }
        // Deleted here already, or about to be; with nothing to keep there is nothing to tell them by.
        if main <= self.compacted && !self.keep.is_empty() && !self.keep.contains(at.revision) {
            return;
        }
        // Versions before 3.5.16 delete a tombstone at the compact revision, newer ones keep it.
        if main == self.compacted && at.tombstone {
            return;
        }
        self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, key), value);
    }

    pub fn sum(&self) -> u32 {
        self.hash
    }
}

/// The remembered hashes of compactions, by revision.
#[derive(Default)]
pub(crate) struct Hashes {
    by_revision: Mutex<Vec<HashKv>>,
}

impl Hashes {
    pub fn remember(&self, hash: HashKv) {
        let mut all = self.by_revision.lock();
        let at = all.partition_point(|h| h.revision < hash.revision);
        all.insert(at, hash);
        if all.len() > REMEMBERED {
            all.remove(0);
        }
    }

    pub fn find(&self, revision: i64) -> Option<HashKv> {
        self.by_revision.lock().iter().find(|h| h.revision == revision).copied()
    }

    pub fn newest_first(&self) -> Vec<HashKv> {
        self.by_revision.lock().iter().rev().copied().collect()
    }
}

impl Core {
    /// HashKV; revision 0 asks for the newest.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, MvccError> {
        if revision != 0
            && let Some(hash) = self.hashes.find(revision)
        {
            return Ok(hash);
        }
        loop {
            let current = self.revision();
            let compacted = self.compacted();
            if revision > current {
                return Err(MvccError::FutureRevision);
            }
            if revision > 0 && revision < compacted {
                return Err(MvccError::Compacted);
            }
            let at = if revision == 0 { current } else { revision };
            let keep = self.index.keep(at);
            let view = self.backend.view();
            if self.compacted() != compacted || compacted > current {
                // The index may have lost what this revision needs, or the view what it would count.
                continue;
            }
            let mut hasher = Hasher::new(compacted, at, &keep);
            let mut odd = None;
            let end = Revision::new(at.saturating_add(1), 0).to_key();
            view.scan(Bucket::Key, &[], &end, &mut |key, value| match RevisionKey::parse(key) {
                Some(revision) => {
                    hasher.add(revision, key, value);
                    ControlFlow::Continue(())
                }
                None => {
                    odd = Some(key.to_vec());
                    ControlFlow::Break(())
                }
            })?;
            if let Some(key) = odd {
                return Err(MvccError::NotARevision(key));
            }
            return Ok(HashKv {
                hash: hasher.sum(),
                revision: at,
                compact_revision: compacted,
            });
        }
    }
}
