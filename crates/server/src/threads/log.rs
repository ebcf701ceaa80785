//! The thread that owns the write-ahead log: gathers all waiting appends, writes once, syncs once, reports.
//!
//! Stands at step 6 of the life of a Put; a Put alone is also applied and answered from here. A failed write or sync ends the process:
//! nothing is retried.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::pb::raftpb::{Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use crossbeam_channel::Sender;
use member::replicate::{Input, LogAck, LogBatch};
use member::snapshot::Incoming;
use world::DynDisk;

use super::apply::{ApplyMachine, all_short};
use super::baton::{Baton, Machine};
use super::chores::Chore;
use super::fatal;
use super::raft::RaftCommand;
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the log.
pub(super) enum LogCommand {
    Append(LogBatch),
    RecordSnapshot(walpb::Snapshot),
    Prepared(Result<wal::Prepared, wal::WalError>),
    Close(Sender<()>),
}

/// The log with whom it reports to.
pub(super) struct LogMachine {
    pub(super) node: Arc<Node>,
    /// Gone when it was closed.
    pub(super) wal: Option<wal::Wal>,
    /// Its own: whether more is to be synced.
    pub(super) queue: Arc<Baton<LogMachine>>,
    pub(super) apply: Arc<Baton<ApplyMachine>>,
    pub(super) chores: Sender<Chore>,
    pub(super) disk: DynDisk,
    pub(super) snap_dir: PathBuf,
    /// What one write will hold.
    pub(super) gathered: Gathered,
}

/// Batches that follow each other, as one.
#[derive(Default)]
pub(super) struct Gathered {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    bytes: usize,
    ack: Option<LogAck>,
}

/// A write takes about this much at most: it is encoded in memory as a whole.
const WRITE_BYTES: usize = 4 << 20;

impl Machine for LogMachine {
    type Command = LogCommand;

    fn take(&mut self, commands: &mut Vec<LogCommand>) {
        let Some(mut wal) = self.wal.take() else {
            return commands.clear();
        };
        let mut closed = None;
        for command in commands.drain(..) {
            match command {
                LogCommand::Append(mut batch) => {
                    if let Some(snapshot) = batch.snapshot.take() {
                        self.write(&mut wal);
                        self.save_received(&mut wal, Incoming::new(snapshot), &mut batch);
                    }
                    self.gathered.add(batch);
                    if self.gathered.bytes >= WRITE_BYTES {
                        self.write(&mut wal);
                    }
                }
                LogCommand::RecordSnapshot(record) => {
                    self.write(&mut wal);
                    record_snapshot(&mut wal, &record);
                }
                LogCommand::Prepared(prepared) => wal.prepared(prepared),
                LogCommand::Close(done) => closed = Some(done),
            }
        }
        self.write(&mut wal);
        if let Some(ack) = self.gathered.ack.take() {
            self.sync(&mut wal);
            self.report(ack);
        }
        if let Some(job) = wal.segment_to_prepare() {
            let _ = self.chores.send(Chore::PrepareSegment(job));
        }
        match closed {
            Some(done) => {
                let _ = wal.close();
                let _ = done.send(());
            }
            None => self.wal = Some(wal),
        }
    }
}

impl Gathered {
    fn add(&mut self, mut batch: LogBatch) {
        self.bytes += batch
            .entries
            .iter()
            .map(|entry| entry.data.as_ref().map_or(0, Bytes::len))
            .sum::<usize>();
        if self.entries.is_empty() {
            self.entries = batch.entries;
        } else {
            self.entries.append(&mut batch.entries);
        }
        // Hard states only go forward, and stand behind the entries: the last one says it all.
        self.hard_state = batch.hard_state.or(self.hard_state);
        if batch.must_sync {
            self.ack = Some(batch.ack);
        }
    }
}

impl LogMachine {
    /// Tells the replicator. Unless there is more to sync, short entries that are committed by it are applied right here: the
    /// thread is awake, and to wake another would cost more than they do.
    fn report(&self, ack: LogAck) {
        // The applier may have to wait for the committer then: not here.
        let behind = self.node.backend.is_behind();
        let applier = if self.queue.is_empty() && !behind {
            self.apply.claim()
        } else {
            None
        };
        self.node.raft.bring(RaftCommand::Input(Input::LogSynced(ack)));
        if let Some(applier) = applier {
            applier.drive_if(all_short);
        }
    }

    /// A snapshot from the leader takes the place of the whole log, and the batch that came with it stands behind it.
    fn save_received(&self, wal: &mut wal::Wal, incoming: Incoming, batch: &mut LogBatch) {
        let rest = wal::LogBatch {
            entries: &batch.entries,
            hard_state: batch.hard_state.as_ref(),
        };
        if let Err(error) = incoming.save(&self.disk, &self.snap_dir, wal, &rest) {
            fatal("failed to save a received snapshot", &error);
        }
        batch.entries.clear();
        batch.hard_state = None;
    }

    fn write(&mut self, wal: &mut wal::Wal) {
        let Gathered {
            entries,
            hard_state,
            bytes,
            ..
        } = &mut self.gathered;
        if entries.is_empty() && hard_state.is_none() {
            return;
        }
        let begun = Instant::now();
        let written = wal.append(&wal::LogBatch {
            entries: &*entries,
            hard_state: hard_state.as_ref(),
        });
        if let Err(error) = written {
            fatal("failed to save raft entries", &error);
        }
        entries.clear();
        (*hard_state, *bytes) = (None, 0);
        let metrics = &self.node.metrics;
        metrics.disk_wal_write_duration_seconds.observe_duration(begun.elapsed());
        metrics.disk_wal_write_bytes_total.set(wal.total_bytes() as i64);
    }

    fn sync(&self, wal: &mut wal::Wal) {
        let begun = Instant::now();
        if let Err(error) = wal.sync() {
            fatal("failed to sync the write-ahead log", &error);
        }
        let took = begun.elapsed();
        self.node.metrics.disk_wal_fsync_duration_seconds.observe_duration(took);
        if took > Duration::from_secs(1) {
            log::warn(
                "slow fdatasync",
                &[field("took", took), field("expected-duration", Duration::from_secs(1))],
            );
        }
    }
}

fn record_snapshot(wal: &mut wal::Wal, record: &walpb::Snapshot) {
    if let Err(error) = wal.save_snapshot(record) {
        fatal("failed to save a snapshot record", &error);
    }
    wal.release_locks_to(record.index.unwrap_or(0));
}
