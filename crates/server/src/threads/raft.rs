//! The thread that owns the replicator: steps it with all that waits, and carries out what it says must be done.
//!
//! Stands at step 5 of the life of a Put. Never writes and never applies; ticks here, whatever the others are busy with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use member::replicate::{Effect, Effects, Input, Proposal, ProposalId, ReadContext, Replicator};

use super::apply::ApplyCommand;
use super::chores::Chore;
use super::fatal;
use super::log::LogCommand;
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the replicator.
pub enum RaftCommand {
    Propose(Proposal),
    Read(ReadContext),
    Input(Input),
}

pub(super) struct RaftThread {
    pub(super) node: Arc<Node>,
    pub(super) replicator: Replicator,
    pub(super) log: Sender<LogCommand>,
    pub(super) apply: Sender<ApplyCommand>,
    pub(super) chores: Sender<Chore>,
    pub(super) tick: Duration,
}

/// Most commands taken into one step, so that ticks and acknowledgements are never far.
const STEP_COMMANDS: usize = 4096;

impl RaftThread {
    pub(super) fn run(mut self, commands: &Receiver<RaftCommand>) {
        let mut effects = Effects::new();
        // The first tick comes at once: a member alone need not wait to campaign.
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                self.replicator.step(Input::Tick, &mut effects);
                next_tick = now + self.tick;
            }
            match commands.recv_timeout(next_tick.saturating_duration_since(now)) {
                Ok(command) => self.take(command, commands, &mut effects),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.carry_out(&mut effects);
        }
    }

    /// Takes a command and all that wait behind it; proposals that follow each other become one batch.
    fn take(&mut self, first: RaftCommand, commands: &Receiver<RaftCommand>, effects: &mut Effects) {
        let mut proposals = Vec::new();
        for command in std::iter::once(first).chain(commands.try_iter()).take(STEP_COMMANDS) {
            match command {
                RaftCommand::Propose(proposal) => {
                    proposals.push(proposal);
                    continue;
                }
                other => {
                    if !proposals.is_empty() {
                        self.replicator.step(Input::Propose(std::mem::take(&mut proposals)), effects);
                    }
                    let input = match other {
                        RaftCommand::Read(context) => Input::Read(context),
                        RaftCommand::Input(input) => input,
                        RaftCommand::Propose(_) => continue,
                    };
                    self.replicator.step(input, effects);
                }
            }
        }
        if !proposals.is_empty() {
            self.replicator.step(Input::Propose(proposals), effects);
        }
    }

    fn carry_out(&mut self, effects: &mut Effects) {
        for effect in effects.drain() {
            match effect {
                Effect::Append(batch) => {
                    world::fail::point("raftBeforeSave");
                    drop(self.log.send(LogCommand::Append(batch)));
                }
                Effect::RecordSnapshot(record) => drop(self.log.send(LogCommand::RecordSnapshot(record))),
                Effect::Apply(entries) => drop(self.apply.send(ApplyCommand::Entries(entries))),
                // Behind the entries it waits for: commands are taken in order.
                Effect::ReadAt(_, contexts) => drop(self.apply.send(ApplyCommand::Reads(contexts))),
                Effect::Refuse(ProposalId(id), refusal) => {
                    self.node.metrics.server_proposals_failed_total.inc();
                    self.node.answer(id, Err(refusal.into()));
                }
                Effect::BecameLeader(term) => {
                    let (id, term) = (self.node.member_id.to_string(), term.0);
                    log::info("raft.node: elected leader", &[field("leader", id), field("term", term)]);
                }
                Effect::LeaderChanged(_) => {}
                Effect::Stop(reason) => fatal("this member cannot go on", &reason),
                Effect::Send(_) | Effect::SendSnapshot(_) | Effect::InstallSnapshot(_) => {
                    unreachable!("a start with several members is refused")
                }
                Effect::Purge => drop(self.chores.send(Chore::Purge)),
            }
        }
    }
}
