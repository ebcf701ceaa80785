//! Makes one key's history smaller before the search, without changing the verdict.
//!
//! An unanswered write can take effect at any later time, so each doubles the configurations of the search. But values are unique and
//! every answer that depends on the key shows it. So either somebody saw the value: then the write happened before that answer, at the
//! revision seen. Or nobody did: then any order that holds it is also one without it.

use std::collections::{HashMap, HashSet};

use super::{Action, Answer, Done, Expect, Nanos, Operation, Revision, Value};

/// What a key's answers tell about its unanswered writes.
#[derive(Default)]
struct Evidence {
    written: HashMap<Value, usize>,
    /// The first answer that shows the value, and the revision that all agree on (`None` when they don't).
    shown: HashMap<Value, (Nanos, Option<Revision>)>,
    /// Values that a swap expects: it may have needed them without having shown them.
    expected: HashSet<Value>,
    revisions: HashSet<Revision>,
    /// Revisions that a swap expects.
    expected_revisions: HashSet<Revision>,
}

impl Evidence {
    fn of(operations: &[Operation]) -> Evidence {
        let mut evidence = Evidence::default();
        for operation in operations {
            if let Some(value) = operation.action.written() {
                *evidence.written.entry(value).or_default() += 1;
            }
            evidence.revisions.extend(operation.acknowledged());
            if let Action::Swap { expect, .. } = operation.action {
                match expect {
                    Expect::Value(value) => drop(evidence.expected.insert(value)),
                    Expect::ModRevision(0) => {}
                    Expect::ModRevision(revision) => drop(evidence.expected_revisions.insert(revision)),
                }
            }
            if let Some(Done { at, answer }) = operation.done
                && let Some(Some(seen)) = answer.seen()
            {
                evidence.revisions.insert(seen.mod_revision);
                let (first, revision) = evidence.shown.entry(seen.value).or_insert((at, Some(seen.mod_revision)));
                *first = at.min(*first);
                *revision = revision.filter(|revision| *revision == seen.mod_revision);
            }
        }
        evidence
    }

    /// Some swap expects a revision of which nobody knows who made it: it may have been any unanswered write.
    fn has_riddle(&self) -> bool {
        !self.expected_revisions.is_subset(&self.revisions)
    }
}

/// The history without unanswered reads and without unanswered writes that nobody saw; those that somebody saw get their answer.
pub fn settle(operations: &[Operation]) -> Vec<Operation> {
    let evidence = Evidence::of(operations);
    operations.iter().filter_map(|operation| settled(operation, &evidence)).collect()
}

fn settled(operation: &Operation, evidence: &Evidence) -> Option<Operation> {
    if operation.done.is_some() {
        return Some(*operation);
    }
    let value = match operation.action {
        Action::Get => return None,
        Action::Delete => return Some(*operation),
        Action::Put(value) | Action::Swap { value, .. } => value,
    };
    let is_unique = evidence.written.get(&value) == Some(&1);
    match evidence.shown.get(&value) {
        Some((at, Some(revision))) if is_unique && *at >= operation.call => {
            let revision = *revision;
            let answer = match operation.action {
                Action::Put(_) => Answer::Put { revision },
                _ => Answer::Swapped { revision },
            };
            Some(Operation {
                done: Some(Done { at: *at, answer }),
                ..*operation
            })
        }
        None if !evidence.expected.contains(&value) && !evidence.has_riddle() => None,
        _ => Some(*operation),
    }
}
