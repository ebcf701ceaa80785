//! The open streams of a connection: found by their number, kept in reused slots.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use tokio::time::Instant;

use crate::ready::{Ready, SlotWaker};

/// One stream, with what its role keeps about it.
pub(crate) struct Stream<T> {
    pub id: u32,
    pub opened: Instant,
    /// Bytes that we may send.
    pub send_window: i64,
    /// Bytes that the peer may send.
    pub recv_window: i64,
    /// Bytes received and not given back to the peer's window.
    pub recv_unacked: u32,
    /// The peer has ended its side.
    pub remote_closed: bool,
    /// Already waits to be pumped.
    pub queued: bool,
    pub call: T,
}

/// Stream numbers are already spread; a multiplication is hash enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

struct Slot<T> {
    stream: Option<Stream<T>>,
    waker: Option<Arc<SlotWaker>>,
}

/// The table of streams.
pub(crate) struct Streams<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    by_id: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
}

impl<T> Streams<T> {
    pub(crate) fn new() -> Streams<T> {
        Streams {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&mut self, slot: u32) -> Option<&mut Stream<T>> {
        self.slots.get_mut(slot as usize)?.stream.as_mut()
    }

    pub(crate) fn insert(&mut self, stream: Stream<T>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { stream: None, waker: None });
            (self.slots.len() - 1) as u32
        });
        let before = self.by_id.insert(stream.id, slot);
        assert!(before.is_none(), "a stream opened twice");
        let place = &mut self.slots[slot as usize].stream;
        assert!(place.is_none(), "a slot used twice");
        *place = Some(stream);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Stream<T>> {
        let stream = self.slots.get_mut(slot as usize)?.stream.take()?;
        self.by_id.remove(&stream.id);
        self.free.push(slot);
        Some(stream)
    }

    /// The slots in use.
    pub(crate) fn occupied(&self) -> Vec<u32> {
        self.by_id.values().copied().collect()
    }

    /// The slot's waker, made when first asked for.
    pub(crate) fn waker(&mut self, slot: u32, ready: &Arc<Ready>) -> Arc<SlotWaker> {
        let waker = &mut self.slots[slot as usize].waker;
        waker.get_or_insert_with(|| SlotWaker::new(ready, slot)).clone()
    }

    /// Called before a woken slot is looked at.
    pub(crate) fn rearm(&self, slot: u32) {
        if let Some(waker) = self.slots.get(slot as usize).and_then(|slot| slot.waker.as_ref()) {
            waker.rearm();
        }
    }
}
