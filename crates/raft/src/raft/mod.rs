//! One node's state and its rules, split by what they are about: `step` sends each message to its rule, by role.
//!
//! Nothing here writes or sends: messages gather in two lists, which `RawNode` hands out. What votes or acknowledges an append waits in
//! the second one until what it promises is on the disk.

mod conf;
mod election;
mod heartbeat;
mod propose;
mod random;
mod read_index;
mod replication;
mod snapshot;
mod step;
mod storage;
mod transfer;

use std::ops::Bound;
use std::sync::Arc;

use api::pb::raftpb::{HardState, Message, MessageType};

use crate::conf_change::{equivalent, restore};
use crate::log::{EntryId, RaftLog, Storage};
use crate::logger::{Logger, info};
use crate::message::kind_of;
use crate::progress::Tracker;
use crate::{Config, ConfigError, NONE, ReadState, Role, SoftState};
use random::Random;
use read_index::ReadOnly;

pub(crate) struct Raft<S> {
    pub id: u64,
    pub term: u64,
    pub vote: u64,
    pub log: RaftLog<S>,
    pub tracker: Tracker,
    pub role: Role,
    is_learner: bool,
    pub lead: u64,
    /// Whom a leader hands its leadership to, 0 if nobody.
    pub lead_transferee: u64,
    /// To be sent at once.
    pub messages: Vec<Message>,
    /// To be sent when everything that is now unstable is on the disk. They may be to this node itself.
    pub after_append: Vec<Message>,
    pub read_states: Vec<ReadState>,
    read_only: ReadOnly,
    /// Reads that came before the leader's first commit in its term.
    pending_reads: Vec<Message>,
    /// At or behind the last configuration change in the log that may not be applied yet; only one may be.
    pending_conf_index: u64,
    /// Payload bytes in the uncommitted tail of a leader's log; may be too low, never too high.
    uncommitted_size: u64,
    election_elapsed: u64,
    heartbeat_elapsed: u64,
    pub randomized_election_ticks: u64,
    random: Random,
    pub config: Config,
    pub logger: Arc<dyn Logger>,
}

impl<S: Storage> Raft<S> {
    /// A follower with the state in the storage.
    pub fn new(config: Config, storage: S) -> Result<Raft<S>, ConfigError> {
        let config = config.validate()?;
        let logger = Arc::clone(&config.logger);
        let (hard_state, conf_state) = storage.initial_state()?;
        let log = RaftLog::new(storage, Arc::clone(&logger), config.max_committed_size_per_ready)?;
        let mut raft = Raft {
            id: config.id,
            term: 0,
            vote: NONE,
            log,
            tracker: Tracker::new(config.max_inflight_msgs, config.max_inflight_bytes),
            role: Role::Follower,
            is_learner: false,
            lead: NONE,
            lead_transferee: NONE,
            messages: Vec::new(),
            after_append: Vec::new(),
            read_states: Vec::new(),
            read_only: ReadOnly::default(),
            pending_reads: Vec::new(),
            pending_conf_index: 0,
            uncommitted_size: 0,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            randomized_election_ticks: 0,
            random: Random::new(config.seed, config.id),
            config,
            logger,
        };
        let last = raft.log.last_id();
        let (members, progress) = restore(&raft.tracker, last.index, &conf_state)
            .map_err(|error| ConfigError::Stored(format!("unable to restore config {conf_state:?}: {error}")))?;
        let became = raft.switch_to(members, progress);
        if !equivalent(&conf_state, &became) {
            return Err(ConfigError::Stored(format!(
                "ConfStates not equivalent: {conf_state:?}, {became:?}"
            )));
        }
        raft.load(&hard_state)?;
        raft.become_follower(raft.term, NONE);
        raft.announce(last);
        Ok(raft)
    }

