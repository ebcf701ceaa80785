//! The thread that owns the applier: applies committed entries in log order and hands out what follows from them.
//!
//! Stands at steps 7, 11 and 12 of the life of a Put. Never writes a file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use member::apply::{Applier, ApplyOutcome, Compaction};
use member::duties::Duties;
use member::replicate::{Committed, Input, ReadContext};
use world::Clock;

use super::commit::CommitCommand;
use super::fatal;
use super::raft::RaftCommand;
use crate::gauges;
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that applies.
pub(super) enum ApplyCommand {
    Entries(Vec<Committed>),
    Reads(Vec<ReadContext>),
    Close(Sender<()>),
}

pub(super) struct ApplyThread {
    pub(super) node: Arc<Node>,
    pub(super) applier: Applier,
    pub(super) duties: Duties,
    pub(super) raft: Sender<RaftCommand>,
    pub(super) commit: Sender<CommitCommand>,
    pub(super) compact: Sender<Compaction>,
    pub(super) published: tokio::sync::watch::Sender<bool>,
    pub(super) warning: Duration,
    pub(super) outcome: ApplyOutcome,
}

/// Between two looks at what the member itself has to do; shorter until it is ready.
const DUTY_INTERVAL: Duration = Duration::from_millis(500);

impl ApplyThread {
    pub(super) fn run(mut self, commands: &Receiver<ApplyCommand>) {
        let mut next_duty = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_duty || !*self.published.borrow() {
                self.duty();
                next_duty = now + DUTY_INTERVAL;
            }
            match commands.recv_timeout(next_duty.saturating_duration_since(now)) {
                Ok(ApplyCommand::Entries(entries)) => self.apply(&entries),
                Ok(ApplyCommand::Reads(contexts)) => {
                    for ReadContext(id) in contexts {
                        if let Some(waiter) = self.node.reads.take(id) {
                            let _ = waiter.send(());
                        }
                    }
                }
                Ok(ApplyCommand::Close(done)) => {
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn apply(&mut self, entries: &[Committed]) {
        let begun = Instant::now();
        if let Err(error) = self.applier.apply(self.node.clock.now(), entries, &mut self.outcome) {
            fatal("failed to apply", &error);
        }
        let took = begun.elapsed();
        if took > self.warning {
            self.node.metrics.server_slow_apply_total.inc();
            log::warn(
                "apply request took too long",
                &[
                    field("took", took),
                    field("expected-duration", self.warning),
                    field("entries", entries.len()),
                ],
            );
        }
        self.hand_out();
    }

    /// Gives the outcome to whom it concerns.
    fn hand_out(&mut self) {
        for answer in self.outcome.answers.drain(..) {
            if let Ok(response) = &answer.result {
                gauges::count(&self.node.metrics, response);
            }
            self.node.answer(answer.id, answer.result);
        }
        self.node.store.watch_hub().pump();
        let conf_changes = std::mem::take(&mut self.outcome.conf_changes);
        let _ = self
            .raft
            .send(RaftCommand::Input(Input::Applied(self.outcome.applied, conf_changes)));
        for proposal in self.outcome.proposals.drain(..) {
            let _ = self.raft.send(RaftCommand::Propose(proposal));
        }
        for compaction in self.outcome.compactions.drain(..) {
            let _ = self.compact.send(compaction);
        }
        if let Some(snapshot) = self.outcome.snapshot.take() {
            let _ = self.commit.send(CommitCommand::Snapshot(snapshot));
        }
        if self.node.backend.should_commit() {
            let _ = self.commit.send(CommitCommand::Full);
        }
        if self.outcome.removed_self {
            log::warn("this member was removed from the cluster: stopping", &[]);
            std::process::exit(0);
        }
    }

    fn duty(&mut self) {
        let now = self.node.clock.now();
        if let Err(error) = self.applier.tick(now, &mut self.outcome) {
            fatal("failed to apply", &error);
        }
        // While old entries are still being gone through, proposals are refused, and each would be made again only after its time-out:
        // a start behind a long log would be late by that.
        if !self.node.progress.is_overloaded() {
            let mut proposals = Vec::new();
            self.duties.step(now, &mut proposals);
            for proposal in proposals {
                let _ = self.raft.send(RaftCommand::Propose(proposal));
            }
        }
        if self.duties.is_published() && !*self.published.borrow() {
            self.published.send_replace(true);
        }
    }
}
