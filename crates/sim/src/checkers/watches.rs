//! Every watch shows the history: complete between its first and its last revision, in order, each event once.
//!
//! The history is what the writers were told. An event that no acknowledged write explains must be an unanswered write's, which then
//! happened exactly once. Versions and create revisions tie each key's events together, so that a missing event shows even where no
//! writer was answered.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Action, Key, Operation, Revision, Value};

/// One event. `value`: `None` for a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    pub key: Key,
    pub revision: Revision,
    pub value: Option<Value>,
    /// Zero for a deletion.
    pub version: i64,
    /// Zero for a deletion.
    pub create_revision: Revision,
}

/// What one watcher was shown, over all its streams, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Asked for from this revision on.
    pub first: Revision,
    /// Everything up to this revision must have come.
    pub last: Revision,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    OutOfOrder {
        before: Event,
        after: Event,
    },
    Twice(Event),
    Outside(Event),
    Missing(Operation),
    /// The write of that revision was another one.
    Different {
        event: Event,
        write: Operation,
    },
    /// Nobody sent this.
    FromNowhere(Event),
    /// An unanswered write that happened twice.
    Again {
        first: Event,
        second: Event,
    },
    /// The event before it in its key's life did not come.
    Torn {
        before: Option<Event>,
        after: Event,
    },
    /// Another watch was shown this.
    Withheld(Event),
    /// Another watch was shown something else at this revision.
    Disagree(Event, Event),
}

/// The number of the watch and what is wrong with it.
pub type WatchFault = (usize, Box<Fault>);

/// What the writers know.
struct Book<'a> {
    acknowledged: HashMap<Revision, &'a Operation>,
    /// By key and value; a deletion has none.
    unanswered: HashSet<(Key, Option<Value>)>,
}

impl Book<'_> {
    fn of(operations: &[Operation]) -> Book<'_> {
        let mut book = Book {
            acknowledged: HashMap::new(),
            unanswered: HashSet::new(),
        };
        for operation in operations {
            match (operation.acknowledged(), operation.done, operation.action) {
                (Some(revision), ..) => drop(book.acknowledged.insert(revision, operation)),
                (None, None, Action::Put(_) | Action::Swap { .. } | Action::Delete) => {
                    book.unanswered.insert((operation.key, operation.action.written()));
                }
                _ => {}
            }
        }
        book
    }
}

/// Checks all watches of all keys against the history and each other; gives how many events there were.
///
/// # Errors
/// The first fault.
pub fn check(operations: &[Operation], watches: &[Watch]) -> Result<usize, WatchFault> {
    let book = Book::of(operations);
    let mut shown: HashMap<Revision, Event> = HashMap::new();
    for (number, watch) in watches.iter().enumerate() {
        let faults = [
            check_order(watch),
            check_lives(watch),
            check_content(watch, &book),
            check_complete(watch, &book),
        ];
        if let Some(Err(fault)) = faults.into_iter().find(Result::is_err) {
            return Err((number, fault));
        }
        for event in &watch.events {
            let first = *shown.entry(event.revision).or_insert(*event);
            if first != *event {
                return Err((number, Box::new(Fault::Disagree(first, *event))));
            }
        }
    }
    // What one watch was shown is owed to all others that cover its revision.
    for (number, watch) in watches.iter().enumerate() {
        let has: HashSet<Revision> = watch.events.iter().map(|event| event.revision).collect();
        let owed = shown
            .values()
            .find(|event| (watch.first..=watch.last).contains(&event.revision) && !has.contains(&event.revision));
        if let Some(event) = owed {
            return Err((number, Box::new(Fault::Withheld(*event))));
        }
    }
    Ok(watches.iter().map(|watch| watch.events.len()).sum())
}

/// The writes of a history each change one key, so a revision comes once.
fn check_order(watch: &Watch) -> Result<(), Box<Fault>> {
    if let Some(event) = watch.events.iter().find(|event| event.revision < watch.first) {
        return Err(Box::new(Fault::Outside(*event)));
    }
    for pair in watch.events.windows(2) {
        if pair[1].revision == pair[0].revision {
            return Err(Box::new(Fault::Twice(pair[1])));
        }
        if pair[1].revision < pair[0].revision {
            return Err(Box::new(Fault::OutOfOrder {
                before: pair[0],
                after: pair[1],
            }));
        }
    }
    Ok(())
}

fn check_lives(watch: &Watch) -> Result<(), Box<Fault>> {
    let mut lives: HashMap<Key, Event> = HashMap::new();
    for event in &watch.events {
        let before = lives.insert(event.key, *event);
        let follows = match before {
            // What came before the watch began is not known; a life that began in it is.
            None if event.value.is_none() => true,
            None => event.create_revision < watch.first || event.version == 1,
            Some(before) if event.value.is_none() => before.value.is_some(),
            Some(before) if before.value.is_none() => event.version == 1,
            Some(before) => event.version == before.version + 1 && event.create_revision == before.create_revision,
        };
        let begins_well = event.version != 1 || event.create_revision == event.revision;
        if !follows || !begins_well {
            return Err(Box::new(Fault::Torn { before, after: *event }));
        }
    }
    Ok(())
}

fn check_content(watch: &Watch, book: &Book) -> Result<(), Box<Fault>> {
    let mut happened: HashMap<(Key, Value), Event> = HashMap::new();
    for event in &watch.events {
        if let Some(write) = book.acknowledged.get(&event.revision) {
            if (write.key, write.action.written()) != (event.key, event.value) {
                return Err(Box::new(Fault::Different {
                    event: *event,
                    write: **write,
                }));
            }
            continue;
        }
        if !book.unanswered.contains(&(event.key, event.value)) {
            return Err(Box::new(Fault::FromNowhere(*event)));
        }
        // Values are unique; deletions are not.
        if let Some(value) = event.value
            && let Some(first) = happened.insert((event.key, value), *event)
        {
            return Err(Box::new(Fault::Again { first, second: *event }));
        }
    }
    Ok(())
}

fn check_complete(watch: &Watch, book: &Book) -> Result<(), Box<Fault>> {
    let has: HashSet<Revision> = watch.events.iter().map(|event| event.revision).collect();
    let owed = book
        .acknowledged
        .iter()
        .filter(|(revision, _)| (watch.first..=watch.last).contains(revision));
    match owed
        .filter(|(revision, _)| !has.contains(revision))
        .min_by_key(|(revision, _)| **revision)
    {
        Some((_, write)) => Err(Box::new(Fault::Missing(**write))),
        None => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::OutOfOrder { before, after } => write!(f, "out of order: {before:?}, then {after:?}"),
            Fault::Twice(event) => write!(f, "twice: {event:?}"),
            Fault::Outside(event) => write!(f, "before the first revision asked for: {event:?}"),
            Fault::Missing(write) => write!(f, "missing: {write}"),
            Fault::Different { event, write } => write!(f, "{event:?} should be {write}"),
            Fault::FromNowhere(event) => write!(f, "nobody wrote {event:?}"),
            Fault::Again { first, second } => write!(f, "one write happened twice: {first:?} and {second:?}"),
            Fault::Torn { before, after } => write!(f, "something is missing between {before:?} and {after:?}"),
            Fault::Withheld(event) => write!(f, "another watch was shown {event:?}"),
            Fault::Disagree(first, second) => write!(f, "two watches disagree: {first:?} and {second:?}"),
        }
    }
}
