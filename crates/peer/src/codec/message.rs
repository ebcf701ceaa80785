//! The `message` stream: a length, then a message, again and again.

use api::pb::raftpb::{Message, MessageType};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CodecError, Frame, STREAM_LIMIT, checked_length, decode_message, encode, peek_u64};

/// What a decoder takes from the allocator at a time.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// Appends one frame.
pub fn put_stream_message(message: &Message, out: &mut BytesMut) {
    let length = encode::message_len(message);
    out.reserve(8 + length);
    out.put_u64(length as u64);
    encode::put_message(message, out);
}

/// Appends the frame that says "alive": a heartbeat from nobody to nobody.
pub fn put_link_heartbeat(out: &mut BytesMut) {
    let heartbeat = Message {
        r#type: Some(MessageType::MsgHeartbeat as i32),
        ..Message::default()
    };
    put_stream_message(&heartbeat, out);
}

pub(super) fn is_link_heartbeat(message: &Message) -> bool {
    message.r#type() == MessageType::MsgHeartbeat && message.from() == 0 && message.to() == 0
}

/// Reads the stream, fed as bytes arrive.
pub struct MessageDecoder {
    buffer: BytesMut,
    limit: u64,
}

impl Default for MessageDecoder {
    fn default() -> MessageDecoder {
        MessageDecoder::with_limit(STREAM_LIMIT)
    }
}

impl MessageDecoder {
    /// A decoder that refuses frames of more than `limit` bytes.
    pub fn with_limit(limit: u64) -> MessageDecoder {
        MessageDecoder {
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            limit,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// The stream is of no more use.
    pub fn frame(&mut self) -> Result<Option<Frame>, CodecError> {
        let Some(length) = peek_u64(&self.buffer) else {
            return Ok(None);
        };
        let length = checked_length(length, self.limit)?;
        if self.buffer.len() - 8 < length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let message = decode_message(self.buffer.split_to(length).freeze())?;
        Ok(Some(if is_link_heartbeat(&message) {
            Frame::LinkHeartbeat
        } else {
            Frame::Message(message)
        }))
    }

    /// Bytes that have arrived and belong to no frame yet.
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// What came behind the last frame.
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_heartbeats_of_every_version() {
        let v3_7 = "0808";
        let v3_6 = "0808100018002000280030004000500058006800";
        let v3_5 = "08081000180020002800300040004a0a12080a0228001000180050005800";
        for hex in [v3_7, v3_6, v3_5] {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let mut decoder = MessageDecoder::default();
            decoder.push(&(bytes.len() as u64).to_be_bytes());
            decoder.push(&bytes);
            assert_eq!(decoder.frame().unwrap(), Some(Frame::LinkHeartbeat), "{hex}");
            assert_eq!(decoder.unread(), 0);
        }
    }

    #[test]
    fn our_link_heartbeat_is_the_form_of_3_6_without_the_vote() {
        let mut out = BytesMut::new();
        put_link_heartbeat(&mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0000000000000012080810001800200028003000400050005800");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() {
        for length in [11, u64::MAX, 1 << 40] {
            let mut decoder = MessageDecoder::with_limit(10);
            decoder.push(&length.to_be_bytes());
            assert!(matches!(decoder.frame(), Err(CodecError::TooLong { .. })));
        }
    }
}
