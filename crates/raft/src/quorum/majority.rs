//! A set of voters that decides by simple majority.

use std::collections::BTreeSet;
use std::collections::btree_set;
use std::fmt;

use super::{ShownIndex, UNBOUNDED, VoteResult};

/// More voters than this are rare; up to here a decision allocates nothing.
const ON_STACK: usize = 7;

/// Ids of which more than half must agree. Ordered, because their order is visible in logs and in `ConfState`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Majority(BTreeSet<u64>);

impl Majority {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(&id)
    }

    pub fn insert(&mut self, id: u64) -> bool {
        self.0.insert(id)
    }

    pub fn remove(&mut self, id: u64) -> bool {
        self.0.remove(&id)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The ids, ascending.
    pub fn iter(&self) -> std::iter::Copied<btree_set::Iter<'_, u64>> {
        self.0.iter().copied()
    }

    pub(super) fn ids(&self) -> &BTreeSet<u64> {
        &self.0
    }

    /// How many ids are in one of the two sets only.
    pub fn differing(&self, other: &Majority) -> usize {
        self.0.symmetric_difference(&other.0).count()
    }

    /// How many voters make a quorum.
    pub fn quorum(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// The highest index that a majority has acknowledged; [`UNBOUNDED`] for the empty set. `acked` gives `None` for a voter not heard of.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        let count = self.0.len();
        if count == 0 {
            return UNBOUNDED;
        }
        let mut stack = [0; ON_STACK];
        let mut heap = Vec::new();
        let indexes = if count <= ON_STACK {
            &mut stack[..count]
        } else {
            heap.resize(count, 0);
            heap.as_mut_slice()
        };
        // A voter not heard of counts as one that has nothing.
        for (slot, id) in indexes.iter_mut().zip(self.iter()) {
            *slot = acked(id).unwrap_or(0);
        }
        indexes.sort_unstable();
        indexes[count - self.quorum()]
    }

    /// Where the vote stands. The empty set has won, so that a joint quorum with one empty half behaves like the other half.
    pub fn vote_result(&self, vote: impl Fn(u64) -> Option<bool>) -> VoteResult {
        if self.0.is_empty() {
            return VoteResult::Won;
        }
        let (mut granted, mut missing) = (0, 0);
        for id in self.iter() {
            match vote(id) {
                Some(true) => granted += 1,
                Some(false) => {}
                None => missing += 1,
            }
        }
        if granted >= self.quorum() {
            VoteResult::Won
        } else if granted + missing >= self.quorum() {
            VoteResult::Pending
        } else {
            VoteResult::Lost
        }
    }

    /// A table of what each voter has acknowledged, with a bar that is the longer the more voters are behind; `?` marks one not heard of.
    pub fn describe(&self, acked: impl Fn(u64) -> Option<u64>) -> String {
        use fmt::Write;
        if self.0.is_empty() {
            return "<empty majority quorum>".to_owned();
        }
        let width = self.0.len();
        let rows: Vec<(u64, Option<u64>)> = self.iter().map(|id| (id, acked(id))).collect();
        let mut text = format!("{:width$}    idx\n", "");
        for &(id, index) in &rows {
            let shown = index.unwrap_or(0);
            let bar = match index {
                None => "?".to_owned(),
                // Equal indexes have equal bars: only those strictly behind count.
                Some(index) => {
                    let behind = rows.iter().filter(|(_, other)| other.unwrap_or(0) < index).count();
                    "x".repeat(behind) + ">"
                }
            };
            let _ = writeln!(
                text,
                "{bar:<bar_width$} {:>5}    (id={id})",
                ShownIndex(shown),
                bar_width = width + 1
            );
        }
        text
    }
}

impl FromIterator<u64> for Majority {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        Majority(ids.into_iter().collect())
    }
}

impl fmt::Display for Majority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_ids(f, &self.0)
    }
}

/// `(1 2 3)`.
fn show_ids(f: &mut fmt::Formatter<'_>, ids: &BTreeSet<u64>) -> fmt::Result {
    f.write_str("(")?;
    for (nth, id) in ids.iter().enumerate() {
        let gap = if nth > 0 { " " } else { "" };
        write!(f, "{gap}{id}")?;
    }
    f.write_str(")")
}
