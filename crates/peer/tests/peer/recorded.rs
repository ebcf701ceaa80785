//! Recorded streams decode to what is written beside them, and our own encoding of the same messages is theirs, byte for byte where
//! the sender writes all scalars.

use api::pb::raftpb::{EntryType, Message, MessageType};
use bytes::BytesMut;
use peer::codec::{Frame, MessageDecoder, MsgAppDecoder, MsgAppEncoder, put_msgapp_heartbeat, put_stream_message};
use serde_json::Value;

use crate::captures::{Capture, dechunk, hex, split_head};

const CAPTURES: [&str; 6] = [
    "startup-3.5.33",
    "startup-3.6.14",
    "startup-3.7.1",
    "ops-3.7.1",
    "member-3.7.1",
    "lag-3.7.1",
];

/// The frames of one recorded stream.
fn stream_frames(kind: &str, bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    match kind {
        "msgapp" => {
            // The ends of the stream are left out in the decoded files.
            let mut decoder = MsgAppDecoder::new(0, 0);
            for piece in bytes.chunks(7) {
                decoder.push(piece);
                while let Some(frame) = decoder.frame().expect("recorded bytes") {
                    frames.push(frame);
                }
            }
        }
        _ => {
            let mut decoder = MessageDecoder::default();
            for piece in bytes.chunks(7) {
                decoder.push(piece);
                while let Some(frame) = decoder.frame().expect("recorded bytes") {
                    frames.push(frame);
                }
            }
        }
    }
    frames
}

