//! Appends records to the newest segment, syncs them, and goes on to the next segment.
//!
//! Stands at step 6 of the life of a Put. Never reads the log (`records` and `replay` do), never decides when to sync (the log
//! thread does), never retries: after one failed write or sync the file's content is unknown, so `Wal` is poisoned.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use api::pb::raftpb::{Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use world::{DiskFile, DynDisk, fail};

use crate::codec::Encoder;
use crate::error::At;
use crate::names::SegmentName;
use crate::segment::{PrepareJob, Prepared, prepare_sparse, tmp_path, write_zeros};
use crate::{Options, WalError};

/// How far ahead of the records a segment that was not filled by a [`PrepareJob`] is filled: few syncs then have metadata to write,
/// and none has much to fill.
const FILL_BYTES: u64 = 256 << 10;

/// What raft wants kept: entries first, then the hard state. An empty hard state is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogBatch<'b> {
    pub entries: &'b [Entry],
    pub hard_state: Option<&'b HardState>,
}

/// A segment and its lock.
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    pub(crate) file: Box<dyn DiskFile>,
}

/// Where the next segment stands.
enum Next {
    /// Not asked for yet.
    Idle,
    Running,
    Ready(Prepared),
    /// Not to be asked for again before the next cut.
    Failed,
}

/// A log open for appending. Holds the locks of its segments.
pub struct Wal {
    disk: DynDisk,
    dir: PathBuf,
    options: Options,
    metadata: Bytes,
    /// Oldest first; the last is written to.
    segments: VecDeque<Segment>,
    /// The last one saved.
    hard_state: HardState,
    last_index: u64,
    encoder: Encoder,
    /// In the newest segment: the end of the records, the end of the synced ones, the end of what exists on the disk.
    written_to: u64,
    synced_to: u64,
    filled_to: u64,
    needs_sync: bool,
    next: Next,
    tmp_count: u64,
    total_bytes: u64,
    poisoned: bool,
}

/// Where appending goes on, as creating or opening found it.
pub(crate) struct Tail {
    pub(crate) hard_state: HardState,
    pub(crate) last_index: u64,
    pub(crate) crc: u32,
    pub(crate) written_to: u64,
    pub(crate) filled_to: u64,
}

impl Wal {
    /// All that the segments hold has been synced.
    pub(crate) fn assemble(disk: &DynDisk, dir: &Path, options: Options, metadata: Bytes, segments: Vec<Segment>, tail: Tail) -> Wal {
        assert!(!segments.is_empty(), "a log without a segment");
        Wal {
            disk: disk.clone(),
            dir: dir.to_owned(),
            options,
            metadata,
            segments: segments.into(),
            hard_state: tail.hard_state,
            last_index: tail.last_index,
            encoder: Encoder::new(tail.crc),
            written_to: tail.written_to,
            synced_to: tail.written_to,
            filled_to: tail.filled_to,
            needs_sync: false,
            next: Next::Idle,
            tmp_count: 0,
            total_bytes: 0,
            poisoned: false,
        }
    }

    /// Writes a batch behind what is there; begins the next segment when this one is full. Not durable before [`Wal::sync`].
    ///
    /// # Errors
    /// `Poisoned` after any earlier failure; else what the disk says, and the log is poisoned.
    pub fn append(&mut self, batch: &LogBatch<'_>) -> Result<(), WalError> {
        self.alive()?;
        self.encoder.clear();
        for entry in batch.entries {
            self.encoder.entry(entry);
        }
        if let Some(last) = batch.entries.last() {
            self.last_index = last.index.unwrap_or(0);
            self.needs_sync = true;
        }
        if let Some(state) = batch.hard_state.filter(|state| !is_empty(state)) {
            // A commit index alone can be found again; a term or a vote forgotten would be a second vote.
            let before = &self.hard_state;
            self.needs_sync |= state.term.unwrap_or(0) != before.term.unwrap_or(0) || state.vote.unwrap_or(0) != before.vote.unwrap_or(0);
            self.encoder.hard_state(state);
            self.hard_state = *state;
        }
        self.write_encoded()?;
        if self.written_to >= self.options.segment_bytes {
            self.guarded(Wal::cut)?;
        }
        Ok(())
    }

