//! Agreement of one voter with itself: a vote, an empty entry, and then what the log has synced is committed.
//!
//! The course of a term is the one Go's raft takes, and leaves the same records in the log: the hard state with the new term and
//! the vote for oneself is synced first, then the leader's empty entry is appended, and with its sync the term's commits begin.
//! Entries that an earlier life appended but did not see committed are committed with it.

use std::collections::VecDeque;
use std::sync::Arc;

use api::pb::raftpb::{self, ConfChangeType, EntryType};
use api::{MemberId, RaftIndex, Term};
use bytes::Bytes;
use prost::Message;

use super::{Committed, Effect, Effects, EntryKind, Input, LogAck, LogBatch, Proposal, ReadContext, Refusal, Start, StartError};
use crate::limits::{MAX_UNAPPLIED, PURGE_INTERVAL};
use crate::stats::Progress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Before the first tick.
    Follower,
    /// The vote for oneself is on its way to the disk.
    Candidate,
    Leader,
}

/// A batch that the log has not acknowledged yet.
#[derive(Debug)]
struct InFlight {
    ack: LogAck,
    /// The last entry appended when it was handed over.
    last: u64,
}

/// The machine. One thread owns it.
#[derive(Debug)]
pub struct Replicator {
    member: MemberId,
    role: Role,
    term: u64,
    vote: u64,
    commit: u64,
    applied: u64,
    last: u64,
    /// Index of this term's empty entry.
    own_first: u64,
    /// Entries of the log that are not committed.
    tail: VecDeque<Committed>,
    /// Committed before this life began: handed over with the first step.
    replay: Vec<Committed>,
    in_flight: VecDeque<InFlight>,
    next_ack: u64,
    /// The hard state as the log was last told.
    told: raftpb::HardState,
    /// Proposals that came before leadership.
    early: Vec<Proposal>,
    early_reads: Vec<ReadContext>,
    /// A membership change at or below it may not be applied yet: no other is taken.
    pending_conf_index: u64,
    leaving: bool,
    ticks: u64,
    purge_ticks: u64,
    progress: Arc<Progress>,
}

impl Replicator {
    /// A machine that has not campaigned yet. Entries that the log already counts as committed are handed over with the first step.
    ///
    /// # Errors
    /// `StartError` when the membership or the hard state cannot be served.
    pub fn new(start: Start, progress: Arc<Progress>) -> Result<Replicator, StartError> {
        check_membership(&start)?;
        let (snapshot_index, snapshot_term) = start.snapshot;
        let hard_state = start.hard_state;
        let last = start.entries.last().map_or(snapshot_index.0, |e| e.index.unwrap_or(0));
        let commit = hard_state.commit.unwrap_or(0).max(snapshot_index.0);
        if commit > last {
            return Err(StartError::CommitBeyondLog { commit, last });
        }
        let mut replay = Vec::new();
        let mut tail = VecDeque::new();
        let mut expected = snapshot_index.0;
        for entry in start.entries {
            expected += 1;
            let entry = committed(entry)?;
            assert_eq!(entry.index.0, expected, "the log has a gap");
            if expected <= commit {
                replay.push(entry)
            } else {
                tail.push_back(entry)
            }
        }
        let term = hard_state.term.unwrap_or(0).max(snapshot_term.0);
        progress.set_term(Term(term));
        progress.set_committed(RaftIndex(commit));
        progress.set_snapshot_index(snapshot_index.0);
        let tick_ms = start.tick.as_millis().max(1);
        Ok(Replicator {
            member: start.member,
            role: Role::Follower,
            term,
            vote: hard_state.vote.unwrap_or(0),
            commit,
            applied: snapshot_index.0,
            last,
            own_first: 0,
            pending_conf_index: last,
            tail,
            replay,
            in_flight: VecDeque::new(),
            next_ack: 1,
            told: hard_state,
            early: Vec::new(),
            early_reads: Vec::new(),
            leaving: false,
            ticks: 0,
            purge_ticks: (PURGE_INTERVAL.as_millis() / tick_ms).max(1) as u64,
            progress,
        })
    }

    /// Takes in what happened and says what must be done. Effects are added behind those that `effects` already holds.
    pub fn step(&mut self, input: Input, effects: &mut Effects) {
        if !self.replay.is_empty() {
            effects.push(Effect::Apply(std::mem::take(&mut self.replay)));
        }
        match input {
            Input::Tick => self.tick(effects),
            Input::Propose(proposals) => self.propose(proposals, effects),
            Input::LogSynced(ack) => self.synced(ack, effects),
            Input::Applied(index, conf_changes) => self.applied(index, &conf_changes),
            Input::Read(context) => self.read(context, effects),
            Input::SnapshotSaved(record) => {
                let index = record.index.unwrap_or(0);
                assert!(
                    index <= self.applied.max(self.commit),
                    "a snapshot of entries that are not committed"
                );
                // A snapshot record counts only if the log's hard state commits its index (`data-dir.md` 2.5).
                self.tell_hard_state(effects);
                self.progress.set_snapshot_index(index);
                effects.push(Effect::RecordSnapshot(record));
            }
            Input::Leave => {
                self.leaving = true;
                self.tell_hard_state(effects);
                for proposal in std::mem::take(&mut self.early) {
                    self.refuse(&proposal, Refusal::Stopped, effects);
                }
            }
        }
    }

