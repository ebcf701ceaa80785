//! Handing leadership over (thesis 3.10).

use api::pb::raftpb::MessageType;

use super::Raft;
use crate::NONE;
use crate::log::Storage;
use crate::logger::{debug, info};
use crate::message::message;

impl<S: Storage> Raft<S> {
    /// The leader is asked to make way for `transferee`. Until that ends it takes no proposals, but never for longer than an election timeout.
    pub(super) fn handle_transfer_leader(&mut self, transferee: u64) {
        let Some(progress) = self.tracker.progress.get(&transferee) else {
            return;
        };
        if progress.is_learner {
            debug!(self.logger, "{:x} is learner. Ignored transferring leadership", self.id);
            return;
        }
        let matched = progress.matched;
        let before = self.lead_transferee;
        if before != NONE {
            if before == transferee {
                info!(
                    self.logger,
                    "{:x} [term {}] transfer leadership to {transferee:x} is in progress, ignores request to same node {transferee:x}",
                    self.id,
                    self.term
                );
                return;
            }
            self.abort_leader_transfer();
            info!(
                self.logger,
                "{:x} [term {}] abort previous transferring leadership to {before:x}", self.id, self.term
            );
        }
        if transferee == self.id {
            debug!(
                self.logger,
                "{:x} is already leader. Ignored transferring leadership to self", self.id
            );
            return;
        }
        info!(
            self.logger,
            "{:x} [term {}] starts to transfer leadership to {transferee:x}", self.id, self.term
        );
        self.election_elapsed = 0;
        self.lead_transferee = transferee;
        if matched == self.log.last_index() {
            self.send_timeout_now(transferee);
            info!(
                self.logger,
                "{:x} sends MsgTimeoutNow to {transferee:x} immediately as {transferee:x} already has up-to-date log", self.id
            );
        } else {
            self.send_append(transferee);
        }
    }

    pub(super) fn send_timeout_now(&mut self, to: u64) {
        self.send(message(MessageType::MsgTimeoutNow, to));
    }

    pub(super) fn abort_leader_transfer(&mut self) {
        self.lead_transferee = NONE;
    }
}
