//! The replicator: raft, with what the log, the applier, the peers and the readers have to do with it.
//!
//! Raft asks for writes and applications by message (asynchronous storage writes); each becomes an effect, and the answer to it an input.

use std::collections::VecDeque;
use std::sync::Arc;

use api::pb::raftpb::{self, EntryType, Message, MessageType};
use api::{MemberId, RaftIndex, Term};
use raft::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, MemoryStorage, RawNode, Ready, Role};

use super::log::LogWrites;
use super::reads::Reads;
use super::{Committed, Effect, Effects, EntryKind, Input, LogAck, Proposal, Refusal, ReplicationStatus, Start, StartError};
use crate::limits::{
    MAX_APPLYING_BYTES, MAX_INFLIGHT_MESSAGES, MAX_MESSAGE_BYTES, MAX_UNAPPLIED, PURGE_INTERVAL, READ_RETRY, SNAPSHOT_GRACE,
};
use crate::propose::RequestIds;
use crate::stats::Progress;

/// The machine. One thread owns it.
pub struct Replicator {
    member: MemberId,
    node: RawNode<MemoryStorage>,
    log: LogWrites,
    reads: Reads,
    /// Handed to the applier: the last index, and what raft wants to hear when it is applied.
    applying: VecDeque<(u64, Vec<Message>)>,
    /// Proposals that came while there was no leader. As in Go they wait for one, until their own timeout if need be.
    early: Vec<Proposal>,
    leader: u64,
    role: Role,
    /// The first committed entry of the term that this member leads: before it, a leader does not know what is committed.
    own_first: Option<u64>,
    commit: u64,
    /// The last entry given to the applier.
    handed_over: u64,
    applied: u64,
    /// The newest snapshot received from a leader.
    restored: u64,
    leaving: bool,
    /// A peer was heard of, or the wait for an election was cut short otherwise.
    hurried: bool,
    /// Snapshots on their way to other members; while there are some, and a while after, the log in memory is kept for what comes next.
    snapshots_sent: u32,
    keep_log_until: u64,
    ticks: u64,
    every: Intervals,
    catch_up_entries: u64,
    ids: Arc<RequestIds>,
    progress: Arc<Progress>,
}

/// Spans of time, in ticks.
#[derive(Clone, Copy, Debug)]
struct Intervals {
    election: u32,
    purge: u64,
    read_retry: u32,
    snapshot_grace: u64,
}

impl Intervals {
    fn new(start: &Start) -> Intervals {
        let ticks = |time: std::time::Duration| (time.as_millis() / start.tick.as_millis().max(1)).max(1) as u64;
        Intervals {
            election: start.election_ticks,
            purge: ticks(PURGE_INTERVAL),
            read_retry: ticks(READ_RETRY) as u32,
            snapshot_grace: ticks(SNAPSHOT_GRACE),
        }
    }
}

impl Replicator {
    /// A machine that has not heard of anybody yet. Entries that the log already counts as committed are handed over with the first step.
    ///
    /// # Errors
    /// `StartError` when the log's hard state, snapshot and entries do not belong together.
    pub fn new(start: Start, progress: Arc<Progress>) -> Result<Replicator, StartError> {
        check(&start)?;
        let every = Intervals::new(&start);
        let (snapshot_index, snapshot_term) = start.snapshot;
        let hard_state = raftpb::HardState {
            term: Some(start.hard_state.term.unwrap_or(0).max(snapshot_term.0)),
            vote: Some(start.hard_state.vote.unwrap_or(0)),
            commit: Some(start.hard_state.commit.unwrap_or(0).max(snapshot_index.0)),
        };
        let storage = stored(&start, hard_state)?;
        let config = raft::Config {
            election_ticks: u64::from(start.election_ticks),
            heartbeat_ticks: 1,
            async_storage_writes: true,
            applied: snapshot_index.0,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_committed_size_per_ready: MAX_APPLYING_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: start.pre_vote,
            logger: start.logger,
            seed: start.seed,
            ..raft::Config::new(start.member.0)
        };
        let node = RawNode::new(config, storage).map_err(|error| StartError::Raft(error.to_string()))?;
        progress.set_term(Term(hard_state.term.unwrap_or(0)));
        progress.set_committed(RaftIndex(hard_state.commit.unwrap_or(0)));
        progress.set_snapshot_index(snapshot_index.0);
        Ok(Replicator {
            member: start.member,
            node,
            log: LogWrites::new(start.hard_state),
            reads: Reads::default(),
            applying: VecDeque::new(),
            early: Vec::new(),
            leader: 0,
            role: Role::Follower,
            own_first: None,
            commit: hard_state.commit.unwrap_or(0),
            handed_over: snapshot_index.0,
            applied: snapshot_index.0,
            restored: snapshot_index.0,
            leaving: false,
            hurried: false,
            snapshots_sent: 0,
            keep_log_until: 0,
            ticks: 0,
            every,
            catch_up_entries: start.catch_up_entries,
            ids: start.ids,
            progress,
        })
    }