    fn tick(&mut self, effects: &mut Effects) {
        self.ticks += 1;
        if self.role == Role::Follower && !self.leaving {
            self.campaign(effects);
        } else {
            // Nobody waits for it: a commit index that no later batch carried along is written here.
            self.tell_hard_state(effects);
        }
        if self.ticks.is_multiple_of(self.purge_ticks) {
            effects.push(Effect::Purge);
        }
    }

    /// Go's only voter fast-forwards its election clock at start; nobody else could be asked, so the first tick is enough here.
    fn campaign(&mut self, effects: &mut Effects) {
        self.role = Role::Candidate;
        self.term += 1;
        self.vote = self.member.0;
        self.progress.set_term(Term(self.term));
        let hard_state = self.hard_state();
        self.append(Vec::new(), Some(hard_state), true, effects);
    }

    fn become_leader(&mut self, effects: &mut Effects) {
        self.role = Role::Leader;
        self.progress.set_leader(self.member.0);
        self.progress.set_leader_changes(self.progress.leader_changes() + 1);
        let entry = self.next_entry(EntryKind::Normal, Bytes::new());
        self.own_first = self.last;
        self.append(vec![entry], None, true, effects);
        let early = std::mem::take(&mut self.early);
        if !early.is_empty() {
            self.propose(early, effects);
        }
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
            for proposal in &proposals {
                self.refuse(proposal, refusal, effects);
            }
            return;
        }
        if self.role != Role::Leader {
            // As in Go: without a leader a proposal waits, until its own timeout if need be.
            self.early.extend(proposals);
            return;
        }
        let mut entries = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            match self.admit(&proposal) {
                Ok(kind) => {
                    let data = if kind == proposal.kind { proposal.data } else { Bytes::new() };
                    entries.push(self.next_entry(kind, data));
                }
                Err(refusal) => self.refuse(&proposal, refusal, effects),
            }
        }
        if entries.is_empty() {
            return;
        }
        self.progress.set_proposals_pending(self.tail.len() as u64);
        let hard_state = self.untold_hard_state();
        self.append(entries, hard_state, true, effects);
    }

    /// What a proposal becomes in the log. One membership change may be on its way at a time: another turns into an empty entry, and
    /// its proposer hears nothing (`peer-protocol.md` 7.1).
    fn admit(&mut self, proposal: &Proposal) -> Result<EntryKind, Refusal> {
        if proposal.kind == EntryKind::Normal {
            return Ok(EntryKind::Normal);
        }
        let change = raftpb::ConfChange::decode(proposal.data.clone()).unwrap_or_default();
        let adds = [
            ConfChangeType::ConfChangeAddNode as i32,
            ConfChangeType::ConfChangeAddLearnerNode as i32,
        ];
        if change.node_id != Some(self.member.0) && adds.contains(&change.r#type.unwrap_or(0)) {
            return Err(Refusal::SeveralMembers);
        }
        if self.pending_conf_index > self.applied {
            return Ok(EntryKind::Normal);
        }
        self.pending_conf_index = self.last + 1;
        Ok(EntryKind::ConfChange)
    }

    fn next_entry(&mut self, kind: EntryKind, data: Bytes) -> raftpb::Entry {
        self.last += 1;
        let entry_type = match kind {
            EntryKind::Normal => EntryType::EntryNormal,
            EntryKind::ConfChange => EntryType::EntryConfChange,
        };
        self.tail.push_back(Committed {
            index: RaftIndex(self.last),
            term: Term(self.term),
            kind,
            data: data.clone(),
        });
        raftpb::Entry {
            r#type: Some(entry_type as i32),
            term: Some(self.term),
            index: Some(self.last),
            data: (!data.is_empty()).then_some(data),
        }
    }

    fn append(&mut self, entries: Vec<raftpb::Entry>, hard_state: Option<raftpb::HardState>, must_sync: bool, effects: &mut Effects) {
        let ack = LogAck(self.next_ack);
        self.next_ack += 1;
        if let Some(hard_state) = hard_state {
            self.told = hard_state;
        }
        if must_sync {
            self.in_flight.push_back(InFlight { ack, last: self.last });
        }
        effects.push(Effect::Append(LogBatch {
            entries,
            hard_state,
            must_sync,
            ack,
        }));
    }

    fn synced(&mut self, ack: LogAck, effects: &mut Effects) {
        assert!(ack.0 < self.next_ack, "the log acknowledges what it was never given");
        let mut durable = None;
        while let Some(batch) = self.in_flight.front().filter(|batch| batch.ack <= ack) {
            durable = Some(batch.last);
            self.in_flight.pop_front();
        }
        let Some(durable) = durable else { return };
        match self.role {
            Role::Candidate => self.become_leader(effects),
            Role::Leader if durable >= self.own_first => self.commit_to(durable, effects),
            Role::Leader | Role::Follower => {}
        }
    }

    fn commit_to(&mut self, index: u64, effects: &mut Effects) {
        if index <= self.commit {
            return;
        }
        let first_of_term = self.commit < self.own_first;
        let count = self.tail.iter().take_while(|entry| entry.index.0 <= index).count();
        let entries: Vec<Committed> = self.tail.drain(..count).collect();
        assert_eq!(
            entries.last().map(|e| e.index.0),
            Some(index),
            "the log synced what is not in its tail"
        );
        self.commit = index;
        self.progress.set_committed(RaftIndex(index));
        self.progress.set_proposals_pending(self.tail.len() as u64);
        effects.push(Effect::Apply(entries));
        if first_of_term {
            effects.push(Effect::BecameLeader(Term(self.term)));
            let reads = std::mem::take(&mut self.early_reads);
            if !reads.is_empty() {
                effects.push(Effect::ReadAt(RaftIndex(self.commit), reads));
            }
        }
    }

    fn applied(&mut self, index: RaftIndex, conf_changes: &[raftpb::ConfChangeV2]) {
        assert!(index.0 <= self.commit, "applied {} of {} committed entries", index.0, self.commit);
        self.applied = self.applied.max(index.0);
        let removed = conf_changes
            .iter()
            .flat_map(|change| &change.changes)
            .any(|change| change.node_id == Some(self.member.0) && change.r#type == Some(ConfChangeType::ConfChangeRemoveNode as i32));
        if removed {
            self.leaving = true;
            self.progress.set_leader(0);
            self.progress.set_reads_are_local(false);
        } else if self.role == Role::Leader && self.own_first <= self.applied && !self.progress.reads_are_local() {
            self.progress.set_reads_are_local(true);
        }
    }

    fn read(&mut self, context: ReadContext, effects: &mut Effects) {
        if self.role != Role::Leader || self.commit < self.own_first {
            self.early_reads.push(context);
            return;
        }
        let index = RaftIndex(self.commit);
        if let Some(Effect::ReadAt(at, contexts)) = effects.last_mut()
            && *at == index
        {
            contexts.push(context);
            return;
        }
        effects.push(Effect::ReadAt(index, vec![context]));
    }

    fn refuse(&self, proposal: &Proposal, refusal: Refusal, effects: &mut Effects) {
        self.progress.set_proposals_failed(self.progress.proposals_failed() + 1);
        effects.push(Effect::Refuse(proposal.id, refusal));
    }

    fn hard_state(&self) -> raftpb::HardState {
        raftpb::HardState {
            term: Some(self.term),
            vote: Some(self.vote),
            commit: Some(self.commit),
        }
    }

    fn untold_hard_state(&self) -> Option<raftpb::HardState> {
        let now = self.hard_state();
        (now != self.told && self.role != Role::Follower).then_some(now)
    }

    fn tell_hard_state(&mut self, effects: &mut Effects) {
        if let Some(hard_state) = self.untold_hard_state() {
            self.append(Vec::new(), Some(hard_state), false, effects);
        }
    }
}

