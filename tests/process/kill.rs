//! SIGKILL at random moments under 32 writers: every acknowledged write is there afterwards, at its revision, and nothing that nobody
//! sent. `QUORATE_KILLS` sets how often (the gate asks for 200).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::Revision;
use api::pb::etcdserverpb as pb;
use api::pb::mvccpb::{Event, KeyValue, event::EventType};
use bytes::Bytes;
use http2::{Encoded, Metadata};
use prost::Message;
use world::Rng;

use crate::harness::{Member, Plan, call, connect};

const WRITERS: usize = 32;
const KEYS_PER_WRITER: u64 = 8;

/// A write as its writer knows it. Values are unique, so that an event tells which write it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    key: Bytes,
    /// `None`: a deletion of the key.
    value: Option<Bytes>,
}

/// What all writers together know.
#[derive(Default)]
struct Book {
    /// By the revision that the answer gave.
    acknowledged: HashMap<i64, Write>,
    /// Sent and never answered: each may have happened once, or not.
    in_flight: Vec<Write>,
}

async fn write(endpoint: &str, writer: usize, numbers: &AtomicU64, book: &Mutex<Book>, stop: &AtomicBool) {
    let Ok(client) = connect(endpoint).await else { return };
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let key = Bytes::from(format!("writer-{writer:02}/{}", number % KEYS_PER_WRITER));
        let value = Bytes::from(format!("{number:012}-{}", "x".repeat((number % 300) as usize)));
        // One in sixteen writes deletes its key and puts it again, in one transaction: two changes of one revision.
        let result = if number.is_multiple_of(16) {
            let ops = [
                pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
                    key: key.clone(),
                    ..Default::default()
                }),
                pb::request_op::Request::RequestPut(pb::PutRequest {
                    key: Bytes::from(format!("{writer:02}/txn")),
                    value: value.clone(),
                    ..Default::default()
                }),
            ];
            let success = ops.map(|op| pb::RequestOp { request: Some(op) }).to_vec();
            let answer = call::<pb::TxnResponse>(
                &client,
                "/etcdserverpb.KV/Txn",
                &pb::TxnRequest {
                    success,
                    ..Default::default()
                },
            )
            .await;
            answer
                .map(|a| {
                    (
                        a.header,
                        Write {
                            key: Bytes::from(format!("{writer:02}/txn")),
                            value: Some(value.clone()),
                        },
                    )
                })
                .map_err(|_| Write {
                    key: Bytes::from(format!("{writer:02}/txn")),
                    value: Some(value),
                })
        } else {
            let put = Write {
                key: key.clone(),
                value: Some(value.clone()),
            };
            let answer = call::<pb::PutResponse>(
                &client,
                "/etcdserverpb.KV/Put",
                &pb::PutRequest {
                    key,
                    value,
                    ..Default::default()
                },
            )
            .await;
            answer.map(|a| (a.header, put.clone())).map_err(|_| put)
        };
        let mut book = book.lock().expect("no writer panics");
        match result {
            Ok((header, write)) => {
                let revision = header.expect("an answer has a header").revision;
                let before = book.acknowledged.insert(revision, write);
                assert!(before.is_none(), "two writes were told the revision {revision}");
            }
            Err(write) => {
                book.in_flight.push(write);
                return; // the connection is gone, and with it the member
            }
        }
    }
}

/// All changes from the first revision on.
async fn history(endpoint: &str, until: i64) -> Vec<Event> {
    let client = connect(endpoint).await.expect("the member accepts connections");
    let (requests, mut answers) = client
        .stream("/etcdserverpb.Watch/Watch", &Metadata::new(), None)
        .expect("a watch stream");
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        start_revision: 1,
        ..Default::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    requests.send(Encoded::message(&request)).await.expect("the stream is open");
    let mut events: Vec<Event> = Vec::new();
    while events.last().and_then(|e| e.kv.as_ref()).map_or(1, |kv| kv.mod_revision) < until {
        let message = answers
            .message()
            .await
            .expect("the stream goes on")
            .expect("the stream does not end");
        let answer = pb::WatchResponse::decode(message).expect("a watch response");
        assert!(!answer.canceled, "{}", answer.cancel_reason);
        events.extend(answer.events);
    }
    events
}