    /// Takes in what happened and says what must be done. Effects are added behind those that `effects` already holds.
    pub fn step(&mut self, input: Input, effects: &mut Effects) {
        match input {
            Input::Tick => self.tick(effects),
            Input::FromPeer(message) => self.take_message(*message, effects),
            Input::Propose(proposals) => self.propose(proposals, effects),
            Input::LogSynced(ack) => self.synced(ack, effects),
            Input::Applied(index, conf_changes) => self.applied(index, &conf_changes),
            Input::Read(context) => self.reads.push(context),
            Input::PeerActive => self.hurry(),
            Input::PeerUnreachable(member) => self.node.report_unreachable(member.0),
            Input::SnapshotSent(member, received) => self.snapshot_sent(member, received),
            Input::SnapshotSaved(record) => self.snapshot_saved(record, effects),
            Input::TransferLeader(member) => self.node.transfer_leader(member.0),
            Input::Leave => self.leave(effects),
        }
        self.carry_on(effects);
    }

    fn term(&self) -> u64 {
        self.node.basic_status().hard_state.term()
    }

    /// Where this member and, on a leader, the others stand.
    pub fn status(&self) -> ReplicationStatus {
        ReplicationStatus::of(&self.node)
    }

    fn tick(&mut self, effects: &mut Effects) {
        self.ticks += 1;
        self.reads.tick(self.every.read_retry);
        let stalled = self.log.tick() >= self.every.election;
        if stalled && self.role == Role::Leader && self.ticks.is_multiple_of(u64::from(self.every.election)) {
            self.give_leadership_away();
        }
        if !self.leaving {
            self.node.tick();
            if self.leader == 0 && self.role == Role::Follower && self.node.is_only_voter() {
                // Nobody else could be asked: no need to wait for an election timeout.
                let _ = self.node.campaign();
            }
        }
        // Nobody waits for it: a commit index that no later batch carried along is written here.
        effects.extend(self.log.untold().map(Effect::Append));
        if self.ticks.is_multiple_of(self.every.purge) {
            effects.push(Effect::Purge);
        }
    }

    /// The log has not acknowledged anything for a whole election: a member with a disk that works leads better.
    fn give_leadership_away(&mut self) {
        let status = self.status();
        let healthy = status
            .peers
            .iter()
            .filter(|peer| peer.is_active && !peer.is_learner && peer.id != self.member);
        if let Some(best) = healthy.max_by_key(|peer| peer.matched) {
            self.node.transfer_leader(best.id.0);
        }
    }

    /// At a start the wait for a leader's word may be cut short, once somebody who could be heard is there: only the jitter remains.
    fn hurry(&mut self) {
        if self.hurried || self.leader != 0 {
            return;
        }
        self.hurried = true;
        for _ in 2..self.every.election {
            self.node.tick();
        }
    }

    fn take_message(&mut self, message: Message, effects: &mut Effects) {
        let kind = message.r#type.and_then(|kind| MessageType::try_from(kind).ok());
        if [self.member.0, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD].contains(&message.from.unwrap_or(0)) {
            return;
        }
        let last = self.node.last_index();
        // A leader tells at most what it believes to be in our log. Less there means that the log lost what it had acknowledged: going on
        // could elect a leader without it.
        if kind == Some(MessageType::MsgHeartbeat) && message.commit.unwrap_or(0) > last && message.term.unwrap_or(0) >= self.term() {
            effects.push(Effect::Stop(format!(
                "tocommit({}) is out of range [lastIndex({last})]. Was the raft log corrupted, truncated, or lost? The cluster counts on \
                 entries that this member acknowledged and no longer has. Remove this member from the cluster (etcdctl member remove {}), \
                 delete its data directory, add it again (etcdctl member add) and start it with --initial-cluster-state=existing",
                message.commit.unwrap_or(0),
                self.member
            )));
            return;
        }
        let foreign = message.entries.iter().any(|entry| entry_kind(entry).is_none());
        if kind == Some(MessageType::MsgProp) && foreign {
            // No version of etcd proposes such entries, and all of them die on one.
            return;
        }
        // What raft does not take from a peer changes nothing.
        let _ = self.node.step(message);
    }

