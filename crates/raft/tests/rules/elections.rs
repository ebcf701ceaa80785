//! Who becomes leader, and who may vote.

use api::pb::raftpb::{HardState, MessageType};
use raft::{MemoryStorage, RawNode, Role};

use crate::cluster::{Cluster, entry, members, message, node, plain, storage, work, work_off};

/// A storage with a log of these terms, and the hard state of the last.
fn log_of(terms: &[u64]) -> MemoryStorage {
    let mut storage = storage(members(&[1, 2, 3], &[]));
    let entries: Vec<_> = terms.iter().zip(1..).map(|(term, index)| entry(*term, index, "x")).collect();
    storage.append(&entries).expect("from the beginning");
    storage.set_hard_state(HardState {
        term: Some(terms.last().copied().unwrap_or(1)),
        ..HardState::default()
    });
    storage
}

#[test]
fn a_vote_goes_to_logs_that_hold_at_least_ours() {
    // (the candidate's last term and index, whether a node with the log [1, 2, 2] votes for it): thesis 3.6.1
    for (log_term, index, granted) in [(1, 9, false), (2, 2, false), (2, 3, true), (2, 4, true), (3, 1, true)] {
        let mut node = RawNode::new(plain(1), log_of(&[1, 2, 2])).expect("starts");
        let mut request = message(MessageType::MsgVote, 2, 1, 5);
        request.log_term = Some(log_term);
        request.index = Some(index);
        node.step(request).expect("taken");
        let answers = work(&mut node).messages;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].r#type(), MessageType::MsgVoteResp);
        assert_eq!(answers[0].reject(), !granted, "log {log_term}/{index}");
        assert_eq!(answers[0].term(), 5);
    }
}

#[test]
fn one_vote_a_term() {
    let mut node = node(1, &[1, 2, 3]);
    let mut ask = |from| {
        node.step(message(MessageType::MsgVote, from, 1, 4)).expect("taken");
        work(&mut node).messages[0].reject()
    };
    assert!(!ask(2));
    assert!(ask(3), "the vote of term 4 is given");
    assert!(!ask(2), "the same candidate may ask again");
}

#[test]
fn a_vote_is_not_sent_before_it_is_stored() {
    let mut config = plain(1);
    config.async_storage_writes = true;
    let mut node = RawNode::new(config, storage(members(&[1, 2, 3], &[]))).expect("starts");
    node.step(message(MessageType::MsgVote, 2, 1, 4)).expect("taken");
    let ready = node.ready();
    assert_eq!(ready.messages.len(), 1, "nothing but the write goes out");
    let append = &ready.messages[0];
    assert_eq!(append.r#type(), MessageType::MsgStorageAppend);
    assert_eq!((append.term(), append.vote()), (4, 2));
    assert_eq!(append.responses[0].r#type(), MessageType::MsgVoteResp);
    assert!(ready.must_sync);
}

#[test]
fn the_longest_log_wins_and_the_others_follow_it() {
    let mut cluster = Cluster::new(0);
    for (id, terms) in [(1, vec![1]), (2, vec![1, 2, 2]), (3, vec![1, 3])] {
        cluster.add(plain(id), log_of(&terms));
    }
    cluster.node(1).campaign().expect("never refused");
    cluster.settle();
    assert_ne!(cluster.role(1), Role::Leader, "both others hold more");
    cluster.elect(3);
    for id in 1..=3 {
        assert_eq!(cluster.terms(id), [1, 3, cluster.term(3)], "node {id}");
    }
}

#[test]
fn followers_campaign_when_the_leader_is_silent_and_not_before() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.node(2).set_election_timeout(10);
    cluster.tick(2, 9);
    assert_eq!(cluster.role(2), Role::Follower);
    cluster.tick(2, 1);
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn timeouts_spread_between_one_and_two_election_timeouts() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut config = plain(1);
        config.seed = seed;
        let mut node = RawNode::new(config, storage(members(&[1, 2, 3], &[]))).expect("starts");
        let mut ticks = 0;
        while !node.has_ready() {
            node.tick();
            ticks += 1;
        }
        assert!((10..20).contains(&ticks), "seed {seed}: {ticks} ticks");
        seen.insert(ticks);
    }
    assert_eq!(seen.len(), 10, "every value occurs");
}

