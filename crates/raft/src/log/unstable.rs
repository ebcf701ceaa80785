//! The tail of the log that the storage does not hold yet, and a snapshot on its way into it.
//!
//! What stands here may already have been handed out for writing; it stays until the storage says that it holds it, so that the log
//! reads the same all the while.

use std::collections::VecDeque;
use std::sync::Arc;

use api::pb::raftpb::{Entry, Snapshot};

use super::EntryId;
use crate::logger::{Logger, fatal, info};

pub(crate) struct Unstable {
    /// A leader's snapshot that is to replace the whole log.
    snapshot: Option<Snapshot>,
    snapshot_in_progress: bool,
    entries: VecDeque<Entry>,
    /// The index of `entries[0]`. It may lie below the storage's last index: then the next write truncates.
    offset: u64,
    /// Entries before this index are being written. Never below `offset`.
    offset_in_progress: u64,
    logger: Arc<dyn Logger>,
}

impl Unstable {
    pub fn new(offset: u64, logger: Arc<dyn Logger>) -> Unstable {
        Unstable {
            snapshot: None,
            snapshot_in_progress: false,
            entries: VecDeque::new(),
            offset,
            offset_in_progress: offset,
            logger,
        }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn offset_in_progress(&self) -> u64 {
        self.offset_in_progress
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    fn snapshot_id(&self) -> Option<EntryId> {
        self.snapshot.as_ref().map(EntryId::of_snapshot)
    }

    /// The first index, if a snapshot decides it.
    pub fn first_index(&self) -> Option<u64> {
        self.snapshot_id().map(|id| id.index + 1)
    }

    /// The last index, if anything here decides it.
    pub fn last_index(&self) -> Option<u64> {
        if self.entries.is_empty() {
            self.snapshot_id().map(|id| id.index)
        } else {
            Some(self.end() - 1)
        }
    }

    fn end(&self) -> u64 {
        self.offset + self.entries.len() as u64
    }

    /// The term of `index`, if it is here or is the snapshot's.
    pub fn term(&self, index: u64) -> Option<u64> {
        match index.checked_sub(self.offset) {
            Some(position) => self.entries.get(usize::try_from(position).ok()?).map(Entry::term),
            None => self.snapshot_id().filter(|id| id.index == index).map(|id| id.term),
        }
    }

    /// The entries that are not being written yet.
    pub fn next_entries(&self) -> Vec<Entry> {
        self.entries.range(self.in_progress()..).cloned().collect()
    }

    pub fn has_next_entries(&self) -> bool {
        self.entries.len() > self.in_progress()
    }

    fn in_progress(&self) -> usize {
        (self.offset_in_progress - self.offset) as usize
    }

    /// The snapshot, unless it is being written already.
    pub fn next_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|_| !self.snapshot_in_progress)
    }

    /// Everything here has been handed out for writing.
    pub fn accept_in_progress(&mut self) {
        self.offset_in_progress = self.end().max(self.offset_in_progress);
        self.snapshot_in_progress = self.snapshot.is_some();
    }

    /// The storage holds the entries up to `id`. The caller attests that no write under way can overwrite them.
    pub fn stable_to(&mut self, id: EntryId) {
        let Some(term) = self.term(id.index) else {
            info!(self.logger, "entry at index {} missing from unstable log; ignoring", id.index);
            return;
        };
        if id.index < self.offset {
            info!(self.logger, "entry at index {} matched unstable snapshot; ignoring", id.index);
            return;
        }
        if term != id.term {
            // Replaced between the beginning and the end of the write.
            info!(
                self.logger,
                "entry at (index,term)=({},{}) mismatched with entry at ({},{term}) in unstable log; ignoring", id.index, id.term, id.index
            );
            return;
        }
        self.entries.drain(..(id.index + 1 - self.offset) as usize);
        self.offset = id.index + 1;
        self.offset_in_progress = self.offset_in_progress.max(self.offset);
    }

    /// The storage holds the snapshot at `index`.
    pub fn stable_snapshot_to(&mut self, index: u64) {
        if self.snapshot_id().is_some_and(|id| id.index == index) {
            self.snapshot = None;
            self.snapshot_in_progress = false;
        }
    }

    /// The snapshot replaces the log.
    pub fn restore(&mut self, snapshot: Snapshot) {
        self.offset = EntryId::of_snapshot(&snapshot).index + 1;
        self.offset_in_progress = self.offset;
        self.entries.clear();
        self.snapshot = Some(snapshot);
        self.snapshot_in_progress = false;
    }

    /// Appends `entries`, which begin at `from`; what stands there gives way.
    pub fn truncate_and_append(&mut self, from: u64, entries: impl Iterator<Item = Entry>) {
        if from == self.end() {
            self.entries.extend(entries);
        } else if from <= self.offset {
            info!(self.logger, "replace the unstable entries from index {from}");
            self.entries.clear();
            self.entries.extend(entries);
            self.offset = from;
            self.offset_in_progress = from;
        } else {
            info!(self.logger, "truncate the unstable entries before index {from}");
            if from > self.end() {
                fatal!(
                    self.logger,
                    "unstable.slice[{},{from}) out of bound [{},{}]",
                    self.offset,
                    self.offset,
                    self.end()
                );
            }
            self.entries.truncate((from - self.offset) as usize);
            self.entries.extend(entries);
            self.offset_in_progress = self.offset_in_progress.min(from);
        }
    }

    /// The entries of `[lo, hi)`, all of which must be here.
    pub fn range(&self, lo: u64, hi: u64) -> impl ExactSizeIterator<Item = &Entry> + Clone {
        if lo > hi || lo < self.offset || hi > self.end() {
            fatal!(
                self.logger,
                "unstable.slice[{lo},{hi}) out of bound [{},{}]",
                self.offset,
                self.end()
            );
        }
        self.entries.range((lo - self.offset) as usize..(hi - self.offset) as usize)
    }
}
