//! Putting configurations into effect (thesis 4).

use api::pb::raftpb::{ConfChangeV2, ConfState};

use super::Raft;
use crate::conf_change::{ChangeError, Changer};
use crate::log::Storage;
use crate::logger::info;
use crate::progress::{Config, ProgressMap};
use crate::{NONE, Role};

impl<S: Storage> Raft<S> {
    /// A change of the configuration has been applied.
    ///
    /// # Errors
    /// The change does not fit the configuration. Nothing has changed then.
    pub fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState, ChangeError> {
        let changer = Changer {
            tracker: &self.tracker,
            last_index: self.log.last_index(),
        };
        let (config, progress) = changer.apply(change)?;
        Ok(self.switch_to(config, progress))
    }

    /// Uses the given configuration from here on, with all that follows for this node.
    pub(super) fn switch_to(&mut self, config: Config, progress: ProgressMap) -> ConfState {
        self.tracker.config = config;
        self.tracker.progress = progress;
        info!(self.logger, "{:x} switched to configuration {}", self.id, self.tracker.config);
        let state = self.tracker.conf_state();
        let own = self.tracker.progress.get(&self.id);
        self.is_learner = own.is_some_and(|own| own.is_learner);
        if own.is_none() || self.is_learner {
            // A leader that is not a voter any more may go on until the others have elected another: it counts itself in no quorum.
            if self.role == Role::Leader && self.config.step_down_on_removal {
                self.become_follower(self.term, NONE);
            }
            return state;
        }
        if self.role != Role::Leader || state.voters.is_empty() {
            return state;
        }
        if self.try_commit() {
            // The new quorum holds more than the old one did.
            self.broadcast_append();
        } else {
            // New members should not have to wait for a heartbeat.
            self.for_each_peer(|raft, id| {
                raft.try_send_append(id, false);
            });
        }
        if self.lead_transferee != NONE && !self.tracker.config.voters.contains(self.lead_transferee) {
            self.abort_leader_transfer();
        }
        state
    }
}
