//! Bytes that are no traffic at all: refused or waited for, never a panic, never memory for what has not come.

use api::pb::raftpb::Message;
use bytes::{BufMut, Bytes, BytesMut};
use peer::codec::{CodecError, Frame, MessageDecoder, MsgAppDecoder, MsgAppEncoder, decode_message, encode_message, put_stream_message};
use proptest::prelude::*;

use crate::support::append;
use api::MemberId;

/// Reads until an error or until bytes are wanting; the number of frames.
fn drain(mut next: impl FnMut() -> Result<Option<Frame>, CodecError>) -> usize {
    let mut frames = 0;
    while let Ok(Some(_)) = next() {
        frames += 1;
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let mut message = MessageDecoder::default();
        let mut msgapp = MsgAppDecoder::new(1, 2);
        for piece in bytes.chunks(cut) {
            message.push(piece);
            msgapp.push(piece);
            drain(|| message.frame());
            drain(|| msgapp.frame());
        }
        let _ = decode_message(Bytes::from(bytes));
    }

    #[test]
    fn streams_with_a_wrong_byte(place in 0usize..400, value in any::<u8>(), cut in 1usize..50) {
        let mut encoder = MsgAppEncoder::default();
        let (mut msgapp, mut message) = (BytesMut::new(), BytesMut::new());
        for index in 0..8 {
            let append = append(MemberId(1), MemberId(2), index, Bytes::from_static(b"payload"));
            encoder.put(&append, &mut msgapp);
            put_stream_message(&append, &mut message);
        }
        for stream in [&mut msgapp, &mut message] {
            let place = place % stream.len();
            stream[place] = value;
        }
        let mut decoder = MsgAppDecoder::new(1, 2);
        for piece in msgapp.chunks(cut) {
            decoder.push(piece);
            drain(|| decoder.frame());
        }
        let mut decoder = MessageDecoder::default();
        for piece in message.chunks(cut) {
            decoder.push(piece);
            drain(|| decoder.frame());
        }
    }

    #[test]
    fn entries_come_back_however_the_bytes_are_cut(sizes in proptest::collection::vec(0usize..200, 1..20), cut in 1usize..100) {
        let mut encoder = MsgAppEncoder::default();
        let mut out = BytesMut::new();
        let sent: Vec<Message> = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| append(MemberId(1), MemberId(2), index as u64, Bytes::from(vec![7; *size])))
            .collect();
        for message in &sent {
            encoder.put(message, &mut out);
        }
        let mut decoder = MsgAppDecoder::new(1, 2);
        let mut received = Vec::new();
        for piece in out.chunks(cut) {
            decoder.push(piece);
            while let Some(frame) = decoder.frame().unwrap() {
                match frame {
                    Frame::Message(message) => received.push(encode_message(&message)),
                    Frame::LinkHeartbeat => panic!("nobody sent one"),
                }
            }
        }
        prop_assert_eq!(decoder.unread(), 0);
        prop_assert_eq!(received, sent.iter().map(encode_message).collect::<Vec<_>>());
    }
}

#[test]
fn steady_appends_are_short_frames() {
    let mut encoder = MsgAppEncoder::default();
    let mut out = BytesMut::new();
    let mut kinds = Vec::new();
    // The third skips an index, so that the state has to be set anew; the fourth follows it.
    for index in [5, 6, 9, 10] {
        let start = out.len();
        encoder.put(&append(MemberId(1), MemberId(2), index, Bytes::new()), &mut out);
        kinds.push(out[start]);
    }
    assert_eq!(kinds, [2, 1, 2, 1]);
}

#[test]
fn oversized_frames_are_refused_by_their_length() {
    let refused = |bytes: &[u8]| {
        let mut decoder = MsgAppDecoder::with_limit(1, 2, 1000);
        decoder.push(bytes);
        matches!(decoder.frame(), Err(CodecError::TooLong { .. }))
    };
    let number = |value: u64| value.to_be_bytes();
    assert!(refused(&[&[2], &number(1001)[..]].concat()), "a message");
    assert!(refused(&[&[2], &number(u64::MAX)[..]].concat()), "a message without end");
    assert!(refused(&[&[1], &number(u64::MAX)[..]].concat()), "entries without number");
    assert!(refused(&[&[1], &number(126)[..]].concat()), "entries that cannot fit");
    assert!(refused(&[&[1], &number(1)[..], &number(u64::MAX)].concat()), "an entry");
    // Small entries that are too large together.
    let mut many = BytesMut::new();
    many.put_u8(1);
    many.put_u64(10);
    for _ in 0..10 {
        many.put_u64(200);
        // One unknown field of 196 bytes.
        many.put_slice(&[0xfa, 0x01, 0xc4, 0x01]);
        many.put_bytes(0, 196);
    }
    assert!(refused(&many), "entries that are too large together");
    let mut decoder = MsgAppDecoder::new(1, 2);
    decoder.push(&[3]);
    assert!(matches!(decoder.frame(), Err(CodecError::UnknownType(3))));
}

#[test]
fn an_index_at_the_end_of_all_numbers_does_not_overflow() {
    let mut encoder = MsgAppEncoder::default();
    let mut out = BytesMut::new();
    let last = append(MemberId(1), MemberId(2), u64::MAX - 1, Bytes::new());
    let beyond = Message {
        index: Some(u64::MAX),
        ..last.clone()
    };
    encoder.put(&last, &mut out);
    encoder.put(&beyond, &mut out);
    let mut decoder = MsgAppDecoder::new(1, 2);
    decoder.push(&out);
    assert_eq!(drain(|| decoder.frame()), 2);
}
