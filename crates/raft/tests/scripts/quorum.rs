//! `committed` and `vote`: what acknowledged indexes or votes amount to under a majority or a joint majority.

use std::collections::BTreeMap;
use std::str::FromStr;

use raft::quorum::{Joint, Majority, ShownIndex};

use crate::datadriven::{Case, parse};

pub fn handle(case: &Case) -> String {
    let voters = |key: &str| -> Option<Vec<u64>> {
        let values = &case.arg(key)?.values;
        Some(values.iter().filter(|value| *value != "zero").map(|value| parse(value)).collect())
    };
    let incoming = voters("cfg").unwrap_or_default();
    // `cfgj=zero` asks for a joint majority with an empty half, no `cfgj` for a plain majority.
    let outgoing = voters("cfgj");
    let joint = Joint {
        incoming: incoming.iter().copied().collect(),
        outgoing: outgoing.iter().flatten().copied().collect(),
    };
    let order: Vec<u64> = incoming.iter().chain(outgoing.iter().flatten()).copied().collect();
    let plain = outgoing.is_none().then_some(&joint.incoming);
    match case.command.as_str() {
        "committed" => committed(plain, &joint, &given(case, "idx", &order)),
        "vote" => {
            let ballots: BTreeMap<u64, char> = given(case, "votes", &order);
            vote(
                plain,
                &joint,
                &ballots.into_iter().map(|(id, ballot)| (id, ballot == 'y')).collect(),
            )
        }
        unknown => panic!("unknown command {unknown}"),
    }
}

/// The values of argument `key` by voter, in the order in which the voters were first named; `_` stands for none.
fn given<T: FromStr>(case: &Case, key: &str, order: &[u64]) -> BTreeMap<u64, T> {
    let mut ids: Vec<u64> = Vec::new();
    for id in order {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    let values = case.arg(key).map(|arg| arg.values.as_slice()).unwrap_or_default();
    assert_eq!(values.len(), ids.len(), "line {}: a value or _ for every voter", case.line);
    let named = ids.into_iter().zip(values).filter(|(_, value)| *value != "_");
    named.map(|(id, value)| (id, parse(value))).collect()
}

fn committed(plain: Option<&Majority>, joint: &Joint, acked: &BTreeMap<u64, u64>) -> String {
    let lookup = |id: u64| acked.get(&id).copied();
    let index = joint.committed_index(lookup);
    let turned = Joint {
        incoming: joint.outgoing.clone(),
        outgoing: joint.incoming.clone(),
    };
    assert_eq!(turned.committed_index(lookup), index, "halves turned");
    let table = match plain {
        Some(majority) => {
            assert_eq!(majority.committed_index(lookup), index, "joint with nothing");
            let twice = Joint {
                incoming: majority.clone(),
                outgoing: majority.clone(),
            };
            assert_eq!(twice.committed_index(lookup), index, "joint with itself");
            majority.describe(lookup)
        }
        None => joint.describe(lookup),
    };
    format!("{table}{}\n", ShownIndex(index))
}

fn vote(plain: Option<&Majority>, joint: &Joint, votes: &BTreeMap<u64, bool>) -> String {
    let lookup = |id: u64| votes.get(&id).copied();
    let result = joint.vote_result(lookup);
    let turned = Joint {
        incoming: joint.outgoing.clone(),
        outgoing: joint.incoming.clone(),
    };
    assert_eq!(turned.vote_result(lookup), result, "halves turned");
    if let Some(majority) = plain {
        assert_eq!(majority.vote_result(lookup), result, "joint with nothing");
    }
    format!("{result}\n")
}
