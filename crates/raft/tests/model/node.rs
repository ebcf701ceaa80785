//! One node with its disk, its application and the work that both have before them.

use std::collections::VecDeque;

use api::pb::raftpb::{ConfChange, ConfState, Entry, EntryType, HardState, Message, Snapshot, SnapshotMetadata};
use prost::Message as _;
use raft::conf_change::to_v2;
use raft::{Config, MemoryStorage, RawNode, ReadState, Storage, StorageError};

/// What survives a stop: the log, and the application with the configuration as of its last entry.
#[derive(Clone)]
pub struct Disk {
    pub log: MemoryStorage,
    pub applied: u64,
    pub members: ConfState,
}

impl Storage for Disk {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        Ok((*self.log.hard_state(), self.members.clone()))
    }
    fn entries(&self, lo: u64, hi: u64, max_size: u64) -> Result<Vec<Entry>, StorageError> {
        self.log.entries(lo, hi, max_size)
    }
    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.log.term(index)
    }
    fn last_index(&self) -> Result<u64, StorageError> {
        self.log.last_index()
    }
    fn first_index(&self) -> Result<u64, StorageError> {
        self.log.first_index()
    }
    /// The application's state of now.
    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(Snapshot {
            data: None,
            metadata: Some(SnapshotMetadata {
                conf_state: Some(self.members.clone()),
                index: Some(self.applied),
                term: Some(self.log.term(self.applied)?),
            }),
        })
    }
}

pub struct Node {
    pub raft: RawNode<Disk>,
    config: Config,
    /// Writes and applications not done yet, each in its order.
    appends: VecDeque<Message>,
    applies: VecDeque<Message>,
}

/// What came out of one piece of work.
#[derive(Default)]
pub struct Outcome {
    pub messages: Vec<Message>,
    pub applied: Vec<Entry>,
    pub reads: Vec<ReadState>,
    pub snapshot: bool,
}

impl Node {
    pub fn start(config: Config, disk: Disk) -> Node {
        Node {
            raft: RawNode::new(config.clone(), disk).expect("a sound disk"),
            config,
            appends: VecDeque::new(),
            applies: VecDeque::new(),
        }
    }

    /// Stops at once and starts again: what was not written is lost.
    pub fn restart(&mut self) {
        let mut disk = self.raft.storage().clone();
        // The commit index need not be on the disk; what is applied was committed.
        let mut state = *disk.log.hard_state();
        state.commit = Some(state.commit().max(disk.applied));
        disk.log.set_hard_state(state);
        self.config.applied = disk.applied;
        self.config.seed += 1;
        *self = Node::start(self.config.clone(), disk);
    }

    pub fn has_work(&self) -> bool {
        self.raft.has_ready() || !self.appends.is_empty() || !self.applies.is_empty()
    }

    /// Takes what raft wants done.
    pub fn take(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.raft.has_ready() {
            return outcome;
        }
        let ready = self.raft.ready();
        outcome.reads = ready.read_states;
        for message in ready.messages {
            match message.to() {
                raft::LOCAL_APPEND_THREAD => self.appends.push_back(message),
                raft::LOCAL_APPLY_THREAD => self.applies.push_back(message),
                _ => outcome.messages.push(message),
            }
        }
        outcome
    }

    /// Does the next write.
    pub fn write(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(mut work) = self.appends.pop_front() else {
            return outcome;
        };
        let disk = self.raft.storage_mut();
        if let Some(snapshot) = work.snapshot.take() {
            let metadata = snapshot.metadata.clone().unwrap_or_default();
            disk.log.apply_snapshot(snapshot).expect("newer than what there is");
            disk.applied = metadata.index();
            disk.members = metadata.conf_state.unwrap_or_default();
            outcome.snapshot = true;
        }
        disk.log.append(&work.entries).expect("no gap");
        if work.term() != 0 {
            disk.log.set_hard_state(HardState {
                term: work.term,
                vote: work.vote,
                commit: work.commit,
            });
        }
        outcome.messages = self.answer(work.responses);
        outcome
    }

    /// Applies the next entries.
    pub fn apply(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(work) = self.applies.pop_front() else {
            return outcome;
        };
        for entry in work.entries {
            // A snapshot may have overtaken it.
            if entry.index() <= self.raft.storage().applied {
                continue;
            }
            assert_eq!(entry.index(), self.raft.storage().applied + 1, "in the order of the log");
            let members = (entry.r#type() == EntryType::EntryConfChange).then(|| {
                let change = ConfChange::decode(entry.data.clone().unwrap_or_default()).expect("raft has checked it");
                self.raft.apply_conf_change(&to_v2(&change))
            });
            let disk = self.raft.storage_mut();
            disk.applied = entry.index();
            // A change that does not fit is refused by all alike.
            if let Some(Ok(members)) = members {
                disk.members = members;
            }
            outcome.applied.push(entry);
        }
        outcome.messages = self.answer(work.responses);
        outcome
    }

    /// Steps the own responses; the others' go onto the wire.
    fn answer(&mut self, responses: Vec<Message>) -> Vec<Message> {
        let (own, others): (Vec<_>, Vec<_>) = responses.into_iter().partition(|response| response.to() == self.config.id);
        for response in own {
            // An answer to itself of a node that has just removed itself is refused.
            let _ = self.raft.step(response);
        }
        others
    }

    /// Forgets a part of what is applied.
    pub fn compact(&mut self, keep: u64) {
        let disk = self.raft.storage_mut();
        let to = disk.applied.saturating_sub(keep);
        if disk.log.first_index().is_ok_and(|first| to >= first) {
            disk.log.compact(to).expect("applied, and so stored");
        }
    }

    pub fn applied(&self) -> u64 {
        self.raft.storage().applied
    }
}
