//! Histories that a real register made: each operation takes effect at one moment between its call and its answer.

use std::collections::HashSet;

use sim::checkers::{Action, Answer, Done, Expect, Key, Nanos, Operation, Revision, Seen, Value};

/// A small generator of numbers (splitmix64), so that a seed is a history.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a history is like.
pub struct Shape {
    pub operations: usize,
    pub clients: u32,
    pub keys: u32,
    /// One in so many has no answer.
    pub unanswered: u64,
    /// Swaps may expect revisions that no answer showed.
    pub riddles: bool,
}

struct Store {
    keys: Vec<Option<Seen>>,
    revision: Revision,
}

impl Store {
    fn write(&mut self, key: usize, value: Option<Value>) {
        self.revision += 1;
        let mod_revision = self.revision;
        self.keys[key] = value.map(|value| Seen { value, mod_revision });
    }

    fn apply(&mut self, key: usize, action: Action) -> Answer {
        let seen = self.keys[key];
        match action {
            Action::Put(value) => {
                self.write(key, Some(value));
                Answer::Put { revision: self.revision }
            }
            Action::Get => Answer::Got {
                seen,
                revision: self.revision,
            },
            Action::Delete => {
                if seen.is_some() {
                    self.write(key, None);
                }
                Answer::Deleted {
                    seen,
                    revision: self.revision,
                }
            }
            Action::Swap { expect, value } => {
                let fits = match expect {
                    Expect::Value(value) => seen.is_some_and(|seen| seen.value == value),
                    Expect::ModRevision(revision) => seen.map_or(0, |seen| seen.mod_revision) == revision,
                };
                if !fits {
                    return Answer::NotSwapped {
                        seen,
                        revision: self.revision,
                    };
                }
                self.write(key, Some(value));
                Answer::Swapped { revision: self.revision }
            }
        }
    }
}

/// A linearizable history. Values are unique unless `values` bounds them.
pub fn history(chance: &mut Chance, shape: &Shape, values: Option<u64>) -> Vec<Operation> {
    let mut store = Store {
        keys: vec![None; shape.keys as usize],
        revision: 1,
    };
    let mut free_at: Vec<Nanos> = (0..shape.clients).map(|client| u64::from(client) + 1).collect();
    // First when and what, then the effects in their order.
    let mut plan: Vec<(Nanos, Nanos, Operation)> = Vec::new();
    for number in 0..shape.operations {
        let client = chance.below(u64::from(shape.clients)) as usize;
        let call = free_at[client] + chance.below(20);
        let end = call + 1 + chance.below(60);
        let is_answered = !chance.one_in(shape.unanswered);
        // Without an answer the effect may come long after.
        let effect = if is_answered {
            call + chance.below(end - call + 1)
        } else {
            call + chance.below(400)
        };
        free_at[client] = end + 1;
        let value = Value(values.map_or(number as u64 + 1, |bound| 1 + chance.below(bound)));
        let action = match chance.below(8) {
            0..3 => Action::Put(value),
            3..6 => Action::Get,
            6 if chance.one_in(2) => Action::Delete,
            _ => Action::Swap {
                expect: Expect::ModRevision(0),
                value,
            },
        };
        let key = Key(chance.below(u64::from(shape.keys)) as u32);
        let done = is_answered.then_some(Done {
            at: end,
            answer: Answer::Put { revision: 0 },
        });
        plan.push((
            effect,
            end,
            Operation {
                client: client as u32,
                key,
                call,
                action,
                done,
            },
        ));
    }
    plan.sort_by_key(|(effect, ..)| *effect);
    let mut operations = Vec::new();
    let mut told = HashSet::new();
    for (_, at, mut operation) in plan {
        let key = operation.key.0 as usize;
        if operation.done.is_none() && chance.one_in(3) {
            operations.push(operation); // never happened
            continue;
        }
        if let Action::Swap { value, .. } = operation.action {
            let seen = store.keys[key];
            let right = seen.map_or(Expect::ModRevision(0), |seen| {
                if chance.one_in(2) || !(shape.riddles || told.contains(&seen.mod_revision)) {
                    Expect::Value(seen.value)
                } else {
                    Expect::ModRevision(seen.mod_revision)
                }
            });
            let expect = if chance.one_in(3) {
                Expect::Value(Value(1 + chance.below(5)))
            } else {
                right
            };
            operation.action = Action::Swap { expect, value };
        }
        let answer = store.apply(key, operation.action);
        operation.done = operation.done.map(|_| Done { at, answer });
        told.extend(operation.acknowledged());
        told.extend(operation.answer().and_then(Answer::seen).flatten().map(|seen| seen.mod_revision));
        operations.push(operation);
    }
    operations
}
