//! Revisions follow real time, over all keys: a later operation never has a smaller revision, a later write always a greater one, and no
//! two writes have the same.

use std::collections::HashMap;
use std::fmt;

use super::Operation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Two writes were told the same revision.
    Shared(Operation, Operation),
    /// The second began after the first was answered, with a revision that is too small.
    Backwards(Operation, Operation),
}

/// Checks all answered operations (reads must have been linearizable ones) and gives how many there were.
///
/// # Errors
/// The first pair that contradicts.
pub fn check(operations: &[Operation]) -> Result<usize, Box<Fault>> {
    let mut by_call: Vec<(&Operation, i64)> = Vec::new();
    let mut makers: HashMap<i64, &Operation> = HashMap::new();
    for operation in operations {
        by_call.extend(operation.answer().map(|answer| (operation, answer.revision())));
        if let Some(revision) = operation.acknowledged()
            && let Some(other) = makers.insert(revision, operation)
        {
            return Err(Box::new(Fault::Shared(*other, *operation)));
        }
    }
    let mut by_end = by_call.clone();
    by_call.sort_by_key(|(operation, _)| operation.call);
    by_end.sort_by_key(|(operation, _)| operation.done.map(|done| done.at));
    let mut ended = by_end.iter().peekable();
    let mut highest: Option<(&Operation, i64)> = None;
    for (operation, revision) in &by_call {
        while let Some(before) = ended.next_if(|(before, _)| before.done.is_some_and(|done| done.at < operation.call)) {
            highest = highest.filter(|highest| highest.1 >= before.1).or(Some(*before));
        }
        let least = highest.map_or(0, |highest| highest.1) + i64::from(operation.acknowledged().is_some());
        if let Some((before, _)) = highest
            && *revision < least
        {
            return Err(Box::new(Fault::Backwards(*before, **operation)));
        }
    }
    Ok(by_call.len())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Shared(a, b) => write!(f, "two writes of one revision:\n  {a}\n  {b}"),
            Fault::Backwards(a, b) => write!(f, "a revision went back:\n  {a}\n  then {b}"),
        }
    }
}