    fn propose(&mut self, proposals: Vec<Proposal>, effects: &mut Effects) {
        let refusal = if self.leaving {
            Some(Refusal::Stopped)
        } else if self.commit.saturating_sub(self.applied) > MAX_UNAPPLIED || self.early.len() as u64 > MAX_UNAPPLIED {
            Some(Refusal::TooManyRequests)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refuse(&proposals, refusal, effects);
        } else if self.leader == 0 || self.node.basic_status().lead_transferee != 0 {
            self.early.extend(proposals);
        } else {
            self.hand_over(proposals, effects);
        }
    }

    /// Gives proposals to raft: it appends them to its log, or sends them on to the leader.
    fn hand_over(&mut self, mut proposals: Vec<Proposal>, effects: &mut Effects) {
        while !proposals.is_empty() {
            let mut bytes = 0;
            let count = proposals.iter().take_while(|proposal| {
                let fits = bytes == 0 || bytes + proposal.data.len() as u64 <= MAX_MESSAGE_BYTES;
                bytes += proposal.data.len() as u64;
                fits
            });
            let count = count.count();
            let rest = proposals.split_off(count);
            let entries = proposals.iter().map(entry_of).collect();
            if self.node.propose_entries(entries).is_err() {
                self.refuse(&proposals, Refusal::LeaderChanged, effects);
            }
            proposals = rest;
        }
    }

    fn refuse(&self, proposals: &[Proposal], refusal: Refusal, effects: &mut Effects) {
        let failed = self.progress.proposals_failed() + proposals.len() as u64;
        self.progress.set_proposals_failed(failed);
        for proposal in proposals {
            effects.push(Effect::Refuse(proposal.id, refusal));
        }
    }

    fn synced(&mut self, ack: LogAck, effects: &mut Effects) {
        let durable = self.log.synced(ack);
        if let Some(snapshot) = durable.snapshot {
            self.applied = snapshot.metadata.as_ref().and_then(|m| m.index).unwrap_or(0);
            self.handed_over = self.applied;
            self.progress.set_snapshot_index(self.applied);
            effects.push(Effect::InstallSnapshot(snapshot));
        }
        self.deliver(durable.responses, effects);
    }

    /// What was waiting for the log or the applier: to raft itself, or to other members.
    fn deliver(&mut self, responses: Vec<Message>, effects: &mut Effects) {
        for response in responses {
            if response.to == Some(self.member.0) {
                // The own answers are never refused; what they are about may be of the past.
                let _ = self.node.step(response);
            } else {
                effects.send(response);
            }
        }
    }

    fn applied(&mut self, index: RaftIndex, conf_changes: &[raftpb::ConfChangeV2]) {
        assert!(index.0 <= self.commit, "applied {} of {} committed entries", index.0, self.commit);
        // A snapshot that raft has taken over meanwhile has the membership of a later entry.
        let changes = if index.0 > self.restored { conf_changes } else { &[] };
        for change in changes {
            // The applier checks each change against the same membership. One that raft can't follow leaves raft as it was: that is how
            // a change with id 0, which stands for a refused one, has no effect.
            let _ = self.node.apply_conf_change(change);
        }
        self.applied = self.applied.max(index.0);
        while let Some((_, responses)) = self.applying.pop_front_if(|(last, _)| *last <= index.0) {
            for response in responses {
                let _ = self.node.step(response);
            }
        }
        let removed = conf_changes.iter().flat_map(|change| &change.changes).any(|change| {
            change.node_id == Some(self.member.0) && change.r#type == Some(raftpb::ConfChangeType::ConfChangeRemoveNode as i32)
        });
        if removed {
            self.leaving = true;
        }
    }

    fn snapshot_sent(&mut self, member: MemberId, received: bool) {
        self.snapshots_sent = self.snapshots_sent.saturating_sub(1);
        self.keep_log_until = self.ticks + self.every.snapshot_grace;
        self.node.report_snapshot(member.0, received);
    }

