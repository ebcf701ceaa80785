//! Records as bytes: the frame around a record, the record's fields, and the running checksum (`contract/data-dir.md` 2.1 and 2.2).
//!
//! Encoding is by hand, because it has to be cheap (an entry is encoded once, straight into the write buffer) and because it must
//! write every scalar even when it is zero: 3.5 and 3.6 always do, and read so.

use api::pb::raftpb::{ConfState, Entry, HardState};
use api::pb::walpb;

/// The length field before a record.
pub(crate) const FRAME_BYTES: u64 = 8;

/// The record types of the log.
pub mod kind {
    pub const METADATA: i64 = 1;
    pub const ENTRY: i64 = 2;
    pub const HARD_STATE: i64 = 3;
    pub const CRC: i64 = 4;
    pub const SNAPSHOT: i64 = 5;
}

/// What a length field says: the record's bytes and the padding after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) len: u64,
    pub(crate) pad: u64,
}

impl Frame {
    pub(crate) fn of(len: u64) -> Frame {
        Frame {
            len,
            pad: len.wrapping_neg() & 7,
        }
    }

    pub(crate) fn decode(field: u64) -> Frame {
        let padded = field >> 63 == 1;
        Frame {
            len: field & (u64::MAX >> 8),
            pad: if padded { (field >> 56) & 7 } else { 0 },
        }
    }

    pub(crate) fn encode(self) -> u64 {
        if self.pad == 0 {
            self.len
        } else {
            self.len | (0x80 | self.pad) << 56
        }
    }

    /// The whole frame: length field, record, padding.
    pub(crate) fn total(self) -> u64 {
        FRAME_BYTES + self.len + self.pad
    }
}

/// Encodes records one behind the other and carries the running checksum. The buffer is kept between batches.
pub(crate) struct Encoder {
    buffer: Vec<u8>,
    crc: u32,
}

