//! Replication: the leader's appends and what comes back, the follower's taking of them (paper 5.3).

use api::pb::raftpb::{Message, MessageType};

use super::Raft;
use crate::StepError;
use crate::log::size::payload_size;
use crate::log::{EntryId, Storage};
use crate::logger::{debug, info};
use crate::message::message;
use crate::progress::ProgressState;

impl<S: Storage> Raft<S> {
    /// Sends an append, an empty one if there is nothing new, unless the peer is paused.
    pub(super) fn send_append(&mut self, to: u64) {
        self.try_send_append(to, true);
    }

    /// Sends an append if the peer may be sent one; an empty one, which carries just the commit index, only if `if_empty`. True if
    /// something was sent.
    pub(super) fn try_send_append(&mut self, to: u64, if_empty: bool) -> bool {
        let Some(progress) = self.tracker.progress.get(&to) else {
            return false;
        };
        if progress.is_paused() {
            return false;
        }
        let prev = progress.next - 1;
        let Ok(prev_term) = self.log.term(prev) else {
            // Compacted: the log can not bring the peer up to date any more.
            return self.try_send_snapshot(to);
        };
        // With the window full, only empty appends go out (on heartbeats' answers): if all that fills it was lost, its answer says so.
        let throttled = progress.state == ProgressState::Replicate && progress.inflights.is_full();
        let entries = if throttled {
            Vec::new()
        } else {
            match self.log.entries(prev + 1, self.config.max_size_per_msg) {
                Ok(entries) => entries,
                Err(_) if if_empty => return self.try_send_snapshot(to),
                Err(_) => return false,
            }
        };
        if entries.is_empty() && !if_empty {
            return false;
        }
        let commit = self.log.committed;
        if let Some(progress) = self.tracker.progress.get_mut(&to) {
            progress.sent_entries(entries.len(), payload_size(&entries));
            progress.sent_commit(commit);
        }
        self.send(Message {
            index: Some(prev),
            log_term: Some(prev_term),
            entries,
            commit: Some(commit),
            ..message(MessageType::MsgApp, to)
        });
        true
    }

    /// Sends to every peer what it lacks, or else the commit index.
    pub(super) fn broadcast_append(&mut self) {
        self.for_each_peer(|raft, id| raft.send_append(id));
    }

    /// Commits what a quorum holds, if it is of this term.
    pub(super) fn try_commit(&mut self) -> bool {
        let id = EntryId {
            term: self.term,
            index: self.tracker.committed(),
        };
        self.log.try_commit(id)
    }

    /// A peer has taken an append or refused it; or the own disk has taken one, which is answered in the same way.
    pub(super) fn handle_append_response(&mut self, response: &Message) -> Result<(), StepError> {
        if !response.reject() && response.index() > self.log.last_index() {
            // Nobody can hold more of this leader's log than the leader has.
            return Err(StepError::Malformed);
        }
        if let Some(progress) = self.tracker.progress.get_mut(&response.from()) {
            progress.recent_active = true;
        }
        if response.reject() {
            self.probe_lower(response);
        } else {
            self.advance(response.from(), response.index());
        }
        Ok(())
    }

    /// The peer's log does not match where the append began: begin further down.
    fn probe_lower(&mut self, response: &Message) {
        let (from, hint, hint_term) = (response.from(), response.reject_hint(), response.log_term());
        debug!(
            self.logger,
            "{:x} received MsgAppResp(rejected, hint: (index {hint}, term {hint_term})) from {from:x} for index {}",
            self.id,
            response.index()
        );
        // The peer's entry at `hint` is of `hint_term`, so none up to there is of a later one: where our terms are later the logs can not
        // match. This skips a diverged tail in steps of terms, not of entries; the peer chose its hint in the same way.
        let next_probe = if hint_term > 0 {
            self.log.find_conflict_by_term(hint, hint_term).0
        } else {
            hint
        };
        let Some(progress) = self.tracker.progress.get_mut(&from) else {
            return;
        };
        if progress.maybe_decr_to(response.index(), next_probe) {
            debug!(self.logger, "{:x} decreased progress of {from:x} to [{progress}]", self.id);
            if progress.state == ProgressState::Replicate {
                progress.become_probe();
            }
            self.send_append(from);
        }
    }

