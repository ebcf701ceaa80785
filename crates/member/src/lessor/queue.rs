//! Leases by the time at which to look at them next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::lease::{Lease, nanos};

/// Revoked leases that may stay in a queue before it is cleaned.
const SLACK: usize = 4_096;

#[derive(Debug)]
struct Entry {
    at: u64,
    lease: Arc<Lease>,
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.lease.id.0).cmp(&(self.at, self.lease.id.0))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// A heap of leases. A revoked lease stays until it comes up, or until they are too many.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
}

impl Queue {
    pub fn push(&mut self, at: u64, lease: Arc<Lease>) {
        self.heap.push(Entry { at, lease });
    }

    pub fn clear(&mut self) {
        self.heap.clear();
    }

    /// Takes everything new at once, in linear time.
    pub fn rebuild(&mut self, entries: impl Iterator<Item = (u64, Arc<Lease>)>) {
        self.heap = entries.map(|(at, lease)| Entry { at, lease }).collect();
    }

    /// The next lease whose time has come.
    pub fn pop_due(&mut self, now: Duration) -> Option<Arc<Lease>> {
        while self.heap.peek().is_some_and(|entry| entry.at <= nanos(now)) {
            let entry = self.heap.pop()?;
            if !entry.lease.is_revoked() {
                return Some(entry.lease);
            }
        }
        None
    }

    /// Long leases that are granted and revoked all day must not pile up here until they would have run out.
    pub fn drop_revoked_beyond(&mut self, live: usize) {
        if self.heap.len() > 2 * live + SLACK {
            self.heap.retain(|entry| !entry.lease.is_revoked());
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}
