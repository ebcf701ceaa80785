//! The course of a term, record by record.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::replicate::{LogBatch, ProposalId, ReadContext};

mod cluster;

const SELF: u64 = 0x8633bdd0743213ae;

fn start(entries: Vec<raftpb::Entry>, term: u64, commit: u64) -> Start {
    Start {
        member: MemberId(SELF),
        hard_state: raftpb::HardState {
            term: Some(term),
            vote: Some(0),
            commit: Some(commit),
        },
        entries,
        snapshot: (RaftIndex(0), Term(0)),
        conf_state: raftpb::ConfState {
            voters: vec![SELF],
            ..raftpb::ConfState::default()
        },
        tick: Duration::from_millis(100),
        election_ticks: 10,
        pre_vote: true,
        catch_up_entries: 5000,
        ids: Arc::new(RequestIds::new(MemberId(SELF), 0)),
        seed: 1,
        logger: Arc::new(raft::logger::Silent),
    }
}

fn entry(index: u64, term: u64) -> raftpb::Entry {
    raftpb::Entry {
        r#type: Some(0),
        term: Some(term),
        index: Some(index),
        data: Some(Bytes::from(format!("{index}"))),
    }
}

fn propose(ids: std::ops::Range<u64>) -> Input {
    let proposal = |id| Proposal {
        id: ProposalId(id),
        kind: EntryKind::Normal,
        data: Bytes::from(format!("p{id}")),
    };
    Input::Propose(ids.map(proposal).collect())
}

fn step(machine: &mut Replicator, input: Input) -> Vec<Effect> {
    let mut effects = Effects::new();
    machine.step(input, &mut effects);
    effects.drain().collect()
}

fn appended(effects: &[Effect]) -> &LogBatch {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Append(batch) => Some(batch),
            _ => None,
        })
        .expect("an append")
}

fn applied(effects: &[Effect]) -> Vec<u64> {
    let mut indexes = Vec::new();
    for effect in effects {
        if let Effect::Apply(entries) = effect {
            indexes.extend(entries.iter().map(|entry| entry.index.0));
        }
    }
    indexes
}

/// Takes a machine to leadership; gives the effects of its first commit.
fn lead(machine: &mut Replicator) -> Vec<Effect> {
    let effects = step(machine, Input::Tick);
    let vote = appended(&effects).ack;
    let effects = step(machine, Input::LogSynced(vote));
    let first = appended(&effects).ack;
    step(machine, Input::LogSynced(first))
}

#[test]
fn a_term_begins_as_in_go() {
    let progress = Arc::new(Progress::default());
    let mut machine = Replicator::new(start(vec![entry(1, 1)], 1, 1), progress.clone()).unwrap();
    let effects = step(&mut machine, Input::Tick);
    assert_eq!(applied(&effects), [1], "what was committed comes first");
    let vote = appended(&effects);
    let state = vote.hard_state.unwrap();
    assert_eq!((state.term, state.vote, state.commit), (Some(2), Some(SELF), Some(1)));
    assert!(vote.must_sync && vote.entries.is_empty());
    let effects = step(&mut machine, Input::LogSynced(vote.ack));
    let batch = appended(&effects);
    assert_eq!(
        (batch.entries.len(), batch.entries[0].index, batch.entries[0].term),
        (1, Some(2), Some(2))
    );
    assert_eq!(batch.entries[0].data, None, "a leader's entry is empty");
    assert_eq!(progress.committed(), RaftIndex(1));
    let effects = step(&mut machine, Input::LogSynced(batch.ack));
    assert_eq!(applied(&effects), [2]);
    assert!(effects.contains(&Effect::BecameLeader(Term(2))));
    assert!(!progress.reads_are_local(), "not before the own first entry is applied");
    step(&mut machine, Input::Applied(RaftIndex(2), Vec::new()));
    assert!(progress.reads_are_local());
}

