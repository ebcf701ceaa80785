//! Snapshots: to a peer that the log can not bring up to date any more, and from the leader to such a node (thesis 5).

use api::pb::raftpb::{ConfState, Message, MessageType, Snapshot};

use super::Raft;
use crate::conf_change::{equivalent, restore};
use crate::describe::ProtoText;
use crate::log::{EntryId, Storage, StorageError};
use crate::logger::{debug, error, info, warning};
use crate::message::message;
use crate::{NONE, Role, StepError};

impl<S: Storage> Raft<S> {
    /// Sends the newest snapshot, unless the peer is silent or there is none at the moment. True if it was sent.
    pub(super) fn try_send_snapshot(&mut self, to: u64) -> bool {
        let Some(progress) = self.tracker.progress.get_mut(&to) else {
            return false;
        };
        if !progress.recent_active {
            debug!(self.logger, "ignore sending snapshot to {to:x} since it is not recently active");
            return false;
        }
        let snapshot = match self.log.snapshot() {
            Ok(snapshot) => snapshot,
            Err(StorageError::SnapshotTemporarilyUnavailable) => {
                debug!(
                    self.logger,
                    "{:x} failed to send snapshot to {to:x} because snapshot is temporarily unavailable", self.id
                );
                return false;
            }
            Err(error) => {
                error!(self.logger, "{:x} failed to send snapshot to {to:x}: {error}", self.id);
                return false;
            }
        };
        let id = EntryId::of_snapshot(&snapshot);
        if id.index == 0 {
            // The storage has compacted what it has no snapshot of. Go panics; the peer can wait until there is one.
            error!(
                self.logger,
                "{:x} failed to send snapshot to {to:x}: need non-empty snapshot", self.id
            );
            return false;
        }
        debug!(
            self.logger,
            "{:x} [firstindex: {}, commit: {}] sent snapshot[index: {}, term: {}] to {to:x} [{progress}]",
            self.id,
            self.log.first_index(),
            self.log.committed,
            id.index,
            id.term
        );
        progress.become_snapshot(id.index);
        debug!(
            self.logger,
            "{:x} paused sending replication messages to {to:x} [{progress}]", self.id
        );
        self.send(Message {
            snapshot: Some(snapshot),
            ..message(MessageType::MsgSnap, to)
        });
        true
    }

    /// The transport says what became of a snapshot.
    pub(super) fn handle_snapshot_status(&mut self, from: u64, failed: bool) {
        use crate::progress::ProgressState;
        let Some(progress) = self.tracker.progress.get_mut(&from) else {
            return;
        };
        if progress.state != ProgressState::Snapshot {
            return;
        }
        if failed {
            // Before the probing begins: it would begin behind the snapshot that never arrived.
            progress.pending_snapshot = 0;
        }
        progress.become_probe();
        debug!(
            self.logger,
            "{:x} snapshot {}, resumed sending replication messages to {from:x} [{progress}]",
            self.id,
            if failed { "failed" } else { "succeeded" }
        );
        // After success the peer's answer comes first, after failure the next try waits for a heartbeat.
        progress.flow_paused = true;
    }

    /// The leader's snapshot.
    pub(super) fn handle_snapshot(&mut self, received: Message) -> Result<(), StepError> {
        let snapshot = received.snapshot.unwrap_or_default();
        let id = EntryId::of_snapshot(&snapshot);
        let restored = self.restore(snapshot)?;
        let (verb, index) = if restored {
            ("restored", self.log.last_index())
        } else {
            ("ignored", self.log.committed)
        };
        info!(
            self.logger,
            "{:x} [commit: {}] {verb} snapshot [index: {}, term: {}]", self.id, self.log.committed, id.index, id.term
        );
        self.send(Message {
            index: Some(index),
            ..message(MessageType::MsgAppResp, received.from.unwrap_or_default())
        });
        Ok(())
    }

    /// Replaces log and configuration by the snapshot's. False if there is nothing in it for this node.
    ///
    /// # Errors
    /// `Malformed` if the snapshot's configuration can not be. Nothing has changed then.
    fn restore(&mut self, snapshot: Snapshot) -> Result<bool, StepError> {
        let id = EntryId::of_snapshot(&snapshot);
        if id.index <= self.log.committed {
            return Ok(false);
        }
        if self.role != Role::Follower {
            // Can not be: whoever takes a leader's message has become its follower.
            warning!(
                self.logger,
                "{:x} attempted to restore snapshot as leader; should never happen",
                self.id
            );
            self.become_follower(self.term + 1, NONE);
            return Ok(false);
        }
        let conf_state = snapshot
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.conf_state.clone())
            .unwrap_or_default();
        // Learners-to-be are outgoing voters still.
        let members = [&conf_state.voters, &conf_state.learners, &conf_state.voters_outgoing];
        if !members.iter().any(|ids| ids.contains(&self.id)) {
            warning!(
                self.logger,
                "{:x} attempted to restore snapshot but it is not in the ConfState {}; should never happen",
                self.id,
                ProtoText(&conf_state)
            );
            return Ok(false);
        }
        if self.log.match_term(id) {
            let last = self.log.last_id();
            info!(
                self.logger,
                "{:x} [commit: {}, lastindex: {}, lastterm: {}] fast-forwarded commit to snapshot [index: {}, term: {}]",
                self.id,
                self.log.committed,
                last.index,
                last.term,
                id.index,
                id.term
            );
            self.log.commit_to(id.index);
            return Ok(false);
        }
        self.replace_by(snapshot, id, &conf_state)?;
        Ok(true)
    }

    fn replace_by(&mut self, snapshot: Snapshot, id: EntryId, conf_state: &ConfState) -> Result<(), StepError> {
        let (config, progress) = restore(&self.tracker, id.index, conf_state).map_err(|error| {
            error!(self.logger, "unable to restore config {}: {error}", ProtoText(conf_state));
            StepError::Malformed
        })?;
        let mut tracker = self.tracker.emptied();
        tracker.config = config.clone();
        if !equivalent(conf_state, &tracker.conf_state()) {
            error!(
                self.logger,
                "unable to restore config {}: not one that a change leads to",
                ProtoText(conf_state)
            );
            return Err(StepError::Malformed);
        }
        self.log.restore(snapshot);
        self.tracker = tracker;
        self.switch_to(config, progress);
        let last = self.log.last_id();
        info!(
            self.logger,
            "{:x} [commit: {}, lastindex: {}, lastterm: {}] restored snapshot [index: {}, term: {}]",
            self.id,
            self.log.committed,
            last.index,
            last.term,
            id.index,
            id.term
        );
        Ok(())
    }
}
