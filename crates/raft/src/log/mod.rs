//! The log: what is stored, what is not stored yet, what is committed and applied.
//!
//! Three marks walk through it: `applied <= applying <= committed`. Where our own log turns out to have lost what it must hold, the
//! process ends ([`fatal!`]): going on could lose acknowledged writes. What a peer sends is checked before it comes here.

mod memory;
pub(crate) mod size;
mod storage;
#[cfg(test)]
mod tests;
mod unstable;

use std::fmt;
use std::sync::Arc;

use api::pb::raftpb::{Entry, Snapshot};

pub use memory::MemoryStorage;
use size::{encoded_size, limit_len};
pub use storage::{Storage, StorageError};
use unstable::Unstable;

use crate::StepError;
use crate::logger::{Logger, error, fatal, info};

/// A position in the log and the term of the entry there: by the log matching property it names the whole log up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryId {
    pub term: u64,
    pub index: u64,
}

impl EntryId {
    pub fn of_snapshot(snapshot: &Snapshot) -> EntryId {
        snapshot.metadata.as_ref().map_or(EntryId::default(), |metadata| EntryId {
            term: metadata.term(),
            index: metadata.index(),
        })
    }
}

pub(crate) struct RaftLog<S> {
    pub storage: S,
    pub unstable: Unstable,
    /// The last index known to be stored on a quorum.
    pub committed: u64,
    /// The last index handed out to be applied.
    pub applying: u64,
    /// The last index that is applied.
    pub applied: u64,
    /// The most encoded bytes of entries that may be handed out and not applied yet.
    max_applying_size: u64,
    applying_size: u64,
    /// Nothing more is handed out until something is applied.
    applying_paused: bool,
    logger: Arc<dyn Logger>,
}

impl<S: Storage> RaftLog<S> {
    /// The log as it stands in the storage. What is compacted counts as committed and applied.
    pub fn new(storage: S, logger: Arc<dyn Logger>, max_applying_size: u64) -> Result<RaftLog<S>, StorageError> {
        let compacted = storage.first_index()? - 1;
        let last = storage.last_index()?;
        Ok(RaftLog {
            storage,
            unstable: Unstable::new(last + 1, Arc::clone(&logger)),
            committed: compacted,
            applying: compacted,
            applied: compacted,
            max_applying_size,
            applying_size: 0,
            applying_paused: false,
            logger,
        })
    }

    /// Follower's side of an append: takes `entries` behind `prev` if the log matches there, and moves the commit index as far as
    /// both know. Returns the last index that now equals the leader's, or none if the log does not match at `prev`.
    ///
    /// # Errors
    /// The entries contradict committed ones: one of the two logs is corrupt. Nothing has changed then.
    pub fn try_append(&mut self, prev: EntryId, mut entries: Vec<Entry>, committed: u64) -> Result<Option<u64>, StepError> {
        if !self.match_term(prev) {
            return Ok(None);
        }
        let last_new = prev.index + entries.len() as u64;
        if let Some(conflict) = self.find_conflict(&entries) {
            if conflict <= self.committed {
                error!(
                    self.logger,
                    "entry {conflict} conflict with committed entry [committed({})]", self.committed
                );
                return Err(StepError::Conflict);
            }
            let known = (conflict - prev.index - 1) as usize;
            if known == 0 {
                self.append(entries);
            } else {
                self.append(entries.split_off(known));
            }
        }
        self.commit_to(committed.min(last_new));
        Ok(Some(last_new))
    }

    /// Appends behind what is committed; uncommitted entries at the same positions give way. Returns the last index.
    pub fn append(&mut self, entries: Vec<Entry>) -> u64 {
        let Some(first) = entries.first().map(Entry::index) else {
            return self.last_index();
        };
        if first <= self.committed {
            fatal!(self.logger, "after({}) is out of range [committed({})]", first - 1, self.committed);
        }
        self.unstable.truncate_and_append(first, entries.into_iter());
        self.last_index()
    }

    /// The first of `entries` that the log does not hold: another stands in its place, or the log ends before it.
    fn find_conflict(&self, entries: &[Entry]) -> Option<u64> {
        let entry = entries.iter().find(|entry| {
            !self.match_term(EntryId {
                term: entry.term(),
                index: entry.index(),
            })
        })?;
        let index = entry.index();
        if index <= self.last_index() {
            info!(
                self.logger,
                "found conflict at index {index} [existing term: {}, conflicting term: {}]",
                self.term_or_zero(index),
                entry.term()
            );
        }
        Some(index)
    }

