//! The key index: which revisions every key has, in key order, all in memory.
//!
//! Stands at step 9 of the life of a Put: the writer enters the new revision here and learns the key's create revision and
//! version; readers learn which revision of a key they have to fetch. One writer, many readers: readers hold the lock for a
//! bounded slice of work at a time. Never sees values, never touches the database.

#![allow(clippy::unimplemented)]

use std::ops::ControlFlow;

use api::Revision;

/// Keys a request is about, by etcd's conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange<'a> {
    pub from: &'a [u8],
    pub until: Until<'a>,
}

/// The end of a [`KeyRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until<'a> {
    /// `from` alone.
    Single,
    /// All keys from `from` up to, but without, this one. Nothing if it is not above `from`.
    Before(&'a [u8]),
    /// All keys from `from` on.
    Unbounded,
}

impl<'a> KeyRange<'a> {
    /// As requests say it: an empty `range_end` means the key alone, a single zero byte means no end.
    pub fn of(key: &'a [u8], range_end: &'a [u8]) -> KeyRange<'a> {
        let until = match range_end {
            [] => Until::Single,
            [0] => Until::Unbounded,
            end => Until::Before(end),
        };
        KeyRange { from: key, until }
    }
}

/// What the index knows of a key at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRevision {
    /// The newest change of the key at or below the revision asked for: where its value is.
    pub modified: Revision,
    /// Main revision in which the key's present life began.
    pub created: i64,
    /// Number of changes since then, that one included.
    pub version: i64,
}

/// What a put did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// `create_revision` of the new key-value pair.
    pub created: i64,
    /// `version` of the new key-value pair.
    pub version: i64,
    /// Where the value before is, if the key existed.
    pub previous: Option<Revision>,
}

/// A tombstone for a key that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mvcc: revision not found")]
pub struct NoSuchKey;

/// Revisions a compaction keeps, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepSet {
    sorted: Vec<Revision>,
}

impl KeepSet {
    pub fn contains(&self, revision: Revision) -> bool {
        self.sorted.binary_search(&revision).is_ok()
    }
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
    pub fn len(&self) -> usize {
        self.sorted.len()
    }
    pub fn iter(&self) -> impl Iterator<Item = Revision> + '_ {
        self.sorted.iter().copied()
    }
}

/// A compaction of the index under way.
#[derive(Debug)]
pub struct Compaction {}

impl Compaction {
    /// The revisions kept, once [`KeyIndex::compact_step`] has said that it is done.
    pub fn into_kept(self) -> KeepSet {
        unimplemented!()
    }
}

/// A key-value pair of the `key` bucket, as a restart reads it.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    Put { created: i64, version: i64 },
    Tombstone,
}

/// The index. All methods take `&self`; changes are for one writer at a time (and for compaction beside it).
#[derive(Debug, Default)]
pub struct KeyIndex {}

impl KeyIndex {
    pub fn new() -> KeyIndex {
        KeyIndex::default()
    }
    /// Enters a put. The revision must be above all that the key has seen.
    pub fn put(&self, key: &[u8], revision: Revision) -> Entered {
        let _ = (key, revision);
        unimplemented!()
    }
    /// Enters a delete and gives the revision of the value deleted.
    pub fn tombstone(&self, key: &[u8], revision: Revision) -> Result<Revision, NoSuchKey> {
        let _ = (key, revision);
        unimplemented!()
    }
    /// The key as of main revision `at` (and every sub revision of it).
    pub fn get(&self, key: &[u8], at: i64) -> Option<KeyRevision> {
        let _ = (key, at);
        unimplemented!()
    }
    /// Visits the keys that live at `at`, in order, until `limit` (0: no limit) or until `visit` breaks. Gives the number visited.
    /// The lock is let go every few hundred keys: what a compaction above `at` removes meanwhile may be missed, so check the compact revision afterwards.
    pub fn range(&self, range: KeyRange<'_>, at: i64, limit: usize, visit: &mut dyn FnMut(&[u8], KeyRevision) -> ControlFlow<()>) -> usize {
        let _ = (range, at, limit, visit);
        unimplemented!()
    }
    /// How many keys of the range live at `at`. At the newest revision this costs the height of the tree.
    pub fn count(&self, range: KeyRange<'_>, at: i64) -> u64 {
        let _ = (range, at);
        unimplemented!()
    }
    /// Revisions of the key from main revision `from` on; of several in one main revision the last.
    pub fn since(&self, key: &[u8], from: i64) -> Vec<Revision> {
        let _ = (key, from);
        unimplemented!()
    }
    /// Starts forgetting what nobody can ask for once `revision` is the compact revision.
    pub fn start_compaction(&self, revision: i64) -> Compaction {
        let _ = revision;
        unimplemented!()
    }
    /// Does one slice of a compaction: about `max_keys` keys under the lock. True when it is done.
    pub fn compact_step(&self, compaction: &mut Compaction, max_keys: usize) -> bool {
        let _ = (compaction, max_keys);
        unimplemented!()
    }
    /// A whole compaction, in slices.
    pub fn compact(&self, revision: i64) -> KeepSet {
        let _ = revision;
        unimplemented!()
    }
    /// What HashKV at `revision` keeps: as a compaction would, but without closing tombstones (data-dir.md 6.5). Changes nothing.
    pub fn keep(&self, revision: i64) -> KeepSet {
        let _ = revision;
        unimplemented!()
    }
    /// Enters what a restart reads from the `key` bucket, in the order of the bucket.
    pub fn restore(&self, entries: &mut dyn Iterator<Item = (&[u8], Revision, Stored)>) {
        let _ = entries;
        unimplemented!()
    }
    /// Forgets everything (before a restore from a snapshot).
    pub fn clear(&self) {
        unimplemented!()
    }
    /// Keys in the index, also those that only have a tombstone left.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Keys that live at the newest revision.
    pub fn live_len(&self) -> usize {
        unimplemented!()
    }
    /// Same keys with the same histories.
    pub fn equal(&self, other: &KeyIndex) -> bool {
        let _ = other;
        unimplemented!()
    }
}
