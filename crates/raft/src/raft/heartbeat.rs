//! Heartbeats: that the leader is there, and who answers it (paper 5.2, thesis 6.2 for the check of the quorum).

use api::pb::raftpb::{Message, MessageType};
use bytes::Bytes;

use super::Raft;
use crate::log::Storage;
use crate::logger::{debug, warning};
use crate::message::message;
use crate::progress::ProgressState;
use crate::{NONE, Role};

impl<S: Storage> Raft<S> {
    /// Leaders: heartbeats in their interval, the quorum and a transfer's time once an election timeout.
    pub(super) fn tick_heartbeat(&mut self) {
        self.heartbeat_elapsed += 1;
        self.election_elapsed += 1;
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            if self.config.check_quorum {
                self.local(MessageType::MsgCheckQuorum);
            }
            // Who has not taken over by now will not.
            if self.role == Role::Leader {
                self.abort_leader_transfer();
            }
        }
        if self.role == Role::Leader && self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.local(MessageType::MsgBeat);
        }
    }

    fn local(&mut self, kind: MessageType) {
        if let Err(error) = self.step(Message {
            from: Some(self.id),
            ..message(kind, self.id)
        }) {
            debug!(self.logger, "error occurred during checking sending heartbeat: {error}");
        }
    }

    /// A leader that a quorum does not answer steps down: its clients must not wait for what it can not do, and another may lead already.
    pub(super) fn check_quorum(&mut self) {
        if !self.tracker.quorum_active() {
            warning!(self.logger, "{:x} stepped down to follower since quorum is not active", self.id);
            self.become_follower(self.term, NONE);
        }
        for (id, progress) in &mut self.tracker.progress {
            if *id != self.id {
                progress.recent_active = false;
            }
        }
    }

    /// Heartbeats to all, asking them along the way to confirm the reads that wait.
    pub(super) fn broadcast_heartbeat(&mut self) {
        let context = self.read_only.heartbeat_context();
        self.for_each_peer(|raft, id| raft.send_heartbeat(id, context.clone()));
    }

    fn send_heartbeat(&mut self, to: u64, context: Option<Bytes>) {
        let Some(progress) = self.tracker.progress.get_mut(&to) else {
            return;
        };
        // The peer may not hold what is committed: it must not be told to commit what it has not confirmed to hold.
        let commit = progress.matched.min(self.log.committed);
        progress.sent_commit(commit);
        self.send(Message {
            commit: Some(commit),
            context,
            ..message(MessageType::MsgHeartbeat, to)
        });
    }

    /// The leader is there.
    pub(super) fn handle_heartbeat(&mut self, heartbeat: Message) {
        self.log.commit_to(heartbeat.commit());
        self.send(Message {
            context: heartbeat.context.clone(),
            ..message(MessageType::MsgHeartbeatResp, heartbeat.from())
        });
    }

    /// The peer is there.
    pub(super) fn handle_heartbeat_response(&mut self, response: &Message) {
        let from = response.from();
        let Some(progress) = self.tracker.progress.get_mut(&from) else {
            return;
        };
        progress.recent_active = true;
        progress.flow_paused = false;
        // It lacks something, or whatever filled its window was lost, or it was unreachable and has to be probed: an append finds out.
        if progress.matched < self.log.last_index() || progress.state == ProgressState::Probe {
            self.send_append(from);
        }
        self.confirm_reads(from, response.context());
    }
}
