//! The key index: which revisions every key has, in key order, all in memory.
//!
//! Stands at step 9 of the life of a Put: the writer enters the new revision here and learns the key's create revision and
//! version; readers learn which revision of a key they have to fetch. One writer, many readers: readers hold the lock for a
//! bounded slice of work at a time. Never sees values, never touches the database.

mod keys;
mod recent;
#[cfg(test)]
mod tests;
mod tree;
mod versions;

use std::ops::ControlFlow;

use api::Revision;
use parking_lot::RwLock;

use recent::Recent;
use tree::{Tree, Visit, Walk};
use versions::Versions;

/// Keys that a walk handles before it lets go of the lock.
const SLICE_KEYS: usize = 512;

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
pub struct Compaction {
    revision: i64,
    /// Where the next slice begins; `None` when there is none.
    next: Option<Vec<u8>>,
    kept: Vec<Revision>,
}

impl Compaction {
    /// The revisions kept, once [`KeyIndex::compact_step`] has said that it is done.
    pub fn into_kept(mut self) -> KeepSet {
        assert!(self.next.is_none(), "compaction is not finished");
        self.kept.sort_unstable();
        KeepSet { sorted: self.kept }
    }
}

/// A key-value pair of the `key` bucket, as a restart reads it.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    Put { created: i64, version: i64 },
    Tombstone,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    /// Largest main revision entered.
    newest: i64,
    recent: Recent,
}

/// The index. All methods take `&self`; changes are for one writer at a time (and for compaction beside it).
#[derive(Debug, Default)]
pub struct KeyIndex {
    state: RwLock<State>,
}

impl KeyIndex {
    pub fn new() -> KeyIndex {
        KeyIndex::default()
    }

    /// Enters a put. The revision must be above all that the key has seen.
    pub fn put(&self, key: &[u8], revision: Revision) -> Entered {
        let mut state = self.state.write();
        let entered = state.tree.put(key, revision);
        state.newest = state.newest.max(revision.main);
        if entered.previous.is_none() {
            state.recent.born(revision.main, key);
        }
        entered
    }

    /// Enters a delete and gives the revision of the value deleted.
    pub fn tombstone(&self, key: &[u8], revision: Revision) -> Result<Revision, NoSuchKey> {
        let mut state = self.state.write();
        let before = state.tree.tombstone(key, revision)?;
        state.newest = state.newest.max(revision.main);
        state.recent.died(revision.main, key);
        Ok(before)
    }

    /// The key as of main revision `at` (and every sub revision of it).
    pub fn get(&self, key: &[u8], at: i64) -> Option<KeyRevision> {
        self.state.read().tree.get(key)?.get(at)
    }

    /// Visits the keys that live at `at`, in order, until `limit` (0: no limit) or until `visit` breaks. Gives the number
    /// visited. `visit` is called under the lock, so it should only take notes. The lock is let go every few hundred keys:
    /// what a compaction above `at` removes meanwhile may be missed, so check the compact revision afterwards.
    pub fn range(&self, range: KeyRange<'_>, at: i64, limit: usize, visit: &mut dyn FnMut(&[u8], KeyRevision) -> ControlFlow<()>) -> usize {
        if range.until == Until::Single {
            let found = self.get(range.from, at);
            let _ = found.map(|found| visit(range.from, found));
            return usize::from(found.is_some());
        }
        let mut visited = 0;
        self.walk_keys(range, Some(at), &mut |key, versions| {
            let Some(found) = versions.get(at) else { return true };
            visited += 1;
            visit(key, found).is_continue() && visited != limit
        });
        visited
    }

    /// As [`KeyIndex::range`], without the keys, which need not be put together then: for those who fetch the values anyway.
    pub fn revisions(&self, range: KeyRange<'_>, at: i64, limit: usize, visit: &mut dyn FnMut(KeyRevision) -> ControlFlow<()>) -> usize {
        if range.until == Until::Single {
            return self.range(range, at, limit, &mut |_, found| visit(found));
        }
        let mut visited = 0;
        self.walk(range, Some(at), |versions| {
            let Some(found) = versions.get(at) else { return true };
            visited += 1;
            visit(found).is_continue() && visited != limit
        });
        visited
    }

    /// Visits the versions of all keys of a range, slice by slice. `at`: keys that do not live then need not be visited.
    fn walk(&self, range: KeyRange<'_>, at: Option<i64>, mut visit: impl FnMut(&Versions) -> bool) {
        self.walk_slices(range, at, |state, from, end, live_only| {
            state.tree.visit(from, end, live_only, SLICE_KEYS, Visit::Versions(&mut visit))
        });
    }

    /// The same with the keys.
    fn walk_keys(&self, range: KeyRange<'_>, at: Option<i64>, visit: &mut dyn FnMut(&[u8], &Versions) -> bool) {
        self.walk_slices(range, at, |state, from, end, live_only| {
            state.tree.visit(from, end, live_only, SLICE_KEYS, Visit::Keys(visit))
        });
    }

