//! Changes from random starting points: what may stand obeys the rules, stored and restored it is the same.

use std::collections::BTreeSet;

use proptest::prelude::*;

use api::pb::raftpb::ConfState;

use super::*;
use crate::progress::Tracker;

fn changes() -> impl Strategy<Value = Vec<ConfChangeSingle>> {
    use ConfChangeType::*;
    let kind = prop_oneof![
        Just(ConfChangeAddNode),
        Just(ConfChangeAddLearnerNode),
        Just(ConfChangeRemoveNode),
        Just(ConfChangeUpdateNode)
    ];
    proptest::collection::vec((kind, 0..8u64).prop_map(|(kind, id)| single(kind, id)), 0..6)
}

#[derive(Debug, Clone)]
enum Move {
    Simple(Vec<ConfChangeSingle>),
    Enter(bool, Vec<ConfChangeSingle>),
    Leave,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => changes().prop_map(Move::Simple),
        2 => (any::<bool>(), changes()).prop_map(|(auto_leave, changes)| Move::Enter(auto_leave, changes)),
        2 => Just(Move::Leave),
    ];
    proptest::collection::vec(one, 1..20)
}

/// Makes the moves that are allowed; gives back every configuration on the way.
fn walk(moves: &[Move]) -> Vec<Tracker> {
    let mut tracker = Tracker::new(10, 0);
    (tracker.config, tracker.progress) = Changer {
        tracker: &tracker,
        last_index: 1,
    }
    .simple(&[single(ConfChangeType::ConfChangeAddNode, 1)])
    .expect("the first voter");
    let mut seen = vec![tracker.clone()];
    for step in moves {
        let changer = Changer {
            tracker: &tracker,
            last_index: 5,
        };
        let changed = match step {
            Move::Simple(changes) => changer.simple(changes),
            Move::Enter(auto_leave, changes) => changer.enter_joint(*auto_leave, changes),
            Move::Leave => changer.leave_joint(),
        };
        if let Ok(changed) = changed {
            (tracker.config, tracker.progress) = changed;
            seen.push(tracker.clone());
        }
    }
    seen
}

proptest! {
    #[test]
    fn members_are_voters_or_learners_and_have_a_progress(moves in moves()) {
        for tracker in walk(&moves) {
            let voters: BTreeSet<u64> = tracker.config.voters.ids().collect();
            let learners: BTreeSet<u64> = tracker.config.learners.iter().collect();
            prop_assert!(!tracker.config.voters.incoming.is_empty());
            prop_assert!(voters.is_disjoint(&learners), "{}", tracker.config);
            let members: BTreeSet<u64> = voters.union(&learners).copied().collect();
            prop_assert_eq!(tracker.progress.keys().copied().collect::<BTreeSet<_>>(), members);
            for (id, progress) in &tracker.progress {
                prop_assert_eq!(progress.is_learner, learners.contains(id));
            }
        }
    }

    #[test]
    fn what_is_stored_is_restored(moves in moves()) {
        for tracker in walk(&moves) {
            let state = tracker.conf_state();
            let mut restored = Tracker::new(10, 0);
            (restored.config, restored.progress) = restore(&tracker, 20, &state).expect("a configuration that stood");
            prop_assert!(equivalent(&state, &restored.conf_state()));
            prop_assert_eq!(&tracker.config, &restored.config);
        }
    }

    /// Two configurations in a row have overlapping quorums: one voter moved, or both halves decide.
    #[test]
    fn steps_keep_the_quorums_overlapping(moves in moves()) {
        for pair in walk(&moves).windows(2) {
            let (before, after) = (&pair[0].config.voters, &pair[1].config.voters);
            if before.is_joint() == after.is_joint() {
                prop_assert!(before.incoming.differing(&after.incoming) <= 1);
            } else if after.is_joint() {
                prop_assert_eq!(&after.outgoing, &before.incoming);
            } else {
                prop_assert_eq!(&after.incoming, &before.incoming);
            }
        }
    }

    #[test]
    fn texts_are_read_as_they_are_written(changes in changes()) {
        prop_assert_eq!(parse_changes(&show_changes(&changes)), Ok(changes));
    }
}

#[test]
fn the_transition_and_the_number_of_changes_decide_the_way() {
    use ConfChangeTransition::{Auto, JointExplicit, JointImplicit};
    let auto = Plan::EnterJoint { auto_leave: true };
    let explicit = Plan::EnterJoint { auto_leave: false };
    for (transition, count, expected) in [
        (Auto, 0, Plan::LeaveJoint),
        (Auto, 1, Plan::Simple),
        (Auto, 2, auto),
        (JointImplicit, 0, auto),
        (JointImplicit, 1, auto),
        (JointExplicit, 0, explicit),
        (JointExplicit, 2, explicit),
    ] {
        let change = ConfChangeV2 {
            transition: Some(transition as i32),
            changes: vec![single(ConfChangeType::ConfChangeAddNode, 1); count],
            context: None,
        };
        assert_eq!(plan(&change), Ok(expected), "{transition:?} {count}");
    }
    let unknown = ConfChangeV2 {
        transition: Some(9),
        ..ConfChangeV2::default()
    };
    assert_eq!(plan(&unknown), Err(ChangeError::UnknownTransition(9)));
}

#[test]
fn an_unknown_type_is_refused() {
    let tracker = Tracker::new(10, 0);
    let change = ConfChangeSingle {
        r#type: Some(7),
        node_id: Some(1),
    };
    let refused = Changer {
        tracker: &tracker,
        last_index: 1,
    }
    .simple(&[change])
    .expect_err("type 7");
    assert_eq!(refused.to_string(), "unexpected conf type 7");
}

#[test]
fn words_that_are_no_changes_are_named() {
    for (text, said) in [
        ("v", "unknown token v"),
        ("v1 x2", "unknown input: x2"),
        ("v1 lz", "strconv.ParseUint: parsing \"z\": invalid syntax"),
    ] {
        assert_eq!(parse_changes(text).expect_err(text).to_string(), said);
    }
}

#[test]
fn a_conf_state_that_no_change_leads_to_is_refused() {
    let tracker = Tracker::new(10, 0);
    let state = ConfState {
        learners: vec![1],
        ..ConfState::default()
    };
    assert_eq!(restore(&tracker, 1, &state).expect_err("no voters"), ChangeError::RemovedAllVoters);
}
