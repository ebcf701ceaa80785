//! Is there one order of all operations, in which each takes effect between its call and its answer, that explains every answer?
//!
//! Keys are independent, so each is searched alone (linearizability is local). What goes wrong is explained as briefly as it can be:
//! the shortest beginning of the key's history that has no order, and the operations in it that cannot be ordered.

use std::collections::BTreeMap;
use std::fmt;

use super::register::{Input, Register};
use super::search::{Found, Interval, search};
use super::settle::settle;
use super::{Done, Key, Nanos, Operation};

/// How many configurations are tried for one key before the checker gives up.
pub const STEPS_A_KEY: u64 = 5_000_000;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub keys: usize,
    pub operations: usize,
    /// Of which the outcome is unknown.
    pub unanswered: usize,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub key: Key,
    /// The shortest beginning without an order: it ends with the answer that came at this time.
    pub until: Nanos,
    /// How many answers that beginning holds.
    pub answers: usize,
    /// The last operations of the longest order that was found, oldest first.
    pub ordered: Vec<Operation>,
    /// Those that no order holds after them.
    pub unordered: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Violation(Box<Violation>),
    /// Too many orders to try. Nothing is proven.
    GaveUp(Key),
}

/// Checks a history over any number of keys, all of which were absent at its start.
///
/// # Errors
/// The first key that has no order.
pub fn check(operations: &[Operation]) -> Result<Counts, Fault> {
    let mut by_key: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(operation.key).or_default().push(*operation);
    }
    for (key, operations) in &by_key {
        check_key(*key, operations)?;
    }
    Ok(Counts {
        keys: by_key.len(),
        operations: operations.len(),
        unanswered: operations.iter().filter(|operation| operation.done.is_none()).count(),
    })
}

fn check_key(key: Key, operations: &[Operation]) -> Result<(), Fault> {
    match find(operations) {
        Found::Order(_) => Ok(()),
        Found::GaveUp => Err(Fault::GaveUp(key)),
        Found::Nothing { .. } => Err(explain(key, operations)),
    }
}

fn find(operations: &[Operation]) -> Found {
    find_settled(&settle(operations))
}

fn find_settled(settled: &[Operation]) -> Found {
    let revisions = settled.iter().filter_map(Operation::acknowledged).collect();
    search(&Register::new(revisions), &intervals(settled), STEPS_A_KEY)
}

fn intervals(operations: &[Operation]) -> Vec<Interval<Input>> {
    let interval = |operation: &Operation| Interval {
        call: operation.call,
        end: operation.done.map(|done| done.at),
        input: (operation.action, operation.answer()),
    };
    operations.iter().map(interval).collect()
}

/// The history as it was known at a time: what was not answered yet is unanswered.
fn beginning(operations: &[Operation], until: Nanos) -> Vec<Operation> {
    let known = |done: &Done| done.at <= until;
    let called = operations.iter().filter(|operation| operation.call <= until);
    called
        .map(|operation| Operation {
            done: operation.done.filter(known),
            ..*operation
        })
        .collect()
}

fn explain(key: Key, operations: &[Operation]) -> Fault {
    let mut ends: Vec<Nanos> = operations
        .iter()
        .filter_map(|operation| operation.done.map(|done| done.at))
        .collect();
    ends.sort_unstable();
    // A beginning of a history with an order has one too, so the shortest one without can be found by halving.
    let shortest = ends.partition_point(|until| matches!(find(&beginning(operations, *until)), Found::Order(_)));
    let until = ends[shortest.min(ends.len() - 1)];
    let settled = settle(&beginning(operations, until));
    let Found::Nothing { tail, lacks } = find_settled(&settled) else {
        return Fault::GaveUp(key);
    };
    let named = |places: Vec<usize>| places.into_iter().map(|place| settled[place]).collect();
    let (ordered, unordered) = (named(tail), named(lacks));
    Fault::Violation(Box::new(Violation {
        key,
        until,
        answers: shortest + 1,
        ordered,
        unordered,
    }))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = match self {
            Fault::GaveUp(key) => return write!(f, "key {}: gave up after {STEPS_A_KEY} configurations", key.0),
            Fault::Violation(violation) => violation,
        };
        let Violation {
            key,
            until,
            answers,
            ordered,
            unordered,
        } = &**violation;
        writeln!(
            f,
            "key {}: no order explains its first {answers} answers (until {:.6} s)",
            key.0,
            *until as f64 / 1e9
        )?;
        for operation in ordered {
            writeln!(f, "  in order:        {operation}")?;
        }
        for operation in unordered {
            writeln!(f, "  cannot be next:  {operation}")?;
        }
        Ok(())
    }
}
