//! Every acknowledged write is there in the end, or a later one is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::{Action, Key, Operation, Revision, Seen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub write: Operation,
    /// What stands in its place.
    pub found: Option<Seen>,
}

/// The acknowledged writes that the final content of the keys contradicts. Every key that was written must be in `last` or be absent.
pub fn lost(operations: &[Operation], last: &HashMap<Key, Seen>) -> Vec<Lost> {
    let mut by_key: BTreeMap<Key, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(operation.key).or_default().push(operation);
    }
    let lost_of = |(key, operations): (Key, Vec<&Operation>)| lost_of_key(&operations, last.get(&key).copied());
    by_key.into_iter().flat_map(lost_of).collect()
}

fn lost_of_key(operations: &[&Operation], found: Option<Seen>) -> Vec<Lost> {
    let may_be_deleted = |revision: Revision| {
        operations.iter().any(|operation| match (operation.action, operation.done) {
            (Action::Delete, Some(_)) => operation.acknowledged().is_some_and(|deleted| deleted >= revision),
            (Action::Delete, None) => true,
            _ => false,
        })
    };
    let stands = |operation: &Operation, revision: Revision| match found {
        Some(seen) if seen.mod_revision == revision => operation.action.written() == Some(seen.value),
        Some(seen) => seen.mod_revision > revision,
        None => may_be_deleted(revision),
    };
    let acknowledged = operations
        .iter()
        .filter_map(|operation| operation.acknowledged().map(|revision| (**operation, revision)));
    acknowledged
        .filter(|(operation, revision)| !stands(operation, *revision))
        .map(|(write, _)| Lost { write, found })
        .collect()
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost: {} (in its place: {:?})", self.write, self.found)
    }
}
