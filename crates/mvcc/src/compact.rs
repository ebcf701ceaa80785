//! The physical part of a compaction: deletes, slice by slice, what no reader can ask for any more.
//!
//! The compact revision itself is set by the log entry ([`crate::Writer::compact`]); this is the slow part behind it, on
//! whatever thread the shell gives it. A crash in the middle loses nothing: `scheduledCompactRev` is in the database from the
//! entry on, `finishedCompactRev` only with the last slice, and the next start goes on.

use std::ops::ControlFlow;
use std::sync::Arc;

use api::Revision;
use backend::{Batch, Bucket, RevisionKey, schema};
use world::fail;

use crate::MvccError;
use crate::hash::{HashKv, Hasher};
use crate::index::{Compaction, KeepSet};
use crate::store::{Core, Store};

/// Keys of the index looked at under one hold of its lock: apply waits for no longer.
const INDEX_SLICE_KEYS: usize = 500;
/// Such slices in one step.
const INDEX_SLICES: usize = 20;

/// What a step of a compaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again, after a pause (`--compaction-sleep-interval`, 10 ms).
    More,
    /// Finished. The hash is remembered by the store if the compaction before it was complete.
    Done(HashKv),
}

/// A compaction under way. Jobs run one after another, in the order in which they were made.
pub struct CompactJob {
    core: Arc<Core>,
    batch_limit: usize,
    revision: i64,
    previous: i64,
    /// The compaction before this one was complete when this one was asked for, so that its hash means something.
    remember: bool,
    phase: Phase,
    /// Entries deleted so far.
    deleted: u64,
}

enum Phase {
    Waiting,
    Index(Compaction),
    Database { keep: KeepSet, from: Revision, hash: u32 },
    Done(HashKv),
}

impl CompactJob {
    pub(crate) fn new(store: &Store, core: Arc<Core>, revision: i64, previous: i64, remember: bool) -> CompactJob {
        CompactJob {
            core,
            batch_limit: store.inner.options.compaction_batch.max(1),
            revision,
            previous,
            remember,
            phase: Phase::Waiting,
            deleted: 0,
        }
    }

    /// The revision it compacts to.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Entries of the database deleted so far.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Whether the next step looks at the index; the later ones look at the database.
    pub fn is_in_index(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Index(_))
    }

    /// Looks at the next slice and hands the deletes of what nobody can see to the backend.
    ///
    /// # Panics
    /// If the entry that asked for it has not ended ([`crate::Writer::finish`]): its readers would lose what they look at.
    pub fn step(&mut self) -> Result<Step, MvccError> {
        assert!(self.core.compacted() >= self.revision, "compacts before the entry has ended");
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Waiting => {
                let compaction = self.core.index.start_compaction(self.revision);
                self.index_slice(compaction);
            }
            Phase::Index(compaction) => self.index_slice(compaction),
            Phase::Database { keep, from, hash } => self.database_slice(keep, from, hash)?,
            Phase::Done(hash) => self.phase = Phase::Done(hash),
        }
        Ok(match &self.phase {
            Phase::Done(hash) => Step::Done(*hash),
            _ => Step::More,
        })
    }

    fn index_slice(&mut self, mut compaction: Compaction) {
        let done = (0..INDEX_SLICES).any(|_| self.core.index.compact_step(&mut compaction, INDEX_SLICE_KEYS));
        self.phase = if done {
            let keep = compaction.into_kept();
            Phase::Database {
                hash: Hasher::new(self.previous, self.revision, &keep).sum(),
                keep,
                from: Revision::default(),
            }
        } else {
            Phase::Index(compaction)
        };
    }

    fn database_slice(&mut self, keep: KeepSet, from: Revision, hash: u32) -> Result<(), MvccError> {
        fail::point("compactAfterAcquiredBatchTxLock");
        let mut hasher = Hasher::new(self.previous, self.revision, &keep).resumed(hash);
        let (mut seen, mut last, mut odd) = (0, None, None);
        let mut deletes = Vec::new();
        let view = self.core.backend.view();
        let end = Revision::new(self.revision + 1, 0).to_key();
        view.scan(Bucket::Key, &from.to_key(), &end, &mut |key, value| {
            let Some(at) = RevisionKey::parse(key) else {
                odd = Some(key.to_vec());
                return ControlFlow::Break(());
            };
            if !keep.contains(at.revision) {
                deletes.push(at);
            }
            hasher.add(at, key, value);
            last = Some(at.revision);
            seen += 1;
            if seen == self.batch_limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(key) = odd {
            return Err(MvccError::NotARevision(key));
        }
        self.deleted += deletes.len() as u64;
        let hash = hasher.sum();
        let mut batch = Batch::new();
        batch.delete_revisions(deletes);
        match last.filter(|_| seen == self.batch_limit) {
            Some(last) => {
                fail::point("compactBeforeCommitBatch");
                self.core.backend.append(batch);
                fail::point("compactAfterCommitBatch");
                let from = Revision::new(last.main, last.sub + 1);
                self.phase = Phase::Database { keep, from, hash };
            }
            None => self.finish(batch, hash),
        }
        Ok(())
    }

    fn finish(&mut self, mut batch: Batch, hash: u32) {
        fail::point("compactBeforeSetFinishedCompact");
        let key = Revision::new(self.revision, 0).to_key();
        batch.put(Bucket::Meta, schema::FINISHED_COMPACT, key.to_vec());
        self.core.backend.append(batch);
        fail::point("compactAfterSetFinishedCompact");
        self.core.set_finished(self.revision);
        let hash = HashKv {
            hash,
            revision: self.revision,
            compact_revision: self.previous,
        };
        if self.remember {
            self.core.hashes.remember(hash);
        }
        self.phase = Phase::Done(hash);
    }
}
