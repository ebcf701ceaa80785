//! The bytes between members: raft messages, the two kinds of streams, their limits.
//!
//! Pure: bytes in, messages out. Never trusts a length: nothing is allocated for bytes
//! that have not arrived, and what is longer than its limit is refused. Never panics on what a peer sends.

mod encode;
mod message;
mod msgapp;

pub use encode::{entry_len, message_len, put_entry, put_message};
pub use message::{MessageDecoder, put_link_heartbeat, put_stream_message};
pub use msgapp::{MsgAppDecoder, MsgAppEncoder, put_msgapp_heartbeat};

use api::pb::raftpb::{Message, MessageType, Snapshot};
use bytes::{Bytes, BytesMut};

/// Largest frame of a stream, in bytes.
pub const STREAM_LIMIT: u64 = 512 * 1024 * 1024;
/// Largest message before the image of a snapshot, in bytes.
pub const SNAPSHOT_MESSAGE_LIMIT: u64 = 64 * 1024 * 1024;

/// What is wrong with bytes from a peer. The connection they came on is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("a frame of {length} bytes is longer than the limit of {limit} bytes")]
    TooLong { length: u64, limit: u64 },
    #[error("failed to parse type {0} in msgappv2 stream")]
    UnknownType(u8),
    #[error("not a raft message: {0}")]
    NotAMessage(#[from] prost::DecodeError),
    #[error("unexpected end after {0} bytes of a frame")]
    CutOff(usize),
}

/// What a stream carries.
// Read, looked at and passed on: a box would cost an allocation for every message and save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// Says that the link is alive; not for raft.
    LinkHeartbeat,
    Message(Message),
}

/// Decodes one bare message; payloads share `bytes`.
///
/// # Errors
/// [`CodecError::NotAMessage`].
pub fn decode_message(bytes: Bytes) -> Result<Message, CodecError> {
    let mut message: Message = prost::Message::decode(bytes)?;
    // 3.5 sends an empty snapshot with every message.
    if message.r#type() != MessageType::MsgSnap && message.snapshot.as_ref().is_some_and(is_empty_snapshot) {
        message.snapshot = None;
    }
    Ok(message)
}

/// A bare message, as the pipeline posts it.
pub fn encode_message(message: &Message) -> Bytes {
    let length = message_len(message);
    let mut out = BytesMut::with_capacity(length);
    put_message(message, &mut out);
    assert_eq!(out.len(), length, "a message has the length that was announced");
    out.freeze()
}

/// As raft sees it: a snapshot at index 0 is none.
fn is_empty_snapshot(snapshot: &Snapshot) -> bool {
    snapshot.metadata.as_ref().is_none_or(|metadata| metadata.index() == 0)
}

/// The number at the start of `bytes`, if it has arrived.
fn peek_u64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|first| u64::from_be_bytes(*first))
}

/// A frame's length, which must not pass the limit.
fn checked_length(length: u64, limit: u64) -> Result<usize, CodecError> {
    let too_long = CodecError::TooLong { length, limit };
    if length > limit {
        return Err(too_long);
    }
    usize::try_from(length).map_err(|_| too_long)
}
