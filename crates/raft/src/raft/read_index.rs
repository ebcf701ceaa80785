//! Linearizable reads without a log entry (thesis 6.4): the commit index of now, given out once it is certain that this leader still led then.
//!
//! To be certain, the leader counts the reads it takes and sends the count along with its heartbeats; a peer that echoes `n` has confirmed
//! the first `n` reads. The count is the leader's own and never repeats within a term: a caller may use the same context twice, and an
//! echo of the first time must not confirm the second (etcd-io/raft#397).

use std::collections::{BTreeMap, VecDeque};

use api::pb::raftpb::{Message, MessageType};
use bytes::Bytes;

use super::Raft;
use crate::log::Storage;
use crate::logger::error;
use crate::message::message;
use crate::quorum::Joint;
use crate::{NONE, ReadOnlyOption, ReadState};

/// A read that waits for its confirmation.
pub(super) struct Read {
    request: Message,
    /// The commit index when the read came.
    index: u64,
}

/// The reads of a leader's term, in the order in which they came.
#[derive(Default)]
pub(super) struct ReadOnly {
    /// How many reads each member has confirmed.
    acks: BTreeMap<u64, u64>,
    waiting: VecDeque<Read>,
    /// How many reads came before the first waiting one.
    confirmed: u64,
}

impl ReadOnly {
    fn add(&mut self, index: u64, request: Message) {
        self.waiting.push_back(Read { request, index });
    }

    /// How many reads there have been in this term.
    fn count(&self) -> u64 {
        self.confirmed + self.waiting.len() as u64
    }

    /// What a heartbeat must carry so that its echo confirms all that wait; nothing if none do.
    pub fn heartbeat_context(&self) -> Option<Bytes> {
        (!self.waiting.is_empty()).then(|| Bytes::copy_from_slice(&self.count().to_le_bytes()))
    }

    /// Notes a member's echo. What is not one of our contexts confirms nothing: too short (Go panics), or a count not reached yet.
    fn acknowledge(&mut self, from: u64, context: &[u8]) {
        let Some(bytes) = context.first_chunk::<8>() else {
            return;
        };
        let count = u64::from_le_bytes(*bytes);
        if count <= self.count() {
            let known = self.acks.entry(from).or_default();
            *known = count.max(*known);
        }
    }

    /// The reads that a quorum has confirmed by now.
    fn advance(&mut self, voters: &Joint) -> impl Iterator<Item = Read> + use<> {
        let confirmed = voters
            .committed_index(|id| self.acks.get(&id).copied())
            .clamp(self.confirmed, self.count());
        let done = self.waiting.drain(..(confirmed - self.confirmed) as usize).collect::<Vec<_>>();
        self.confirmed = confirmed;
        done.into_iter()
    }
}

impl<S: Storage> Raft<S> {
    /// A read, of this node's application or passed on by a follower.
    pub(super) fn handle_read_index(&mut self, request: Message) {
        if self.tracker.is_singleton() {
            self.answer_read(request, self.log.committed);
        } else if !self.committed_in_term() {
            // Until then the commit index may be behind what an earlier leader has answered.
            self.pending_reads.push(request);
        } else {
            self.begin_read(request);
        }
    }

    fn committed_in_term(&self) -> bool {
        self.log.term_or_zero(self.log.committed) == self.term
    }

    fn begin_read(&mut self, request: Message) {
        let committed = self.log.committed;
        match self.config.read_only_option {
            ReadOnlyOption::Safe => {
                self.read_only.add(committed, request);
                let count = self.read_only.count();
                self.read_only.acknowledge(self.id, &count.to_le_bytes());
                self.broadcast_heartbeat();
            }
            ReadOnlyOption::LeaseBased => self.answer_read(request, committed),
        }
    }

    /// The first commit of the term has come.
    pub(super) fn release_pending_reads(&mut self) {
        if self.pending_reads.is_empty() {
            return;
        }
        if !self.committed_in_term() {
            error!(
                self.logger,
                "pending MsgReadIndex should be released only after first commit in current term"
            );
            return;
        }
        for request in std::mem::take(&mut self.pending_reads) {
            self.begin_read(request);
        }
    }

    /// A peer has echoed a heartbeat's context.
    pub(super) fn confirm_reads(&mut self, from: u64, context: &[u8]) {
        if self.config.read_only_option != ReadOnlyOption::Safe || context.is_empty() {
            return;
        }
        self.read_only.acknowledge(from, context);
        for read in self.read_only.advance(&self.tracker.config.voters) {
            self.answer_read(read.request, read.index);
        }
    }

    /// Gives the index to who asked: the own application, or the follower that passed the read on.
    fn answer_read(&mut self, mut request: Message, index: u64) {
        let from = request.from();
        if from == NONE || from == self.id {
            let context = request.entries.first_mut().and_then(|entry| entry.data.take());
            self.read_states.push(ReadState {
                index,
                request_ctx: context.unwrap_or_default(),
            });
        } else {
            self.send(Message {
                index: Some(index),
                entries: request.entries,
                ..message(MessageType::MsgReadIndexResp, from)
            });
        }
    }
}
