//! How much may be under way.

use api::pb::raftpb::{Message, MessageType};
use bytes::Bytes;
use raft::progress::ProgressState;
use raft::{NO_LIMIT, RawNode, StepError};

use crate::cluster::{Cluster, Node, members, message, plain, storage, work, work_off};

fn appends(messages: &[Message]) -> Vec<usize> {
    let to_2 = messages
        .iter()
        .filter(|message| message.r#type() == MessageType::MsgApp && message.to() == 2);
    to_2.map(|message| message.entries.len()).collect()
}

/// A leader of two whose peer is replicated to and has answered everything.
fn leader(tweak: impl Fn(&mut raft::Config)) -> Node {
    let mut config = plain(1);
    tweak(&mut config);
    let mut node = RawNode::new(config, storage(members(&[1, 2], &[]))).expect("starts");
    node.campaign().expect("never refused");
    work_off(&mut node);
    node.step(message(MessageType::MsgVoteResp, 2, 1, 1)).expect("taken");
    work_off(&mut node);
    acknowledge(&mut node, 1);
    work_off(&mut node);
    assert_eq!(node.status().progress[&2].state, ProgressState::Replicate);
    node
}

fn acknowledge(node: &mut Node, index: u64) {
    let mut ack = message(MessageType::MsgAppResp, 2, 1, 1);
    ack.index = Some(index);
    node.step(ack).expect("taken");
}

fn propose(node: &mut Node, size: usize) -> Result<(), StepError> {
    node.propose(Bytes::from(vec![b'x'; size]))
}

#[test]
fn the_window_closes_by_count_and_opens_with_answers() {
    let mut node = leader(|config| config.max_inflight_msgs = 3);
    for _ in 0..5 {
        propose(&mut node, 1).expect("there is a leader");
    }
    assert_eq!(appends(&work_off(&mut node)), [1, 1, 1]);
    acknowledge(&mut node, 2);
    assert_eq!(appends(&work_off(&mut node)), [2], "what has gathered goes in one message");
    // At the limit a heartbeat's answer lets one empty append out, to find out what was lost.
    propose(&mut node, 1).expect("there is a leader");
    assert_eq!(appends(&work_off(&mut node)), [0usize; 0]);
    node.step(message(MessageType::MsgHeartbeatResp, 2, 1, 1)).expect("taken");
    assert_eq!(appends(&work_off(&mut node)), [0]);
}

#[test]
fn the_window_closes_by_bytes() {
    let mut node = leader(|config| {
        config.max_size_per_msg = 100;
        config.max_inflight_bytes = 250;
    });
    for _ in 0..5 {
        propose(&mut node, 90).expect("there is a leader");
    }
    assert_eq!(
        appends(&work_off(&mut node)),
        [1, 1, 1],
        "the third goes over the limit, the fourth may not start"
    );
    acknowledge(&mut node, 2);
    assert_eq!(appends(&work_off(&mut node)), [1], "one answered, one more");
}

#[test]
fn messages_are_limited_in_size_but_hold_one_entry_at_least() {
    let mut node = leader(|config| config.max_size_per_msg = 250);
    node.report_unreachable(2);
    for size in [100, 100, 100, 1000, 10] {
        propose(&mut node, size).expect("there is a leader");
    }
    assert_eq!(appends(&work_off(&mut node)), [1], "a probe");
    acknowledge(&mut node, 2);
    assert_eq!(appends(&work_off(&mut node)), [2, 1, 1], "then all that is there, in pieces");
}

#[test]
fn a_probe_goes_out_once() {
    let mut node = leader(|_| {});
    node.report_unreachable(2);
    propose(&mut node, 1).expect("there is a leader");
    assert_eq!(appends(&work_off(&mut node)), [1]);
    propose(&mut node, 1).expect("there is a leader");
    assert_eq!(appends(&work_off(&mut node)), [0usize; 0], "paused");
    node.step(message(MessageType::MsgHeartbeatResp, 2, 1, 1)).expect("taken");
    assert_eq!(appends(&work_off(&mut node)), [2], "a heartbeat's answer lets the next one out");
}

#[test]
fn too_much_uncommitted_drops_proposals() {
    let mut node = leader(|config| config.max_uncommitted_entries_size = 100);
    propose(&mut node, 150).expect("any size fits when nothing is uncommitted");
    assert_eq!(propose(&mut node, 1), Err(StepError::ProposalDropped));
    propose(&mut node, 0).expect("an empty entry always fits");
    work_off(&mut node);
    acknowledge(&mut node, 3);
    work_off(&mut node);
    propose(&mut node, 60).expect("committed and applied: room again");
    propose(&mut node, 40).expect("just fits");
    assert_eq!(propose(&mut node, 1), Err(StepError::ProposalDropped));
}

#[test]
fn the_room_of_a_follower_that_becomes_leader_is_its_own() {
    let mut cluster = Cluster::with(3, |config| config.max_uncommitted_entries_size = 10);
    cluster.elect(1);
    cluster.lose(MessageType::MsgAppResp);
    cluster.propose(1, "0123456789");
    cluster.elect(2);
    cluster
        .node(2)
        .propose(Bytes::from_static(b"0123456789"))
        .expect("its estimate begins at 0");
}

#[test]
fn what_is_given_out_to_be_applied_is_limited_until_it_is_applied() {
    let mut config = plain(1);
    config.async_storage_writes = true;
    config.max_committed_size_per_ready = 250;
    config.max_size_per_msg = NO_LIMIT;
    let mut node = RawNode::new(config, storage(members(&[1], &[]))).expect("starts");
    node.campaign().expect("never refused");
    let stored = |node: &mut Node| {
        let mut applies = Vec::new();
        while node.has_ready() {
            for message in node.ready().messages {
                match message.r#type() {
                    MessageType::MsgStorageAppend => {
                        node.storage_mut().append(&message.entries).expect("in order");
                        for response in message.responses {
                            node.step(response).expect("own");
                        }
                    }
                    MessageType::MsgStorageApply => applies.push(message),
                    other => panic!("a lone voter sends no {other:?}"),
                }
            }
        }
        applies
    };
    for _ in 0..5 {
        propose_or_wait(&mut node);
    }
    let mut applies = stored(&mut node);
    let mut sizes = Vec::new();
    while !applies.is_empty() {
        for apply in std::mem::take(&mut applies) {
            sizes.push(apply.entries.len());
            for response in apply.responses {
                node.step(response).expect("own");
            }
        }
        applies = stored(&mut node);
        assert!(applies.len() <= 1, "one at a time");
    }
    assert_eq!(sizes, [3, 2, 1], "the first of the term is empty, so three fit with it");
    assert_eq!(node.basic_status().applied, 6);
}

/// A lone voter leads once its own vote is stored.
fn propose_or_wait(node: &mut Node) {
    while propose(node, 100) == Err(StepError::ProposalDropped) {
        for response in node.ready().messages.into_iter().flat_map(|message| message.responses) {
            node.step(response).expect("own");
        }
    }
}

#[test]
fn proposals_go_to_the_leader_or_nowhere() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.node(2).propose(Bytes::from_static(b"x")), Err(StepError::ProposalDropped));
    cluster.elect(1);
    cluster.propose(2, "passed on");
    assert_eq!(cluster.applied[&3], ["passed on"]);
    let mut cluster = Cluster::with(3, |config| config.disable_proposal_forwarding = true);
    cluster.elect(1);
    assert_eq!(cluster.node(2).propose(Bytes::from_static(b"x")), Err(StepError::ProposalDropped));
    let _ = work(cluster.node(1));
    assert_eq!(cluster.node(1).propose_entries(Vec::new()), Err(StepError::Malformed));
}
