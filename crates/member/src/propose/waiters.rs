//! Who waits for which request.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

const SHARDS: usize = 32;

/// Request ids differ in their low bits by construction: they are their own hash.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, id: u64) {
        // The map takes its bucket from the low bits and its tag from the top seven, which all ids of a member share.
        self.0 = id ^ (id << 57);
    }
}

type Shard<W> = Mutex<HashMap<u64, W, BuildHasherDefault<IdHasher>>>;

/// Waiters by request id. `W` is whatever the shell answers with: a one-shot sender, a callback, a slot in a table.
#[derive(Debug)]
pub struct Waiters<W> {
    shards: Box<[Shard<W>]>,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Waiters::new()
    }
}

impl<W> Waiters<W> {
    pub fn new() -> Waiters<W> {
        Waiters {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, id: u64) -> &Shard<W> {
        &self.shards[id as usize % SHARDS]
    }

    /// Registers a waiter. It has to happen before the request is proposed, else the answer may come first.
    ///
    /// # Panics
    /// If the id is in use: ids are unique.
    pub fn register(&self, id: u64, waiter: W) {
        let before = self.shard(id).lock().insert(id, waiter);
        assert!(before.is_none(), "two requests with the id {id:x}");
    }

    /// Takes the waiter out: to answer it, or because it has given up.
    pub fn take(&self, id: u64) -> Option<W> {
        self.shard(id).lock().remove(&id)
    }

    pub fn is_registered(&self, id: u64) -> bool {
        self.shard(id).lock().contains_key(&id)
    }

    /// Takes all waiters, for the end of the process.
    pub fn take_all(&self) -> Vec<(u64, W)> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waiter_is_taken_once() {
        let waiters = Waiters::new();
        for id in 0..1000u64 {
            waiters.register(id, id * 2);
        }
        assert!(waiters.is_registered(999));
        for id in 0..500 {
            assert_eq!(waiters.take(id), Some(id * 2));
            assert_eq!(waiters.take(id), None);
        }
        assert_eq!(waiters.take_all().len(), 500);
    }
}
