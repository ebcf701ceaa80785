//! What is asked of the storage, and its answers.
//!
//! An append's answer carries the last position of the log and the term in which it was asked for, and counts only in that term. A write
//! may be under way when another leader's entries take the place of what it writes, and a third leader's may then equal the first ones:
//! position and entry's term match again while the second write is still to come, and would undo the first. No such thing happens within a
//! term. Since each change of term is written too, an answer in the new term always follows, so nothing stays unstable for ever.

use api::pb::raftpb::{Entry, Message, MessageType, Snapshot};

use super::Raft;
use crate::log::size::{encoded_size, payload_size};
use crate::log::{EntryId, Storage};
use crate::message::{last_index, message};
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, Ready};

impl<S: Storage> Raft<S> {
    /// Asks for entries, hard state and snapshot of `ready` to be written; all that waits for the disk is sent on when they are.
    /// None if there is nothing to write and nothing that waits.
    pub fn storage_append(&mut self, ready: &Ready) -> Option<Message> {
        let wanted = !ready.entries.is_empty() || ready.hard_state.is_some() || ready.snapshot.is_some() || !self.after_append.is_empty();
        if !wanted {
            return None;
        }
        let mut responses = std::mem::take(&mut self.after_append);
        // Behind the acknowledgements to this node itself: those find the terms of the entries while they are still at hand.
        responses.extend(self.storage_append_response(ready));
        let hard_state = ready.hard_state.unwrap_or_default();
        Some(Message {
            from: Some(self.id),
            entries: ready.entries.clone(),
            term: hard_state.term,
            vote: hard_state.vote,
            commit: hard_state.commit,
            snapshot: ready.snapshot.clone(),
            responses,
            ..message(MessageType::MsgStorageAppend, LOCAL_APPEND_THREAD)
        })
    }

    /// The answer to a write. Also a write without entries has one if entries are under way, for the reason above.
    pub fn storage_append_response(&self, ready: &Ready) -> Option<Message> {
        let unstable = self.log.unstable.len() > 0;
        if !unstable && ready.snapshot.is_none() {
            return None;
        }
        let last = if unstable { self.log.last_id() } else { EntryId::default() };
        Some(Message {
            from: Some(LOCAL_APPEND_THREAD),
            term: Some(self.term),
            index: Some(last.index),
            log_term: Some(last.term),
            snapshot: ready.snapshot.clone(),
            ..message(MessageType::MsgStorageAppendResp, self.id)
        })
    }

    /// Asks for committed entries to be applied.
    pub fn storage_apply(&self, committed: &[Entry]) -> Option<Message> {
        (!committed.is_empty()).then(|| Message {
            from: Some(self.id),
            entries: committed.to_vec(),
            responses: vec![self.storage_apply_response(committed)],
            ..message(MessageType::MsgStorageApply, LOCAL_APPLY_THREAD)
        })
    }

    /// The answer when they are. It has no term: what is committed is so in all terms.
    pub fn storage_apply_response(&self, committed: &[Entry]) -> Message {
        Message {
            from: Some(LOCAL_APPLY_THREAD),
            entries: committed.to_vec(),
            ..message(MessageType::MsgStorageApplyResp, self.id)
        }
    }

    pub(super) fn handle_storage_append_response(&mut self, response: Message) {
        if response.index() != 0 {
            self.log.unstable.stable_to(EntryId {
                term: response.log_term(),
                index: response.index(),
            });
        }
        if let Some(snapshot) = &response.snapshot {
            self.applied_snapshot(snapshot);
        }
    }

    pub(super) fn handle_storage_apply_response(&mut self, response: &Message) {
        if let Some(index) = last_index(&response.entries) {
            self.applied_to(index, encoded_size(&response.entries));
            self.shrink_uncommitted(payload_size(&response.entries));
        }
    }

    pub(super) fn applied_snapshot(&mut self, snapshot: &Snapshot) {
        let index = EntryId::of_snapshot(snapshot).index;
        self.log.unstable.stable_snapshot_to(index);
        self.applied_to(index, 0);
    }

    fn applied_to(&mut self, index: u64, size: u64) {
        self.log.applied_to(index.max(self.log.applied), size);
        self.leave_joint_if_due();
    }
}
