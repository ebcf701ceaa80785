//! The model of one key of etcd: a register that knows its value and the revision that wrote it.
//!
//! Revisions make it stricter than a register of values alone: writes must take effect in the order of their revisions, and a read must
//! show the revision of the write whose value it shows.

use super::search::Model;
use super::{Action, Answer, Expect, Revision, Seen, Value};

/// An action with its answer; `None`: nobody knows what was answered.
pub type Input = (Action, Option<Answer>);

/// A key between two operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub value: Option<Value>,
    /// The revision that wrote the value; `None` while nobody was told.
    pub mod_revision: Option<Revision>,
    /// The highest revision of this key that anybody was told.
    pub floor: Revision,
}

/// The model. It knows the revisions of all acknowledged writes of the key, so that an order that skips one ends at once.
#[derive(Clone, Debug, Default)]
pub struct Register {
    revisions: Vec<Revision>,
}

impl Register {
    pub fn new(mut revisions: Vec<Revision>) -> Register {
        revisions.sort_unstable();
        Register { revisions }
    }

    /// Whether a revision may follow one: no acknowledged write lies between them.
    fn follows(&self, floor: Revision, revision: Revision) -> bool {
        let next = self.revisions.partition_point(|known| *known <= floor);
        revision > floor && self.revisions.get(next).is_none_or(|next| revision <= *next)
    }
}

impl Model for Register {
    type Input = Input;
    type State = State;

    /// No key, at no revision.
    fn start(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, (action, answer): &Input) -> Option<State> {
        match (*action, *answer) {
            (Action::Put(value), None) => Some(state.written(value)),
            (Action::Put(value), Some(Answer::Put { revision })) => state.written_at(self, value, revision),

            (Action::Get, None) => Some(state.clone()),
            (Action::Get, Some(Answer::Got { seen, .. })) => state.shown(self, seen),

            (Action::Delete, None) => Some(state.deleted()),
            (Action::Delete, Some(Answer::Deleted { seen: None, .. })) => state.shown(self, None),
            (Action::Delete, Some(Answer::Deleted { seen, revision })) => state.shown(self, seen)?.deleted_at(self, revision),

            // If it did not swap, it changed nothing: that is the same as not taking it.
            (Action::Swap { expect, value }, None) => Some(state.expected(self, expect)?.written(value)),
            (Action::Swap { expect, value }, Some(Answer::Swapped { revision })) => {
                state.expected(self, expect)?.written_at(self, value, revision)
            }
            (Action::Swap { expect, .. }, Some(Answer::NotSwapped { seen, .. })) => {
                let shown = state.shown(self, seen)?;
                shown.expected(self, expect).is_none().then_some(shown)
            }
            // An answer to another question.
            _ => None,
        }
    }
}

impl State {
    fn written(&self, value: Value) -> State {
        State {
            value: Some(value),
            mod_revision: None,
            floor: self.floor,
        }
    }

    fn written_at(&self, key: &Register, value: Value, revision: Revision) -> Option<State> {
        key.follows(self.floor, revision).then_some(State {
            value: Some(value),
            mod_revision: Some(revision),
            floor: revision,
        })
    }

    fn deleted(&self) -> State {
        State {
            value: None,
            mod_revision: None,
            floor: self.floor,
        }
    }

    fn deleted_at(&self, key: &Register, revision: Revision) -> Option<State> {
        key.follows(self.floor, revision).then_some(State {
            value: None,
            mod_revision: None,
            floor: revision,
        })
    }

    /// The state, if it can look like this; what the look tells about the revision is known from then on.
    fn shown(&self, key: &Register, seen: Option<Seen>) -> Option<State> {
        let Some(Seen { value, mod_revision }) = seen else {
            return self.value.is_none().then(|| self.clone());
        };
        (self.value == Some(value)).then_some(())?;
        self.at(key, mod_revision)
    }

    fn at(&self, key: &Register, revision: Revision) -> Option<State> {
        match self.mod_revision {
            Some(known) => (known == revision).then(|| self.clone()),
            None => key.follows(self.floor, revision).then(|| State {
                mod_revision: Some(revision),
                floor: revision,
                ..self.clone()
            }),
        }
    }

    /// The state, if it can be as a swap demands.
    fn expected(&self, key: &Register, expect: Expect) -> Option<State> {
        match expect {
            Expect::Value(value) => (self.value == Some(value)).then(|| self.clone()),
            Expect::ModRevision(0) => self.value.is_none().then(|| self.clone()),
            Expect::ModRevision(revision) => {
                self.value?;
                self.at(key, revision)
            }
        }
    }
}
