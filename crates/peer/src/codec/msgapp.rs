//! The `msgapp` stream, version 2: in steady state an append goes without the fields that both ends know already.
//!
//! Both ends keep the term and the index after the last append of the connection. An append that continues exactly there is
//! sent as its entries and the commit index; any other one goes whole and sets the state anew.

use api::pb::raftpb::{Entry, Message, MessageType};
use bytes::{Buf, BufMut, BytesMut};

use super::message::BUFFER_BYTES;
use super::{CodecError, Frame, STREAM_LIMIT, checked_length, decode_message, encode, peek_u64};

const LINK_HEARTBEAT: u8 = 0;
const ENTRIES: u8 = 1;
const MESSAGE: u8 = 2;

/// Where the last append of this connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    term: u64,
    index: u64,
}

impl Place {
    fn after(message: &Message) -> Place {
        Place {
            term: message.term(),
            index: message.entries.last().map_or(message.index(), Entry::index),
        }
    }

    fn advance(&mut self, entries: usize) {
        // Wraps like Go: a peer may announce any index, and a wrong one is raft's to refuse.
        self.index = self.index.wrapping_add(entries as u64);
    }
}

/// Appends the frame that says "alive".
pub fn put_msgapp_heartbeat(out: &mut BytesMut) {
    out.put_u8(LINK_HEARTBEAT);
}

/// Writes one connection's stream.
#[derive(Debug, Default)]
pub struct MsgAppEncoder {
    place: Place,
}

impl MsgAppEncoder {
    /// Appends one frame.
    pub fn put(&mut self, message: &Message, out: &mut BytesMut) {
        let continues = message.index() == self.place.index && message.log_term() == self.place.term && message.term() == self.place.term;
        if continues {
            self.put_entries(message, out);
        } else {
            let length = encode::message_len(message);
            out.reserve(9 + length);
            out.put_u8(MESSAGE);
            out.put_u64(length as u64);
            encode::put_message(message, out);
            self.place = Place::after(message);
        }
    }

    fn put_entries(&mut self, message: &Message, out: &mut BytesMut) {
        out.put_u8(ENTRIES);
        out.put_u64(message.entries.len() as u64);
        for entry in &message.entries {
            let length = encode::entry_len(entry);
            out.reserve(8 + length);
            out.put_u64(length as u64);
            encode::put_entry(entry, out);
        }
        out.put_u64(message.commit());
        self.place.advance(message.entries.len());
    }
}

/// What the decoder waits for.
#[derive(Debug)]
enum Stage {
    Frame,
    /// Entries yet to come, those that have come, and their bytes.
    Entries {
        left: u64,
        entries: Vec<Entry>,
        taken: u64,
    },
}

/// Reads one connection's stream, fed as bytes arrive.
pub struct MsgAppDecoder {
    from: u64,
    to: u64,
    place: Place,
    stage: Stage,
    buffer: BytesMut,
    limit: u64,
}

impl MsgAppDecoder {
    /// A decoder of what `from` sends to `to`.
    pub fn new(from: u64, to: u64) -> MsgAppDecoder {
        MsgAppDecoder::with_limit(from, to, STREAM_LIMIT)
    }

    /// A decoder that refuses frames of more than `limit` bytes.
    pub fn with_limit(from: u64, to: u64, limit: u64) -> MsgAppDecoder {
        MsgAppDecoder {
            from,
            to,
            place: Place::default(),
            stage: Stage::Frame,
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            limit,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that have arrived and belong to no frame yet.
    pub fn unread(&self) -> usize {
        let inside = match &self.stage {
            Stage::Frame => 0,
            Stage::Entries { taken, .. } => *taken as usize + 9,
        };
        self.buffer.len() + inside
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// The stream is of no more use.
    pub fn frame(&mut self) -> Result<Option<Frame>, CodecError> {
        if matches!(self.stage, Stage::Entries { .. }) {
            return self.entries();
        }
        let Some(kind) = self.buffer.first().copied() else {
            return Ok(None);
        };
        match kind {
            LINK_HEARTBEAT => {
                self.buffer.advance(1);
                Ok(Some(Frame::LinkHeartbeat))
            }
            ENTRIES => {
                let Some(left) = peek_u64(&self.buffer[1..]) else {
                    return Ok(None);
                };
                // An entry takes eight bytes at least: a count that cannot fit is refused at once.
                checked_length(left.saturating_mul(8), self.limit)?;
                self.buffer.advance(9);
                self.stage = Stage::Entries {
                    left,
                    entries: Vec::new(),
                    taken: 0,
                };
                self.entries()
            }
            MESSAGE => self.message(),
            other => Err(CodecError::UnknownType(other)),
        }
    }

    fn message(&mut self) -> Result<Option<Frame>, CodecError> {
        let Some(length) = peek_u64(&self.buffer[1..]) else {
            return Ok(None);
        };
        let length = checked_length(length, self.limit)?;
        if self.buffer.len() - 9 < length {
            return Ok(None);
        }
        self.buffer.advance(9);
        let message = decode_message(self.buffer.split_to(length).freeze())?;
        self.place = Place::after(&message);
        Ok(Some(Frame::Message(message)))
    }

    fn entries(&mut self) -> Result<Option<Frame>, CodecError> {
        let Stage::Entries { left, entries, taken } = &mut self.stage else {
            unreachable!("only called inside a frame of entries");
        };
        while *left > 0 {
            let Some(length) = peek_u64(&self.buffer) else {
                return Ok(None);
            };
            let total = taken.saturating_add(length).saturating_add(8);
            checked_length(total, self.limit)?;
            let length = checked_length(length, self.limit)?;
            if self.buffer.len() - 8 < length {
                return Ok(None);
            }
            self.buffer.advance(8);
            entries.push(prost::Message::decode(self.buffer.split_to(length).freeze())?);
            *taken = total;
            *left -= 1;
        }
        let Some(commit) = peek_u64(&self.buffer) else {
            return Ok(None);
        };
        self.buffer.advance(8);
        let entries = std::mem::take(entries);
        self.stage = Stage::Frame;
        Ok(Some(Frame::Message(self.rebuild(entries, commit))))
    }

    fn rebuild(&mut self, entries: Vec<Entry>, commit: u64) -> Message {
        let Place { term, index } = self.place;
        self.place.advance(entries.len());
        Message {
            r#type: Some(MessageType::MsgApp as i32),
            from: Some(self.from),
            to: Some(self.to),
            term: Some(term),
            log_term: Some(term),
            index: Some(index),
            entries,
            commit: Some(commit),
            ..Message::default()
        }
    }
}
