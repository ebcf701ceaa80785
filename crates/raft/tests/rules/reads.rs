//! Reads without a log entry.

use api::pb::raftpb::MessageType;
use bytes::Bytes;
use raft::{ReadOnlyOption, Role};

use crate::cluster::{Cluster, message, work};

fn contexts(cluster: &Cluster, id: u64) -> Vec<Bytes> {
    let reads = cluster.reads.get(&id).map(Vec::as_slice).unwrap_or_default();
    reads.iter().map(|read| read.request_ctx.clone()).collect()
}

#[test]
fn a_read_is_answered_with_the_commit_index_at_leader_and_follower() {
    for asked in [1, 2] {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.propose(1, "x");
        cluster.node(asked).read_index(Bytes::from_static(b"ctx"));
        cluster.settle();
        let reads = &cluster.reads[&asked];
        assert_eq!(reads.len(), 1, "asked at {asked}");
        assert_eq!((reads[0].index, reads[0].request_ctx.as_ref()), (cluster.commit(1), &b"ctx"[..]));
    }
}

#[test]
fn heartbeats_carry_the_leaders_own_count() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for (context, count) in [(&b"same"[..], 1u64), (&b"same"[..], 2)] {
        cluster.node(1).read_index(Bytes::from_static(context));
        let messages = work(cluster.node(1)).messages;
        assert_eq!(messages.len(), 2);
        for heartbeat in messages {
            assert_eq!(heartbeat.r#type(), MessageType::MsgHeartbeat);
            assert_eq!(heartbeat.context(), count.to_le_bytes());
        }
    }
}

#[test]
fn an_echo_confirms_no_later_read_even_of_the_same_context() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    // The first try: its heartbeats are answered, but the answer is held back.
    cluster.node(1).read_index(Bytes::from_static(b"try"));
    let term = cluster.term(1);
    work(cluster.node(1));
    let mut echo = message(MessageType::MsgHeartbeatResp, 2, 1, term);
    echo.context = Some(Bytes::copy_from_slice(&1u64.to_le_bytes()));
    // The second try, of the same context, comes after another leader may have committed more.
    cluster.node(1).read_index(Bytes::from_static(b"try"));
    work(cluster.node(1));
    cluster.node(1).step(echo.clone()).expect("taken");
    let ready = work(cluster.node(1));
    assert_eq!(ready.read_states.len(), 1, "the first is confirmed, the second is not");
    cluster.node(1).step(echo.clone()).expect("taken");
    assert!(work_reads(&mut cluster).is_empty(), "an echo counts once");
    echo.context = Some(Bytes::copy_from_slice(&2u64.to_le_bytes()));
    cluster.node(1).step(echo).expect("taken");
    assert_eq!(work_reads(&mut cluster).len(), 1);
}

fn work_reads(cluster: &mut Cluster) -> Vec<raft::ReadState> {
    let node = cluster.node(1);
    let mut reads = Vec::new();
    while node.has_ready() {
        reads.extend(work(node).read_states);
    }
    reads
}

#[test]
fn what_is_no_context_of_ours_confirms_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.term(1);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    work(cluster.node(1));
    // Short ones, one that is not reached yet, and the 8 bytes of a client as leaders up to 3.6 send them.
    for context in [
        &b"\x01"[..],
        &b"\x01\0\0\0\0\0\0"[..],
        &2u64.to_le_bytes(),
        &1u64.to_be_bytes(),
        &[0xff; 8],
    ] {
        let mut echo = message(MessageType::MsgHeartbeatResp, 2, 1, term);
        echo.context = Some(Bytes::copy_from_slice(context));
        cluster.node(1).step(echo).expect("taken, and of no effect");
        assert!(work_reads(&mut cluster).is_empty(), "{context:?}");
    }
    let mut echo = message(MessageType::MsgHeartbeatResp, 2, 1, term);
    echo.context = Some(Bytes::copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 9]));
    cluster.node(1).step(echo).expect("taken");
    assert_eq!(work_reads(&mut cluster).len(), 1, "what follows the count does not matter");
}

#[test]
fn one_round_of_heartbeats_confirms_all_reads_before_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let asked: Vec<Bytes> = (0..50u8).map(|nth| Bytes::copy_from_slice(&[nth])).collect();
    for context in &asked {
        cluster.node(1).read_index(context.clone());
    }
    cluster.settle();
    assert_eq!(contexts(&cluster, 1), asked, "all, once, in order");
}

#[test]
fn lost_heartbeats_are_made_up_for_by_the_next_ones() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.lose(MessageType::MsgHeartbeat);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    cluster.settle();
    assert!(contexts(&cluster, 1).is_empty());
    cluster.heal();
    cluster.tick(1, 1);
    assert_eq!(contexts(&cluster, 1).len(), 1);
}

#[test]
fn a_leader_waits_for_its_first_commit() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.lose(MessageType::MsgAppResp);
    cluster.elect(2);
    cluster.node(2).read_index(Bytes::from_static(b"ctx"));
    cluster.settle();
    assert!(contexts(&cluster, 2).is_empty(), "it may not know the newest commit yet");
    cluster.heal();
    cluster.tick(2, 1);
    cluster.tick(2, 1);
    assert_eq!(contexts(&cluster, 2).len(), 1);
    assert_eq!(cluster.reads[&2][0].index, cluster.commit(2));
}

#[test]
fn a_leader_that_is_cut_off_answers_no_read() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    cluster.settle();
    cluster.elect(2);
    cluster.propose(2, "new");
    cluster.heal();
    cluster.tick(1, 1);
    cluster.tick(2, 1);
    assert_eq!(cluster.role(1), Role::Follower);
    assert!(
        contexts(&cluster, 1).is_empty(),
        "its index would be older than what 2 has committed"
    );
}

#[test]
fn with_a_lease_no_one_is_asked() {
    let mut cluster = Cluster::with(3, |config| {
        config.read_only_option = ReadOnlyOption::LeaseBased;
        config.check_quorum = true;
    });
    cluster.elect(1);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    let ready = work(cluster.node(1));
    assert_eq!(ready.read_states.len(), 1);
    assert!(ready.messages.is_empty());
}

#[test]
fn without_a_leader_a_read_is_dropped() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    cluster.settle();
    assert!(contexts(&cluster, 1).is_empty());
    cluster.elect(1);
    assert!(contexts(&cluster, 1).is_empty(), "who asked has long tried again");
}

#[test]
fn a_lone_voter_answers_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.node(1).read_index(Bytes::from_static(b"ctx"));
    assert_eq!(work(cluster.node(1)).read_states.len(), 1);
}