    /// A guess where this log ends matching another one, of which only an entry `(index, term)` is known: the greatest position up to
    /// `index` with a term of at most `term`, or of which the term is not known (0 is returned for it).
    pub fn find_conflict_by_term(&self, index: u64, term: u64) -> (u64, u64) {
        let mut index = index;
        while index > 0 {
            match self.term(index) {
                Err(_) => return (index, 0),
                Ok(ours) if ours <= term => return (index, ours),
                Ok(_) => index -= 1,
            }
        }
        (0, 0)
    }

    /// The committed entries to be applied next. With `allow_unstable` also such as the own storage does not hold yet.
    pub fn next_committed(&self, allow_unstable: bool) -> Vec<Entry> {
        if !self.has_next_committed(allow_unstable) {
            return Vec::new();
        }
        let (lo, hi) = (self.applying + 1, self.max_appliable(allow_unstable) + 1);
        let budget = self.max_applying_size.saturating_sub(self.applying_size);
        match self.slice(lo, hi, budget) {
            Ok(entries) => entries,
            Err(error) => fatal!(self.logger, "unexpected error when getting unapplied entries ({error})"),
        }
    }

    pub fn has_next_committed(&self, allow_unstable: bool) -> bool {
        // A snapshot comes first: nothing may be applied beside it.
        !self.applying_paused && self.unstable.snapshot().is_none() && self.applying < self.max_appliable(allow_unstable)
    }

    fn max_appliable(&self, allow_unstable: bool) -> u64 {
        if allow_unstable {
            self.committed
        } else {
            self.committed.min(self.unstable.offset() - 1)
        }
    }

    pub fn has_snapshot(&self) -> bool {
        self.unstable.snapshot().is_some()
    }

    /// The newest snapshot, for a follower.
    pub fn snapshot(&self) -> Result<Snapshot, StorageError> {
        match self.unstable.snapshot() {
            Some(snapshot) => Ok(snapshot.clone()),
            None => self.storage.snapshot(),
        }
    }

    pub fn first_index(&self) -> u64 {
        self.unstable
            .first_index()
            .unwrap_or_else(|| self.stored(self.storage.first_index()))
    }

    pub fn last_index(&self) -> u64 {
        self.unstable.last_index().unwrap_or_else(|| self.stored(self.storage.last_index()))
    }

    /// The storage's first and last index are always known; a storage that does not know them is lost.
    fn stored(&self, index: Result<u64, StorageError>) -> u64 {
        match index {
            Ok(index) => index,
            Err(error) => fatal!(self.logger, "the log's storage does not know its bounds: {error}"),
        }
    }

    /// Moves the commit index forward.
    pub fn commit_to(&mut self, commit: u64) {
        if self.committed >= commit {
            return;
        }
        let last = self.last_index();
        if last < commit {
            // A leader tells a follower to commit only what that follower has confirmed to hold.
            fatal!(
                self.logger,
                "tocommit({commit}) is out of range [lastIndex({last})]. Was the raft log corrupted, truncated, or lost?"
            );
        }
        self.committed = commit;
    }

    /// Entries up to `index`, of `size` encoded bytes since the last call, are applied.
    pub fn applied_to(&mut self, index: u64, size: u64) {
        if self.committed < index || index < self.applied {
            fatal!(
                self.logger,
                "applied({index}) is out of range [prevApplied({}), committed({})]",
                self.applied,
                self.committed
            );
        }
        self.applied = index;
        self.applying = self.applying.max(index);
        self.applying_size = self.applying_size.saturating_sub(size);
        self.applying_paused = self.applying_size >= self.max_applying_size;
    }

    /// Entries up to `index` have been handed out to be applied.
    pub fn accept_applying(&mut self, index: u64, size: u64, allow_unstable: bool) {
        if self.committed < index {
            fatal!(
                self.logger,
                "applying({index}) is out of range [prevApplying({}), committed({})]",
                self.applying,
                self.committed
            );
        }
        self.applying = index;
        self.applying_size = self.applying_size.saturating_add(size);
        // Either the limit is reached, or the next entry would have gone beyond it: else it would have been handed out too.
        self.applying_paused = self.applying_size >= self.max_applying_size || index < self.max_appliable(allow_unstable);
    }

    /// The last entry's position.
    pub fn last_id(&self) -> EntryId {
        let index = self.last_index();
        match self.term(index) {
            Ok(term) => EntryId { term, index },
            Err(error) => fatal!(self.logger, "unexpected error when getting the last term ({error})"),
        }
    }

    /// The term of `index`, from `first_index - 1` to `last_index`.
    ///
    /// # Errors
    /// `Compacted` or `Unavailable`, nothing else.
    pub fn term(&self, index: u64) -> Result<u64, StorageError> {
        if let Some(term) = self.unstable.term(index) {
            return Ok(term);
        }
        if index + 1 < self.first_index() {
            return Err(StorageError::Compacted);
        }
        if index > self.last_index() {
            return Err(StorageError::Unavailable);
        }
        match self.storage.term(index) {
            Err(error @ (StorageError::SnapOutOfDate | StorageError::SnapshotTemporarilyUnavailable)) => {
                fatal!(self.logger, "unexpected error ({error})")
            }
            known => known,
        }
    }

