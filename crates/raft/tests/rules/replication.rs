//! How logs become equal, and when what is in them is committed.

use api::pb::raftpb::{HardState, Message, MessageType};
use raft::progress::ProgressState;
use raft::{MemoryStorage, RawNode, Role};

use crate::cluster::{Cluster, Node, entry, members, message, plain, storage, work, work_off};

/// A node whose stored log has these terms.
fn holding(terms: &[u64], committed: u64) -> Node {
    let mut storage: MemoryStorage = storage(members(&[1, 2, 3], &[]));
    let entries: Vec<_> = terms.iter().zip(1..).map(|(term, index)| entry(*term, index, "x")).collect();
    storage.append(&entries).expect("from the beginning");
    storage.set_hard_state(HardState {
        term: terms.last().copied(),
        vote: Some(0),
        commit: Some(committed),
    });
    RawNode::new(plain(1), storage).expect("starts")
}

fn append(term: u64, prev: (u64, u64), terms: &[u64], commit: u64) -> Message {
    let mut append = message(MessageType::MsgApp, 2, 1, term);
    append.log_term = Some(prev.0);
    append.index = Some(prev.1);
    append.entries = terms
        .iter()
        .zip(prev.1 + 1..)
        .map(|(term, index)| entry(*term, index, "y"))
        .collect();
    append.commit = Some(commit);
    append
}

/// What a node answers to an append: taken up to an index, or refused with a hint.
#[derive(Debug, PartialEq)]
enum Answer {
    Upto(u64),
    Refused { hint: u64, hint_term: u64 },
}

