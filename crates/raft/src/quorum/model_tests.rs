//! Quorums against their definitions, word for word and by trying everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Joint, Majority, UNBOUNDED, VoteResult};

/// The definition: the highest index such that more than half of the voters have acknowledged it or a higher one.
fn committed_by_definition(voters: &BTreeSet<u64>, acked: &BTreeMap<u64, u64>) -> u64 {
    if voters.is_empty() {
        return UNBOUNDED;
    }
    let holds = |index: u64| voters.iter().filter(|id| acked.get(id).is_some_and(|&at| at >= index)).count() * 2 > voters.len();
    acked.values().copied().filter(|&index| holds(index)).max().unwrap_or(0)
}

/// The definition: try every way in which the missing votes may still fall.
fn vote_by_definition(halves: [&BTreeSet<u64>; 2], votes: &BTreeMap<u64, bool>) -> VoteResult {
    let everyone: BTreeSet<u64> = halves.iter().flat_map(|half| half.iter().copied()).collect();
    let missing: Vec<u64> = everyone.iter().copied().filter(|id| !votes.contains_key(id)).collect();
    let outcomes: BTreeSet<bool> = (0..1u32 << missing.len())
        .map(|choice| {
            let says_yes = |id: &u64| match votes.get(id) {
                Some(&vote) => vote,
                None => choice >> missing.iter().position(|other| other == id).expect("not voted, so missing") & 1 == 1,
            };
            halves
                .iter()
                .all(|half| half.is_empty() || half.iter().filter(|id| says_yes(id)).count() * 2 > half.len())
        })
        .collect();
    match (outcomes.contains(&true), outcomes.contains(&false)) {
        (true, true) => VoteResult::Pending,
        (true, false) => VoteResult::Won,
        (false, _) => VoteResult::Lost,
    }
}

fn majority(ids: &BTreeSet<u64>) -> Majority {
    ids.iter().copied().collect()
}

/// Sets of up to nine voters (more than fit the array on the stack), overlapping often.
fn voters() -> impl Strategy<Value = BTreeSet<u64>> {
    proptest::collection::btree_set(1..12u64, 0..10)
}

proptest! {
    #[test]
    fn committed_index_is_what_the_definition_says(
        incoming in voters(),
        outgoing in voters(),
        acked in proptest::collection::btree_map(1..14u64, 0..6u64, 0..12),
    ) {
        let lookup = |id: u64| acked.get(&id).copied();
        prop_assert_eq!(majority(&incoming).committed_index(lookup), committed_by_definition(&incoming, &acked));
        let joint = Joint { incoming: majority(&incoming), outgoing: majority(&outgoing) };
        let both = committed_by_definition(&incoming, &acked).min(committed_by_definition(&outgoing, &acked));
        prop_assert_eq!(joint.committed_index(lookup), both);
        let turned = Joint { incoming: majority(&outgoing), outgoing: majority(&incoming) };
        prop_assert_eq!(turned.committed_index(lookup), both);
    }

    #[test]
    fn an_acknowledgement_never_lowers_the_committed_index(
        ids in voters(),
        acked in proptest::collection::btree_map(1..12u64, 0..6u64, 0..12),
        who in 1..12u64,
        more in 1..4u64,
    ) {
        let before = majority(&ids).committed_index(|id| acked.get(&id).copied());
        let after = majority(&ids).committed_index(|id| {
            let at = acked.get(&id).copied();
            if id == who { Some(at.unwrap_or(0) + more) } else { at }
        });
        prop_assert!(after >= before);
    }
}

/// Every pair of halves over four voters and every way to vote: 16 * 16 * 81 cases.
#[test]
fn votes_end_as_trying_every_missing_vote_says() {
    let subset = |bits: u64| -> BTreeSet<u64> { (1..=4).filter(|id| bits >> (id - 1) & 1 == 1).collect() };
    for ballot in 0..81u64 {
        let votes: BTreeMap<u64, bool> = (1..=4u64)
            .filter_map(|id| match ballot / 3u64.pow(id as u32 - 1) % 3 {
                0 => None,
                said => Some((id, said == 1)),
            })
            .collect();
        for (left, right) in (0..16).flat_map(|left| (0..16).map(move |right| (left, right))) {
            let (incoming, outgoing) = (subset(left), subset(right));
            let joint = Joint {
                incoming: majority(&incoming),
                outgoing: majority(&outgoing),
            };
            let expected = vote_by_definition([&incoming, &outgoing], &votes);
            assert_eq!(
                joint.vote_result(|id| votes.get(&id).copied()),
                expected,
                "voters {joint}, votes {votes:?}"
            );
        }
    }
}
