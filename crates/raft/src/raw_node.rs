//! The door to a node: what happened goes in, [`Ready`] comes out.
//!
//! With asynchronous storage writes, writing and applying are messages to the two local targets, whose `responses` are handed to `step` or
//! sent on when the work is done; many may be under way at a time. Without, each `ready` is done completely, then `advance` is called.

use api::pb::raftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType};
use bytes::Bytes;
use prost::Message as _;

use crate::conf_change::ChangeError;
use crate::log::Storage;
use crate::log::size::encoded_size;
use crate::logger::fatal;
use crate::message::{check, is_local, is_local_target, is_response, kind_of, last_index, message};
use crate::raft::Raft;
use crate::status::{BasicStatus, Status};
use crate::{Config, ConfigError, Ready, Role, SoftState, StepError};

/// One node of a cluster.
pub struct RawNode<S> {
    raft: Raft<S>,
    async_storage_writes: bool,
    /// As of the last `Ready`.
    soft_state: SoftState,
    hard_state: HardState,
    /// What `advance` steps.
    on_advance: Vec<Message>,
}

impl<S: Storage> RawNode<S> {
    /// A follower that begins with the state in the storage. A new cluster begins with a storage that holds its configuration: in a
    /// snapshot, or as applied entries that the caller hands to `apply_conf_change` again.
    ///
    /// # Errors
    /// The settings break a rule, or what the storage holds can not be.
    pub fn new(config: Config, storage: S) -> Result<RawNode<S>, ConfigError> {
        let async_storage_writes = config.async_storage_writes;
        let raft = Raft::new(config, storage)?;
        Ok(RawNode {
            async_storage_writes,
            soft_state: raft.soft_state(),
            hard_state: raft.hard_state(),
            on_advance: Vec::new(),
            raft,
        })
    }

    /// One tick of the caller's clock.
    pub fn tick(&mut self) {
        self.raft.tick();
    }

    /// Begins an election, if this node may.
    ///
    /// # Errors
    /// None; the result is there for symmetry with the other steps.
    pub fn campaign(&mut self) -> Result<(), StepError> {
        self.raft.step(message(MessageType::MsgHup, self.raft.id))
    }

    /// Proposes one entry.
    ///
    /// # Errors
    /// `ProposalDropped`: nothing was done, and another try may succeed. `Ok` is no promise: a proposal may get lost on its way.
    pub fn propose(&mut self, data: Bytes) -> Result<(), StepError> {
        self.propose_entries(vec![Entry {
            data: Some(data),
            ..Entry::default()
        }])
    }

    /// Proposes entries, all or none of which are taken. Their terms and indexes are put in by the leader.
    ///
    /// # Errors
    /// As [`RawNode::propose`]; `Malformed` if there are none, or one is a change that does not decode.
    pub fn propose_entries(&mut self, entries: Vec<Entry>) -> Result<(), StepError> {
        if entries.is_empty() {
            return Err(StepError::Malformed);
        }
        self.raft.step(Message {
            from: Some(self.raft.id),
            entries,
            ..message(MessageType::MsgProp, self.raft.id)
        })
    }

