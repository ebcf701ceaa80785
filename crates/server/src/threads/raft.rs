//! The replicator and who drives it: whoever brings an input while it rests, else the thread `raft`, which also ticks.
//!
//! Stands at step 5 of the life of a Put. A step is short and never waits: what must be written and applied is left to other threads,
//! in order, before the next step.

use std::sync::Arc;

use crossbeam_channel::Sender;
use member::replicate::{Effect, Effects, Input, Proposal, ProposalId, ReadContext, ReplicationStatus, Replicator};
use tokio::sync::oneshot;

use super::apply::{ApplyCommand, ApplyMachine};
use super::baton::{Baton, Machine};
use super::chores::Chore;
use super::commit::CommitCommand;
use super::fatal;
use super::log::{LogCommand, LogMachine};
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the replicator.
pub enum RaftCommand {
    Propose(Proposal),
    Read(ReadContext),
    Input(Input),
    /// Says what consensus knows of all members.
    Status(oneshot::Sender<ReplicationStatus>),
}

/// The replicator with what it needs to act.
pub(crate) struct RaftMachine {
    pub(super) node: Arc<Node>,
    pub(super) replicator: Replicator,
    pub(super) log: Arc<Baton<LogMachine>>,
    pub(super) apply: Arc<Baton<ApplyMachine>>,
    pub(super) chores: Sender<Chore>,
    pub(super) commit: Sender<CommitCommand>,
    pub(super) effects: Effects,
}

impl Machine for RaftMachine {
    type Command = RaftCommand;

    /// Proposals that follow each other become one batch.
    fn take(&mut self, commands: &mut Vec<RaftCommand>) {
        let mut proposals = Vec::new();
        for command in commands.drain(..) {
            let input = match command {
                RaftCommand::Propose(proposal) => {
                    proposals.push(proposal);
                    continue;
                }
                RaftCommand::Read(context) => Input::Read(context),
                RaftCommand::Input(input) => input,
                RaftCommand::Status(sender) => {
                    let _ = sender.send(self.replicator.status());
                    continue;
                }
            };
            if !proposals.is_empty() {
                let proposals = std::mem::take(&mut proposals);
                self.replicator.step(Input::Propose(proposals), &mut self.effects);
            }
            self.replicator.step(input, &mut self.effects);
        }
        if !proposals.is_empty() {
            self.replicator.step(Input::Propose(proposals), &mut self.effects);
        }
        self.carry_out();
    }
}

impl RaftMachine {
    fn carry_out(&mut self) {
        for effect in self.effects.drain() {
            match effect {
                Effect::Append(batch) => {
                    world::fail::point("raftBeforeSave");
                    self.log.leave(LogCommand::Append(batch));
                }
                Effect::RecordSnapshot(record) => self.log.leave(LogCommand::RecordSnapshot(record)),
                Effect::Apply(entries) => self.apply.leave(ApplyCommand::Entries(entries)),
                // Behind the entries it waits for: commands are taken in order.
                Effect::ReadAt(_, contexts) => self.apply.leave(ApplyCommand::Reads(contexts)),
                Effect::Refuse(ProposalId(id), refusal) => {
                    self.node.metrics.server_proposals_failed_total.inc();
                    self.node.answer(id, Err(refusal.into()));
                }
                Effect::BecameLeader(term) => {
                    let (id, term) = (self.node.member_id.to_string(), term.0);
                    log::info("raft.node: elected leader", &[field("leader", id), field("term", term)]);
                    self.node.leadership.begun();
                    self.apply.leave(ApplyCommand::Duty);
                }
                Effect::LeaderChanged(leader) => {
                    self.node.leadership.changed(leader);
                    // Leases are the leader's: who leads no more must stop to expire them at once.
                    self.apply.leave(ApplyCommand::Duty);
                }
                Effect::Stop(reason) => fatal("this member cannot go on", &reason),
                Effect::Send(messages) => {
                    if let Some(transport) = self.node.transport.get() {
                        transport.send(messages);
                    }
                }
                Effect::SendSnapshot(message) => drop(self.commit.send(CommitCommand::SendSnapshot(Box::new(message)))),
                Effect::InstallSnapshot(snapshot) => self.apply.leave(ApplyCommand::Install(snapshot)),
                Effect::Purge => drop(self.chores.send(Chore::Purge)),
            }
        }
    }
}
