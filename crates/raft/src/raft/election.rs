//! Elections: timeouts, campaigns, votes, and becoming something.

use api::pb::raftpb::{Entry, EntryType, Message, MessageType};
use bytes::Bytes;

use super::Raft;
use crate::log::{EntryId, Storage};
use crate::logger::{debug, fatal, info, warning};
use crate::message::message;
use crate::quorum::VoteResult;
use crate::{NONE, Role};

/// The context of a vote that the leader itself has asked for: it overrides the lease.
pub(super) const TRANSFER_CONTEXT: &[u8] = b"CampaignTransfer";

/// Why a campaign begins, and with which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Campaign {
    /// Ask whether the election could be won, without raising the term (thesis 9.6).
    PreElection,
    Election,
    /// An election by order of the leader (thesis 3.10).
    Transfer,
}

impl<S: Storage> Raft<S> {
    /// Followers and candidates: campaign when the leader has been silent for too long.
    pub(super) fn tick_election(&mut self) {
        self.election_elapsed += 1;
        if self.election_elapsed >= self.randomized_election_ticks && self.promotable() {
            self.election_elapsed = 0;
            if let Err(error) = self.step(Message {
                from: Some(self.id),
                ..message(MessageType::MsgHup, self.id)
            }) {
                debug!(self.logger, "error occurred during election: {error}");
            }
        }
    }

    /// Whether this node may lead: a voter with its state in order.
    pub(super) fn promotable(&self) -> bool {
        self.tracker.progress.get(&self.id).is_some_and(|own| !own.is_learner) && !self.log.has_snapshot()
    }

    pub(super) fn become_follower(&mut self, term: u64, lead: u64) {
        self.reset(term);
        self.lead = lead;
        self.role = Role::Follower;
        info!(self.logger, "{:x} became follower at term {}", self.id, self.term);
    }

    pub(super) fn become_candidate(&mut self) {
        assert!(self.role != Role::Leader, "invalid transition [leader -> candidate]");
        self.reset(self.term + 1);
        self.vote = self.id;
        self.role = Role::Candidate;
        info!(self.logger, "{:x} became candidate at term {}", self.id, self.term);
    }

    /// Neither term nor vote changes: nothing is promised yet.
    pub(super) fn become_pre_candidate(&mut self) {
        assert!(self.role != Role::Leader, "invalid transition [leader -> pre-candidate]");
        self.tracker.reset_votes();
        self.lead = NONE;
        self.role = Role::PreCandidate;
        info!(self.logger, "{:x} became pre-candidate at term {}", self.id, self.term);
    }

    pub(super) fn become_leader(&mut self) {
        assert!(self.role != Role::Follower, "invalid transition [follower -> leader]");
        self.reset(self.term);
        self.lead = self.id;
        self.role = Role::Leader;
        // A configuration change may have removed this node since it became a candidate.
        if let Some(own) = self.tracker.progress.get_mut(&self.id) {
            own.become_replicate();
            own.recent_active = true;
        }
        // There may be a configuration change in the tail of the log. Looking for it could mean reading much; waiting for the whole tail is safe.
        self.pending_conf_index = self.log.last_index();
        // Only an entry of its own term commits those before it. An empty one weighs nothing, so it can not be refused.
        if !self.append_entries(vec![Entry::default()]) {
            fatal!(self.logger, "empty entry was dropped");
        }
        info!(self.logger, "{:x} became leader at term {}", self.id, self.term);
    }

    /// Begins a campaign, if this node may.
    pub(super) fn hup(&mut self, campaign: Campaign) {
        if self.role == Role::Leader {
            debug!(self.logger, "{:x} ignoring MsgHup because already leader", self.id);
            return;
        }
        if !self.promotable() {
            warning!(self.logger, "{:x} is unpromotable and can not campaign", self.id);
            return;
        }
        if self.has_unapplied_conf_changes() {
            warning!(
                self.logger,
                "{:x} cannot campaign at term {} since there are still pending configuration changes to apply",
                self.id,
                self.term
            );
            return;
        }
        info!(self.logger, "{:x} is starting a new election at term {}", self.id, self.term);
        self.campaign(campaign);
    }