impl Encoder {
    /// Goes on with the running checksum of what the file holds.
    pub(crate) fn new(crc: u32) -> Encoder {
        Encoder { buffer: Vec::new(), crc }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The running checksum after all that was encoded.
    pub(crate) fn running_crc(&self) -> u32 {
        self.crc
    }

    pub(crate) fn clear(&mut self) {
        // One huge batch must not hold its memory for ever.
        if self.buffer.capacity() > 8 << 20 {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
    }

    /// The checksum record, first in every segment: no data, the running value so far.
    pub(crate) fn crc(&mut self) {
        self.frame(kind::CRC, None);
    }

    pub(crate) fn metadata(&mut self, metadata: &[u8]) {
        self.record(kind::METADATA, metadata, &[]);
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        let mut head = Small::new();
        head.field(1, varint_of(entry.r#type));
        head.field(2, entry.term.unwrap_or(0));
        head.field(3, entry.index.unwrap_or(0));
        match &entry.data {
            None => self.record(kind::ENTRY, head.bytes(), &[]),
            Some(data) => {
                head.tag_and_len(4, data.len() as u64);
                self.record(kind::ENTRY, head.bytes(), data);
            }
        }
    }

    pub(crate) fn hard_state(&mut self, state: &HardState) {
        let mut body = Small::new();
        body.field(1, state.term.unwrap_or(0));
        body.field(2, state.vote.unwrap_or(0));
        body.field(3, state.commit.unwrap_or(0));
        self.record(kind::HARD_STATE, body.bytes(), &[]);
    }

    pub(crate) fn snapshot(&mut self, snapshot: &walpb::Snapshot) {
        let mut head = Small::new();
        head.field(1, snapshot.index.unwrap_or(0));
        head.field(2, snapshot.term.unwrap_or(0));
        match &snapshot.conf_state {
            None => self.record(kind::SNAPSHOT, head.bytes(), &[]),
            Some(conf_state) => {
                let body = encode_conf_state(conf_state);
                head.tag_and_len(3, body.len() as u64);
                self.record(kind::SNAPSHOT, head.bytes(), &body);
            }
        }
    }

    /// A record whose data is two pieces one behind the other: an entry's own data is not copied to be put together.
    fn record(&mut self, kind: i64, first: &[u8], second: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, first);
        self.crc = crc32c::crc32c_append(self.crc, second);
        self.frame(kind, Some((first, second)));
    }

    fn frame(&mut self, kind: i64, data: Option<(&[u8], &[u8])>) {
        let mut head = Small::new();
        head.field(1, kind.cast_unsigned());
        head.field(2, u64::from(self.crc));
        let data = data.filter(|(first, second)| !first.is_empty() || !second.is_empty());
        let (first, second) = data.unwrap_or_default();
        if data.is_some() {
            head.tag_and_len(3, (first.len() + second.len()) as u64);
        }
        let frame = Frame::of((head.bytes().len() + first.len() + second.len()) as u64);
        self.buffer.extend_from_slice(&frame.encode().to_le_bytes());
        self.buffer.extend_from_slice(head.bytes());
        self.buffer.extend_from_slice(first);
        self.buffer.extend_from_slice(second);
        self.buffer.extend_from_slice(&[0; 7][..frame.pad as usize]);
    }
}

/// An enumeration goes onto the wire sign-extended.
fn varint_of(value: Option<i32>) -> u64 {
    i64::from(value.unwrap_or(0)).cast_unsigned()
}

/// ConfState with `auto_leave` always there and the lists unpacked.
pub(crate) fn encode_conf_state(conf_state: &ConfState) -> Vec<u8> {
    use prost::Message;
    let all = ConfState {
        auto_leave: Some(conf_state.auto_leave.unwrap_or(false)),
        ..conf_state.clone()
    };
    all.encode_to_vec()
}

/// A few fields on the stack: at most four tags with ten-byte numbers.
struct Small {
    bytes: [u8; 44],
    len: usize,
}

impl Small {
    fn new() -> Small {
        Small { bytes: [0; 44], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn field(&mut self, number: u8, value: u64) {
        self.push(number << 3);
        self.varint(value);
    }

    fn tag_and_len(&mut self, number: u8, len: u64) {
        self.push(number << 3 | 2);
        self.varint(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_their_padding_in_the_top_byte() {
        for (len, field) in [(4, 0x8400_0000_0000_0004), (18, 0x8600_0000_0000_0012), (8, 8)] {
            let frame = Frame::of(len);
            assert_eq!(frame.encode(), field);
            assert_eq!(Frame::decode(field), frame);
            assert_eq!(frame.total() % 8, 0);
        }
        assert_eq!(Frame::decode(0x7f00_0000_0000_0001), Frame { len: 1, pad: 0 });
    }

    /// `data-dir.md` 2.1: the start of a segment from the reference's test data.
    #[test]
    fn the_start_of_a_segment_is_etcds() {
        let mut encoder = Encoder::new(0);
        encoder.crc();
        encoder.metadata(b"somedata");
        encoder.snapshot(&walpb::Snapshot::default());
        let golden = "040000000000008408041000000000001200000000000086080110\
                      85d4fda0071a08736f6d65646174610000000000000e000000000000820805\
                      1080db81c1011a04080010000000";
        let hex: String = encoder.bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn what_is_written_is_what_protobuf_would_write() {
        use prost::Message;
        let entry = Entry {
            r#type: Some(1),
            term: Some(300),
            index: Some(u64::MAX),
            data: Some(bytes::Bytes::from_static(b"payload")),
        };
        let mut encoder = Encoder::new(7);
        encoder.entry(&entry);
        let data = entry.encode_to_vec();
        let record = walpb::Record {
            r#type: Some(kind::ENTRY),
            crc: Some(crc32c::crc32c_append(7, &data)),
            data: Some(data.into()),
        };
        let record = record.encode_to_vec();
        assert_eq!(&encoder.bytes()[8..8 + record.len()], record);
    }
}