#[test]
fn a_pre_vote_disturbs_nobody() {
    let mut cluster = Cluster::with(3, |config| config.pre_vote = true);
    cluster.elect(1);
    cluster.propose(1, "x");
    let term = cluster.term(1);
    cluster.isolate(3);
    for _ in 0..5 {
        cluster.tick(3, 20);
    }
    assert_eq!(cluster.term(3), term, "it only asked");
    assert_eq!(cluster.role(3), Role::PreCandidate);
    cluster.propose(1, "y");
    cluster.heal();
    cluster.tick(3, 20);
    assert_eq!(
        (cluster.role(1), cluster.term(1)),
        (Role::Leader, term),
        "its log is behind: nobody would vote for it"
    );
    cluster.tick(1, 1);
    assert_eq!(cluster.lead(3), 1);
    assert_eq!(cluster.applied[&3], ["x", "y"]);
}

#[test]
fn within_the_lease_nobody_votes_but_by_the_leaders_order() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = true);
    cluster.elect(1);
    let term = cluster.term(2);
    let mut request = message(MessageType::MsgVote, 3, 2, term + 1);
    request.log_term = Some(term);
    request.index = Some(9);
    cluster.node(2).step(request.clone()).expect("taken");
    assert!(!cluster.node(2).has_ready(), "no answer, no new term");
    request.context = Some(bytes::Bytes::from_static(b"CampaignTransfer"));
    cluster.node(2).step(request).expect("taken");
    let answer = work(cluster.node(2)).messages;
    assert_eq!((answer[0].reject(), answer[0].term()), (false, term + 1));
}

#[test]
fn a_leader_without_a_quorum_steps_down() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = true);
    cluster.elect(1);
    cluster.isolate(1);
    // What was heard before counts for the first period.
    cluster.tick(1, 10);
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.tick(1, 10);
    assert_eq!((cluster.role(1), cluster.lead(1)), (Role::Follower, 0));
}

#[test]
fn a_node_that_is_stuck_in_a_later_term_is_freed_by_the_leaders_heartbeat() {
    let mut cluster = Cluster::with(3, |config| config.check_quorum = true);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.tick(3, 20);
    let stuck = cluster.term(3);
    assert!(stuck > cluster.term(1));
    cluster.heal();
    cluster.wire.clear();
    cluster.tick(1, 1);
    assert_eq!(cluster.role(1), Role::Follower, "it has learnt of the later term");
    assert_eq!(cluster.term(1), stuck);
}

#[test]
fn learners_vote_when_asked_but_do_not_campaign() {
    let mut cluster = Cluster::of(&members(&[1, 2], &[3]), |_| {});
    cluster.tick(3, 40);
    assert_eq!((cluster.role(3), cluster.term(3)), (Role::Follower, 0));
    cluster.node(3).campaign().expect("never refused");
    assert!(!cluster.node(3).has_ready());
    cluster.node(3).step(message(MessageType::MsgVote, 1, 3, 4)).expect("taken");
    assert!(
        !work(cluster.node(3)).messages[0].reject(),
        "it may have been made a voter without knowing"
    );
}

#[test]
fn a_candidate_gives_way_to_a_leader_of_its_term() {
    for kind in [MessageType::MsgApp, MessageType::MsgHeartbeat] {
        let mut node = node(1, &[1, 2, 3]);
        node.campaign().expect("never refused");
        work_off(&mut node);
        node.step(message(kind, 2, 1, 1)).expect("taken");
        let state = node.basic_status();
        assert_eq!((state.soft_state.role, state.soft_state.lead), (Role::Follower, 2));
        assert_eq!(state.hard_state.vote(), 1, "the vote of the term stays given");
    }
}

#[test]
fn a_lone_voter_elects_itself() {
    let mut cluster = Cluster::with(1, |config| {
        config.pre_vote = true;
        config.check_quorum = true;
    });
    cluster.tick(1, 20);
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.propose(1, "x");
    assert_eq!(cluster.applied[&1], ["x"]);
}
