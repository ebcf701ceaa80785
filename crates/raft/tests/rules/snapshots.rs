//! Peers that the log can not bring up to date.

use api::pb::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use raft::progress::ProgressState;
use raft::{RawNode, StepError, Storage};

use crate::cluster::{Cluster, members, message, node, plain, storage, work_off};

/// Node 3 is cut off while the others commit and compact.
fn left_behind() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
    }
    let commit = cluster.commit(1);
    let storage = cluster.node(1).storage_mut();
    storage
        .create_snapshot(commit, Some(members(&[1, 2, 3], &[])), Bytes::from_static(b"abc"))
        .expect("newer than none");
    storage.compact(commit).expect("stored");
    cluster.heal();
    cluster
}

fn state_of_3(cluster: &Cluster) -> ProgressState {
    cluster.nodes[&1].status().progress[&3].state
}

#[test]
fn a_snapshot_and_what_follows_it() {
    let mut cluster = left_behind();
    cluster.tick(1, 1);
    assert_eq!(
        state_of_3(&cluster),
        ProgressState::Replicate,
        "its answer to the snapshot is as good as one to an append"
    );
    assert_eq!(cluster.commit(3), cluster.commit(1));
    assert_eq!(
        cluster.nodes[&3].storage().snapshot().expect("there").data.as_deref(),
        Some(&b"abc"[..])
    );
    cluster.propose(1, "d");
    assert_eq!(cluster.applied[&3], ["d"]);
    assert_eq!(cluster.terms(3), [cluster.term(1)]);
}

#[test]
fn nothing_else_is_sent_until_it_arrives_or_fails() {
    let mut cluster = left_behind();
    cluster.lose(MessageType::MsgSnap);
    cluster.tick(1, 1);
    assert_eq!(state_of_3(&cluster), ProgressState::Snapshot);
    cluster.propose(1, "d");
    cluster.tick(1, 5);
    assert_eq!(state_of_3(&cluster), ProgressState::Snapshot);
    cluster.node(1).report_snapshot(3, false);
    assert_eq!(state_of_3(&cluster), ProgressState::Probe);
    cluster.heal();
    cluster.tick(1, 1);
    assert_eq!(state_of_3(&cluster), ProgressState::Replicate);
    assert_eq!(cluster.applied[&3], ["d"]);
}

#[test]
fn a_report_of_success_is_enough_if_the_answer_is_lost() {
    let mut cluster = left_behind();
    cluster.node(1).tick();
    // 3 refuses an append, is sent the snapshot, and its thanks are lost.
    while cluster.work() || !cluster.wire.is_empty() {
        for message in std::mem::take(&mut cluster.wire) {
            let thanks = message.from() == 3 && message.r#type() == MessageType::MsgAppResp && !message.reject();
            if !thanks {
                cluster.node(message.to()).step(message).expect("well formed");
            }
        }
    }
    assert_eq!(state_of_3(&cluster), ProgressState::Snapshot);
    cluster.node(1).report_snapshot(3, true);
    cluster.tick(1, 1);
    assert_eq!(state_of_3(&cluster), ProgressState::Replicate);
}

#[test]
fn a_silent_peer_gets_no_snapshot() {
    let mut cluster = left_behind();
    cluster.lose(MessageType::MsgHeartbeatResp);
    cluster.tick(1, 1);
    assert_ne!(state_of_3(&cluster), ProgressState::Snapshot);
}

fn snapshot(index: u64, term: u64, voters: &[u64]) -> Snapshot {
    Snapshot {
        data: None,
        metadata: Some(SnapshotMetadata {
            conf_state: Some(members(voters, &[])),
            index: Some(index),
            term: Some(term),
        }),
    }
}

fn sent(snapshot: Snapshot) -> Message {
    Message {
        snapshot: Some(snapshot),
        ..message(MessageType::MsgSnap, 2, 1, 7)
    }
}

#[test]
fn a_snapshot_replaces_the_log_only_if_it_brings_news() {
    // A log with [1/1 1/2 1/3], of which 2 are committed.
    let fresh = || {
        let mut node = node(1, &[1, 2, 3]);
        let mut append = message(MessageType::MsgApp, 2, 1, 1);
        append.entries = (1..=3).map(|index| crate::cluster::entry(1, index, "x")).collect();
        append.commit = Some(2);
        node.step(append).expect("well formed");
        work_off(&mut node);
        node
    };
    // (snapshot, the index answered, whether it was taken)
    let cases = [
        (snapshot(2, 1, &[1, 2, 3]), 2, false),
        // In the log already: the commit index moves, the log stays.
        (snapshot(3, 1, &[1, 2, 3]), 3, false),
        (snapshot(3, 6, &[1, 2, 3]), 3, true),
        (snapshot(9, 6, &[1, 2, 3]), 9, true),
        // Not for a node that is no member.
        (snapshot(9, 6, &[2, 3]), 2, false),
        (Snapshot::default(), 2, false),
    ];
    for (snapshot, answered, taken) in cases {
        let mut node = fresh();
        node.step(sent(snapshot.clone())).expect("taken or ignored");
        let answer = work_off(&mut node);
        assert_eq!(answer.last().expect("an answer").index(), answered, "{snapshot:?}");
        assert_eq!(node.storage().snapshot().expect("there") == snapshot, taken, "{snapshot:?}");
    }
}

#[test]
fn a_snapshot_with_a_configuration_that_can_not_be_changes_nothing() {
    let mut node = node(1, &[1, 2, 3]);
    node.step(message(MessageType::MsgHeartbeat, 2, 1, 7)).expect("taken");
    work_off(&mut node);
    let mut broken = snapshot(9, 6, &[1, 2, 3]);
    // A voter that is to become a learner, outside of a joint configuration.
    broken
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.conf_state.as_mut())
        .expect("there")
        .learners_next = vec![2];
    assert_eq!(node.step(sent(broken)), Err(StepError::Malformed), "Go ends the process here");
    assert!(!node.has_ready());
    assert_eq!(node.status().config.voters.ids().count(), 3);
}

#[test]
fn no_campaign_and_no_other_work_before_a_snapshot_is_applied() {
    let mut config = plain(1);
    config.async_storage_writes = true;
    let mut node = RawNode::new(config, storage(members(&[1, 2, 3], &[]))).expect("starts");
    node.step(sent(snapshot(9, 6, &[1, 2, 3]))).expect("taken");
    let write = node.ready().messages.remove(0);
    let mut append = message(MessageType::MsgApp, 2, 1, 7);
    append.log_term = Some(6);
    append.index = Some(9);
    append.entries = vec![crate::cluster::entry(7, 10, "x")];
    append.commit = Some(10);
    node.step(append).expect("well formed");
    node.campaign().expect("never refused");
    let ready = node.ready();
    assert!(ready.committed_entries.is_empty(), "10 is committed, but 9 is not there yet");
    assert!(ready.soft_state.is_none(), "no candidate");
    node.storage_mut()
        .apply_snapshot(write.snapshot.clone().expect("that is what is written"))
        .expect("newer");
    for response in write.responses.into_iter().filter(|response| response.to() == 1) {
        node.step(response).expect("own");
    }
    node.storage_mut().append(&ready.entries).expect("follows");
    for response in ready
        .messages
        .into_iter()
        .flat_map(|message| message.responses)
        .filter(|response| response.to() == 1)
    {
        node.step(response).expect("own");
    }
    assert_eq!(node.ready().committed_entries.len(), 1);
}
