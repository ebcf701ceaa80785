//! When which call runs out of time. Calls that ended are only forgotten when their moment comes, or when they are the most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// Entries that may lie here before ended calls are looked for.
const SWEEP_FROM: usize = 1024;

#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    sweep_at: usize,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at: Instant, slot: u32, id: u32, is_open: impl FnMut(u32) -> bool) {
        let mut is_open = is_open;
        if self.heap.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.heap.retain(|Reverse((_, _, id))| is_open(*id));
            self.sweep_at = 2 * self.heap.len();
        }
        self.heap.push(Reverse((at, slot, id)));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes a call whose moment has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(u32, u32)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, slot, id))| (slot, id))
    }
}