    fn has_unapplied_conf_changes(&self) -> bool {
        let (lo, hi) = (self.log.applied + 1, self.log.committed + 1);
        let is_change = |entry: &Entry| entry.r#type.unwrap_or_default() != EntryType::EntryNormal as i32;
        match self.log.any(lo, hi, is_change) {
            Ok(found) => found,
            Err(error) => fatal!(self.logger, "error scanning unapplied entries [{lo}, {hi}): {error}"),
        }
    }

    pub(super) fn campaign(&mut self, campaign: Campaign) {
        if !self.promotable() {
            // Between the pre-vote and here a configuration change may have removed this node.
            warning!(self.logger, "{:x} is unpromotable; campaign() should have been called", self.id);
        }
        let (term, ask, answer) = if campaign == Campaign::PreElection {
            self.become_pre_candidate();
            (self.term + 1, MessageType::MsgPreVote, MessageType::MsgPreVoteResp)
        } else {
            self.become_candidate();
            (self.term, MessageType::MsgVote, MessageType::MsgVoteResp)
        };
        let last = self.log.last_id();
        for id in self.tracker.voter_nodes() {
            if id == self.id {
                // The own vote, too, counts only when it is on the disk: it comes back from there.
                self.send(Message {
                    term: Some(term),
                    ..message(answer, id)
                });
                continue;
            }
            info!(
                self.logger,
                "{:x} [logterm: {}, index: {}] sent {} request to {id:x} at term {}",
                self.id,
                last.term,
                last.index,
                ask.as_str_name(),
                self.term
            );
            self.send(Message {
                term: Some(term),
                index: Some(last.index),
                log_term: Some(last.term),
                context: (campaign == Campaign::Transfer).then(|| Bytes::from_static(TRANSFER_CONTEXT)),
                ..message(ask, id)
            });
        }
    }

    /// Somebody asks for a vote, or whether it would get one. Learners answer too: they may have been made voters without knowing it yet.
    pub(super) fn handle_vote(&mut self, request: &Message, kind: MessageType) {
        let candidate = request.from();
        let theirs = EntryId {
            term: request.log_term(),
            index: request.index(),
        };
        let ours = self.log.last_id();
        let can_vote = self.vote == candidate
            || (self.vote == NONE && self.lead == NONE)
            || (kind == MessageType::MsgPreVote && request.term() > self.term);
        let grant = can_vote && self.log.is_up_to_date(theirs);
        info!(
            self.logger,
            "{:x} [logterm: {}, index: {}, vote: {:x}] {} {} {} {candidate:x} [logterm: {}, index: {}] at term {}",
            self.id,
            ours.term,
            ours.index,
            self.vote,
            if grant { "cast" } else { "rejected" },
            kind.as_str_name(),
            if grant { "for" } else { "from" },
            theirs.term,
            theirs.index,
            self.term
        );
        let answer = if kind == MessageType::MsgVote {
            MessageType::MsgVoteResp
        } else {
            MessageType::MsgPreVoteResp
        };
        if grant {
            // With the request's term: a pre-candidate would take ours for an old one.
            self.send(Message {
                term: Some(request.term()),
                ..message(answer, candidate)
            });
            if kind == MessageType::MsgVote {
                self.election_elapsed = 0;
                self.vote = candidate;
            }
        } else {
            self.send(Message {
                term: Some(self.term),
                reject: Some(true),
                ..message(answer, candidate)
            });
        }
    }

    /// A vote for or against this candidate.
    pub(super) fn handle_vote_response(&mut self, vote: &Message, kind: MessageType) {
        let (from, name) = (vote.from(), kind.as_str_name());
        let rejection = if vote.reject() { " rejection" } else { "" };
        info!(
            self.logger,
            "{:x} received {name}{rejection} from {from:x} at term {}", self.id, self.term
        );
        self.tracker.record_vote(from, !vote.reject());
        let tally = self.tracker.tally_votes();
        info!(
            self.logger,
            "{:x} has received {} {name} votes and {} vote rejections", self.id, tally.granted, tally.rejected
        );
        match tally.result {
            VoteResult::Won if self.role == Role::PreCandidate => self.campaign(Campaign::Election),
            VoteResult::Won => {
                self.become_leader();
                self.broadcast_append();
            }
            // The own term, also after pre-votes, which are about the next one.
            VoteResult::Lost => self.become_follower(self.term, NONE),
            VoteResult::Pending => {}
        }
    }
}
