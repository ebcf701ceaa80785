//! The thread that owns the applier: applies committed entries in log order and hands out what follows from them.
//!
//! Stands at steps 7, 11 and 12 of the life of a Put. Never writes a file, but puts a database from the leader in the place of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::MemberId;
use api::pb::raftpb::Snapshot;
use crossbeam_channel::Sender;
use member::apply::{Applier, ApplyOutcome, Compaction, is_short};
use member::duties::Duties;
use member::replicate::{Committed, Input, ReadContext};
use member::snapshot::Incoming;
use tokio::sync::oneshot;
use world::Clock;

use super::baton::Machine;
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
    /// Change over to the database that a leader sent.
    Install(Snapshot),
    /// It is time to look at what the member itself has to do.
    Duty,
    Close(Sender<()>),
}

/// Entries that are applied in place; more of them are a load, and loads have a thread of their own.
const SHORT_ENTRIES: usize = 4;

/// Whether these commands are over in no time.
pub(super) fn all_short(commands: &[ApplyCommand]) -> bool {
    let mut count = 0;
    commands.iter().all(|command| match command {
        ApplyCommand::Entries(entries) => {
            count += entries.len();
            count <= SHORT_ENTRIES && entries.iter().all(is_short)
        }
        ApplyCommand::Reads(_) => true,
        ApplyCommand::Install(_) | ApplyCommand::Duty | ApplyCommand::Close(_) => false,
    })
}

/// The applier with what follows from it.
pub(super) struct ApplyMachine {
    pub(super) node: Arc<Node>,
    pub(super) applier: Applier,
    pub(super) duties: Duties,
    pub(super) commit: Sender<CommitCommand>,
    pub(super) compact: Sender<Compaction>,
    pub(super) published: tokio::sync::watch::Sender<bool>,
    pub(super) outcome: ApplyOutcome,
}

/// Between two looks at what the member itself has to do.
pub(super) const DUTY_INTERVAL: Duration = Duration::from_millis(500);

impl Machine for ApplyMachine {
    type Command = ApplyCommand;

    fn take(&mut self, commands: &mut Vec<ApplyCommand>) {
        for command in commands.drain(..) {
            match command {
                ApplyCommand::Entries(entries) => self.apply(&entries),
                ApplyCommand::Reads(contexts) => {
                    for ReadContext(id) in contexts {
                        if let Some(waiter) = self.node.reads.take(id) {
                            let _ = waiter.send(());
                        }
                    }
                }
                ApplyCommand::Install(snapshot) => self.install(snapshot),
                ApplyCommand::Duty => self.duty(),
                ApplyCommand::Close(done) => {
                    let _ = done.send(());
                }
            }
        }
        // Until the member is ready, each entry may be what it waits for.
        if !*self.published.borrow() {
            self.duty();
        }
    }
}

impl ApplyMachine {
    /// Waits while more is on its way to the file than memory should hold. Behind a stalled disk committed entries then pile up
    /// before the applier, and from `MAX_UNAPPLIED` of them on proposals are refused.
    fn keep_pace(&self) {
        while self.node.backend.is_behind() {
            let (done, committed) = oneshot::channel();
            if self.commit.send(CommitCommand::Commit(done)).is_err() || committed.blocking_recv().is_err() {
                return;
            }
        }
    }

    fn apply(&mut self, entries: &[Committed]) {
        self.keep_pace();
        if let Err(error) = self.applier.apply(self.node.clock.now(), entries, &mut self.outcome) {
            fatal("failed to apply", &error);
        }
        self.hand_out();
    }

    /// Gives the outcome to whom it concerns.
    fn hand_out(&mut self) {
        // Before the answers: whoever hears of a change of members may ask for the next, and consensus takes one at a time.
        let conf_changes = std::mem::take(&mut self.outcome.conf_changes);
        for change in conf_changes.iter().flat_map(|change| &change.changes) {
            self.follow_membership(MemberId(change.node_id.unwrap_or(0)));
        }
        let applied = Input::Applied(self.outcome.applied, conf_changes);
        self.node.raft.lay_down(RaftCommand::Input(applied));
        for answer in self.outcome.answers.drain(..) {
            self.node.answer(answer.id, answer.result);
        }
        self.node.store.watch_hub().pump();
        for proposal in self.outcome.proposals.drain(..) {
            self.node.raft.lay_down(RaftCommand::Propose(proposal));
        }
        self.node.raft.attend();
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
            self.node.removed.notify_one();
            self.outcome.removed_self = false;
        }
    }

    /// Changes over to a leader's snapshot: everything that this member holds, and with whom it talks.
    fn install(&mut self, snapshot: Snapshot) {
        let incoming = Incoming::new(snapshot);
        let begun = Instant::now();
        let fields = [
            field("current-applied-index", self.node.progress.applied().0),
            field("incoming-leader-snapshot-index", incoming.index().0),
            field("incoming-leader-snapshot-term", incoming.term().0),
        ];
        log::info("applying snapshot", &fields);
        if let Err(error) = self.applier.install(&incoming, &mut self.outcome) {
            fatal("failed to apply a received snapshot", &error);
        }
        if let Some(transport) = self.node.transport.get() {
            let members = self.node.cluster.members();
            let gone = transport
                .peers()
                .into_iter()
                .filter(|id| members.iter().all(|member| member.id() != *id));
            gone.for_each(|id| transport.remove_peer(id));
            members.iter().for_each(|member| self.follow_membership(member.id()));
        }
        self.hand_out();
        log::info("applied snapshot", &[field("took", begun.elapsed())]);
    }

    /// Talks with a member from now on, at its new addresses, or no longer.
    fn follow_membership(&self, id: MemberId) {
        let Some(transport) = self.node.transport.get().filter(|_| id != self.node.member_id) else {
            return;
        };
        let followed = match self.node.cluster.member(id) {
            Some(member) => transport
                .add_peer(id, &member.peer_urls)
                .and_then(|()| transport.update_peer(id, &member.peer_urls)),
            None => {
                transport.remove_peer(id);
                Ok(())
            }
        };
        if let Err(error) = followed {
            // As every member has it: whoever proposed it must have checked it.
            log::error(
                "a member's peer URLs can't be used",
                &[field("member-id", id.to_string()), field("error", error.to_string())],
            );
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
            let expired = &self.node.metrics.debugging_server_lease_expired_total;
            gauges::raise(expired, self.duties.leases_expired());
            for proposal in proposals {
                self.node.raft.bring(RaftCommand::Propose(proposal));
            }
        }
        if self.duties.is_published() && !*self.published.borrow() {
            self.published.send_replace(true);
        }
    }
}