    /// The log's record counts only if its hard state commits the index (`data-dir.md` 2.5).
    fn snapshot_saved(&mut self, record: api::pb::walpb::Snapshot, effects: &mut Effects) {
        let index = record.index.unwrap_or(0);
        assert!(
            index <= self.applied.max(self.commit),
            "a snapshot of entries that are not committed"
        );
        let keep = self.snapshots_sent > 0 || self.ticks < self.keep_log_until;
        let storage = self.node.storage_mut();
        if storage
            .create_snapshot(index, record.conf_state.clone(), bytes::Bytes::new())
            .is_err()
        {
            // Overtaken by one from the leader. Its record is in the log already, and Go starts from the last record that it finds; between
            // this index and that one, the log has no entries.
            return;
        }
        if !keep && index > self.catch_up_entries {
            let _ = storage.compact(index - self.catch_up_entries);
        }
        effects.extend(self.log.untold().map(Effect::Append));
        self.progress.set_snapshot_index(index);
        effects.push(Effect::RecordSnapshot(record));
    }

    fn leave(&mut self, effects: &mut Effects) {
        self.leaving = true;
        effects.extend(self.log.untold().map(Effect::Append));
        let early = std::mem::take(&mut self.early);
        self.refuse(&early, Refusal::Stopped, effects);
    }

    /// Turns all that raft wants into effects.
    fn carry_on(&mut self, effects: &mut Effects) {
        loop {
            self.ask_for_reads();
            if !self.node.has_ready() {
                break;
            }
            let ready = self.node.ready();
            self.take_ready(ready, effects);
        }
        self.publish();
    }

    fn ask_for_reads(&mut self) {
        // Without a leader there is nobody to ask; a new one is asked at once. A leader that has not committed in its term does not know
        // what the terms before acknowledged: raft waits for that by itself, but not where one voter decides alone.
        let knows = self.role != Role::Leader || self.own_first.is_some();
        if self.leader != 0 && knows && self.reads.is_due() {
            let context = self.reads.ask(self.ids.next());
            self.node.read_index(context);
        }
    }

    fn take_ready(&mut self, ready: Ready, effects: &mut Effects) {
        if let Some(state) = ready.soft_state {
            self.roles(state, effects);
        }
        for message in ready.messages {
            match message.to.unwrap_or(0) {
                LOCAL_APPEND_THREAD => self.append(message, effects),
                LOCAL_APPLY_THREAD => self.apply(message, effects),
                _ if message.r#type == Some(MessageType::MsgSnap as i32) => {
                    self.snapshots_sent += 1;
                    effects.push(Effect::SendSnapshot(message));
                }
                _ => effects.send(message),
            }
        }
        for state in ready.read_states {
            self.reads.answered(&state.request_ctx, state.index);
        }
        // A follower may learn of an index before it learns that it is committed.
        for (index, contexts) in self.reads.reached(self.handed_over) {
            effects.read_at(RaftIndex(index), contexts);
        }
    }

    fn roles(&mut self, state: raft::SoftState, effects: &mut Effects) {
        if state.role != self.role {
            self.own_first = None;
        }
        self.role = state.role;
        if state.lead == self.leader {
            return;
        }
        self.leader = state.lead;
        if self.leader != 0 {
            self.progress.set_leader_changes(self.progress.leader_changes() + 1);
            // An answer from the leader before may be lost with it.
            self.reads.again();
            let early = std::mem::take(&mut self.early);
            self.hand_over(early, effects);
        }
        effects.push(Effect::LeaderChanged(MemberId(self.leader)));
    }

    fn append(&mut self, request: Message, effects: &mut Effects) {
        let storage = self.node.storage_mut();
        if let Some(snapshot) = &request.snapshot {
            self.restored = snapshot.metadata.as_ref().and_then(|m| m.index).unwrap_or(0);
            // An older one than what is there changes nothing.
            let _ = storage.apply_snapshot(snapshot.clone());
        }
        // Raft reads its entries from here only when it has heard that they are durable; until then it has its own.
        if let Err(error) = storage.append(&request.entries) {
            effects.push(Effect::Stop(format!("raft writes entries that do not follow the log: {error}")));
            return;
        }
        match self.log.take(request) {
            Ok(batch) => effects.push(Effect::Append(batch)),
            Err(responses) => self.deliver(responses, effects),
        }
    }

    fn apply(&mut self, request: Message, effects: &mut Effects) {
        let mut entries = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            let Some(kind) = entry_kind(entry) else {
                effects.push(Effect::Stop(format!(
                    "entry {} of the log has type {}, which no version of etcd proposes",
                    entry.index.unwrap_or(0),
                    entry.r#type.unwrap_or(0)
                )));
                return;
            };
            entries.push(committed(entry, kind));
        }
        let Some(last) = entries.last() else { return };
        let (index, term) = (last.index, last.term);
        let own = entries.iter().find(|entry| entry.term.0 == self.term()).map(|entry| entry.index.0);
        self.commit = self.commit.max(index.0);
        self.handed_over = index.0;
        self.applying.push_back((index.0, request.responses));
        effects.push(Effect::Apply(entries));
        if self.role == Role::Leader && self.own_first.is_none() && own.is_some() {
            self.own_first = own;
            effects.push(Effect::BecameLeader(term));
        }
    }

    /// Lets the other threads see where this member stands.
    fn publish(&mut self) {
        let hard_state = self.node.basic_status().hard_state;
        self.commit = self.commit.max(hard_state.commit());
        self.progress.set_term(Term(hard_state.term()));
        self.progress.set_committed(RaftIndex(self.commit));
        let leader = if self.leaving && self.node.is_only_voter() {
            0
        } else {
            self.leader
        };
        self.progress.set_leader(leader);
        let pending = if self.role == Role::Leader {
            self.node.last_index() - self.commit
        } else {
            0
        };
        self.progress.set_proposals_pending(pending + self.early.len() as u64);
        let knows = self.own_first.is_some_and(|first| first <= self.applied);
        self.progress
            .set_reads_are_local(knows && !self.leaving && self.role == Role::Leader && self.node.is_only_voter());
    }
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Replicator")
            .field("member", &self.member)
            .field("role", &self.role)
            .field("leader", &self.leader)
            .field("commit", &self.commit)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