    /// Proposes a change of the configuration. The leader turns it into an empty entry if another one is not applied yet.
    ///
    /// # Errors
    /// As [`RawNode::propose`].
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), StepError> {
        self.propose_change(EntryType::EntryConfChange, change.encode_to_vec())
    }

    /// Proposes a change of the newer form. No version of etcd can apply those: it must not be used in its clusters.
    ///
    /// # Errors
    /// As [`RawNode::propose`].
    pub fn propose_conf_change_v2(&mut self, change: &ConfChangeV2) -> Result<(), StepError> {
        self.propose_change(EntryType::EntryConfChangeV2, change.encode_to_vec())
    }

    fn propose_change(&mut self, kind: EntryType, data: Vec<u8>) -> Result<(), StepError> {
        self.propose_entries(vec![Entry {
            r#type: Some(kind as i32),
            data: Some(data.into()),
            ..Entry::default()
        }])
    }

    /// Takes a message from a peer, or the response of a storage write. The caller has made sure that it is for this node and, if it comes
    /// from a peer, really from that one.
    ///
    /// # Errors
    /// The message is refused, and nothing has changed.
    ///
    /// # Panics
    /// A heartbeat of the leader commits more than this log holds: the log has lost what this node has confirmed to hold. Going on could
    /// lose acknowledged writes, so the process must end, as Go's does.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let kind = kind_of(&message).ok_or(StepError::Malformed)?;
        let from = message.from();
        let own = is_local_target(from) && matches!(kind, MessageType::MsgStorageAppendResp | MessageType::MsgStorageApplyResp);
        if !own {
            if is_local(kind) {
                return Err(StepError::LocalMessage);
            }
            if is_response(kind) && !self.raft.tracker.progress.contains_key(&from) {
                return Err(StepError::PeerNotFound);
            }
            check(&message, kind, self.raft.id)?;
        }
        self.raft.step(message)
    }

    /// The entry with this change is being applied (`conf_change::to_v2` turns the older form into this one). Entries that lie before a
    /// snapshot which is applied already are not to be applied any more, this one neither.
    ///
    /// # Errors
    /// The change does not fit the configuration. Go raft panics here; nothing has changed.
    pub fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState, ChangeError> {
        self.raft.apply_conf_change(change)
    }

    /// Whether `ready` would give anything.
    pub fn has_ready(&self) -> bool {
        let raft = &self.raft;
        let hard_state = raft.hard_state();
        raft.soft_state() != self.soft_state
            || (hard_state != self.hard_state && !is_empty(&hard_state))
            || raft.log.unstable.next_snapshot().is_some()
            || !raft.messages.is_empty()
            || !raft.after_append.is_empty()
            || raft.log.unstable.has_next_entries()
            || raft.log.has_next_committed(!self.async_storage_writes)
            || !raft.read_states.is_empty()
    }

    /// What is to be done now. All of it must be done.
    pub fn ready(&mut self) -> Ready {
        let allow_unstable = !self.async_storage_writes;
        let raft = &mut self.raft;
        let (soft_state, hard_state) = (raft.soft_state(), raft.hard_state());
        let entries = raft.log.unstable.next_entries();
        let mut ready = Ready {
            must_sync: !entries.is_empty() || hard_state.vote() != self.hard_state.vote() || hard_state.term() != self.hard_state.term(),
            soft_state: (soft_state != self.soft_state).then_some(soft_state),
            hard_state: (hard_state != self.hard_state && !is_empty(&hard_state)).then_some(hard_state),
            read_states: std::mem::take(&mut raft.read_states),
            entries,
            snapshot: raft.log.unstable.next_snapshot().cloned(),
            committed_entries: raft.log.next_committed(allow_unstable),
            messages: std::mem::take(&mut raft.messages),
        };
        if self.async_storage_writes {
            ready.messages.extend(raft.storage_append(&ready));
            ready.messages.extend(raft.storage_apply(&ready.committed_entries));
        } else {
            self.note_advance(&mut ready);
        }
        self.accept(&ready);
        ready
    }

    /// Without asynchronous writes: what waits for the disk goes out with `ready`, whose rules put writing first; what is for this node waits
    /// for `advance`.
    fn note_advance(&mut self, ready: &mut Ready) {
        let raft = &mut self.raft;
        if !self.on_advance.is_empty() {
            fatal!(raft.logger, "two accepted Ready structs without call to Advance");
        }
        let id = raft.id;
        let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut raft.after_append).into_iter().partition(|m| m.to() == id);
        ready.messages.extend(others);
        self.on_advance = own;
        self.on_advance.extend(raft.storage_append_response(ready));
        if !ready.committed_entries.is_empty() {
            self.on_advance.push(raft.storage_apply_response(&ready.committed_entries));
        }
    }

    fn accept(&mut self, ready: &Ready) {
        if let Some(state) = ready.soft_state {
            self.soft_state = state;
        }
        if let Some(state) = ready.hard_state {
            self.hard_state = state;
        }
        let log = &mut self.raft.log;
        log.unstable.accept_in_progress();
        if let Some(index) = last_index(&ready.committed_entries) {
            log.accept_applying(index, encoded_size(&ready.committed_entries), !self.async_storage_writes);
        }
    }

    /// What `ready` gave is done. Not for asynchronous storage writes, where the responses say so.
    pub fn advance(&mut self) {
        if self.async_storage_writes {
            fatal!(self.raft.logger, "Advance must not be called when using AsyncStorageWrites");
        }
        for message in std::mem::take(&mut self.on_advance) {
            // None of these can be refused in a way that matters: they are this node's own.
            let _ = self.raft.step(message);
        }
    }

    pub fn status(&self) -> Status {
        Status {
            basic: self.basic_status(),
            config: self.raft.tracker.config.clone(),
            progress: if self.raft.role == Role::Leader {
                self.raft.tracker.progress.clone()
            } else {
                Default::default()
            },
        }
    }

    /// Without allocating.
    pub fn basic_status(&self) -> BasicStatus {
        BasicStatus {
            id: self.raft.id,
            hard_state: self.raft.hard_state(),
            soft_state: self.raft.soft_state(),
            applied: self.raft.log.applied,
            lead_transferee: self.raft.lead_transferee,
        }
    }

    /// The last index of the log, durable or not.
    pub fn last_index(&self) -> u64 {
        self.raft.log.last_index()
    }

    /// Whether this node is the whole quorum.
    pub fn is_only_voter(&self) -> bool {
        self.raft.tracker.is_singleton() && self.raft.tracker.config.voters.contains(self.raft.id)
    }

    /// The last message to `id` could not be sent.
    pub fn report_unreachable(&mut self, id: u64) {
        self.report(Message {
            from: Some(id),
            ..message(MessageType::MsgUnreachable, self.raft.id)
        });
    }

    /// The snapshot for `id` has been sent, or not.
    pub fn report_snapshot(&mut self, id: u64, ok: bool) {
        self.report(Message {
            from: Some(id),
            reject: Some(!ok),
            ..message(MessageType::MsgSnapStatus, self.raft.id)
        });
    }

    /// Asks the leader to make way for `transferee`.
    pub fn transfer_leader(&mut self, transferee: u64) {
        self.report(Message {
            from: Some(transferee),
            ..message(MessageType::MsgTransferLeader, self.raft.id)
        });
    }

    /// A follower forgets who leads, so that it may vote at once. For callers that know that the leader is gone.
    ///
    /// # Errors
    /// None; the result is there for symmetry with the other steps.
    pub fn forget_leader(&mut self) -> Result<(), StepError> {
        self.raft.step(message(MessageType::MsgForgetLeader, self.raft.id))
    }

    /// Asks for an index to read at. The answer comes in [`Ready::read_states`] with the same context; it may get lost, so ask again.
    pub fn read_index(&mut self, context: Bytes) {
        self.report(Message {
            entries: vec![Entry {
                data: Some(context),
                ..Entry::default()
            }],
            ..message(MessageType::MsgReadIndex, self.raft.id)
        });
    }

    /// Steps what is never refused with an error.
    fn report(&mut self, message: Message) {
        let _ = self.raft.step(message);
    }

    pub fn storage(&self) -> &S {
        &self.raft.log.storage
    }

    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.raft.log.storage
    }

    /// The ticks of silence after which the next election begins. Scripts set what chance has chosen otherwise.
    pub fn set_election_timeout(&mut self, ticks: u64) {
        self.raft.randomized_election_ticks = ticks;
    }
}

fn is_empty(state: &HardState) -> bool {
    state.term() == 0 && state.vote() == 0 && state.commit() == 0
}
