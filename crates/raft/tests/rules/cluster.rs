//! A cluster in one thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::pb::raftpb::{ConfChange, ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use prost::Message as _;
use raft::conf_change::to_v2;
use raft::{Config, MemoryStorage, RawNode, ReadState, Ready, Role, Storage};

pub type Node = RawNode<MemoryStorage>;

/// A message of this type between these two.
pub fn message(kind: MessageType, from: u64, to: u64, term: u64) -> Message {
    Message {
        r#type: Some(kind as i32),
        from: Some(from),
        to: Some(to),
        term: Some(term),
        ..Message::default()
    }
}

pub fn entry(term: u64, index: u64, data: &str) -> Entry {
    Entry {
        term: Some(term),
        index: Some(index),
        data: Some(Bytes::copy_from_slice(data.as_bytes())),
        ..Entry::default()
    }
}

pub fn members(voters: &[u64], learners: &[u64]) -> ConfState {
    ConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..ConfState::default()
    }
}

/// A storage that begins with this configuration at index 0.
pub fn storage(state: ConfState) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    let snapshot = Snapshot {
        metadata: Some(SnapshotMetadata {
            conf_state: Some(state),
            ..SnapshotMetadata::default()
        }),
        data: None,
    };
    storage.apply_snapshot(snapshot).expect("an empty storage takes any");
    storage
}

/// Settings with which nothing happens by itself but what a test is about.
pub fn plain(id: u64) -> Config {
    Config {
        check_quorum: false,
        pre_vote: false,
        ..Config::new(id)
    }
}

/// A node of a cluster of `voters`, with nothing in its log.
pub fn node(id: u64, voters: &[u64]) -> Node {
    RawNode::new(plain(id), storage(members(voters, &[]))).expect("a sound start")
}

/// Stores and applies what `ready` asks for; its messages are the caller's.
pub fn work(node: &mut Node) -> Ready {
    let ready = node.ready();
    let storage = node.storage_mut();
    if let Some(snapshot) = &ready.snapshot {
        storage.apply_snapshot(snapshot.clone()).expect("raft hands out newer ones only");
    }
    storage.append(&ready.entries).expect("raft hands out what follows");
    if let Some(state) = ready.hard_state {
        storage.set_hard_state(state);
    }
    for entry in &ready.committed_entries {
        let data = entry.data.clone().unwrap_or_default();
        let change = match entry.r#type() {
            EntryType::EntryNormal => continue,
            EntryType::EntryConfChange => to_v2(&ConfChange::decode(data).expect("a change")),
            EntryType::EntryConfChangeV2 => api::pb::raftpb::ConfChangeV2::decode(data).expect("a change"),
        };
        node.apply_conf_change(&change).expect("a change that fits");
    }
    node.advance();
    ready
}

/// [`work`] until nothing is left; all messages.
pub fn work_off(node: &mut Node) -> Vec<Message> {
    let mut messages = Vec::new();
    while node.has_ready() {
        messages.extend(work(node).messages);
    }
    messages
}

pub struct Cluster {
    pub nodes: BTreeMap<u64, Node>,
    /// What each node has applied, without empty entries and changes of the configuration.
    pub applied: BTreeMap<u64, Vec<String>>,
    pub reads: BTreeMap<u64, Vec<ReadState>>,
    /// In flight.
    pub wire: VecDeque<Message>,
    /// Nothing passes from the first to the second.
    pub cut: BTreeSet<(u64, u64)>,
    /// These are lost.
    pub lost: BTreeSet<i32>,
}

impl Cluster {
    pub fn new(size: u64) -> Cluster {
        Cluster::with(size, |_| {})
    }

    pub fn with(size: u64, tweak: impl Fn(&mut Config)) -> Cluster {
        let voters: Vec<u64> = (1..=size).collect();
        Cluster::of(&members(&voters, &[]), tweak)
    }

    pub fn of(state: &ConfState, tweak: impl Fn(&mut Config)) -> Cluster {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            applied: BTreeMap::new(),
            reads: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            lost: BTreeSet::new(),
        };
        for id in state.voters.iter().chain(&state.learners) {
            let mut config = plain(*id);
            tweak(&mut config);
            cluster.add(config, storage(state.clone()));
        }
        cluster
    }

    pub fn add(&mut self, config: Config, storage: MemoryStorage) {
        let id = config.id;
        self.nodes.insert(id, RawNode::new(config, storage).expect("a sound start"));
    }

    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of the cluster")
    }

    /// Handles what each node wants done, once; messages go onto the wire.
    pub fn work(&mut self) -> bool {
        let mut any = false;
        for (id, node) in &mut self.nodes {
            while node.has_ready() {
                let ready = work(node);
                let texts = ready
                    .committed_entries
                    .iter()
                    .filter(|entry| entry.r#type() == EntryType::EntryNormal);
                let texts = texts
                    .map(|entry| String::from_utf8_lossy(entry.data()).into_owned())
                    .filter(|text| !text.is_empty());
                self.applied.entry(*id).or_default().extend(texts);
                self.reads.entry(*id).or_default().extend(ready.read_states);
                self.wire.extend(ready.messages);
                any = true;
            }
        }
        any
    }

    fn passes(&self, message: &Message) -> bool {
        !self.cut.contains(&(message.from(), message.to())) && !self.lost.contains(&message.r#type.unwrap_or_default())
    }

    /// Works and delivers until nothing happens any more.
    pub fn settle(&mut self) {
        while self.work() || !self.wire.is_empty() {
            for message in std::mem::take(&mut self.wire) {
                if self.passes(&message)
                    && let Some(node) = self.nodes.get_mut(&message.to())
                {
                    // A refusal is an answer like any other.
                    let _ = node.step(message);
                }
            }
        }
    }

    /// Makes `id` campaign, and everybody follow.
    pub fn elect(&mut self, id: u64) {
        self.node(id).campaign().expect("never refused");
        self.settle();
        assert_eq!(self.role(id), Role::Leader, "{id} was elected");
    }

    pub fn propose(&mut self, id: u64, text: &str) {
        self.node(id)
            .propose(Bytes::copy_from_slice(text.as_bytes()))
            .expect("there is a leader");
        self.settle();
    }

    pub fn tick(&mut self, id: u64, ticks: u64) {
        for _ in 0..ticks {
            self.node(id).tick();
        }
        self.settle();
    }

    pub fn role(&self, id: u64) -> Role {
        self.nodes[&id].basic_status().soft_state.role
    }

    pub fn lead(&self, id: u64) -> u64 {
        self.nodes[&id].basic_status().soft_state.lead
    }

    pub fn term(&self, id: u64) -> u64 {
        self.nodes[&id].basic_status().hard_state.term()
    }

    pub fn commit(&self, id: u64) -> u64 {
        self.nodes[&id].basic_status().hard_state.commit()
    }

    /// The terms of the stored entries.
    pub fn terms(&self, id: u64) -> Vec<u64> {
        let storage = self.nodes[&id].storage();
        let (first, last) = (storage.first_index().expect("known"), storage.last_index().expect("known"));
        (first..=last).map(|index| storage.term(index).expect("stored")).collect()
    }

    /// Cuts `id` off from all others.
    pub fn isolate(&mut self, id: u64) {
        for other in self.nodes.keys().filter(|other| **other != id) {
            self.cut.insert((id, *other));
            self.cut.insert((*other, id));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.lost.clear();
    }

    pub fn lose(&mut self, kind: MessageType) {
        self.lost.insert(kind as i32);
    }
}