fn check(start: &Start) -> Result<(), StartError> {
    let (snapshot_index, _) = start.snapshot;
    let last = start.entries.last().map_or(snapshot_index.0, |entry| entry.index.unwrap_or(0));
    let commit = start.hard_state.commit.unwrap_or(0).max(snapshot_index.0);
    if commit > last {
        return Err(StartError::CommitBeyondLog { commit, last });
    }
    for (entry, expected) in start.entries.iter().zip(snapshot_index.0 + 1..) {
        assert_eq!(entry.index.unwrap_or(0), expected, "the log has a gap");
        if entry_kind(entry).is_none() {
            return Err(StartError::UnknownEntryType {
                index: expected,
                kind: entry.r#type.unwrap_or(0),
            });
        }
    }
    Ok(())
}

/// What raft finds as its log: the disk snapshot's place, with the membership as the database has it, and the entries behind it.
fn stored(start: &Start, hard_state: raftpb::HardState) -> Result<MemoryStorage, StartError> {
    let mut storage = MemoryStorage::new();
    let (index, term) = start.snapshot;
    let failed = |error: raft::StorageError| StartError::Raft(error.to_string());
    let metadata = raftpb::SnapshotMetadata {
        conf_state: Some(start.conf_state.clone()),
        index: Some(index.0),
        term: Some(term.0),
    };
    let snapshot = raftpb::Snapshot {
        data: None,
        metadata: Some(metadata),
    };
    storage.apply_snapshot(snapshot).map_err(failed)?;
    storage.set_hard_state(hard_state);
    storage.append(&start.entries).map_err(failed)?;
    Ok(storage)
}

fn entry_kind(entry: &raftpb::Entry) -> Option<EntryKind> {
    match EntryType::try_from(entry.r#type.unwrap_or(0)) {
        Ok(EntryType::EntryNormal) => Some(EntryKind::Normal),
        Ok(EntryType::EntryConfChange) => Some(EntryKind::ConfChange),
        // No version of etcd proposes the second form of membership changes, and all of them die on one.
        Ok(EntryType::EntryConfChangeV2) | Err(_) => None,
    }
}

fn entry_of(proposal: &Proposal) -> raftpb::Entry {
    let kind = match proposal.kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::ConfChange => EntryType::EntryConfChange,
    };
    raftpb::Entry {
        r#type: Some(kind as i32),
        term: None,
        index: None,
        data: Some(proposal.data.clone()),
    }
}

fn committed(entry: &raftpb::Entry, kind: EntryKind) -> Committed {
    Committed {
        index: RaftIndex(entry.index.unwrap_or(0)),
        term: Term(entry.term.unwrap_or(0)),
        kind,
        data: entry.data.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