    /// `from` holds the log up to `index`.
    fn advance(&mut self, from: u64, index: u64) {
        let first = self.log.first_index();
        let Some(progress) = self.tracker.progress.get_mut(&from) else {
            return;
        };
        // An answer without news still ends a probe: an unreachable peer that has nothing to fetch would be probed for ever.
        let probed = progress.matched == index && progress.state == ProgressState::Probe;
        if !progress.maybe_update(index) && !probed {
            return;
        }
        match progress.state {
            ProgressState::Probe => progress.become_replicate(),
            // Whichever snapshot it was: the log reaches the peer again. Through the probing state, which takes the snapshot into account.
            ProgressState::Snapshot if progress.matched + 1 >= first => {
                debug!(
                    self.logger,
                    "{:x} recovered from needing snapshot, resumed sending replication messages to {from:x} [{progress}]", self.id
                );
                progress.become_probe();
                progress.become_replicate();
            }
            ProgressState::Snapshot => {}
            ProgressState::Replicate => progress.inflights.free_to(index),
        }
        let news_of_commit = from != self.id && progress.can_bump_commit(self.log.committed);
        if self.try_commit() {
            self.release_pending_reads();
            self.broadcast_append();
        } else if news_of_commit {
            // The next heartbeat would tell it too, but later.
            self.send_append(from);
        }
        if from == self.id {
            return;
        }
        // The window may have opened for more than one append.
        while self.try_send_append(from, false) {}
        self.finish_transfer(from);
    }

    /// The transport could not reach the peer: what is under way is probably lost.
    pub(super) fn handle_unreachable(&mut self, from: u64) {
        let Some(progress) = self.tracker.progress.get_mut(&from) else {
            return;
        };
        if progress.state == ProgressState::Replicate {
            progress.become_probe();
        }
        debug!(
            self.logger,
            "{:x} failed to send message to {from:x} because it is unreachable [{progress}]", self.id
        );
    }

    /// The leader's entries, behind one that both should hold.
    pub(super) fn handle_append(&mut self, append: Message) -> Result<(), StepError> {
        let (leader, commit) = (append.from(), append.commit());
        let prev = EntryId {
            term: append.log_term(),
            index: append.index(),
        };
        let mut answer = message(MessageType::MsgAppResp, leader);
        if prev.index < self.log.committed {
            // An old one: what is committed matches for sure.
            answer.index = Some(self.log.committed);
        } else if let Some(last) = self.log.try_append(prev, append.entries, commit)? {
            answer.index = Some(last);
        } else {
            debug!(
                self.logger,
                "{:x} [logterm: {}, index: {}] rejected MsgApp [logterm: {}, index: {}] from {leader:x}",
                self.id,
                self.log.term_or_zero(prev.index),
                prev.index,
                prev.term,
                prev.index
            );
            // A guess where the logs match, for the leader to go on from: our last entry that is not of a later term than its own.
            let (hint, hint_term) = self.log.find_conflict_by_term(prev.index.min(self.log.last_index()), prev.term);
            answer.index = Some(prev.index);
            answer.reject = Some(true);
            answer.reject_hint = Some(hint);
            answer.log_term = Some(hint_term);
        }
        self.send(answer);
        Ok(())
    }

    /// The peer that is to lead next holds everything: it may go ahead.
    fn finish_transfer(&mut self, from: u64) {
        let Some(progress) = self.tracker.progress.get(&from) else {
            return;
        };
        if from == self.lead_transferee && progress.matched == self.log.last_index() {
            info!(
                self.logger,
                "{:x} sent MsgTimeoutNow to {from:x} after received MsgAppResp", self.id
            );
            self.send_timeout_now(from);
        }
    }
}
