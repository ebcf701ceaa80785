//! Leadership handed over.

use api::pb::raftpb::MessageType;
use bytes::Bytes;
use raft::{Role, StepError};

use crate::cluster::{Cluster, members};

#[test]
fn the_one_asked_for_leads_at_once_if_it_is_up_to_date() {
    for asked in [1, 3] {
        let mut cluster = Cluster::with(3, |config| config.check_quorum = true);
        cluster.elect(1);
        cluster.node(asked).transfer_leader(2);
        cluster.settle();
        assert_eq!(
            (cluster.role(2), cluster.role(1)),
            (Role::Leader, Role::Follower),
            "asked at {asked}"
        );
    }
}

#[test]
fn it_catches_up_first() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.heal();
    cluster.node(1).transfer_leader(3);
    cluster.settle();
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(cluster.applied[&3], ["x"]);
}

#[test]
fn no_proposals_meanwhile_and_an_end_after_an_election_timeout() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).transfer_leader(3);
    assert_eq!(cluster.node(1).propose(Bytes::from_static(b"x")), Err(StepError::ProposalDropped));
    assert_eq!(cluster.nodes[&1].basic_status().lead_transferee, 3);
    cluster.tick(1, 9);
    assert_eq!(cluster.node(1).propose(Bytes::from_static(b"x")), Err(StepError::ProposalDropped));
    cluster.tick(1, 1);
    cluster.propose(1, "x");
    assert_eq!(cluster.applied[&1], ["x"]);
}

#[test]
fn another_choice_replaces_the_first() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).transfer_leader(3);
    cluster.settle();
    cluster.node(1).transfer_leader(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn not_to_oneself_to_learners_or_to_strangers() {
    let mut cluster = Cluster::of(&members(&[1, 2], &[3]), |_| {});
    cluster.elect(1);
    for to in [1, 3, 9] {
        cluster.node(1).transfer_leader(to);
        cluster.settle();
        assert_eq!(cluster.role(1), Role::Leader, "to {to}");
        assert_eq!(cluster.nodes[&1].basic_status().lead_transferee, 0, "to {to}");
    }
    cluster.propose(1, "x");
}

#[test]
fn the_order_overrides_pre_vote_and_lease() {
    let mut cluster = Cluster::with(3, |config| {
        config.check_quorum = true;
        config.pre_vote = true;
    });
    cluster.elect(1);
    cluster.lose(MessageType::MsgPreVote);
    cluster.node(1).transfer_leader(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}
