//! Each message to its rule: first what its term means, then what the role makes of it.

use api::pb::raftpb::{Message, MessageType};

use super::Raft;
use super::election::{Campaign, TRANSFER_CONTEXT};
use crate::log::Storage;
use crate::logger::{debug, error, info};
use crate::message::{kind_of, message};
use crate::{NONE, ReadOnlyOption, ReadState, Role, StepError};

impl<S: Storage> Raft<S> {
    /// Takes one message, of a peer, of the own storage or application.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let kind = kind_of(&message).ok_or(StepError::Malformed)?;
        // Term 0: a local message, or one that was passed on.
        let term = message.term();
        if term > self.term {
            if !self.meet_higher_term(&message, kind) {
                return Ok(());
            }
        } else if term != 0 && term < self.term {
            self.meet_lower_term(message, kind);
            return Ok(());
        }
        match kind {
            MessageType::MsgHup => {
                let campaign = if self.config.pre_vote {
                    Campaign::PreElection
                } else {
                    Campaign::Election
                };
                self.hup(campaign);
                Ok(())
            }
            MessageType::MsgStorageAppendResp => {
                self.handle_storage_append_response(message);
                Ok(())
            }
            MessageType::MsgStorageApplyResp => {
                self.handle_storage_apply_response(&message);
                Ok(())
            }
            MessageType::MsgVote | MessageType::MsgPreVote => {
                self.handle_vote(&message, kind);
                Ok(())
            }
            _ => match self.role {
                Role::Leader => self.step_leader(message, kind),
                Role::Follower => self.step_follower(message, kind),
                Role::Candidate | Role::PreCandidate => self.step_candidate(message, kind),
            },
        }
    }

    /// Somebody is in a later term: normally this node follows into it. False if the message is to be dropped.
    fn meet_higher_term(&mut self, message: &Message, kind: MessageType) -> bool {
        use MessageType::*;
        if matches!(kind, MsgVote | MsgPreVote) {
            let forced = message.context() == TRANSFER_CONTEXT;
            let in_lease = self.config.check_quorum && self.lead != NONE && self.election_elapsed < self.config.election_ticks;
            if !forced && in_lease {
                // Heard of a leader a short while ago: whoever calls an election is the one that is cut off (thesis 4.2.3).
                let last = self.log.last_id();
                info!(
                    self.logger,
                    "{:x} [logterm: {}, index: {}, vote: {:x}] ignored {} from {:x} [logterm: {}, index: {}] at term {}: lease is not expired (remaining ticks: {})",
                    self.id,
                    last.term,
                    last.index,
                    self.vote,
                    kind.as_str_name(),
                    message.from(),
                    message.log_term(),
                    message.index(),
                    self.term,
                    self.config.election_ticks - self.election_elapsed
                );
                return false;
            }
        }
        // A pre-vote names a term that nobody is in yet, and so does its grant. Its refusal names the refuser's own term.
        if kind == MsgPreVote || (kind == MsgPreVoteResp && !message.reject()) {
            return true;
        }
        info!(
            self.logger,
            "{:x} [term: {}] received a {} message with higher term from {:x} [term: {}]",
            self.id,
            self.term,
            kind.as_str_name(),
            message.from(),
            message.term()
        );
        let lead = match kind {
            MsgApp | MsgHeartbeat | MsgSnap => message.from(),
            _ => NONE,
        };
        self.become_follower(message.term(), lead);
        true
    }

    /// Somebody is in an earlier term. Mostly that is left to time; where it could last for ever, the sender learns of this term.
    fn meet_lower_term(&mut self, old: Message, kind: MessageType) {
        use MessageType::*;
        match kind {
            // With a lease or pre-votes, a leader at a lower term may never hear of ours by an election. This answer makes it step down.
            MsgHeartbeat | MsgApp if self.config.check_quorum || self.config.pre_vote => self.send(message(MsgAppResp, old.from())),
            // A candidate of before pre-votes were turned on may have a higher term and a shorter log: silence would be a deadlock.
            MsgPreVote => {
                let last = self.log.last_id();
                info!(
                    self.logger,
                    "{:x} [logterm: {}, index: {}, vote: {:x}] rejected {} from {:x} [logterm: {}, index: {}] at term {}",
                    self.id,
                    last.term,
                    last.index,
                    self.vote,
                    kind.as_str_name(),
                    old.from(),
                    old.log_term(),
                    old.index(),
                    self.term
                );
                self.send(Message {
                    term: Some(self.term),
                    reject: Some(true),
                    ..message(MsgPreVoteResp, old.from())
                });
            }
            MsgStorageAppendResp => {
                if old.index() != 0 {
                    // Another leader's entries may have taken their place, with their write still to come: see storage.rs.
                    info!(
                        self.logger,
                        "{:x} [term: {}] ignored entry appends from a {} message with lower term [term: {}]",
                        self.id,
                        self.term,
                        kind.as_str_name(),
                        old.term()
                    );
                }
                // A snapshot holds what is committed, whatever the term.
                if let Some(snapshot) = &old.snapshot {
                    self.applied_snapshot(snapshot);
                }
            }
            _ => info!(
                self.logger,
                "{:x} [term: {}] ignored a {} message with lower term from {:x} [term: {}]",
                self.id,
                self.term,
                kind.as_str_name(),
                old.from(),
                old.term()
            ),
        }
    }

    fn step_leader(&mut self, message: Message, kind: MessageType) -> Result<(), StepError> {
        use MessageType::*;
        match kind {
            MsgBeat => self.broadcast_heartbeat(),
            MsgCheckQuorum => self.check_quorum(),
            MsgProp => return self.handle_proposal(message.entries),
            MsgReadIndex => self.handle_read_index(message),
            MsgForgetLeader => {}
            _ => {
                let from = message.from();
                if !self.tracker.progress.contains_key(&from) {
                    debug!(self.logger, "{:x} no progress available for {from:x}", self.id);
                    return Ok(());
                }
                match kind {
                    MsgAppResp => return self.handle_append_response(&message),
                    MsgHeartbeatResp => self.handle_heartbeat_response(&message),
                    MsgSnapStatus => self.handle_snapshot_status(from, message.reject()),
                    MsgUnreachable => self.handle_unreachable(from),
                    MsgTransferLeader => self.handle_transfer_leader(from),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Candidates and pre-candidates.
    fn step_candidate(&mut self, message: Message, kind: MessageType) -> Result<(), StepError> {
        use MessageType::*;
        let my_response = if self.role == Role::PreCandidate {
            MsgPreVoteResp
        } else {
            // A grant of the pre-vote that comes late must not count as a vote.
            MsgVoteResp
        };
        match kind {
            MsgProp => {
                info!(self.logger, "{:x} no leader at term {}; dropping proposal", self.id, self.term);
                return Err(StepError::ProposalDropped);
            }
            // Somebody leads in this very term.
            MsgApp | MsgHeartbeat | MsgSnap => {
                self.become_follower(message.term(), message.from());
                return self.obey(message, kind);
            }
            _ if kind == my_response => self.handle_vote_response(&message, kind),
            MsgTimeoutNow => debug!(
                self.logger,
                "{:x} [term {} state {}] ignored MsgTimeoutNow from {:x}",
                self.id,
                self.term,
                self.role,
                message.from()
            ),
            _ => {}
        }
        Ok(())
    }

    fn step_follower(&mut self, mut message: Message, kind: MessageType) -> Result<(), StepError> {
        use MessageType::*;
        match kind {
            MsgProp => {
                if self.lead == NONE {
                    info!(self.logger, "{:x} no leader at term {}; dropping proposal", self.id, self.term);
                    return Err(StepError::ProposalDropped);
                }
                if self.config.disable_proposal_forwarding {
                    info!(
                        self.logger,
                        "{:x} not forwarding to leader {:x} at term {}; dropping proposal", self.id, self.lead, self.term
                    );
                    return Err(StepError::ProposalDropped);
                }
                self.pass_on(message);
            }
            MsgApp | MsgHeartbeat | MsgSnap => {
                self.election_elapsed = 0;
                self.lead = message.from();
                return self.obey(message, kind);
            }
            MsgTransferLeader => {
                if self.lead == NONE {
                    info!(
                        self.logger,
                        "{:x} no leader at term {}; dropping leader transfer msg", self.id, self.term
                    );
                } else {
                    self.pass_on(message);
                }
            }
            MsgForgetLeader => self.handle_forget_leader(),
            MsgTimeoutNow => {
                info!(
                    self.logger,
                    "{:x} [term {}] received MsgTimeoutNow from {:x} and starts an election to get leadership.",
                    self.id,
                    self.term,
                    message.from()
                );
                // No pre-vote: the leader itself asks for it, so there is no partition to recover from.
                self.hup(Campaign::Transfer);
            }
            MsgReadIndex => {
                if self.lead == NONE {
                    info!(
                        self.logger,
                        "{:x} no leader at term {}; dropping index reading msg", self.id, self.term
                    );
                } else {
                    self.pass_on(message);
                }
            }
            MsgReadIndexResp => {
                let count = message.entries.len();
                if count != 1 {
                    error!(
                        self.logger,
                        "{:x} invalid format of MsgReadIndexResp from {:x}, entries count: {count}",
                        self.id,
                        message.from()
                    );
                    return Ok(());
                }
                self.read_states.push(ReadState {
                    index: message.index(),
                    request_ctx: message.entries.remove(0).data.unwrap_or_default(),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands a request on to the leader.
    fn pass_on(&mut self, mut message: Message) {
        message.to = Some(self.lead);
        self.send(message);
    }

    /// What the leader of the term orders.
    fn obey(&mut self, message: Message, kind: MessageType) -> Result<(), StepError> {
        match kind {
            MessageType::MsgApp => self.handle_append(message),
            MessageType::MsgSnap => self.handle_snapshot(message),
            _ => {
                self.handle_heartbeat(message);
                Ok(())
            }
        }
    }

    /// A follower that knows the leader to be gone may vote before its lease runs out.
    fn handle_forget_leader(&mut self) {
        if self.config.read_only_option == ReadOnlyOption::LeaseBased {
            error!(self.logger, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
        } else if self.lead != NONE {
            info!(self.logger, "{:x} forgetting leader {:x} at term {}", self.id, self.lead, self.term);
            self.lead = NONE;
        }
    }
}
