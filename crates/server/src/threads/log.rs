//! The thread that owns the write-ahead log: gathers all waiting appends, writes once, syncs once, reports.
//!
//! Stands at step 6 of the life of a Put. A failed write or sync ends the process: nothing is retried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use member::replicate::{Input, LogAck, LogBatch};

use super::chores::Chore;
use super::fatal;
use super::raft::RaftCommand;
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the log.
pub(super) enum LogCommand {
    Append(LogBatch),
    RecordSnapshot(api::pb::walpb::Snapshot),
    Prepared(Result<wal::Prepared, wal::WalError>),
    Close(Sender<()>),
}

pub(super) struct LogThread {
    pub(super) node: Arc<Node>,
    pub(super) wal: wal::Wal,
    pub(super) raft: Sender<RaftCommand>,
    pub(super) chores: Sender<Chore>,
}

impl LogThread {
    pub(super) fn run(mut self, commands: &Receiver<LogCommand>) {
        while let Ok(first) = commands.recv() {
            let (mut ack, mut must_sync, mut closed): (Option<LogAck>, bool, Option<Sender<()>>) = (None, false, None);
            for command in std::iter::once(first).chain(commands.try_iter()) {
                match command {
                    LogCommand::Append(batch) => {
                        self.append(&batch);
                        must_sync |= batch.must_sync;
                        if batch.must_sync {
                            ack = Some(batch.ack);
                        }
                    }
                    LogCommand::RecordSnapshot(record) => self.record_snapshot(&record),
                    LogCommand::Prepared(prepared) => self.wal.prepared(prepared),
                    LogCommand::Close(done) => closed = Some(done),
                }
            }
            if must_sync || closed.is_some() {
                self.sync();
            }
            if let Some(ack) = ack {
                let _ = self.raft.send(RaftCommand::Input(Input::LogSynced(ack)));
            }
            if let Some(job) = self.wal.segment_to_prepare() {
                let _ = self.chores.send(Chore::PrepareSegment(job));
            }
            if let Some(done) = closed {
                let _ = self.wal.close();
                let _ = done.send(());
                return;
            }
        }
    }

    fn append(&mut self, batch: &LogBatch) {
        let begun = Instant::now();
        let written = self.wal.append(&wal::LogBatch {
            entries: &batch.entries,
            hard_state: batch.hard_state.as_ref(),
        });
        if let Err(error) = written {
            fatal("failed to save raft entries", &error);
        }
        self.node.metrics.disk_wal_write_duration_seconds.observe_duration(begun.elapsed());
    }

    fn sync(&mut self) {
        let begun = Instant::now();
        if let Err(error) = self.wal.sync() {
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

    fn record_snapshot(&mut self, record: &api::pb::walpb::Snapshot) {
        if let Err(error) = self.wal.save_snapshot(record) {
            fatal("failed to save a snapshot record", &error);
        }
        self.wal.release_locks_to(record.index.unwrap_or(0));
    }
}
