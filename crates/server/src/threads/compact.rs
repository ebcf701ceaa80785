//! The thread that compacts: slice by slice, one compaction after another, in nobody's way.
//!
//! Never deletes by itself: each slice's deletes go into the batches that the commit thread writes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use member::apply::Compaction;
use tokio::sync::oneshot;

use super::commit::CommitCommand;
use super::fatal;
use crate::log::{self, field};
use crate::node::Node;

/// Carries out compactions slice by slice, one after another.
pub(super) fn compact(node: &Node, jobs: &Receiver<Compaction>, pause: Duration) {
    while let Ok(mut compaction) = jobs.recv() {
        let begun = Instant::now();
        let revision = compaction.job.revision();
        let metrics = &node.metrics;
        let hash = loop {
            let in_index = compaction.job.is_in_index();
            let slice = Instant::now();
            let step = compaction.job.step();
            let pauses = if in_index {
                &metrics.debugging_mvcc_index_compaction_pause_duration_milliseconds
            } else {
                &metrics.debugging_mvcc_db_compaction_pause_duration_milliseconds
            };
            pauses.observe(slice.elapsed().as_secs_f64() * 1e3);
            match step {
                Ok(mvcc::Step::More) => std::thread::sleep(pause),
                Ok(mvcc::Step::Done(hash)) => break hash,
                Err(error) => fatal("failed to compact", &error),
            }
        };
        metrics
            .debugging_mvcc_db_compaction_total_duration_milliseconds
            .observe(begun.elapsed().as_secs_f64() * 1e3);
        metrics.debugging_mvcc_db_compaction_keys_total.add(compaction.job.deleted());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.debugging_mvcc_db_compaction_last.set(since_epoch.as_secs() as i64);
        log::info(
            "finished scheduled compaction",
            &[
                field("compact-revision", revision),
                field("took", begun.elapsed()),
                field("hash", hash.hash),
                field("current-db-size-bytes", node.backend.size()),
            ],
        );
        if let Some(answer) = compaction.answer_when_done {
            // A physical compaction is answered when its deletes are in the file.
            let (done, committed) = oneshot::channel();
            if node.committer.send(CommitCommand::Commit(done)).is_ok() {
                let _ = committed.blocking_recv();
            }
            node.answer(answer.id, answer.result);
        }
    }
}
