//! Events, and the one encoding of each that all its watchers share.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::History;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// The value a key had before a change, for watchers that ask for it.
#[derive(Clone, Debug)]
pub enum Previous {
    /// There was none.
    None,
    /// The stored `mvccpb.KeyValue`.
    Known(Bytes),
    /// To be looked up with [`History::value_before`] for the first watcher that wants it.
    Lookup,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub key: Bytes,
    /// The `mvccpb.KeyValue` as stored (a tombstone's holds the key alone; its mod revision is added here).
    pub kv: Bytes,
    pub previous: Previous,
}

/// The changes of one write transaction, in order.
#[derive(Clone, Debug)]
pub struct TxnEvents {
    pub revision: i64,
    pub events: Vec<Event>,
}

/// Field tags of `mvccpb.Event` and `mvccpb.KeyValue`, with their wire types.
mod tag {
    pub const EVENT_TYPE: u8 = 1 << 3;
    pub const EVENT_KV: u8 = 2 << 3 | 2;
    pub const EVENT_PREV_KV: u8 = 3 << 3 | 2;
    pub const KV_KEY: u8 = 1 << 3 | 2;
    pub const KV_MOD_REVISION: u8 = 3 << 3;
}

/// An event with its revision, shared by the log and all who still have to send it.
#[derive(Debug)]
pub(super) struct SharedEvent {
    pub revision: i64,
    pub event: Event,
    plain: OnceLock<Bytes>,
    with_previous: OnceLock<Bytes>,
}

impl SharedEvent {
    pub fn new(revision: i64, mut event: Event) -> SharedEvent {
        // The key as it came may be a piece of a whole request, which would then live as long as the event does.
        let start = message_len(event.key.len()) - event.key.len();
        if event.kv.get(start..start + event.key.len()) == Some(&event.key[..]) {
            event.key = event.kv.slice(start..start + event.key.len());
        }
        SharedEvent {
            revision,
            event,
            plain: OnceLock::new(),
            with_previous: OnceLock::new(),
        }
    }

    /// About what it takes in memory and on the wire, in bytes.
    pub fn size(&self) -> usize {
        self.event.key.len() + self.event.kv.len() + 64
    }

    /// The encoded `mvccpb.Event` without `prev_kv`.
    pub fn plain(&self) -> &Bytes {
        self.plain.get_or_init(|| {
            let mut out = BytesMut::with_capacity(self.event.kv.len() + 32);
            match self.event.kind {
                EventKind::Put => put_message(tag::EVENT_KV, &self.event.kv, &mut out),
                EventKind::Delete => {
                    out.put_slice(&[tag::EVENT_TYPE, 1]);
                    let mut kv = BytesMut::with_capacity(self.event.key.len() + 24);
                    if !self.event.key.is_empty() {
                        put_message(tag::KV_KEY, &self.event.key, &mut kv);
                    }
                    kv.put_u8(tag::KV_MOD_REVISION);
                    encode_varint(self.revision as u64, &mut kv);
                    put_message(tag::EVENT_KV, &kv, &mut out);
                }
            }
            out.freeze()
        })
    }

    /// The same with `prev_kv`, if there was a value and it can still be had.
    pub fn with_previous(&self, history: &dyn History) -> &Bytes {
        self.with_previous.get_or_init(|| {
            let looked_up;
            let previous = match &self.event.previous {
                Previous::None => return self.plain().clone(),
                Previous::Known(previous) => previous,
                Previous::Lookup => match history.value_before(&self.event.key, self.revision) {
                    None => return self.plain().clone(),
                    Some(found) => {
                        looked_up = found;
                        &looked_up
                    }
                },
            };
            let plain = self.plain();
            let mut out = BytesMut::with_capacity(plain.len() + previous.len() + 8);
            out.put_slice(plain);
            put_message(tag::EVENT_PREV_KV, previous, &mut out);
            out.freeze()
        })
    }
}

/// Appends a length-delimited field.
pub(super) fn put_message(tag: u8, message: &[u8], out: &mut impl BufMut) {
    out.put_u8(tag);
    encode_varint(message.len() as u64, out);
    out.put_slice(message);
}

/// Length of a length-delimited field with a tag of one byte.
pub(super) fn message_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// An event as the `key` bucket has it; `None` if the bytes are not an `mvccpb.KeyValue`.
pub(super) fn stored_event(tombstone: bool, kv: Bytes) -> Option<Event> {
    let parsed = crate::kv::Kv::parse(&kv).ok()?;
    let key = kv.slice_ref(parsed.key);
    let created = !tombstone && parsed.create_revision == parsed.mod_revision;
    Some(Event {
        kind: if tombstone { EventKind::Delete } else { EventKind::Put },
        key,
        // Not even if there was one that the same transaction deleted.
        previous: if created { Previous::None } else { Previous::Lookup },
        kv,
    })
}

/// Events that go to one or more watchers in one answer.
#[derive(Debug)]
pub(super) struct EventList {
    events: Vec<Arc<SharedEvent>>,
    size: usize,
    plain: OnceLock<Arc<[Bytes]>>,
    with_previous: OnceLock<Arc<[Bytes]>>,
}

impl EventList {
    pub fn new(events: Vec<Arc<SharedEvent>>) -> EventList {
        assert!(!events.is_empty(), "an answer without events");
        let size = events.iter().map(|event| event.size()).sum();
        EventList {
            events,
            size,
            plain: OnceLock::new(),
            with_previous: OnceLock::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn plain(&self) -> Arc<[Bytes]> {
        self.plain
            .get_or_init(|| self.events.iter().map(|event| event.plain().clone()).collect())
            .clone()
    }

    /// `compacted`: what was before a change at or below it can no longer be asked for, and so is not told either.
    pub fn with_previous(&self, history: &dyn History, compacted: i64) -> Arc<[Bytes]> {
        let encode = |event: &Arc<SharedEvent>| {
            if event.revision <= compacted {
                event.plain().clone()
            } else {
                event.with_previous(history).clone()
            }
        };
        self.with_previous.get_or_init(|| self.events.iter().map(encode).collect()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_does_not_hold_the_request() {
        let request = Bytes::from(vec![b'k'; 300]);
        let key = request.slice(20..220);
        let stored = api::pb::mvccpb::KeyValue {
            key: key.clone(),
            mod_revision: 5,
            ..Default::default()
        };
        let kv = Bytes::from(prost::Message::encode_to_vec(&stored));
        drop(stored);
        let shared = SharedEvent::new(
            5,
            Event {
                kind: EventKind::Put,
                key: key.clone(),
                kv,
                previous: Previous::None,
            },
        );
        assert_eq!(shared.event.key, key);
        drop(key);
        assert!(request.is_unique());
    }
}