fn answer(node: &mut Node, append: Message) -> Answer {
    node.step(append).expect("well formed");
    let messages = work(node).messages;
    assert_eq!(messages.len(), 1);
    let answer = &messages[0];
    assert_eq!(answer.r#type(), MessageType::MsgAppResp);
    if answer.reject() {
        Answer::Refused {
            hint: answer.reject_hint(),
            hint_term: answer.log_term(),
        }
    } else {
        Answer::Upto(answer.index())
    }
}

#[test]
fn an_append_is_taken_where_the_logs_match_only() {
    let refused = |hint, hint_term| Answer::Refused { hint, hint_term };
    // Our log is [1, 1, 2, 2]: (previous term and index, terms sent, answer, our log then)
    type Case = ((u64, u64), &'static [u64], Answer, &'static [u64]);
    let cases: [Case; 8] = [
        ((2, 4), &[], Answer::Upto(4), &[1, 1, 2, 2]),
        ((2, 4), &[3, 3], Answer::Upto(6), &[1, 1, 2, 2, 3, 3]),
        ((2, 3), &[2], Answer::Upto(4), &[1, 1, 2, 2]),
        // A conflict removes what follows.
        ((2, 3), &[3], Answer::Upto(4), &[1, 1, 2, 3]),
        ((1, 2), &[3], Answer::Upto(3), &[1, 1, 3]),
        // A short append that brings nothing new removes nothing.
        ((1, 2), &[2], Answer::Upto(3), &[1, 1, 2, 2]),
        // Beyond our log: the hint is our end.
        ((3, 9), &[3], refused(4, 2), &[1, 1, 2, 2]),
        // Of another term: the hint is our last entry of at most the leader's term.
        ((1, 4), &[3], refused(2, 1), &[1, 1, 2, 2]),
    ];
    for (prev, terms, expected, log) in cases {
        let mut cluster = Cluster::new(0);
        cluster.nodes.insert(1, holding(&[1, 1, 2, 2], 0));
        assert_eq!(
            answer(cluster.node(1), append(3, prev, terms, 0)),
            expected,
            "behind {prev:?}: {terms:?}"
        );
        assert_eq!(cluster.terms(1), log, "behind {prev:?}: {terms:?}");
    }
}

#[test]
fn a_follower_commits_what_it_shares_with_the_leader_and_not_more() {
    // (commit sent, previous index, entries sent, our commit): the log behind what the append covers may be another one
    for (commit, prev, terms, expected) in [
        (4, (2, 3), &[2][..], 4),
        (4, (2, 3), &[], 3),
        (9, (2, 4), &[], 4),
        (1, (2, 4), &[], 1),
    ] {
        let mut node = holding(&[1, 1, 2, 2], 0);
        answer(&mut node, append(3, prev, terms, commit));
        assert_eq!(node.basic_status().hard_state.commit(), expected, "{commit} {prev:?} {terms:?}");
    }
}

#[test]
fn an_append_from_before_the_commit_index_is_answered_with_it() {
    let mut node = holding(&[1, 1, 2, 2], 3);
    assert_eq!(answer(&mut node, append(3, (1, 1), &[1], 0)), Answer::Upto(3));
}

#[test]
fn entries_of_earlier_terms_commit_only_with_one_of_the_own() {
    // Figure 8 of the paper: index 2, of term 2, may lie on a majority and still be overwritten.
    let mut node = holding(&[1, 2], 0);
    node.campaign().expect("never refused");
    work_off(&mut node);
    node.step(message(MessageType::MsgVoteResp, 2, 1, 3)).expect("taken");
    work_off(&mut node);
    let mut ack = message(MessageType::MsgAppResp, 2, 1, 3);
    ack.index = Some(2);
    node.step(ack.clone()).expect("taken");
    assert_eq!(node.basic_status().hard_state.commit(), 0, "on a majority, but not of this term");
    ack.index = Some(3);
    node.step(ack).expect("taken");
    assert_eq!(node.basic_status().hard_state.commit(), 3);
}

#[test]
fn the_leader_does_not_count_itself_before_its_disk_has_the_entry() {
    let mut config = plain(1);
    config.async_storage_writes = true;
    let mut node = RawNode::new(config, storage(members(&[1, 2, 3], &[]))).expect("starts");
    node.campaign().expect("never refused");
    let vote = node.ready();
    for response in vote.messages.into_iter().flat_map(|message| message.responses) {
        node.step(response).expect("own");
    }
    node.step(message(MessageType::MsgVoteResp, 2, 1, 1)).expect("taken");
    let ready = node.ready();
    assert!(
        ready.messages.iter().any(|message| message.r#type() == MessageType::MsgApp),
        "sent beside the write"
    );
    let mut ack = message(MessageType::MsgAppResp, 2, 1, 1);
    ack.index = Some(1);
    node.step(ack).expect("taken");
    assert_eq!(node.basic_status().hard_state.commit(), 0, "one of three has it");
    let write = ready
        .messages
        .into_iter()
        .find(|message| message.r#type() == MessageType::MsgStorageAppend);
    let write = write.expect("there is an entry to write");
    node.storage_mut().append(&write.entries).expect("in order");
    for response in write.responses {
        node.step(response).expect("own");
    }
    assert_eq!(node.basic_status().hard_state.commit(), 1);
    let ready = node.ready();
    assert_eq!(
        ready.committed_entries.len(),
        1,
        "given out to be applied once it is stored and committed"
    );
}

#[test]
fn diverged_logs_meet_in_one_probe_a_term() {
    let follower = [vec![1], vec![2; 200], vec![4; 200]].concat();
    let leader = [vec![1], vec![3; 100], vec![5; 100]].concat();
    let mut cluster = Cluster::new(0);
    for (id, terms) in [(1, &leader), (2, &follower), (3, &leader)] {
        let mut storage = storage(members(&[1, 2, 3], &[]));
        let entries: Vec<_> = terms.iter().zip(1..).map(|(term, index)| entry(*term, index, "x")).collect();
        storage.append(&entries).expect("from the beginning");
        storage.set_hard_state(HardState {
            term: Some(6),
            ..HardState::default()
        });
        cluster.add(plain(id), storage);
    }
    cluster.node(1).campaign().expect("never refused");
    let mut appends = 0;
    while cluster.work() || !cluster.wire.is_empty() {
        for message in std::mem::take(&mut cluster.wire) {
            appends += usize::from(message.r#type() == MessageType::MsgApp && message.to() == 2);
            cluster.node(message.to()).step(message).expect("well formed");
        }
    }
    assert_eq!(cluster.terms(2), cluster.terms(1));
    assert!(appends <= 8, "{appends} appends for 400 diverged entries");
}

#[test]
fn an_unreachable_peer_is_probed_until_it_answers() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    let state = |cluster: &Cluster| cluster.nodes[&1].status().progress[&2].state;
    assert_eq!(state(&cluster), ProgressState::Replicate);
    cluster.node(1).report_unreachable(2);
    assert_eq!(state(&cluster), ProgressState::Probe);
    cluster.tick(1, 1);
    assert_eq!(
        state(&cluster),
        ProgressState::Replicate,
        "the heartbeat's answer makes it probe, though nothing is missing"
    );
}

#[test]
fn lost_appends_are_found_out_by_heartbeats() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.lose(MessageType::MsgApp);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
    }
    assert_eq!(cluster.applied[&1].len(), 0);
    cluster.heal();
    cluster.tick(1, 1);
    assert_eq!(cluster.applied[&1], ["a", "b", "c"]);
    cluster.tick(1, 1);
    assert_eq!(cluster.applied[&2], ["a", "b", "c"]);
    assert_eq!(cluster.applied[&3], ["a", "b", "c"]);
}

#[test]
fn a_restart_keeps_what_was_stored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    let kept = cluster.nodes[&2].storage().clone();
    let mut config = plain(2);
    config.applied = cluster.commit(2);
    let term = cluster.term(2);
    cluster.add(config, kept);
    assert_eq!((cluster.role(2), cluster.term(2)), (Role::Follower, term));
    cluster.propose(1, "y");
    assert_eq!(cluster.applied[&2], ["x", "y"]);
    assert_eq!(cluster.terms(2), cluster.terms(1));
}

#[test]
fn a_leader_of_before_is_overruled() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.propose(1, "never");
    cluster.elect(2);
    cluster.propose(2, "kept");
    cluster.heal();
    cluster.tick(2, 1);
    assert_eq!(cluster.role(1), Role::Follower);
    for id in 1..=3 {
        assert_eq!(cluster.applied[&id], ["kept"], "node {id}");
    }
}