#[test]
fn proposals_wait_for_leadership_and_commit_with_the_sync() {
    let mut machine = Replicator::new(start(vec![entry(1, 1)], 1, 1), Arc::default()).unwrap();
    assert!(step(&mut machine, propose(1..3)).iter().all(|e| matches!(e, Effect::Apply(_))));
    let effects = step(&mut machine, Input::Tick);
    let effects = step(&mut machine, Input::LogSynced(appended(&effects).ack));
    let batches: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Append(_))).collect();
    assert_eq!(batches.len(), 2, "the empty entry, then what waited");
    let Some(Effect::Append(last)) = batches.last() else {
        unreachable!()
    };
    assert_eq!(last.entries.len(), 2);
    let effects = step(&mut machine, Input::LogSynced(last.ack));
    assert_eq!(applied(&effects), [2, 3, 4], "one acknowledgement covers all batches before it");
}

#[test]
fn an_uncommitted_tail_is_committed_with_the_new_term() {
    let mut machine = Replicator::new(start((1..=5).map(|i| entry(i, 3)).collect(), 3, 2), Arc::default()).unwrap();
    let effects = lead(&mut machine);
    assert_eq!(applied(&effects), [3, 4, 5, 6]);
}

#[test]
fn the_commit_index_follows_lazily_but_before_a_snapshot_record() {
    let mut machine = Replicator::new(start(vec![entry(1, 1)], 1, 1), Arc::default()).unwrap();
    lead(&mut machine);
    step(&mut machine, Input::Applied(RaftIndex(2), Vec::new()));
    let record = api::pb::walpb::Snapshot {
        index: Some(2),
        term: Some(2),
        conf_state: None,
    };
    let effects = step(&mut machine, Input::SnapshotSaved(record.clone()));
    let [Effect::Append(batch), Effect::RecordSnapshot(recorded)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(batch.hard_state.unwrap().commit, Some(2));
    assert!(!batch.must_sync);
    assert_eq!(*recorded, record);
    assert!(step(&mut machine, Input::Tick).is_empty(), "told already");
}

#[test]
fn reads_are_batched_and_wait_for_the_first_commit() {
    let mut machine = Replicator::new(start(vec![entry(1, 1)], 1, 1), Arc::default()).unwrap();
    step(&mut machine, Input::Read(ReadContext(1)));
    let effects = lead(&mut machine);
    assert!(effects.contains(&Effect::ReadAt(RaftIndex(2), vec![ReadContext(1)])));
    let mut effects = Effects::new();
    for context in 2..5 {
        machine.step(Input::Read(ReadContext(context)), &mut effects);
    }
    let effects: Vec<_> = effects.drain().collect();
    assert_eq!(
        effects,
        [Effect::ReadAt(RaftIndex(2), vec![ReadContext(2), ReadContext(3), ReadContext(4)])]
    );
}

#[test]
fn refuses_when_the_apply_lags_and_when_leaving() {
    let mut machine = Replicator::new(start(vec![entry(1, 1)], 1, 1), Arc::default()).unwrap();
    lead(&mut machine);
    step(&mut machine, Input::Applied(RaftIndex(2), Vec::new()));
    let effects = step(&mut machine, propose(0..MAX_UNAPPLIED + 1));
    step(&mut machine, Input::LogSynced(appended(&effects).ack));
    let effects = step(&mut machine, propose(9000..9001));
    assert_eq!(effects, [Effect::Refuse(ProposalId(9000), Refusal::TooManyRequests)]);
    step(&mut machine, Input::Applied(RaftIndex(3), Vec::new()));
    assert!(matches!(step(&mut machine, propose(9001..9002))[..], [Effect::Append(_)]));
    let effects = step(&mut machine, Input::Leave);
    assert!(effects.is_empty(), "the commit index went along with the last batch");
    assert_eq!(step(&mut machine, propose(1..2)), [Effect::Refuse(ProposalId(1), Refusal::Stopped)]);
}

#[test]
fn a_hard_state_beyond_the_log_is_refused() {
    let error = Replicator::new(start(vec![entry(1, 1)], 1, 4), Arc::default()).err();
    assert_eq!(error, Some(StartError::CommitBeyondLog { commit: 4, last: 1 }));
}
