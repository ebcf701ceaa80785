//! Revisions, watches and durability: what must pass, and each fault planted once.

use std::collections::HashMap;

use sim::checkers::watches::{self, Event, Watch};
use sim::checkers::{Action, Answer, Key, Operation, Seen, Value, durable, revisions};

use crate::generate::{Chance, Shape, history};
use crate::linearizable::{get, operation, put, seen};

/// The events of a history: what really happened, also where nobody was told.
fn events(operations: &[Operation]) -> Vec<Event> {
    let mut lives: HashMap<Key, Event> = HashMap::new();
    let mut writes: Vec<(i64, &Operation)> = operations
        .iter()
        .filter_map(|o| o.acknowledged().map(|revision| (revision, o)))
        .collect();
    writes.sort_by_key(|(revision, _)| *revision);
    let mut events = Vec::new();
    for (revision, write) in writes {
        let before = lives.get(&write.key).filter(|before| before.value.is_some());
        let value = write.action.written();
        let (version, create_revision) = match (value, before) {
            (None, _) => (0, 0),
            (Some(_), Some(before)) => (before.version + 1, before.create_revision),
            (Some(_), None) => (1, revision),
        };
        let event = Event {
            key: write.key,
            revision,
            value,
            version,
            create_revision,
        };
        lives.insert(write.key, event);
        events.push(event);
    }
    events
}

fn sample() -> (Vec<Operation>, Watch) {
    let shape = Shape {
        operations: 500,
        clients: 8,
        keys: 5,
        unanswered: u64::MAX,
        riddles: true,
    };
    let operations = history(&mut Chance(3), &shape, None);
    let events = events(&operations);
    let last = events.last().map_or(0, |event| event.revision);
    (operations, Watch { first: 2, last, events })
}

fn fault(operations: &[Operation], watches: &[Watch]) -> String {
    watches::check(operations, watches).expect_err("must be found").1.to_string()
}

#[test]
fn revisions_of_a_real_history_pass() {
    let (operations, _) = sample();
    assert_eq!(revisions::check(&operations), Ok(500));
}

#[test]
fn revisions_that_contradict_time_are_found() {
    let shared = revisions::check(&[put(1, 0, 5, 1, 2), put(2, 0, 5, 2, 2)]);
    assert!(shared.is_err_and(|fault| matches!(*fault, revisions::Fault::Shared(..))));
    let backwards =
        |operations: &[Operation]| revisions::check(operations).is_err_and(|fault| matches!(*fault, revisions::Fault::Backwards(..)));
    assert!(backwards(&[put(1, 0, 5, 1, 3), put(2, 6, 9, 2, 2)]));
    assert!(!backwards(&[put(1, 0, 5, 1, 3), put(2, 5, 9, 2, 2)]));
    // A read may see the revision of the write before it, and no older one.
    assert!(!backwards(&[put(1, 0, 5, 1, 3), get(2, 6, 9, seen(1, 3))]));
    assert!(backwards(&[put(1, 0, 5, 1, 3), get(2, 6, 9, seen(1, 2))]));
    // A write after a read is newer than what the read was told.
    assert!(backwards(&[get(2, 0, 5, seen(1, 3)), put(1, 6, 9, 1, 3)]));
}

#[test]
fn watches_that_show_the_history_pass() {
    let (operations, watch) = sample();
    let cut = watch.events.len() / 2;
    let first = watch.events[cut].revision;
    let later = Watch {
        first,
        last: watch.last,
        events: watch.events[cut..].to_vec(),
    };
    let count = watches::check(&operations, &[watch.clone(), later]);
    assert_eq!(count, Ok(2 * watch.events.len() - cut));
}