    pub fn term_or_zero(&self, index: u64) -> u64 {
        self.term(index).unwrap_or(0)
    }

    pub fn match_term(&self, id: EntryId) -> bool {
        self.term(id.index) == Ok(id.term)
    }

    /// Whether a log that ends at `id` holds at least what this one does (thesis 3.6.1).
    pub fn is_up_to_date(&self, id: EntryId) -> bool {
        let ours = self.last_id();
        id.term > ours.term || (id.term == ours.term && id.index >= ours.index)
    }

    /// Leader's side of a commit: moves the commit index to `id` if the entry there is of that term, which is the leader's own.
    /// Entries of earlier terms are committed only along with it (thesis 3.6.2).
    pub fn try_commit(&mut self, id: EntryId) -> bool {
        // Term 0 is no leader's, and would match an entry whose term is not known.
        if id.index > self.committed && id.term != 0 && self.term_or_zero(id.index) == id.term {
            self.commit_to(id.index);
            return true;
        }
        false
    }

    /// The snapshot replaces the log.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let id = EntryId::of_snapshot(&snapshot);
        info!(
            self.logger,
            "log [{self}] starts to restore snapshot [index: {}, term: {}]", id.index, id.term
        );
        self.committed = id.index;
        self.unstable.restore(snapshot);
    }

    /// The entries from `from` on, as many as fit into `max_size`, but at least one if there is one.
    pub fn entries(&self, from: u64, max_size: u64) -> Result<Vec<Entry>, StorageError> {
        let end = self.last_index() + 1;
        if from >= end {
            return Ok(Vec::new());
        }
        self.slice(from, end, max_size)
    }

    /// Whether one of the entries of `[lo, hi)` is what `wanted` looks for. Reads them in pages.
    pub fn any(&self, lo: u64, hi: u64, wanted: impl Fn(&Entry) -> bool) -> Result<bool, StorageError> {
        let mut lo = lo;
        while lo < hi {
            let page = self.slice(lo, hi, self.max_applying_size)?;
            if page.is_empty() {
                return Err(StorageError::Unavailable);
            }
            if page.iter().any(&wanted) {
                return Ok(true);
            }
            lo += page.len() as u64;
        }
        Ok(false)
    }

    /// The entries of `[lo, hi)` that fit into `max_size`, but at least one.
    fn slice(&self, lo: u64, hi: u64, max_size: u64) -> Result<Vec<Entry>, StorageError> {
        let (first, end) = (self.first_index(), self.last_index() + 1);
        if lo < first {
            return Err(StorageError::Compacted);
        }
        if lo > hi || hi > end {
            fatal!(self.logger, "slice[{lo},{hi}) out of bound [{first},{}]", end - 1);
        }
        if lo == hi {
            return Ok(Vec::new());
        }
        let offset = self.unstable.offset();
        if lo >= offset {
            let all = self.unstable.range(lo, hi);
            let count = limit_len(all.clone(), max_size);
            return Ok(all.take(count).cloned().collect());
        }
        let cut = hi.min(offset);
        let mut entries = match self.storage.entries(lo, cut, max_size) {
            Ok(entries) => entries,
            Err(StorageError::Compacted) => return Err(StorageError::Compacted),
            Err(error) => fatal!(self.logger, "entries[{lo}:{cut}) is unavailable from storage: {error}"),
        };
        if hi <= offset || (entries.len() as u64) < cut - lo {
            return Ok(entries);
        }
        let budget = match max_size {
            u64::MAX => u64::MAX,
            _ => match max_size.checked_sub(encoded_size(&entries)) {
                None | Some(0) => return Ok(entries),
                Some(budget) => budget,
            },
        };
        let unstable = self.unstable.range(offset, hi);
        let count = limit_len(unstable.clone(), budget);
        // The first one counts as fitting in any case; here it must do so really, since there are others before it.
        if count == 1
            && unstable
                .clone()
                .next()
                .is_some_and(|entry| encoded_size(std::slice::from_ref(entry)) > budget)
        {
            return Ok(entries);
        }
        entries.extend(unstable.take(count).cloned());
        Ok(entries)
    }
}

impl<S> fmt::Display for RaftLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "committed={}, applied={}, applying={}, unstable.offset={}, unstable.offsetInProgress={}, len(unstable.Entries)={}",
            self.committed,
            self.applied,
            self.applying,
            self.unstable.offset(),
            self.unstable.offset_in_progress(),
            self.unstable.len()
        )
    }
}
