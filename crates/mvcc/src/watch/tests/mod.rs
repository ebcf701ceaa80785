//! Watch against a small store that keeps its history in a map.

mod model;
mod rules;
mod threads;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::Revision;
use api::pb::etcdserverpb::watch_request::RequestUnion;
use api::pb::etcdserverpb::{ResponseHeader, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use api::pb::mvccpb::{Event as EventPb, KeyValue};
use bytes::Bytes;
use prost::Message;

use super::*;

/// A store as watch sees it.
struct Store {
    hub: Arc<WatchHub>,
    history: BTreeMap<Revision, (bool, Bytes)>,
    /// All versions of every key by main revision, compacted or not.
    keys: BTreeMap<Bytes, BTreeMap<i64, Option<KeyValue>>>,
    revision: i64,
    compacted: i64,
}

/// A change: a put of this value, or a delete.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

impl Store {
    fn new(max_request_bytes: usize) -> Store {
        let hub = WatchHub::new(1, -1, max_request_bytes);
        Store {
            hub,
            history: BTreeMap::new(),
            keys: BTreeMap::new(),
            revision: 1,
            compacted: -1,
        }
    }

    fn now(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)?.values().next_back()?.as_ref()
    }

    /// Writes without pumping.
    fn write(&mut self, changes: &[Change<'_>]) -> i64 {
        let main = self.revision + 1;
        let mut events = Vec::new();
        for (key, value) in changes {
            let key = Bytes::copy_from_slice(key);
            let before = self.now(&key).cloned();
            let kv = match value {
                None if before.is_none() => continue,
                None => KeyValue {
                    key: key.clone(),
                    ..KeyValue::default()
                },
                Some(value) => KeyValue {
                    key: key.clone(),
                    create_revision: before.as_ref().map_or(main, |b| b.create_revision),
                    mod_revision: main,
                    version: before.as_ref().map_or(1, |b| b.version + 1),
                    value: Bytes::copy_from_slice(value),
                    lease: 0,
                },
            };
            let stored = Bytes::from(kv.encode_to_vec());
            self.history
                .insert(Revision::new(main, events.len() as i64), (value.is_none(), stored.clone()));
            self.keys
                .entry(key.clone())
                .or_default()
                .insert(main, value.is_some().then_some(kv));
            let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
            let previous = if before.is_some() { Previous::Lookup } else { Previous::None };
            events.push(Event {
                kind,
                key,
                kv: stored,
                previous,
            });
        }
        if !events.is_empty() {
            self.revision = main;
            self.hub.append(TxnEvents { revision: main, events });
        }
        self.revision
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> i64 {
        let revision = self.write(&[(key, Some(value))]);
        self.hub.pump();
        revision
    }

    fn delete(&mut self, key: &[u8]) -> i64 {
        let revision = self.write(&[(key, None)]);
        self.hub.pump();
        revision
    }

    /// Compacts: only the newest version at or below `revision` stays of every key.
    fn compact(&mut self, revision: i64) {
        self.compacted = revision;
        self.hub.compacted(revision);
        let mut newest = BTreeMap::new();
        for (at, (tombstone, kv)) in self.history.range(..Revision::new(revision + 1, 0)) {
            newest.insert(KeyValue::decode(kv.clone()).unwrap().key, (*at, *tombstone && at.main < revision));
        }
        let keep = |at: &Revision| at.main > revision || newest.values().any(|(kept, drop)| kept == at && !drop);
        self.history.retain(|at, _| keep(at));
    }

    fn stream(&self) -> Client {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        Client {
            stream: self.hub.open_stream(wake),
            wakes,
        }
    }
}

impl History for Store {
    fn scan(&self, from: i64, to: i64, visit: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError> {
        for (at, (tombstone, kv)) in self.history.range(Revision::new(from, 0)..Revision::new(to + 1, 0)) {
            if visit(*at, *tombstone, kv.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn value_before(&self, key: &[u8], main: i64) -> Option<Bytes> {
        if main - 1 < self.compacted {
            return None;
        }
        let (_, kv) = self.keys.get(key)?.range(..main).next_back()?;
        kv.as_ref().map(|kv| kv.encode_to_vec().into())
    }
}

fn header() -> ResponseHeader {
    ResponseHeader {
        cluster_id: 0xcafe,
        member_id: 0xbeef,
        revision: 77,
        raft_term: 5,
    }
}

/// A stream as a client sees it.
struct Client {
    stream: WatchStream,
    wakes: Arc<AtomicUsize>,
}

impl Client {
    fn create(&self, request: WatchCreateRequest) {
        self.stream.handle(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(request)),
        });
    }

    fn cancel(&self, watch_id: i64) {
        self.stream.handle(WatchRequest {
            request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })),
        });
    }

    fn progress(&self) {
        self.stream.handle(WatchRequest {
            request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
        });
    }

    /// One poll, as decoded from the wire.
    fn poll(&self, store: &Store) -> (Vec<WatchResponse>, Polled) {
        let mut answers = Vec::new();
        let polled = self.stream.poll(store, &header(), &mut answers).unwrap();
        let decode = |answer: &WatchAnswer| {
            let mut bytes = Vec::new();
            answer.encode(&header(), &mut bytes);
            assert_eq!(bytes.len(), answer.encoded_len(&header()));
            let response = WatchResponse::decode(bytes.as_slice()).unwrap();
            // Canonical: encoding it again gives the same bytes.
            assert_eq!(response.encode_to_vec(), bytes);
            assert_eq!(
                response.header,
                Some(ResponseHeader {
                    revision: answer.revision,
                    ..header()
                })
            );
            response
        };
        (answers.iter().map(decode).collect(), polled)
    }

    /// All that is ready.
    fn receive(&self, store: &Store) -> Vec<WatchResponse> {
        let mut all = Vec::new();
        loop {
            let (answers, polled) = self.poll(store);
            all.extend(answers);
            if polled == Polled::Idle {
                return all;
            }
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::SeqCst)
    }
}

/// A create request for a key or a range.
fn watch(key: &'static [u8], range_end: &'static [u8]) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::from_static(key),
        range_end: Bytes::from_static(range_end),
        ..WatchCreateRequest::default()
    }
}

/// Events in short: `k=v@rev`, `k-@rev`, with the value before in parentheses.
fn short(events: &[EventPb]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let one = |event: &EventPb| {
        let kv = event.kv.as_ref().unwrap();
        let what = if event.r#type == 1 {
            "-".to_owned()
        } else {
            format!("={}", text(&kv.value))
        };
        let before = event.prev_kv.as_ref().map_or(String::new(), |p| format!("({})", text(&p.value)));
        format!("{}{what}@{}{before}", text(&kv.key), kv.mod_revision)
    };
    events.iter().map(one).collect()
}

/// Answers in short: id, what they are, and their events.
fn shorts(answers: &[WatchResponse]) -> Vec<String> {
    let one = |answer: &WatchResponse| {
        let mut parts = vec![answer.watch_id.to_string()];
        parts.extend(answer.created.then(|| "created".to_owned()));
        parts.extend(answer.canceled.then(|| "canceled".to_owned()));
        parts.extend((answer.compact_revision != 0).then(|| format!("compacted {}", answer.compact_revision)));
        parts.extend((!answer.cancel_reason.is_empty()).then(|| answer.cancel_reason.clone()));
        parts.extend(answer.fragment.then(|| "fragment".to_owned()));
        parts.extend(short(&answer.events));
        parts.push(format!("rev {}", answer.header.as_ref().unwrap().revision));
        parts.join(" ")
    };
    answers.iter().map(one).collect()
}
