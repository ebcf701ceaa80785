//! Nodes, the wire between them, chance, and what must never be seen.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use api::pb::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use raft::{Config, MemoryStorage, Role};

use crate::node::{Disk, Node, Outcome};

/// Everything a run depends on.
#[derive(Clone, Debug)]
pub struct Options {
    seed: u64,
    voters: u64,
    pre_vote: bool,
    check_quorum: bool,
    step_down_on_removal: bool,
    membership: bool,
    max_size_per_msg: u64,
    max_committed_size: u64,
    max_inflight_msgs: usize,
    /// How many of 100 messages are lost, and repeated.
    lost: u64,
    repeated: u64,
}

impl Options {
    pub fn derive(seed: u64) -> Options {
        let mut chance = Chance(seed);
        Options {
            seed,
            voters: [3, 3, 4, 5][chance.below(4) as usize],
            pre_vote: chance.below(2) == 0,
            check_quorum: chance.below(2) == 0,
            step_down_on_removal: chance.below(2) == 0,
            membership: chance.below(2) == 0,
            max_size_per_msg: [0, 40, 1 << 20][chance.below(3) as usize],
            max_committed_size: [1, 60, 1 << 20][chance.below(3) as usize],
            max_inflight_msgs: [1, 3, 256][chance.below(3) as usize],
            lost: [0, 5, 20][chance.below(3) as usize],
            repeated: [0, 10][chance.below(2) as usize],
        }
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What has happened, so that a quiet model is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    leaders: u64,
    applied: u64,
    reads: u64,
    snapshots: u64,
    restarts: u64,
    changes: u64,
}

impl Counts {
    pub fn all_happened(&self) -> bool {
        [self.leaders, self.applied, self.reads, self.snapshots, self.restarts, self.changes]
            .iter()
            .all(|count| *count >= 30)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.leaders += other.leaders;
        self.applied += other.applied;
        self.reads += other.reads;
        self.snapshots += other.snapshots;
        self.restarts += other.restarts;
        self.changes += other.changes;
    }
}

pub struct World {
    options: Options,
    chance: Chance,
    nodes: BTreeMap<u64, Node>,
    wire: Vec<Message>,
    /// Cut off from all others.
    alone: Option<u64>,
    /// The leader of each term that had one.
    leaders: BTreeMap<u64, u64>,
    /// What stands at each index, for all time, once anybody has applied it.
    history: BTreeMap<u64, Entry>,
    /// The least index that a read may be answered with, by its context.
    reads: BTreeMap<u64, u64>,
    pub counts: Counts,
}

/// The nodes that there are; not all belong to the group at first.
const NODES: u64 = 6;

impl World {
    pub fn new(options: Options) -> World {
        let voters: Vec<u64> = (1..=options.voters).collect();
        let members = ConfState {
            voters,
            ..ConfState::default()
        };
        let nodes = (1..=NODES)
            .map(|id| (id, Node::start(settings(&options, id), first_disk(&members, id))))
            .collect();
        World {
            chance: Chance(options.seed ^ 0x5eed),
            options,
            nodes,
            wire: Vec::new(),
            alone: None,
            leaders: BTreeMap::new(),
            history: BTreeMap::new(),
            reads: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("ids are 1 to NODES")
    }

    /// One thing happens.
    pub fn mishap(&mut self) {
        let id = 1 + self.chance.below(NODES);
        match self.chance.below(100) {
            0..40 => self.deliver(),
            40..80 => self.work(id),
            80..83 => self.node(id).raft.tick(),
            83..89 => self.propose(id),
            89..93 => self.read(id),
            93 if self.chance.below(3) == 0 => {
                self.node(id).restart();
                self.counts.restarts += 1;
            }
            94 => self.alone = (self.alone.is_none()).then_some(id),
            95 => {
                let keep = self.chance.below(4);
                self.node(id).compact(keep);
            }
            96 if self.options.membership => self.change(id),
            97 => {
                let to = 1 + self.chance.below(NODES);
                self.node(id).raft.transfer_leader(to);
            }
            98 => self.report(id),
            // An election timeout at once: else elections are rare among so many steps.
            99 if self.chance.below(3) == 0 => (0..10).for_each(|_| self.node(id).raft.tick()),
            _ => {}
        }
        self.look(id);
    }

    fn propose(&mut self, id: u64) {
        let payload = self.chance.below(1 << 40).to_be_bytes();
        // Without a leader it is dropped.
        let _ = self.node(id).raft.propose(Bytes::copy_from_slice(&payload));
    }

    fn read(&mut self, id: u64) {
        let context = self.reads.len() as u64;
        // Whoever has applied anything has been told by somebody: a read that begins now must see it.
        let least = self.history.keys().next_back().copied().unwrap_or(0);
        self.reads.insert(context, least);
        self.node(id).raft.read_index(Bytes::copy_from_slice(&context.to_be_bytes()));
    }

    fn change(&mut self, id: u64) {
        let kinds = [
            ConfChangeType::ConfChangeAddNode,
            ConfChangeType::ConfChangeAddLearnerNode,
            ConfChangeType::ConfChangeRemoveNode,
        ];
        let kind = kinds[self.chance.below(3) as usize];
        let target = 1 + self.chance.below(NODES);
        let members = &self.nodes[&id].raft.status().config;
        // An administrator leaves two voters at least, and makes no voter a learner.
        if kind != ConfChangeType::ConfChangeAddNode && members.voters.contains(target) {
            let removal = kind == ConfChangeType::ConfChangeRemoveNode;
            if !removal || members.voters.ids().count() <= 2 {
                return;
            }
        }
        let change = ConfChange {
            r#type: Some(kind as i32),
            node_id: Some(target),
            ..ConfChange::default()
        };
        let _ = self.node(id).raft.propose_conf_change(&change);
    }

    /// The transport says something of a peer, true or not.
    fn report(&mut self, id: u64) {
        let peer = 1 + self.chance.below(NODES);
        match self.chance.below(3) {
            0 => self.node(id).raft.report_unreachable(peer),
            nth => self.node(id).raft.report_snapshot(peer, nth == 1),
        }
    }

    /// Any message in flight arrives, or is lost, or arrives and stays in flight.
    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let at = self.chance.below(self.wire.len() as u64) as usize;
        let message = if self.chance.below(100) < self.options.repeated {
            self.wire[at].clone()
        } else {
            self.wire.swap_remove(at)
        };
        let cut = self.alone.is_some_and(|alone| message.from() == alone || message.to() == alone);
        if !cut && self.chance.below(100) >= self.options.lost {
            self.arrive(message);
        } else {
            self.sent(&message, false);
        }
    }

