//! Answers on a watch stream, and how they look on the wire.

use api::pb::etcdserverpb::ResponseHeader;
use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use std::sync::Arc;

use super::event::{message_len, put_message};

/// One `WatchResponse`. Cluster id, member id and raft term of its header are the server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchAnswer {
    /// `header.revision`; 0 in the answer that cancels a compacted watcher.
    pub revision: i64,
    /// [`super::NO_WATCHER`] for refused creations and for the progress of the whole stream.
    pub watch_id: i64,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: String,
    pub fragment: bool,
    pub events: Events,
}

/// Encoded `mvccpb.Event` messages, shared with the answers to other watchers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events(Option<Arc<[Bytes]>>);

impl std::ops::Deref for Events {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        self.0.as_deref().unwrap_or(&[])
    }
}

impl From<Arc<[Bytes]>> for Events {
    fn from(events: Arc<[Bytes]>) -> Events {
        Events(Some(events))
    }
}

/// Field tags of `WatchResponse`, with their wire types.
mod tag {
    pub const HEADER: u8 = 1 << 3 | 2;
    pub const WATCH_ID: u8 = 2 << 3;
    pub const CREATED: u8 = 3 << 3;
    pub const CANCELED: u8 = 4 << 3;
    pub const COMPACT_REVISION: u8 = 5 << 3;
    pub const CANCEL_REASON: u8 = 6 << 3 | 2;
    pub const FRAGMENT: u8 = 7 << 3;
    pub const EVENTS: u8 = 11 << 3 | 2;
}

impl WatchAnswer {
    /// The integers before and after `cancel_reason`, by tag; those that are zero are left out of the message.
    fn numbers(&self) -> [(u8, i64); 4] {
        [
            (tag::WATCH_ID, self.watch_id),
            (tag::CREATED, i64::from(self.created)),
            (tag::CANCELED, i64::from(self.canceled)),
            (tag::COMPACT_REVISION, self.compact_revision),
        ]
    }

    fn header(&self, header: &ResponseHeader) -> ResponseHeader {
        ResponseHeader {
            revision: self.revision,
            ..*header
        }
    }

    /// Length of everything but the events.
    fn frame_len(&self, header: &ResponseHeader) -> usize {
        let numbers = self.numbers();
        let numbers = numbers
            .iter()
            .filter(|(_, n)| *n != 0)
            .map(|(_, n)| 1 + encoded_len_varint(*n as u64))
            .sum::<usize>();
        let reason = if self.cancel_reason.is_empty() {
            0
        } else {
            message_len(self.cancel_reason.len())
        };
        message_len(self.header(header).encoded_len()) + numbers + reason + 2 * usize::from(self.fragment)
    }

    /// Length of the encoded `WatchResponse`.
    pub fn encoded_len(&self, header: &ResponseHeader) -> usize {
        self.frame_len(header) + self.events.iter().map(|event| message_len(event.len())).sum::<usize>()
    }

    /// Appends all of the encoded `WatchResponse` but its events; those follow, each as [`WatchAnswer::event_prefix`] and its
    /// bytes. `header.revision` is replaced by the answer's.
    pub fn encode_frame(&self, header: &ResponseHeader, out: &mut impl BufMut) {
        let header = self.header(header);
        out.put_u8(tag::HEADER);
        encode_varint(header.encoded_len() as u64, out);
        header.encode_raw(out);
        for (tag, number) in self.numbers() {
            if number != 0 {
                out.put_u8(tag);
                encode_varint(number as u64, out);
            }
        }
        if !self.cancel_reason.is_empty() {
            put_message(tag::CANCEL_REASON, self.cancel_reason.as_bytes(), out);
        }
        if self.fragment {
            out.put_slice(&[tag::FRAGMENT, 1]);
        }
    }

    /// Appends what stands before the bytes of an event.
    pub fn event_prefix(event: &Bytes, out: &mut impl BufMut) {
        out.put_u8(tag::EVENTS);
        encode_varint(event.len() as u64, out);
    }

    /// Appends the encoded `WatchResponse`.
    pub fn encode(&self, header: &ResponseHeader, out: &mut impl BufMut) {
        self.encode_frame(header, out);
        for event in self.events.iter() {
            put_message(tag::EVENTS, event, out);
        }
    }

    /// Cuts the answer into fragments below `limit` bytes each, with at least one event in each. All but the last are marked.
    pub(super) fn fragments(self, header: &ResponseHeader, limit: usize) -> Vec<WatchAnswer> {
        if self.events.len() < 2 || self.encoded_len(header) < limit {
            return vec![self];
        }
        let frame = WatchAnswer {
            fragment: true,
            events: Events::default(),
            ..self.clone()
        }
        .frame_len(header);
        let mut fragments = Vec::new();
        let (mut first, mut len) = (0, frame);
        for (at, event) in self.events.iter().enumerate() {
            let with_event = len + message_len(event.len());
            if at > first && with_event >= limit {
                fragments.push(self.part(first..at));
                (first, len) = (at, frame + message_len(event.len()));
            } else {
                len = with_event;
            }
        }
        fragments.push(WatchAnswer {
            fragment: false,
            ..self.part(first..self.events.len())
        });
        fragments
    }

    fn part(&self, range: std::ops::Range<usize>) -> WatchAnswer {
        let events: Arc<[Bytes]> = self.events[range].into();
        WatchAnswer {
            fragment: true,
            events: events.into(),
            cancel_reason: self.cancel_reason.clone(),
            ..*self
        }
    }
}