    fn load(&mut self, hard_state: &HardState) -> Result<(), ConfigError> {
        if *hard_state != HardState::default() {
            let (commit, committed, last) = (hard_state.commit(), self.log.committed, self.log.last_index());
            if commit < committed || commit > last {
                return Err(ConfigError::Stored(format!(
                    "{:x} state.commit {commit} is out of range [{committed}, {last}]",
                    self.id
                )));
            }
            self.log.committed = commit;
            self.term = hard_state.term();
            self.vote = hard_state.vote();
        }
        let applied = self.config.applied;
        if applied > 0 {
            if applied < self.log.applied || applied > self.log.committed {
                return Err(ConfigError::Stored(format!(
                    "applied({applied}) is out of range [prevApplied({}), committed({})]",
                    self.log.applied, self.log.committed
                )));
            }
            self.log.applied_to(applied, 0);
        }
        Ok(())
    }

    fn announce(&self, last: EntryId) {
        let peers: Vec<String> = self.tracker.voter_nodes().iter().map(|id| format!("{id:x}")).collect();
        info!(
            self.logger,
            "newRaft {:x} [peers: [{}], term: {}, commit: {}, applied: {}, lastindex: {}, lastterm: {}]",
            self.id,
            peers.join(","),
            self.term,
            self.log.committed,
            self.log.applied,
            last.index,
            last.term
        );
    }

    pub fn soft_state(&self) -> SoftState {
        SoftState {
            lead: self.lead,
            role: self.role,
        }
    }

    pub fn hard_state(&self) -> HardState {
        HardState {
            term: Some(self.term),
            vote: Some(self.vote),
            commit: Some(self.log.committed),
        }
    }

    /// One tick of the caller's clock.
    pub fn tick(&mut self) {
        match self.role {
            Role::Leader => self.tick_heartbeat(),
            Role::Follower | Role::Candidate | Role::PreCandidate => self.tick_election(),
        }
    }

    /// Queues a message. The term is put in here: votes bring their own, what is passed on to a leader has none.
    ///
    /// Answers to votes and appends are promises about what this node has stored, refusals too may rest on it: they wait for the disk.
    fn send(&mut self, mut message: Message) {
        use MessageType::*;
        let kind = kind_of(&message).expect("own messages have a type");
        if message.from() == NONE {
            message.from = Some(self.id);
        }
        match kind {
            MsgVote | MsgVoteResp | MsgPreVote | MsgPreVoteResp => {
                assert!(message.term() != 0, "term should be set when sending {}", kind.as_str_name());
            }
            // Passed on to the leader, these count as local there.
            MsgProp | MsgReadIndex => message.term = None,
            _ => message.term = Some(self.term),
        }
        if matches!(kind, MsgAppResp | MsgVoteResp | MsgPreVoteResp) {
            self.after_append.push(message);
        } else {
            assert!(
                message.to() != self.id,
                "message should not be self-addressed when sending {}",
                kind.as_str_name()
            );
            self.messages.push(message);
        }
    }

    /// Begins a term, or begins anew in the same one.
    fn reset(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            self.vote = NONE;
        }
        self.lead = NONE;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.reset_election_timeout();
        self.abort_leader_transfer();
        self.tracker.reset_votes();
        let last = self.log.last_index();
        self.tracker.reset_progress(last + 1);
        if let Some(own) = self.tracker.progress.get_mut(&self.id) {
            own.matched = last;
        }
        self.pending_conf_index = 0;
        self.uncommitted_size = 0;
        self.read_only = ReadOnly::default();
    }

    fn reset_election_timeout(&mut self) {
        let ticks = self.config.election_ticks;
        self.randomized_election_ticks = ticks + self.random.below(ticks);
    }

    /// The next of the other members, in the order of their ids. (A walk that holds no borrow and allocates nothing.)
    fn peer_after(&self, id: Option<u64>) -> Option<u64> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.tracker
            .progress
            .range((from, Bound::Unbounded))
            .map(|(id, _)| *id)
            .find(|id| *id != self.id)
    }

    /// Calls `visit` with each of the other members.
    fn for_each_peer(&mut self, mut visit: impl FnMut(&mut Self, u64)) {
        let mut peer = self.peer_after(None);
        while let Some(id) = peer {
            visit(self, id);
            peer = self.peer_after(Some(id));
        }
    }
}
