//! The window of appends that a member has not answered yet, limited by their number and by their bytes.

use std::collections::VecDeque;

/// Appends in flight, oldest first, each by the index of its last entry.
#[derive(Debug, Clone)]
pub struct Inflights {
    appends: VecDeque<Append>,
    bytes: u64,
    max_count: usize,
    /// 0 means no limit.
    max_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Append {
    last_index: u64,
    bytes: u64,
}

impl Inflights {
    /// Nothing in flight. Memory is taken as the window fills: a follower that keeps up never needs the whole of it.
    pub fn new(max_count: usize, max_bytes: u64) -> Self {
        Inflights {
            appends: VecDeque::new(),
            bytes: 0,
            max_count,
            max_bytes,
        }
    }

    /// Notes an append whose last entry is `last_index`. Indexes ascend.
    ///
    /// # Panics
    /// When full: the caller has asked before.
    pub fn add(&mut self, last_index: u64, bytes: u64) {
        assert!(!self.is_full(), "cannot add into a Full inflights");
        assert!(
            self.appends.back().is_none_or(|newest| newest.last_index <= last_index),
            "appends are noted in the order of the log"
        );
        self.appends.push_back(Append { last_index, bytes });
        self.bytes += bytes;
    }

    /// Everything up to `index` was answered.
    pub fn free_to(&mut self, index: u64) {
        while let Some(oldest) = self.appends.front().filter(|append| append.last_index <= index) {
            self.bytes -= oldest.bytes;
            self.appends.pop_front();
        }
    }

    /// Whether nothing more may be sent. One append may go over the limit of bytes: the one after it may not start.
    pub fn is_full(&self) -> bool {
        self.appends.len() == self.max_count || (self.max_bytes != 0 && self.bytes >= self.max_bytes)
    }

    pub fn count(&self) -> usize {
        self.appends.len()
    }

    /// Forgets all that is in flight, keeps the memory.
    pub fn clear(&mut self) {
        self.appends.clear();
        self.bytes = 0;
    }
}
