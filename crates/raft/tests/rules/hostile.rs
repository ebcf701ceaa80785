//! What no raft sends, and may arrive all the same: nothing of it ends the process, and what is refused changes nothing.

use api::pb::raftpb::{ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use proptest::prelude::*;
use raft::{LOCAL_APPEND_THREAD, StepError};

use crate::cluster::{Cluster, Node, entry, message, node};

/// A small leader, or one of its followers.
fn member(id: u64) -> Node {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.nodes.remove(&id).expect("a node of the cluster")
}

#[test]
fn refused_and_without_effect() {
    use MessageType::*;
    let term = 1;
    let with = |kind, change: &dyn Fn(&mut Message)| {
        let mut message = message(kind, 2, 1, term);
        change(&mut message);
        message
    };
    let cases = [
        (
            "a type that nobody knows",
            Message {
                r#type: Some(99),
                ..with(MsgApp, &|_| {})
            },
            StepError::Malformed,
        ),
        ("a local type", with(MsgHup, &|_| {}), StepError::LocalMessage),
        (
            "a storage answer of a peer",
            with(MsgStorageApplyResp, &|_| {}),
            StepError::LocalMessage,
        ),
        (
            "an answer of a stranger",
            with(MsgAppResp, &|m| m.from = Some(9)),
            StepError::PeerNotFound,
        ),
        ("a vote from nobody", with(MsgVote, &|m| m.from = None), StepError::Malformed),
        (
            "a vote from the storage",
            with(MsgVote, &|m| m.from = Some(LOCAL_APPEND_THREAD)),
            StepError::Malformed,
        ),
        ("a vote without a term", with(MsgVote, &|m| m.term = None), StepError::Malformed),
        ("an append without a term", with(MsgApp, &|m| m.term = None), StepError::Malformed),
        ("an append from itself", with(MsgApp, &|m| m.from = Some(1)), StepError::Malformed),
        (
            "an append with a gap",
            with(MsgApp, &|m| m.entries = vec![entry(1, 1, ""), entry(1, 3, "")]),
            StepError::Malformed,
        ),
        (
            "entries of falling terms",
            with(MsgApp, &|m| {
                m.term = Some(9);
                m.entries = vec![entry(2, 1, ""), entry(1, 2, "")]
            }),
            StepError::Malformed,
        ),
        (
            "an entry of a later term",
            with(MsgApp, &|m| m.entries = vec![entry(2, 1, "")]),
            StepError::Malformed,
        ),
        (
            "a term beyond all counting",
            with(MsgApp, &|m| m.term = Some(u64::MAX)),
            StepError::Malformed,
        ),
        (
            "an index beyond all counting",
            with(MsgApp, &|m| m.index = Some(u64::MAX)),
            StepError::Malformed,
        ),
        (
            "an answer beyond the log",
            with(MsgAppResp, &|m| m.index = Some(1000)),
            StepError::Malformed,
        ),
        ("no proposal in a proposal", with(MsgProp, &|m| m.term = None), StepError::Malformed),
        (
            "a change that does not decode",
            with(MsgProp, &|m| {
                m.term = None;
                m.entries = vec![Entry {
                    r#type: Some(1),
                    data: Some(Bytes::from_static(b"\xff")),
                    ..Entry::default()
                }];
            }),
            StepError::Malformed,
        ),
        (
            "no context to read with",
            with(MsgReadIndex, &|m| m.term = None),
            StepError::Malformed,
        ),
    ];
    for (what, message, refusal) in cases {
        let mut node = member(1);
        let before = node.status();
        assert_eq!(node.step(message), Err(refusal), "{what}");
        let after = node.status();
        assert!(!node.has_ready(), "{what}");
        assert_eq!(before.basic, after.basic, "{what}");
    }
}

#[test]
#[should_panic(expected = "Was the raft log corrupted, truncated, or lost?")]
fn a_leader_that_commits_what_this_node_has_lost_ends_the_process() {
    let mut node = node(1, &[1, 2, 3]);
    let mut heartbeat = message(MessageType::MsgHeartbeat, 2, 1, 1);
    heartbeat.commit = Some(5);
    let _ = node.step(heartbeat);
}

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..6, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let free = (0i32..4, small(), small(), proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(kind, term, index, data)| Entry {
        r#type: Some(kind),
        term: Some(term),
        index: Some(index),
        data: Some(data.into()),
    });
    let row =
        (1u64..4, 0u64..6, 0u64..4).prop_map(|(term, first, count)| (first..first + count).map(|index| entry(term, index, "x")).collect());
    prop_oneof![row, proptest::collection::vec(free, 0..3)]
}

fn snapshots() -> impl Strategy<Value = Option<Snapshot>> {
    let ids = || proptest::collection::vec(0u64..5, 0..4);
    let some =
        (ids(), ids(), ids(), ids(), small(), small(), any::<bool>()).prop_map(|(voters, learners, outgoing, next, index, term, leave)| {
            Snapshot {
                data: None,
                metadata: Some(SnapshotMetadata {
                    conf_state: Some(ConfState {
                        voters,
                        learners,
                        voters_outgoing: outgoing,
                        learners_next: next,
                        auto_leave: Some(leave),
                    }),
                    index: Some(index),
                    term: Some(term),
                }),
            }
        });
    proptest::option::of(some)
}

fn messages() -> impl Strategy<Value = Message> {
    let numbers = (small(), small(), small(), small(), small());
    let rest = (entries(), snapshots(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..10));
    (0i32..26, 0u64..5, numbers, rest).prop_map(
        |(kind, from, (term, log_term, index, commit, hint), (entries, snapshot, reject, context))| Message {
            r#type: Some(kind),
            to: Some(1),
            from: Some(from),
            term: Some(term),
            log_term: Some(log_term),
            index: Some(index),
            entries,
            // What a heartbeat commits is the one thing that a log must be able to believe: see the test above.
            commit: Some(if kind == MessageType::MsgHeartbeat as i32 { 0 } else { commit }),
            snapshot,
            reject: Some(reject),
            reject_hint: Some(hint),
            context: Some(context.into()),
            ..Message::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_peer_sends_ends_the_process(id in 1u64..4, stream in proptest::collection::vec(messages(), 1..60), ticks in 0u64..40) {
        let mut node = member(id);
        for (nth, message) in stream.into_iter().enumerate() {
            let _ = node.step(message);
            if nth % 3 == 0 {
                node.tick();
            }
            // Committed changes of the configuration may not fit, as anything may be in them; an application that checks does not apply such.
            if nth % 2 == 0 {
                hostile_work(&mut node);
            }
        }
        for _ in 0..ticks {
            node.tick();
        }
        hostile_work(&mut node);
    }
}

/// As `work_off`, for an application that applies no changes.
fn hostile_work(node: &mut Node) {
    while node.has_ready() {
        let ready = node.ready();
        let storage = node.storage_mut();
        if let Some(snapshot) = &ready.snapshot {
            storage.apply_snapshot(snapshot.clone()).expect("raft hands out newer ones only");
        }
        storage.append(&ready.entries).expect("raft hands out what follows");
        if let Some(state) = ready.hard_state {
            storage.set_hard_state(state);
        }
        node.advance();
    }
}
