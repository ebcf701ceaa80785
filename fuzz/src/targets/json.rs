//! What the gateway reads and shows.

use compat::protojson::{self, Escape, MessageType, Next, Values};
use std::io::Read;

use super::Play;
use crate::corpus;

/// The messages with the most to them.
const MESSAGES: [&str; 12] = [
    "etcdserverpb.RangeRequest",
    "etcdserverpb.PutRequest",
    "etcdserverpb.TxnRequest",
    "etcdserverpb.TxnResponse",
    "etcdserverpb.WatchRequest",
    "etcdserverpb.WatchResponse",
    "etcdserverpb.LeaseGrantRequest",
    "etcdserverpb.AlarmRequest",
    "etcdserverpb.MemberListResponse",
    "etcdserverpb.StatusResponse",
    "etcdserverpb.AuthRoleGetResponse",
    "etcdserverpb.AuthUserAddRequest",
];

const WORDS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"null",
    b"true",
    b"\"key\":",
    b"\"success\":[{",
    b"\"request_range\":{",
    b"\"request_put\":{",
    b"\"request_txn\":{",
    b"\"compare\":[",
    b"\"createRequest\":{",
    b"\"Zm9v\"",
    b"\"Zm9v-_==\"",
    b"-1",
    b"1e400",
    b"\"9223372036854775808\"",
    b"\"\\ud83d\"",
    b"\"\\u0000\"",
    b"\"NaN\"",
    b"\xff",
    b"\"MOD\"",
];

fn kinds() -> Vec<MessageType> {
    MESSAGES
        .iter()
        .map(|name| protojson::message(name).expect("a message of etcd"))
        .collect()
}

/// JSON texts that clients sent, from the recordings.
fn recorded() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for name in ["kv", "leases", "watch"] {
        let packed = std::fs::File::open(corpus::data(&format!("fixtures/histories/{name}.jsonl.gz"))).expect("a recording");
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        collect(&lines.take(400).collect::<Vec<serde_json::Value>>(), &mut seeds);
    }
    assert!(seeds.len() > 100);
    seeds
}

fn collect(values: &[serde_json::Value], seeds: &mut Vec<Vec<u8>>) {
    for value in values {
        if let Some(object) = value.as_object() {
            let inner: Vec<serde_json::Value> = object.values().cloned().collect();
            seeds.push(value.to_string().into_bytes());
            collect(&inner, seeds);
        }
    }
}

/// What is decoded can be shown, and what is shown is decoded to the same.
fn there_and_back(kind: MessageType, bytes: &[u8]) {
    let mut shown = Vec::new();
    if protojson::encode(kind, bytes, Escape::Plain, &mut shown).is_err() {
        return;
    }
    let mut values = Values::new(1 << 24);
    values.push(&shown);
    values.end();
    let Ok(Next::Value(value)) = values.next() else {
        panic!("shown as no JSON: {}", String::from_utf8_lossy(&shown));
    };
    let again = match protojson::decode(kind, value) {
        Ok(again) => again,
        // Enums of numbers that are no names, and texts that are no UTF-8, are shown and not read.
        Err(_) => return,
    };
    let mut twice = Vec::new();
    protojson::encode(kind, &again, Escape::Plain, &mut twice).expect("shown before");
    assert_eq!(
        String::from_utf8_lossy(&twice),
        String::from_utf8_lossy(&shown),
        "shown otherwise the second time"
    );
}

pub fn decode() -> Play {
    let (kinds, seeds) = (kinds(), recorded());
    Box::new(move |chance| {
        let bytes = chance.damaged(&seeds, &WORDS);
        let kind = *chance.pick(&kinds);
        let mut values = Values::new(1 << *chance.pick(&[4, 10, 24]));
        // In pieces, as a connection brings them.
        let piece = 1 + chance.below(bytes.len() + 1);
        let mut pieces = bytes.chunks(piece);
        loop {
            match values.next() {
                Ok(Next::Value(value)) => {
                    if let Ok(message) = protojson::decode(kind, value) {
                        there_and_back(kind, &message);
                    }
                }
                Ok(Next::NeedMore) => match pieces.next() {
                    Some(piece) => values.push(piece),
                    None => values.end(),
                },
                Ok(Next::End) => return,
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        }
    })
}

pub fn encode() -> Play {
    let kinds = kinds();
    let mut seeds = Vec::new();
    for text in recorded() {
        for kind in &kinds {
            let mut values = Values::new(1 << 24);
            values.push(&text);
            values.end();
            if let Ok(Next::Value(value)) = values.next()
                && let Ok(message) = protojson::decode(*kind, value)
                && message.len() > 4
            {
                seeds.push(message);
            }
        }
    }
    assert!(seeds.len() > 100);
    Box::new(move |chance| {
        let bytes = chance.damaged(&seeds, &[&[0x0a, 0x00], &[0xff; 10], &[0x0b], &[0x0c]]);
        there_and_back(*chance.pick(&kinds), &bytes);
    })
}