fn check_membership(start: &Start) -> Result<(), StartError> {
    let voters = &start.conf_state.voters;
    if voters.len() > 1 || !start.conf_state.learners.is_empty() || !start.conf_state.voters_outgoing.is_empty() {
        return Err(StartError::SeveralVoters(voters.len() + start.conf_state.learners.len()));
    }
    // No voter at all: a new member, whose first entry adds it.
    if voters.first().is_some_and(|voter| *voter != start.member.0) {
        return Err(StartError::NotAVoter(start.member));
    }
    Ok(())
}

fn committed(entry: raftpb::Entry) -> Result<Committed, StartError> {
    let index = entry.index.unwrap_or(0);
    let kind = match EntryType::try_from(entry.r#type.unwrap_or(0)) {
        Ok(EntryType::EntryNormal) => EntryKind::Normal,
        Ok(EntryType::EntryConfChange) => EntryKind::ConfChange,
        // No version of etcd proposes the second form of membership changes, and all of them die on one.
        Ok(EntryType::EntryConfChangeV2) | Err(_) => {
            return Err(StartError::UnknownEntryType {
                index,
                kind: entry.r#type.unwrap_or(0),
            });
        }
    };
    Ok(Committed {
        index: RaftIndex(index),
        term: Term(entry.term.unwrap_or(0)),
        kind,
        data: entry.data.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
