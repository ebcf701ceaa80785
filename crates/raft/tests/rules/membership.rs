//! Changes of who belongs to the cluster, in etcd's form: one at a time.

use api::pb::raftpb::{ConfChange, ConfChangeType, EntryType};
use raft::{RawNode, Role, StepError, Storage};

use crate::cluster::{Cluster, members, plain, storage};

fn change(kind: ConfChangeType, id: u64) -> ConfChange {
    ConfChange {
        r#type: Some(kind as i32),
        node_id: Some(id),
        ..ConfChange::default()
    }
}

fn propose(cluster: &mut Cluster, at: u64, kind: ConfChangeType, id: u64) {
    cluster.node(at).propose_conf_change(&change(kind, id)).expect("there is a leader");
    cluster.settle();
}

fn voters(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.nodes[&id].status().config.voters.ids().collect()
}

#[test]
fn a_learner_learns_and_becomes_a_voter() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.propose(1, "before");
    cluster.add(plain(2), storage(members(&[1], &[])));
    propose(&mut cluster, 1, ConfChangeType::ConfChangeAddLearnerNode, 2);
    cluster.tick(1, 1);
    assert_eq!(cluster.applied[&2], ["before"]);
    assert_eq!(voters(&cluster, 2), [1]);
    cluster.isolate(2);
    cluster.propose(1, "without it");
    assert_eq!(cluster.applied[&1].len(), 2, "a learner does not count");
    cluster.heal();
    propose(&mut cluster, 2, ConfChangeType::ConfChangeAddNode, 2);
    cluster.tick(1, 1);
    cluster.tick(1, 1);
    assert_eq!(voters(&cluster, 1), [1, 2]);
    assert_eq!(voters(&cluster, 2), [1, 2]);
    cluster.isolate(2);
    cluster.propose(1, "with it only");
    assert_eq!(cluster.applied[&1].len(), 2, "a voter counts");
}

#[test]
fn only_one_change_may_be_under_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    propose(&mut cluster, 1, ConfChangeType::ConfChangeAddNode, 4);
    propose(&mut cluster, 1, ConfChangeType::ConfChangeAddNode, 5);
    let storage = cluster.nodes[&1].storage();
    let last = storage.last_index().expect("known");
    let kinds: Vec<_> = storage
        .entries(last - 1, last + 1, u64::MAX)
        .expect("stored")
        .iter()
        .map(|entry| entry.r#type())
        .collect();
    assert_eq!(
        kinds,
        [EntryType::EntryConfChange, EntryType::EntryNormal],
        "the second became an empty entry"
    );
}

#[test]
fn a_new_leader_waits_for_the_tail_of_its_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.lose(api::pb::raftpb::MessageType::MsgAppResp);
    // For all that the next leader knows, the tail may hold a change: it does not look, it waits until it is applied.
    cluster.propose(1, "tail");
    cluster.elect(2);
    propose(&mut cluster, 2, ConfChangeType::ConfChangeAddNode, 4);
    assert_eq!(voters(&cluster, 2), [1, 2, 3]);
    cluster.heal();
    cluster.tick(2, 1);
    cluster.tick(2, 1);
    assert_eq!(voters(&cluster, 2), [1, 2, 3], "refused: it became an empty entry");
    propose(&mut cluster, 2, ConfChangeType::ConfChangeAddNode, 4);
    assert_eq!(voters(&cluster, 2), [1, 2, 3, 4]);
}

#[test]
fn a_removed_leader_goes_on_until_another_is_elected_or_steps_down() {
    for step_down in [false, true] {
        let mut cluster = Cluster::with(3, |config| config.step_down_on_removal = step_down);
        cluster.elect(1);
        propose(&mut cluster, 1, ConfChangeType::ConfChangeRemoveNode, 1);
        let expected = if step_down { Role::Follower } else { Role::Leader };
        assert_eq!(cluster.role(1), expected);
        assert_eq!(cluster.node(1).propose(bytes::Bytes::new()), Err(StepError::ProposalDropped));
        cluster.tick(1, 40);
        cluster.elect(2);
        cluster.propose(2, "x");
        assert_eq!(cluster.applied[&3], ["x"]);
        assert!(!cluster.applied[&1].contains(&"x".to_owned()), "it gets nothing any more");
    }
}

#[test]
fn a_removal_commits_what_the_smaller_quorum_holds() {
    let mut cluster = Cluster::new(4);
    cluster.elect(1);
    cluster.isolate(4);
    cluster
        .node(1)
        .propose_conf_change(&change(ConfChangeType::ConfChangeRemoveNode, 4))
        .expect("there is a leader");
    cluster.settle();
    assert_eq!(voters(&cluster, 1), [1, 2, 3]);
    cluster.isolate(3);
    cluster.propose(1, "x");
    assert_eq!(cluster.applied[&1], ["x"], "two of three");
}

#[test]
fn a_transfer_to_one_that_is_removed_ends() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster
        .node(1)
        .propose_conf_change(&change(ConfChangeType::ConfChangeRemoveNode, 3))
        .expect("there is a leader");
    cluster.node(1).transfer_leader(3);
    cluster.settle();
    assert_eq!(cluster.nodes[&1].basic_status().lead_transferee, 0);
    cluster.propose(1, "x");
}

#[test]
fn no_campaign_with_a_change_that_is_committed_and_not_applied() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    propose(&mut cluster, 1, ConfChangeType::ConfChangeAddNode, 4);
    // As after a restart: everything committed, nothing applied.
    let mut node = RawNode::new(plain(2), cluster.nodes[&2].storage().clone()).expect("starts");
    node.campaign().expect("never refused");
    assert_eq!(node.basic_status().soft_state.role, Role::Follower);
    crate::cluster::work_off(&mut node);
    node.campaign().expect("never refused");
    assert_eq!(node.basic_status().soft_state.role, Role::Candidate);
}

#[test]
fn a_candidate_that_is_removed_and_still_wins_leads_no_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.lose(api::pb::raftpb::MessageType::MsgVoteResp);
    cluster.node(3).campaign().expect("never refused");
    cluster.settle();
    assert_eq!(cluster.role(3), Role::Candidate);
    let removal = raft::conf_change::to_v2(&change(ConfChangeType::ConfChangeRemoveNode, 3));
    cluster.node(3).apply_conf_change(&removal).expect("fits");
    cluster.heal();
    let term = cluster.term(3);
    for from in [1, 2] {
        let vote = crate::cluster::message(api::pb::raftpb::MessageType::MsgVoteResp, from, 3, term);
        cluster.node(3).step(vote).expect("taken");
    }
    assert_eq!(
        cluster.node(3).propose(bytes::Bytes::new()),
        Err(StepError::ProposalDropped),
        "Go ends the process here"
    );
}
