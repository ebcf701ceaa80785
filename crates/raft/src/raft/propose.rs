//! Proposals at the leader: they become entries, if there is room and no reason against them.

use api::pb::raftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message, MessageType};
use prost::Message as _;

use super::Raft;
use crate::conf_change::to_v2;
use crate::describe;
use crate::log::Storage;
use crate::log::size::payload_size;
use crate::logger::{debug, info, warning};
use crate::message::message;
use crate::{NONE, Role, StepError};

/// The change that an entry holds, the older form as the newer one.
fn decode_change(entry: &Entry) -> Result<Option<ConfChangeV2>, StepError> {
    let data = entry.data.clone().unwrap_or_default();
    let change = match EntryType::try_from(entry.r#type.unwrap_or_default()) {
        Ok(EntryType::EntryNormal) => return Ok(None),
        Ok(EntryType::EntryConfChange) => ConfChange::decode(data).map(|change| to_v2(&change)),
        Ok(EntryType::EntryConfChangeV2) => ConfChangeV2::decode(data),
        Err(_) => return Err(StepError::Malformed),
    };
    change.map(Some).map_err(|_| StepError::Malformed)
}

impl<S: Storage> Raft<S> {
    /// Entries, of this node's application or passed on by a follower.
    pub(super) fn handle_proposal(&mut self, mut entries: Vec<Entry>) -> Result<(), StepError> {
        if entries.is_empty() {
            return Err(StepError::Malformed);
        }
        if !self.tracker.progress.contains_key(&self.id) {
            // Removed while leading.
            return Err(StepError::ProposalDropped);
        }
        if self.lead_transferee != NONE {
            debug!(
                self.logger,
                "{:x} [term {}] transfer leadership to {:x} is in progress; dropping proposal", self.id, self.term, self.lead_transferee
            );
            return Err(StepError::ProposalDropped);
        }
        if entries.iter().any(|entry| entry.r#type.unwrap_or_default() != 0) {
            self.check_changes(&mut entries)?;
        }
        if !self.append_entries(entries) {
            return Err(StepError::ProposalDropped);
        }
        self.broadcast_append();
        Ok(())
    }

    /// Of changes to the configuration only one may be under way. One that may not be now becomes an empty entry: its proposer just waits.
    fn check_changes(&mut self, entries: &mut [Entry]) -> Result<(), StepError> {
        let changes = entries.iter().map(decode_change).collect::<Result<Vec<_>, _>>()?;
        let first = self.log.last_index() + 1;
        for ((change, entry), index) in changes.into_iter().zip(entries).zip(first..) {
            let Some(change) = change else { continue };
            let joint = self.tracker.config.voters.is_joint();
            // An empty change ends a joint configuration.
            let leaves_joint = change.changes.is_empty();
            let reason = if self.pending_conf_index > self.log.applied {
                Some(format!(
                    "possible unapplied conf change at index {} (applied to {})",
                    self.pending_conf_index, self.log.applied
                ))
            } else if joint && !leaves_joint {
                Some("must transition out of joint config first".to_owned())
            } else if !joint && leaves_joint {
                Some("not in joint state; refusing empty conf change".to_owned())
            } else {
                None
            };
            match reason {
                Some(reason) if !self.config.disable_conf_change_validation => {
                    let config = &self.tracker.config;
                    info!(
                        self.logger,
                        "{:x} ignoring conf change {} at config {config}: {reason}",
                        self.id,
                        describe::conf_change(&change)
                    );
                    *entry = Entry {
                        r#type: Some(EntryType::EntryNormal as i32),
                        ..Entry::default()
                    };
                }
                _ => self.pending_conf_index = index,
            }
        }
        Ok(())
    }

    /// Appends to the leader's log. False if too much is uncommitted already.
    pub(super) fn append_entries(&mut self, mut entries: Vec<Entry>) -> bool {
        let first = self.log.last_index() + 1;
        for (entry, index) in entries.iter_mut().zip(first..) {
            entry.term = Some(self.term);
            entry.index = Some(index);
        }
        if !self.grow_uncommitted(payload_size(&entries)) {
            warning!(
                self.logger,
                "{:x} appending new entries to log would exceed uncommitted entry size limit; dropping proposal",
                self.id
            );
            return false;
        }
        let last = self.log.append(entries);
        // The leader's own acknowledgement, which comes back when the entries are on its disk.
        self.send(Message {
            index: Some(last),
            ..message(MessageType::MsgAppResp, self.id)
        });
        true
    }

    /// Any size fits when nothing is uncommitted, and an empty entry always.
    fn grow_uncommitted(&mut self, size: u64) -> bool {
        let grown = self.uncommitted_size.saturating_add(size);
        if self.uncommitted_size > 0 && size > 0 && grown > self.config.max_uncommitted_entries_size {
            return false;
        }
        self.uncommitted_size = grown;
        true
    }

    pub(super) fn shrink_uncommitted(&mut self, size: u64) {
        self.uncommitted_size = self.uncommitted_size.saturating_sub(size);
    }

    /// Leaves a joint configuration that is to be left by itself, once the entry that entered it is applied.
    pub(super) fn leave_joint_if_due(&mut self) {
        if !(self.tracker.config.auto_leave && self.log.applied >= self.pending_conf_index && self.role == Role::Leader) {
            return;
        }
        // Without data it weighs nothing, so it can not be refused for its size. If leadership is being handed over it is, and is tried again
        // with the next entry applied, here or at the next leader.
        let leave = Entry {
            r#type: Some(EntryType::EntryConfChangeV2 as i32),
            ..Entry::default()
        };
        match self.handle_proposal(vec![leave]) {
            Ok(()) => info!(
                self.logger,
                "initiating automatic transition out of joint configuration {}", self.tracker.config
            ),
            Err(error) => debug!(
                self.logger,
                "not initiating automatic transition out of joint configuration {}: {error}", self.tracker.config
            ),
        }
    }
}