/// HashKV of a history without compactions: the bucket's name, then every entry's key and value.
fn hash(events: &[Event]) -> u32 {
    let mut hash = crc32c::crc32c(b"key");
    let (mut main, mut sub) = (0, 0);
    for event in events {
        let kv = event.kv.as_ref().expect("an event has a key");
        sub = if kv.mod_revision == main { sub + 1 } else { 0 };
        main = kv.mod_revision;
        let revision = Revision::new(main, sub);
        if event.r#type() == EventType::Delete {
            hash = crc32c::crc32c_append(hash, &revision.to_tombstone_key());
            hash = crc32c::crc32c_append(
                hash,
                &KeyValue {
                    key: kv.key.clone(),
                    ..Default::default()
                }
                .encode_to_vec(),
            );
        } else {
            hash = crc32c::crc32c_append(hash, &revision.to_key());
            hash = crc32c::crc32c_append(hash, &kv.encode_to_vec());
        }
    }
    hash
}

/// Compares what the member holds with what the writers know; gives its revision.
async fn check(member: &Member, book: &Mutex<Book>, least_revision: i64) -> i64 {
    let client = connect(&member.endpoint).await.expect("the member accepts connections");
    let now: pb::RangeResponse = call(
        &client,
        "/etcdserverpb.KV/Range",
        &pb::RangeRequest {
            key: Bytes::from_static(b"x"),
            ..Default::default()
        },
    )
    .await
    .expect("a read");
    let head = now.header.expect("a header").revision;
    assert!(head >= least_revision, "the revision went back from {least_revision} to {head}");
    let events = history(&member.endpoint, head).await;
    compare(&events, &book.lock().expect("no writer panics"));
    let answer: pb::HashKvResponse = call(&client, "/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision: head })
        .await
        .expect("HashKV");
    assert_eq!(answer.hash, hash(&events), "HashKV is not that of the acknowledged history");
    head
}

/// Every acknowledged write stands at its revision, and every other change is one that was in flight.
fn compare(events: &[Event], book: &Book) {
    let mut unanswered: HashSet<&Write> = book.in_flight.iter().collect();
    let (mut last, mut found) = (1, 0);
    for event in events {
        let kv = event.kv.as_ref().expect("an event has a key");
        assert!(
            kv.mod_revision == last || kv.mod_revision == last + 1,
            "a gap in the history: {last}, then {}",
            kv.mod_revision
        );
        last = kv.mod_revision;
        if event.r#type() == EventType::Delete {
            continue;
        }
        let write = Write {
            key: kv.key.clone(),
            value: Some(kv.value.clone()),
        };
        match book.acknowledged.get(&kv.mod_revision) {
            Some(known) => {
                assert_eq!(
                    *known, write,
                    "revision {} holds another write than was acknowledged",
                    kv.mod_revision
                );
                found += 1;
            }
            None => assert!(
                unanswered.remove(&write),
                "revision {} holds a write that nobody waits for: {write:?}",
                kv.mod_revision
            ),
        }
    }
    let lost: Vec<_> = book.acknowledged.keys().filter(|revision| **revision > last).collect();
    assert!(
        lost.is_empty() && found == book.acknowledged.len(),
        "{} acknowledged writes, {found} found, lost: {lost:?}",
        book.acknowledged.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives() {
    let kills: u64 = std::env::var("QUORATE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let folder = tempfile::tempdir().expect("a folder");
    // Small segments of history between snapshots, so that kills also meet snapshots and purges.
    let plan = Plan::new(folder.path()).with(&["--snapshot-count=500"]);
    let (book, numbers) = (Arc::new(Mutex::new(Book::default())), Arc::new(AtomicU64::new(1)));
    let seed = std::env::var("QUORATE_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| world::os::SplitMix::from_os().next_u64());
    println!("QUORATE_SEED={seed}");
    let mut chance = world::os::SplitMix(seed);
    let mut head = 1;
    let mut member = plan.start();
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (endpoint, numbers, book, stop) = (member.endpoint.clone(), numbers.clone(), book.clone(), stop.clone());
                tokio::spawn(async move { write(&endpoint, writer, &numbers, &book, &stop).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(1000 + chance.next_u64() % 150_000)).await;
        member.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no writer panics");
        }
        member = plan.start();
        // Reading the whole history each time would make 200 rounds quadratic.
        if round % 10 == 9 || round + 1 == kills {
            head = check(&member, &book, head).await;
        }
    }
    let acknowledged = book.lock().expect("no writer panics").acknowledged.len();
    println!("{kills} kills, {acknowledged} acknowledged writes, none lost");
    assert!(acknowledged as u64 > kills, "hardly anything was written between the kills");
    assert!(member.terminate().success());
}