#[test]
fn an_unanswered_write_may_show_once() {
    let lost = operation(9, 0, Action::Put(Value(77)), None);
    let event = |revision, version| Event {
        key: Key(1),
        revision,
        value: Some(Value(77)),
        version,
        create_revision: 2,
    };
    let watch = |events: Vec<Event>| Watch { first: 2, last: 9, events };
    assert_eq!(watches::check(&[lost], &[watch(vec![])]), Ok(0));
    assert_eq!(watches::check(&[lost], &[watch(vec![event(2, 1)])]), Ok(1));
    assert!(fault(&[lost], &[watch(vec![event(2, 1), event(3, 2)])]).contains("happened twice"));
    assert!(fault(&[], &[watch(vec![event(2, 1)])]).contains("nobody wrote"));
    // Shown to one watcher, it is owed to the others.
    assert!(fault(&[lost], &[watch(vec![event(2, 1)]), watch(vec![])]).contains("another watch"));
    let other = Event {
        revision: 3,
        create_revision: 3,
        ..event(3, 1)
    };
    assert!(fault(&[lost], &[watch(vec![event(2, 1)]), watch(vec![other])]).contains("another watch"));
}

#[test]
fn watches_that_do_not_show_the_history_are_found() {
    let (operations, watch) = sample();
    let bent = |bend: &dyn Fn(&mut Vec<Event>)| {
        let mut watch = watch.clone();
        bend(&mut watch.events);
        fault(&operations, &[watch])
    };
    assert!(bent(&|events| events.swap(10, 11)).contains("out of order"));
    assert!(bent(&|events| events.insert(10, events[10])).contains("twice"));
    assert!(bent(&|events| events.truncate(events.len() - 1)).contains("missing"));
    assert!(bent(&|events| events[10].key = Key(99)).contains("something is missing"));
    assert!(bent(&|events| events[0].value = Some(Value(1_000_000))).contains("should be"));
    assert!(bent(&|events| events[0].revision = 1).contains("before the first"));
    // A hole shows by the versions alone, when the writer was never answered.
    let hole = watch
        .events
        .iter()
        .position(|event| event.version == 2)
        .expect("some key is written twice");
    let unanswered: Vec<Operation> = operations.iter().map(|operation| Operation { done: None, ..*operation }).collect();
    let mut torn = watch.clone();
    torn.events.remove(hole);
    assert!(watches::check(&unanswered, &[torn]).is_err());
    assert!(watches::check(&unanswered, std::slice::from_ref(&watch)).is_ok());
}

#[test]
fn writes_that_are_not_there_in_the_end_are_found() {
    let (operations, watch) = sample();
    let mut last: HashMap<Key, Seen> = HashMap::new();
    for event in &watch.events {
        match event.value {
            Some(value) => drop(last.insert(
                event.key,
                Seen {
                    value,
                    mod_revision: event.revision,
                },
            )),
            None => drop(last.remove(&event.key)),
        }
    }
    assert_eq!(durable::lost(&operations, &last), []);
    let newest = watch.events.iter().rfind(|event| event.value.is_some()).expect("somebody wrote");
    let mut rolled_back = last.clone();
    rolled_back.insert(
        newest.key,
        Seen {
            value: Value(1),
            mod_revision: newest.revision - 1,
        },
    );
    let lost = durable::lost(&operations, &rolled_back);
    assert_eq!(lost.first().and_then(|lost| lost.write.acknowledged()), Some(newest.revision));
    // Absence without a deletion.
    let lone = [put(1, 0, 5, 1, 2)];
    assert_eq!(durable::lost(&lone, &HashMap::new()).len(), 1);
    let deleted = operation(
        2,
        9,
        Action::Delete,
        Some((
            12,
            Answer::Deleted {
                seen: seen(1, 2),
                revision: 3,
            },
        )),
    );
    assert_eq!(durable::lost(&[lone[0], deleted], &HashMap::new()), []);
    assert_eq!(durable::lost(&[put(1, 20, 25, 5, 4), deleted], &HashMap::new()).len(), 1);
    // Another value at the write's revision.
    let other = HashMap::from([(
        Key(1),
        Seen {
            value: Value(2),
            mod_revision: 2,
        },
    )]);
    assert_eq!(durable::lost(&lone, &other).len(), 1);
}
