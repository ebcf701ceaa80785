//! A history as clients record it: who asked for what, when, and what came back.

use std::fmt;

/// Time since the start of the recording, in nanoseconds, from one monotonic clock for all clients.
pub type Nanos = u64;

/// A store's revision. Zero: there is none.
pub type Revision = i64;

/// A key by number; the recorder knows its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u32);

/// A value by number. Recorders write each value once, so that whoever reads it knows which write it came from; the checkers do not rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u64);

/// A key's content as an answer showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub value: Value,
    pub mod_revision: Revision,
}

/// What a swap demands of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    Value(Value),
    /// Zero: the key does not exist.
    ModRevision(Revision),
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Put(Value),
    /// A linearizable read.
    Get,
    Delete,
    /// A transaction: if the key is as expected then put the value, else read the key.
    Swap {
        expect: Expect,
        value: Value,
    },
}

/// What the client was told. `seen` is the key before the operation, `revision` the answer's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Put { revision: Revision },
    Got { seen: Option<Seen>, revision: Revision },
    Deleted { seen: Option<Seen>, revision: Revision },
    Swapped { revision: Revision },
    NotSwapped { seen: Option<Seen>, revision: Revision },
}

/// An answer and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    pub at: Nanos,
    pub answer: Answer,
}

/// One call of one client. Calls that certainly had no effect (refused) are not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    pub client: u32,
    pub key: Key,
    pub call: Nanos,
    pub action: Action,
    /// `None`: the outcome is unknown. It may take effect at any time after `call`, or never.
    pub done: Option<Done>,
}

impl Answer {
    /// The revision in the answer's header.
    pub fn revision(self) -> Revision {
        match self {
            Answer::Put { revision }
            | Answer::Got { revision, .. }
            | Answer::Deleted { revision, .. }
            | Answer::Swapped { revision }
            | Answer::NotSwapped { revision, .. } => revision,
        }
    }

    /// What the answer shows of the key before the operation; `None` when it shows nothing.
    pub fn seen(self) -> Option<Option<Seen>> {
        match self {
            Answer::Got { seen, .. } | Answer::Deleted { seen, .. } | Answer::NotSwapped { seen, .. } => Some(seen),
            Answer::Put { .. } | Answer::Swapped { .. } => None,
        }
    }

    /// Whether the operation made its revision.
    pub fn is_write(self) -> bool {
        match self {
            Answer::Put { .. } | Answer::Swapped { .. } => true,
            Answer::Deleted { seen, .. } => seen.is_some(),
            Answer::Got { .. } | Answer::NotSwapped { .. } => false,
        }
    }
}

impl Action {
    /// What the key holds after the action, if it takes effect.
    pub fn written(self) -> Option<Value> {
        match self {
            Action::Put(value) | Action::Swap { value, .. } => Some(value),
            Action::Get | Action::Delete => None,
        }
    }
}

impl Operation {
    /// The answer, if one came.
    pub fn answer(&self) -> Option<Answer> {
        self.done.map(|done| done.answer)
    }

    /// The revision that this operation is known to have made.
    pub fn acknowledged(&self) -> Option<Revision> {
        self.answer().filter(|answer| answer.is_write()).map(Answer::revision)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation {
            client, key, call, action, ..
        } = self;
        write!(f, "client {client}, key {}, {:.6} s", key.0, *call as f64 / 1e9)?;
        match self.done {
            Some(Done { at, answer }) => write!(f, " to {:.6} s: {action:?} -> {answer:?}", at as f64 / 1e9),
            None => write!(f, ", unanswered: {action:?}"),
        }
    }
}