    fn walk_slices(&self, range: KeyRange<'_>, at: Option<i64>, mut slice: impl FnMut(&State, &[u8], Option<&[u8]>, bool) -> Walk) {
        let end = match range.until {
            Until::Single => unreachable!("single keys are looked up"),
            Until::Before(end) if end <= range.from => return,
            Until::Before(end) => Some(end),
            Until::Unbounded => None,
        };
        let mut from = std::borrow::Cow::Borrowed(range.from);
        loop {
            let state = self.state.read();
            let live_only = at.is_some_and(|at| at >= state.newest);
            match slice(&state, &from, end, live_only) {
                Walk::From(next) => from = next.into(),
                Walk::Done | Walk::Stopped => return,
            }
        }
    }

    /// How many keys of the range live at `at`. At the newest revision this costs the height of the tree; a little below it, a
    /// look at every key born or deleted since; far below it, a walk over the range.
    pub fn count(&self, range: KeyRange<'_>, at: i64) -> u64 {
        {
            let state = self.state.read();
            let newest = state.tree.count(range.from, range.until);
            if at >= state.newest {
                return newest;
            }
            if let Some(gained) = state.recent.gained_since(at, range) {
                return newest.checked_add_signed(-gained).expect("more keys born than live");
            }
        }
        self.revisions(range, at, 0, &mut |_| ControlFlow::Continue(())) as u64
    }

    /// Revisions of the key from main revision `from` on; of several in one main revision the last.
    pub fn since(&self, key: &[u8], from: i64) -> Vec<Revision> {
        self.state.read().tree.get(key).map_or(Vec::new(), |versions| versions.since(from))
    }

    /// Starts forgetting what nobody can ask for once `revision` is the compact revision.
    pub fn start_compaction(&self, revision: i64) -> Compaction {
        Compaction {
            revision,
            next: Some(Vec::new()),
            kept: Vec::new(),
        }
    }

    /// Does one slice of a compaction: about `max_keys` keys under the lock. True when it is done.
    pub fn compact_step(&self, compaction: &mut Compaction, max_keys: usize) -> bool {
        let Compaction { revision, next, kept } = compaction;
        let Some(from) = next.take() else { return true };
        if let Walk::From(key) = self.state.write().tree.compact(&from, *revision, max_keys, &mut |r| kept.push(r)) {
            *next = Some(key);
        }
        next.is_none()
    }

    /// A whole compaction, in slices.
    pub fn compact(&self, revision: i64) -> KeepSet {
        let mut compaction = self.start_compaction(revision);
        while !self.compact_step(&mut compaction, SLICE_KEYS) {}
        compaction.into_kept()
    }

    /// What HashKV at `revision` keeps: as a compaction would, but without closing tombstones (data-dir.md 6.5). Changes nothing.
    pub fn keep(&self, revision: i64) -> KeepSet {
        let mut sorted = Vec::new();
        self.walk(ALL, None, |versions| {
            sorted.extend(versions.keep(revision));
            true
        });
        sorted.sort_unstable();
        KeepSet { sorted }
    }

    /// Enters what a restart reads from the `key` bucket, in the order of the bucket, into an index that was empty.
    /// A tombstone of a key that is deleted already is ignored, as etcd does.
    pub fn restore(&self, entries: &mut dyn Iterator<Item = (&[u8], Revision, Stored)>) {
        let mut state = self.state.write();
        for (key, revision, stored) in entries {
            state.newest = state.newest.max(revision.main);
            state.tree.change(key, &mut |versions| match (versions, stored) {
                (Some(versions), Stored::Put { .. }) => {
                    versions.put(revision);
                    ((), None)
                }
                (Some(versions), Stored::Tombstone) => {
                    let _ = versions.tombstone(revision);
                    ((), None)
                }
                (None, Stored::Put { created, version }) => ((), Some(Versions::restored(revision, created, version, false))),
                // The life it ended is compacted.
                (None, Stored::Tombstone) => ((), Some(Versions::restored(revision, 0, 1, true))),
            });
        }
        let newest = state.newest;
        state.recent.begin(newest);
    }

    /// Keys in the index, also those that only have a tombstone left.
    pub fn len(&self) -> usize {
        self.state.read().tree.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that live at the newest revision.
    pub fn live_len(&self) -> usize {
        self.state.read().tree.live() as usize
    }

    /// Same keys with the same histories. For tests and checks; nothing may change meanwhile.
    pub fn equal(&self, other: &KeyIndex) -> bool {
        let mut same = self.len() == other.len();
        self.walk_keys(ALL, None, &mut |key, versions| {
            same = same && other.state.read().tree.get(key).is_some_and(|others| versions.equal(others));
            same
        });
        same
    }
}

/// Every key there can be, the empty one included.
const ALL: KeyRange<'static> = KeyRange {
    from: b"",
    until: Until::Unbounded,
};