    /// Whether something was appended since the last sync that nobody may be told of before a sync: entries, a term, a vote.
    pub fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    /// Syncs all that `append` wrote. After `Ok` it survives a power cut.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.alive()?;
        self.guarded(Wal::sync_tail)
    }

    /// Records that there is a disk snapshot, and syncs. Its `.snap` file and the database must be durable before.
    ///
    /// # Errors
    /// As [`Wal::append`]; also if the ConfState is missing (only index 0 goes without).
    pub fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), WalError> {
        self.alive()?;
        let index = snapshot.index.unwrap_or(0);
        if index > 0 && snapshot.conf_state.is_none() {
            return Err(WalError::SnapshotWithoutConfState { index });
        }
        self.encoder.clear();
        self.encoder.snapshot(snapshot);
        self.write_encoded()?;
        self.last_index = self.last_index.max(index);
        self.guarded(Wal::sync_tail)
    }

    /// Lets go of the locks of segments not needed to read from this index on, so that they may be purged.
    pub fn release_locks_to(&mut self, index: u64) {
        let first_above = self.segments.iter().position(|segment| segment.name.index >= index);
        let keep_from = first_above.unwrap_or(self.segments.len()).saturating_sub(1);
        self.segments.drain(..keep_from);
    }

    /// A job for another thread, once half of the newest segment is used and no next one is there or being made.
    pub fn segment_to_prepare(&mut self) -> Option<PrepareJob> {
        if self.poisoned || !matches!(self.next, Next::Idle) || self.written_to < self.options.segment_bytes / 2 {
            return None;
        }
        self.next = Next::Running;
        Some(PrepareJob {
            path: self.next_tmp_path(),
            bytes: self.options.segment_bytes,
        })
    }

    /// Takes what became of the job. A failure is not the log's: it makes its next segment itself then.
    pub fn prepared(&mut self, segment: Result<Prepared, WalError>) {
        self.next = segment.map_or(Next::Failed, Next::Ready);
    }

    /// A clean stop: syncs, and removes the segment prepared.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn close(mut self) -> Result<(), WalError> {
        self.sync()?;
        if let Next::Ready(prepared) = std::mem::replace(&mut self.next, Next::Idle) {
            self.disk.remove_file(&prepared.path).at("remove", &prepared.path)?;
        }
        Ok(())
    }

    /// The metadata that begins every segment.
    pub fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// The index of the last entry or snapshot saved.
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The last hard state saved.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Bytes of records written since it was opened (`etcd_disk_wal_write_bytes_total`).
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    fn alive(&self) -> Result<(), WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned { dir: self.dir.clone() });
        }
        Ok(())
    }

    /// Poisons the log if the step fails.
    fn guarded(&mut self, step: fn(&mut Wal) -> Result<(), WalError>) -> Result<(), WalError> {
        let result = step(self);
        self.poisoned |= result.is_err();
        result
    }

    fn tail(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }

    fn path_of(&self, segment: &Segment) -> PathBuf {
        self.dir.join(segment.name.to_string())
    }

    fn write_encoded(&mut self) -> Result<(), WalError> {
        self.guarded(|wal| {
            let bytes = wal.encoder.bytes();
            if bytes.is_empty() {
                return Ok(());
            }
            let tail = wal.tail();
            if let Err(source) = tail.file.write_at(bytes, wal.written_to) {
                let path = wal.path_of(tail);
                return Err(WalError::Disk {
                    call: "write to",
                    path,
                    source,
                });
            }
            wal.written_to += bytes.len() as u64;
            wal.total_bytes += bytes.len() as u64;
            wal.fill_ahead()
        })
    }

    /// Keeps zeros on the disk ahead of the records.
    fn fill_ahead(&mut self) -> Result<(), WalError> {
        if self.written_to <= self.filled_to {
            return Ok(());
        }
        let to = (self.written_to + FILL_BYTES).min(self.options.segment_bytes);
        if to > self.written_to {
            let tail = self.tail();
            write_zeros(&*tail.file, &self.path_of(tail), self.written_to, to)?;
        }
        self.filled_to = to.max(self.written_to);
        Ok(())
    }

    fn sync_tail(&mut self) -> Result<(), WalError> {
        assert!(self.synced_to <= self.written_to, "synced past what was written");
        let failure = fail::point("walBeforeSync").map(std::io::Error::other);
        if self.synced_to < self.written_to || failure.is_some() {
            let tail = self.tail();
            if let Err(source) = failure.map_or_else(|| tail.file.sync_data(), Err) {
                let path = self.path_of(tail);
                return Err(WalError::Disk {
                    call: "sync",
                    path,
                    source,
                });
            }
        }
        fail::point("walAfterSync");
        self.synced_to = self.written_to;
        self.needs_sync = false;
        Ok(())
    }

    /// Goes on to the next segment. The full one is cut to its records and synced first, the new one is complete and synced before
    /// it gets its name, and its name is durable before anything more is written: so only the last segment ever ends torn.
    fn cut(&mut self) -> Result<(), WalError> {
        let tail = self.tail();
        tail.file.set_len(self.written_to).at("cut", &self.path_of(tail))?;
        self.synced_to = 0; // the new length too is to be synced, even if no record is
        self.sync_tail()?;

        let name = SegmentName {
            sequence: self.tail().name.sequence + 1,
            index: self.last_index + 1,
        };
        let prepared = self.take_prepared()?;
        self.encoder.clear();
        self.encoder.crc();
        let metadata = self.metadata.clone();
        self.encoder.metadata(&metadata);
        if !is_empty(&self.hard_state) {
            let state = self.hard_state;
            self.encoder.hard_state(&state);
        }
        let head = self.encoder.bytes();
        let path = self.dir.join(name.to_string());
        prepared.file.write_at(head, 0).at("write to", &prepared.path)?;
        prepared.file.sync_data().at("sync", &prepared.path)?;
        self.disk.rename(&prepared.path, &path).at("rename to", &path)?;
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;

        self.written_to = head.len() as u64;
        self.total_bytes += head.len() as u64;
        self.synced_to = self.written_to;
        self.filled_to = prepared.filled.max(self.written_to);
        self.segments.push_back(Segment { name, file: prepared.file });
        Ok(())
    }

    fn take_prepared(&mut self) -> Result<Prepared, WalError> {
        match std::mem::replace(&mut self.next, Next::Idle) {
            Next::Ready(prepared) => return Ok(prepared),
            // Still being made, under the other number: for the cut after this one.
            Next::Running => self.next = Next::Running,
            Next::Idle | Next::Failed => {}
        }
        let path = self.next_tmp_path();
        prepare_sparse(&self.disk, path, self.options.segment_bytes)
    }

    /// `0.tmp` and `1.tmp` in turn: one may be in the making while the log makes the other.
    fn next_tmp_path(&mut self) -> PathBuf {
        let path = tmp_path(&self.dir, self.tmp_count % 2);
        self.tmp_count += 1;
        path
    }
}

/// raft's "nothing saved yet".
fn is_empty(state: &HardState) -> bool {
    state.term.unwrap_or(0) == 0 && state.vote.unwrap_or(0) == 0 && state.commit.unwrap_or(0) == 0
}
