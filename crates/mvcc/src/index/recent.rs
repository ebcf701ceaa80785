//! Which keys were born and which died lately: what turns a count at the newest revision into one a little earlier.
//!
//! Bounded; older counts are made by walking.

use std::collections::VecDeque;

use super::{KeyRange, Until};

/// Most changes remembered. Looking through all of them costs about as much as walking over so many keys.
const MOST_CHANGES: usize = 4096;
/// Most bytes of keys remembered.
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Change {
    main: i64,
    born: bool,
    key: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    /// In order of revision. All changes above `complete_above` are here.
    changes: VecDeque<Change>,
    complete_above: i64,
    bytes: usize,
}

impl Recent {
    pub(super) fn born(&mut self, main: i64, key: &[u8]) {
        self.push(main, true, key);
    }

    pub(super) fn died(&mut self, main: i64, key: &[u8]) {
        self.push(main, false, key);
    }

    /// What happened up to `main` is not known.
    pub(super) fn begin(&mut self, main: i64) {
        *self = Recent {
            complete_above: main,
            ..Recent::default()
        };
    }

    fn push(&mut self, main: i64, born: bool, key: &[u8]) {
        self.bytes += key.len();
        self.changes.push_back(Change {
            main,
            born,
            key: key.into(),
        });
        while self.changes.len() > MOST_CHANGES || self.bytes > MOST_BYTES {
            let Some(change) = self.changes.pop_front() else { break };
            self.bytes -= change.key.len();
            self.complete_above = change.main;
        }
    }

    /// How many more keys of the range live now than at main revision `at`; `None` if that is too long ago.
    pub(super) fn gained_since(&self, at: i64, range: KeyRange<'_>) -> Option<i64> {
        if at < self.complete_above {
            return None;
        }
        let within = |key: &[u8]| match range.until {
            Until::Single => key == range.from,
            Until::Before(end) => key >= range.from && key < end,
            Until::Unbounded => key >= range.from,
        };
        let since = self.changes.iter().rev().take_while(|change| change.main > at);
        Some(
            since
                .filter(|change| within(&change.key))
                .map(|change| if change.born { 1 } else { -1 })
                .sum(),
        )
    }
}