    /// The transport knows what became of a snapshot, and has to say so: its receiver gets nothing else until then.
    fn sent(&mut self, message: &Message, ok: bool) {
        if message.r#type() == MessageType::MsgSnap {
            self.node(message.from()).raft.report_snapshot(message.to(), ok);
        }
    }

    fn arrive(&mut self, message: Message) {
        let to = message.to();
        // Refusals are part of the game: answers of nodes that were removed, proposals without a leader.
        let _ = self.node(to).raft.step(message.clone());
        self.look(to);
        self.sent(&message, true);
    }

    fn work(&mut self, id: u64) {
        for work in [Node::take, Node::write, Node::apply] {
            // Each part may fall behind the others.
            if self.chance.below(3) != 0 {
                let outcome = work(self.node(id));
                self.note(outcome);
            }
        }
        // A long queue of old messages would keep everything else from happening.
        while self.wire.len() > 60 {
            let at = self.chance.below(self.wire.len() as u64) as usize;
            let message = self.wire.swap_remove(at);
            self.sent(&message, false);
        }
    }

    fn note(&mut self, outcome: Outcome) {
        self.counts.snapshots += u64::from(outcome.snapshot);
        self.wire.extend(outcome.messages);
        for entry in outcome.applied {
            self.counts.applied += 1;
            self.counts.changes += u64::from(entry.r#type.unwrap_or_default() != 0);
            // State machine safety: nobody ever applies another entry at the same index.
            let first = self.history.entry(entry.index()).or_insert_with(|| entry.clone());
            assert_eq!(*first, entry, "two entries were applied at index {}", entry.index());
        }
        for read in outcome.reads {
            let context = u64::from_be_bytes(read.request_ctx[..].try_into().expect("ours has 8 bytes"));
            assert!(
                read.index >= self.reads[&context],
                "read {context} would see less than what was there when it came"
            );
            self.counts.reads += 1;
        }
    }

    /// Election safety: one leader a term.
    fn look(&mut self, id: u64) {
        let status = self.nodes[&id].raft.basic_status();
        if status.soft_state.role == Role::Leader {
            let term = status.hard_state.term();
            let counts = &mut self.counts;
            let first = self.leaders.entry(term).or_insert_with(|| {
                counts.leaders += 1;
                id
            });
            assert_eq!(*first, id, "two leaders in term {term}");
        }
    }

    /// The bad luck ends: a proposal must reach every member.
    pub fn recover(&mut self) {
        const AT_LAST: &[u8] = b"at last";
        self.alone = None;
        for round in 0..1000 {
            self.calm_round();
            let Some((leader, members)) = self.settled_leader() else { continue };
            let found = self.history.values().find(|entry| entry.data() == AT_LAST).map(Entry::index);
            match found {
                Some(index) if members.iter().all(|id| self.nodes[id].applied() >= index) => return,
                Some(_) => {}
                // Now and then again: a change of leaders may lose it.
                None if round % 10 == 0 => {
                    let _ = self.node(leader).raft.propose(Bytes::from_static(AT_LAST));
                }
                None => {}
            }
        }
        for (id, node) in &self.nodes {
            let status = node.raft.status();
            println!("{id}: applied {} {:?} {}", node.applied(), status.basic, status.config);
        }
        panic!("nothing gets done though nothing is broken");
    }

    /// Everybody ticks, works and is heard.
    fn calm_round(&mut self) {
        for id in 1..=NODES {
            self.node(id).raft.tick();
            self.look(id);
            // Who applies its own removal stops; a leader that did not would keep the others from electing another.
            let status = self.nodes[&id].raft.status();
            let removed = !status.config.voters.contains(id) && status.basic.soft_state.role == Role::Leader;
            if removed {
                self.node(id).restart();
            }
        }
        while self.nodes.values().any(Node::has_work) || !self.wire.is_empty() {
            for id in 1..=NODES {
                for work in [Node::take, Node::write, Node::apply] {
                    let outcome = work(self.node(id));
                    self.note(outcome);
                }
            }
            for message in std::mem::take(&mut self.wire) {
                self.arrive(message);
            }
        }
    }

    /// The leader of the latest term and its members.
    fn settled_leader(&self) -> Option<(u64, Vec<u64>)> {
        let leads = |node: &&Node| node.raft.basic_status().soft_state.role == Role::Leader;
        let leader = self
            .nodes
            .values()
            .filter(leads)
            .max_by_key(|node| node.raft.basic_status().hard_state.term())?;
        let config = leader.raft.status().config;
        let members = config.voters.ids().chain(config.learners.iter()).collect();
        Some((leader.raft.basic_status().id, members))
    }
}

fn settings(options: &Options, id: u64) -> Config {
    Config {
        seed: options.seed,
        async_storage_writes: true,
        pre_vote: options.pre_vote,
        check_quorum: options.check_quorum,
        step_down_on_removal: options.step_down_on_removal,
        max_size_per_msg: options.max_size_per_msg,
        max_committed_size_per_ready: options.max_committed_size,
        max_inflight_msgs: options.max_inflight_msgs,
        applied: u64::from(id <= options.voters),
        ..Config::new(id)
    }
}

/// The first members begin with a snapshot at index 1; who joins later has nothing and can not do without it.
fn first_disk(members: &ConfState, id: u64) -> Disk {
    let mut log = MemoryStorage::new();
    if !members.voters.contains(&id) {
        return Disk {
            log,
            applied: 0,
            members: ConfState::default(),
        };
    }
    let snapshot = Snapshot {
        data: None,
        metadata: Some(SnapshotMetadata {
            conf_state: Some(members.clone()),
            index: Some(1),
            term: Some(1),
        }),
    };
    log.apply_snapshot(snapshot).expect("an empty log takes any");
    log.set_hard_state(api::pb::raftpb::HardState {
        term: Some(1),
        vote: Some(0),
        commit: Some(1),
    });
    Disk {
        log,
        applied: 1,
        members: members.clone(),
    }
}