fn assert_same(message: &Message, raft: &Value, place: &str) {
    let number = |field: &str| raft[field].as_u64().unwrap_or_else(|| panic!("{place}: {field}"));
    let id = |field: &str| hex(raft[field].as_str().unwrap_or_else(|| panic!("{place}: {field}")));
    assert_eq!(message.r#type().as_str_name(), raft["type"].as_str().unwrap_or_default(), "{place}");
    assert_eq!((message.from(), message.to()), (id("from"), id("to")), "{place}");
    let ours = [
        message.term(),
        message.log_term(),
        message.index(),
        message.commit(),
        message.entries.len() as u64,
    ];
    assert_eq!(ours, ["term", "logterm", "index", "commit", "entries"].map(number), "{place}");
    let context = raft["context_hex"].as_str().unwrap_or_default();
    let as_hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(message.context.as_deref().map(as_hex).unwrap_or_default(), context, "{place}");
    for (entry, line) in message.entries.iter().zip(raft["entry_list"].as_array().into_iter().flatten()) {
        let data = entry.data.as_deref().unwrap_or_default();
        let kind = EntryType::try_from(entry.r#type.unwrap_or_default()).expect("a type");
        assert_eq!(kind.as_str_name(), line["type"].as_str().unwrap_or_default(), "{place}");
        let ours = [entry.term(), entry.index(), data.len() as u64];
        assert_eq!(
            ours.map(Some),
            ["term", "index", "data_len"].map(|field| line[field].as_u64()),
            "{place}"
        );
        if let Some(expected) = line["data_hex"].as_str() {
            assert_eq!(as_hex(data), expected, "{place}");
        }
    }
}

/// Calls back with each stream: its kind, its bytes, and its decoded lines in order.
fn each_stream(capture: &Capture, mut visit: impl FnMut(&str, &[u8], &[&Value])) -> usize {
    let mut streams = 0;
    for (number, conn) in &capture.conns {
        let lines: Vec<&Value> = capture.of_kind("stream").filter(|line| line["conn"] == *number).collect();
        let Some(first) = lines.first() else { continue };
        let (_, body) = split_head(&conn.down).expect("the head of an answer");
        visit(first["stream"].as_str().expect("a kind"), &dechunk(body), &lines);
        streams += 1;
    }
    streams
}

#[test]
fn streams_decode_to_what_is_written_beside_them() {
    for name in CAPTURES {
        let capture = Capture::load(name);
        let mut frames_seen = 0;
        let streams = each_stream(&capture, |kind, bytes, lines| {
            let frames = stream_frames(kind, bytes);
            assert_eq!(frames.len(), lines.len(), "{name} conn {}", lines[0]["conn"]);
            for (frame, line) in frames.iter().zip(lines) {
                let place = format!("{} {line}", capture.name);
                match frame {
                    Frame::LinkHeartbeat => assert!(line["link_heartbeat"].is_string(), "{place}"),
                    Frame::Message(message) => assert_same(message, &line["raft"], &place),
                }
            }
            frames_seen += frames.len();
        });
        assert!(
            streams >= 12 && frames_seen > 300,
            "{name}: {streams} streams, {frames_seen} frames"
        );
    }
}

/// What a version writes beside our scalars: 3.5 an empty snapshot in every message, 3.6 a zero vote.
fn as_written_by(version: &str, ours: &[u8], message: &Message) -> Vec<u8> {
    let mut bytes = ours.to_vec();
    if version.starts_with("3.6") {
        bytes.extend([0x68, 0x00]);
    } else {
        assert!(version.starts_with("3.5") && message.snapshot.is_none());
        let context = message.context.as_ref().map_or(0, |context| 2 + context.len());
        // Before reject, reject hint and context.
        let reject_hint = 1 + message.reject_hint().checked_ilog2().map_or(1, |bits| bits as usize / 7 + 1);
        let at = bytes.len() - context - reject_hint - 2;
        let empty = [0x4a, 0x0a, 0x12, 0x08, 0x0a, 0x02, 0x28, 0x00, 0x10, 0x00, 0x18, 0x00];
        bytes.splice(at..at, empty);
    }
    bytes
}

/// Puts the other version's form of the message into a frame made by us.
fn adapt_frame(version: &str, frame: &[u8], head: usize, message: &Message) -> Vec<u8> {
    let content = as_written_by(version, &frame[head..], message);
    let mut adapted = frame[..head - 8].to_vec();
    adapted.extend((content.len() as u64).to_be_bytes());
    adapted.extend(content);
    adapted
}

#[test]
fn our_streams_are_those_of_members_that_write_all_scalars() {
    for name in ["startup-3.5.33", "startup-3.6.14"] {
        let capture = Capture::load(name);
        let mut compared = 0;
        each_stream(&capture, |kind, bytes, lines| {
            let version = capture.version_of(lines[0]["sender"].as_str().expect("a sender"));
            let mut msgapp = MsgAppEncoder::default();
            let mut ours = Vec::new();
            for frame in stream_frames(kind, bytes) {
                let mut out = BytesMut::new();
                let heartbeat = Message {
                    r#type: Some(MessageType::MsgHeartbeat as i32),
                    ..Message::default()
                };
                match (kind, &frame) {
                    ("msgapp", Frame::LinkHeartbeat) => {
                        put_msgapp_heartbeat(&mut out);
                        ours.extend_from_slice(&out);
                    }
                    ("msgapp", Frame::Message(message)) => {
                        msgapp.put(message, &mut out);
                        match out[0] {
                            2 => ours.extend(adapt_frame(version, &out, 9, message)),
                            _ => ours.extend_from_slice(&out),
                        }
                    }
                    (_, frame) => {
                        let message = match frame {
                            Frame::LinkHeartbeat => &heartbeat,
                            Frame::Message(message) => message,
                        };
                        put_stream_message(message, &mut out);
                        ours.extend(adapt_frame(version, &out, 8, message));
                    }
                }
                compared += 1;
            }
            assert!(ours == bytes[..ours.len()], "{name} conn {}: other bytes", lines[0]["conn"]);
            assert!(
                bytes.len() - ours.len() < 64,
                "{name} conn {}: frames are missing",
                lines[0]["conn"]
            );
        });
        assert!(compared > 300, "{name}: {compared}");
    }
}

#[test]
fn our_msgapp_streams_have_the_frames_of_3_7() {
    for name in ["startup-3.7.1", "ops-3.7.1", "lag-3.7.1", "member-3.7.1"] {
        let capture = Capture::load(name);
        let mut compared = 0;
        each_stream(&capture, |kind, bytes, lines| {
            if kind != "msgapp" {
                return;
            }
            let mut encoder = MsgAppEncoder::default();
            let mut ours = BytesMut::new();
            let mut kinds = Vec::new();
            let frames = stream_frames(kind, bytes);
            for frame in &frames {
                let start = ours.len();
                match frame {
                    Frame::LinkHeartbeat => put_msgapp_heartbeat(&mut ours),
                    Frame::Message(message) => encoder.put(message, &mut ours),
                }
                kinds.push(Some(u64::from(ours[start])));
            }
            let recorded: Vec<_> = lines.iter().map(|line| line["frame"].as_u64()).collect();
            assert_eq!(kinds, recorded, "{name} conn {}", lines[0]["conn"]);
            let again = stream_frames(kind, &ours);
            assert_eq!(again.len(), frames.len());
            for (again, frame) in again.iter().zip(&frames) {
                match (again, frame) {
                    (Frame::Message(again), Frame::Message(frame)) => {
                        assert_eq!(normal(again), normal(frame), "{name} conn {}", lines[0]["conn"]);
                    }
                    (again, frame) => assert_eq!(again, frame),
                }
            }
            compared += frames.len();
        });
        assert!(compared > 20, "{name}: {compared}");
    }
}

/// The message with unset scalars written out, as two forms of the same message are equal only then.
fn normal(message: &Message) -> Message {
    let mut message = message.clone();
    message.r#type.get_or_insert_default();
    for field in [
        &mut message.to,
        &mut message.from,
        &mut message.term,
        &mut message.log_term,
        &mut message.index,
        &mut message.commit,
        &mut message.reject_hint,
    ] {
        field.get_or_insert_default();
    }
    message.reject.get_or_insert_default();
    for entry in &mut message.entries {
        entry.r#type.get_or_insert_default();
        entry.term.get_or_insert_default();
        entry.index.get_or_insert_default();
    }
    message
}
