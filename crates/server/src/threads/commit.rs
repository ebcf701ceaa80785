//! The thread that owns the database file: commits batches behind the apply, gives space back, saves disk snapshots.
//!
//! Stands at steps 9 and 10 of the life of a Put. A failed write or sync ends the process: nothing is retried.

use std::sync::Arc;
use std::time::Instant;

use api::MemberId;
use api::pb::raftpb::Message;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use member::replicate::Input;
use member::snapshot::{DiskSnapshot, Outgoing};
use tokio::sync::oneshot;

use super::raft::RaftCommand;
use super::{Settings, fatal, spawn};
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the database file.
pub enum CommitCommand {
    /// A batch is full: do not wait for the interval.
    Full,
    Commit(oneshot::Sender<()>),
    Defragment(oneshot::Sender<()>),
    Snapshot(DiskSnapshot),
    /// A member is too far behind for the log: send it the database.
    SendSnapshot(Box<Message>),
    Close(Sender<()>),
}

pub(super) struct CommitThread {
    pub(super) node: Arc<Node>,
    pub(super) committer: backend::Committer,
    pub(super) settings: Settings,
}

/// Pages that one step of giving space back moves: some milliseconds of work between two commits.
const RECLAIM_PAGES: usize = 512;

/// Pieces in which an image is handed to the transport, which holds a few of them.
const IMAGE_CHUNK: usize = 128 << 10;

impl CommitThread {
    pub(super) fn run(mut self, commands: &Receiver<CommitCommand>) {
        let mut next = Instant::now() + self.settings.batch_interval;
        loop {
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(CommitCommand::Commit(done)) => {
                    self.commit();
                    let _ = done.send(());
                }
                Ok(CommitCommand::Full) => {
                    // Several such calls may have queued up for the same operations.
                    if self.node.backend.should_commit() {
                        self.commit();
                    }
                }
                Ok(CommitCommand::Defragment(done)) => {
                    self.defragment();
                    let _ = done.send(());
                }
                Ok(CommitCommand::Snapshot(snapshot)) => self.snapshot(&snapshot),
                Ok(CommitCommand::SendSnapshot(message)) => self.send_snapshot(*message),
                Ok(CommitCommand::Close(done)) => {
                    self.commit();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next {
                next = Instant::now() + self.settings.batch_interval;
            }
        }
    }

    /// Takes the snapshot of a commit made for it, and has it sent; this thread goes on at once.
    fn send_snapshot(&mut self, mut message: Message) {
        self.commit();
        let to = MemberId(message.to.unwrap_or(0));
        let failed = |reason: &dyn std::fmt::Display| {
            let fields = [field("remote-peer-id", to.to_string()), field("error", reason.to_string())];
            log::warn("failed to send database snapshot", &fields);
            self.node.raft.leave(RaftCommand::Input(Input::SnapshotSent(to, false)));
        };
        let outgoing = match Outgoing::take(&self.node.backend) {
            Ok(outgoing) if outgoing.is_for(to) => outgoing,
            // Raft drops a snapshot that does not know its receiver: it was removed, or is not added here yet.
            Ok(_) => return failed(&"the receiver is not in the membership of the snapshot"),
            Err(error) => return failed(&error),
        };
        let Some(transport) = self.node.transport.get() else {
            return failed(&"the transport is not there yet");
        };
        message.snapshot = Some(outgoing.snapshot().clone());
        let (writer, image) = peer::image(outgoing.image_size());
        transport.send_snapshot(message, image);
        spawn("send-snapshot", move || {
            let written = outgoing.write_image(&mut |bytes| {
                let mut chunks = bytes.chunks(IMAGE_CHUNK);
                chunks.try_for_each(|chunk| writer.blocking_write(Bytes::copy_from_slice(chunk)))
            });
            // Cut short, it is not taken for whole; the transport says so to raft.
            if let Err(error) = written {
                log::warn("a database snapshot was not sent to its end", &[field("error", error.to_string())]);
            }
        });
    }

    fn commit(&mut self) {
        if self.node.backend.pending_ops() == 0 && self.node.backend.committed_index() == self.node.backend.consistent_index() {
            return;
        }
        let begun = Instant::now();
        if let Err(error) = self.committer.commit() {
            fatal("failed to commit the database", &error);
        }
        self.node
            .metrics
            .disk_backend_commit_duration_seconds
            .observe_duration(begun.elapsed());
    }

    fn defragment(&mut self) {
        let begun = Instant::now();
        let before = self.node.backend.size();
        log::info("defragmenting", &[field("current-db-size-bytes", before)]);
        self.node.metrics.disk_defrag_inflight.set(1);
        loop {
            match self.committer.reclaim(RECLAIM_PAGES) {
                Ok(step) if step.done => break,
                Ok(_) => {}
                Err(error) => fatal("failed to defragment the database", &error),
            }
            // Writers go on meanwhile: what they hand over must not pile up.
            if self.node.backend.pending_ops() > 0 {
                self.commit();
            }
        }
        self.node.metrics.disk_defrag_inflight.set(0);
        self.node
            .metrics
            .disk_backend_defrag_duration_seconds
            .observe_duration(begun.elapsed());
        let after = self.node.backend.size();
        log::info(
            "finished defragmenting",
            &[
                field("current-db-size-bytes-diff", after as i64 - before as i64),
                field("current-db-size-bytes", after),
                field("took", begun.elapsed()),
            ],
        );
    }

    fn snapshot(&mut self, snapshot: &DiskSnapshot) {
        self.commit();
        let begun = Instant::now();
        if let Err(error) = snapshot.write_file(&self.settings.disk, &self.settings.snap_dir) {
            fatal("failed to save a snapshot", &error);
        }
        self.node
            .metrics
            .debugging_snap_save_total_duration_seconds
            .observe_duration(begun.elapsed());
        log::info("saved snapshot to disk", &[field("snapshot-index", snapshot.index().0)]);
        self.node.raft.bring(RaftCommand::Input(Input::SnapshotSaved(snapshot.record())));
    }
}
