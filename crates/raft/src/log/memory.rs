//! A [`Storage`] in memory. The member keeps its log's tail in one; the write-ahead log holds the same on disk.

use std::collections::VecDeque;

use api::pb::raftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use bytes::Bytes;

use super::size::limit_len;
use super::storage::{Storage, StorageError};

/// A log in memory: hard state, newest snapshot, and the entries behind a compaction point.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    hard_state: HardState,
    snapshot: Snapshot,
    /// The position before the first entry.
    offset: u64,
    offset_term: u64,
    entries: VecDeque<Entry>,
}

impl MemoryStorage {
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    fn last(&self) -> u64 {
        self.offset + self.entries.len() as u64
    }

    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Replaces everything with the snapshot. One at index 0 holds just the configuration with which a log begins.
    ///
    /// # Errors
    /// `SnapOutOfDate` if the stored one is as new.
    pub fn apply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), StorageError> {
        let (index, term) = position(&snapshot);
        let stored = position(&self.snapshot).0;
        if stored >= index && stored > 0 {
            return Err(StorageError::SnapOutOfDate);
        }
        self.offset = index;
        self.offset_term = term;
        self.entries.clear();
        self.snapshot = snapshot;
        Ok(())
    }

    /// Makes a snapshot at `index` of what the application hands over, and keeps it as the newest.
    ///
    /// # Errors
    /// `SnapOutOfDate` if the stored one is as new, `Unavailable` if the log does not reach `index`.
    pub fn create_snapshot(&mut self, index: u64, conf_state: Option<ConfState>, data: Bytes) -> Result<&Snapshot, StorageError> {
        if index <= position(&self.snapshot).0 {
            return Err(StorageError::SnapOutOfDate);
        }
        let term = self.term(index)?;
        let before = self.snapshot.metadata.take();
        self.snapshot.metadata = Some(SnapshotMetadata {
            conf_state: conf_state.or(before.and_then(|metadata| metadata.conf_state)),
            index: Some(index),
            term: Some(term),
        });
        self.snapshot.data = Some(data);
        Ok(&self.snapshot)
    }

    /// Drops the entries up to and with `index`, which must have been applied.
    ///
    /// # Errors
    /// `Compacted` if that is done already, `Unavailable` if the log does not reach `index`.
    pub fn compact(&mut self, index: u64) -> Result<(), StorageError> {
        if index <= self.offset {
            return Err(StorageError::Compacted);
        }
        let term = self.term(index)?;
        self.entries.drain(..(index - self.offset) as usize);
        self.offset = index;
        self.offset_term = term;
        Ok(())
    }

    /// Appends entries; those that the log holds at the same or later positions give way.
    ///
    /// # Errors
    /// `Unavailable` if there would be a gap.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        let Some(first) = entries.first().map(Entry::index) else {
            return Ok(());
        };
        if first > self.last() + 1 {
            return Err(StorageError::Unavailable);
        }
        // What lies before the compaction point is known and gone.
        let gone = (self.offset + 1).saturating_sub(first).min(entries.len() as u64) as usize;
        let Some(start) = entries[gone..].first().map(Entry::index) else {
            return Ok(());
        };
        self.entries.truncate((start - self.offset - 1) as usize);
        self.entries.extend(entries[gone..].iter().cloned());
        Ok(())
    }
}

fn position(snapshot: &Snapshot) -> (u64, u64) {
    snapshot
        .metadata
        .as_ref()
        .map_or((0, 0), |metadata| (metadata.index(), metadata.term()))
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        let conf_state = self.snapshot.metadata.as_ref().and_then(|metadata| metadata.conf_state.clone());
        Ok((self.hard_state, conf_state.unwrap_or_default()))
    }

    fn entries(&self, lo: u64, hi: u64, max_size: u64) -> Result<Vec<Entry>, StorageError> {
        if lo <= self.offset {
            return Err(StorageError::Compacted);
        }
        if hi > self.last() + 1 || lo > hi {
            return Err(StorageError::Unavailable);
        }
        let range = (lo - self.offset - 1) as usize..(hi - self.offset - 1) as usize;
        let count = limit_len(self.entries.range(range.clone()), max_size);
        Ok(self.entries.range(range.start..range.start + count).cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        match index.checked_sub(self.offset) {
            None => Err(StorageError::Compacted),
            Some(0) => Ok(self.offset_term),
            Some(distance) => self
                .entries
                .get(distance as usize - 1)
                .map(Entry::term)
                .ok_or(StorageError::Unavailable),
        }
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        Ok(self.last())
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        Ok(self.offset + 1)
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(self.snapshot.clone())
    }
}
