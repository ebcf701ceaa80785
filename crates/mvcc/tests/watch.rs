//! The recorded watch history of a real etcd 3.7.1, replayed on the store: every watcher gets the same events in the same
//! order, and every request the same answer. How events are spread over answers is not part of the contract, and yet nearly always the same.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::pb::etcdserverpb as pb;
use api::pb::mvccpb::Event;
use common::{Member, gunzip};
use compat::protojson;
use mvcc::watch::{Polled, WatchStream};
use mvcc::{StoreOptions, check};
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn from_json<M: Message + Default>(kind: &str, json: &Value) -> M {
    let text = json.to_string();
    let mut values = protojson::Values::new(1 << 26);
    values.push(text.as_bytes());
    let protojson::Next::Value(value) = values.next().unwrap() else {
        panic!("one value")
    };
    let message = protojson::message(&format!("etcdserverpb.{kind}")).unwrap();
    M::decode(&protojson::decode(message, value).unwrap()[..]).unwrap()
}

/// Long values stand in answers as `#sha256:<length>:<hex>`: puts those back that were written.
fn fill_in(json: &mut Value, long: &HashMap<String, Value>) {
    match json {
        Value::String(text) if text.starts_with("#sha256:") => *json = long[text.as_str()].clone(),
        Value::Array(list) => list.iter_mut().for_each(|json| fill_in(json, long)),
        Value::Object(fields) => fields.values_mut().for_each(|json| fill_in(json, long)),
        _ => {}
    }
}

fn call(member: &mut Member, method: &str, request: &Value, long: &mut HashMap<String, Value>) {
    match method {
        "KV/Put" => {
            let json = request;
            let request: pb::PutRequest = from_json("PutRequest", request);
            if request.value.len() > 2048 {
                let hex: String = Sha256::digest(&request.value).iter().map(|byte| format!("{byte:02x}")).collect();
                long.insert(format!("#sha256:{}:{hex}", request.value.len()), json["value"].clone());
            }
            check::put(&request).unwrap();
            member.writer.put(&request, &mut member.lessor).unwrap();
            member.finish();
        }
        "KV/DeleteRange" => {
            let request: pb::DeleteRangeRequest = from_json("DeleteRangeRequest", request);
            member.writer.delete_range(&request, &mut member.lessor).unwrap();
            member.finish();
        }
        "KV/Txn" => {
            let request: pb::TxnRequest = from_json("TxnRequest", request);
            member.writer.txn(&request, &mut member.lessor).unwrap();
            member.finish();
        }
        "KV/Compact" => {
            let request: pb::CompactionRequest = from_json("CompactionRequest", request);
            let job = member.writer.compact(request.revision).unwrap();
            member.finish();
            member.run(job);
        }
        other => panic!("{other}"),
    }
    member.store.watch_hub().pump();
}

/// What the server fills in of a header.
fn server_header() -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: 1244642971953999066,
        member_id: 13635243499481091044,
        raft_term: 2,
        revision: 0,
    }
}

fn receive(member: &Member, stream: &WatchStream) -> Vec<pb::WatchResponse> {
    let mut answers = Vec::new();
    while stream.poll(&member.store, &server_header(), &mut answers).unwrap() == Polled::More {}
    let decode = |answer: &mvcc::watch::WatchAnswer| {
        let mut bytes = Vec::new();
        answer.encode(&server_header(), &mut bytes);
        pb::WatchResponse::decode(&bytes[..]).unwrap()
    };
    answers.iter().map(decode).collect()
}

/// What does not depend on how events are spread: per watcher the events, and the other answers as they are.
type Essence = (BTreeMap<i64, Vec<Event>>, Vec<pb::WatchResponse>);

fn essence(answers: &[pb::WatchResponse]) -> Essence {
    let mut essence = Essence::default();
    for answer in answers {
        if answer.events.is_empty() {
            essence.1.push(answer.clone());
        } else {
            essence.0.entry(answer.watch_id).or_default().extend(answer.events.iter().cloned());
        }
    }
    // Go's maps have no order: neither have answers to several watchers about the same moment.
    essence
        .1
        .sort_by_key(|answer| (answer.header.as_ref().map(|header| header.revision), answer.watch_id));
    essence
}

#[test]
fn recorded_by_etcd() {
    let disk = world::sim::SimDisk::with_page_size(4096);
    disk.dyn_disk().create_dir_all(std::path::Path::new("/member/snap"), 0o700).unwrap();
    let options = StoreOptions {
        max_request_bytes: 16384,
        ..StoreOptions::default()
    };
    let mut member = Member::open(disk, options);
    let text = String::from_utf8(gunzip("fixtures/histories/watch.jsonl.gz")).unwrap();
    let mut long = HashMap::new();
    let (mut scenarios, mut receipts, mut exact) = (0, 0, 0);
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        let mut stream = None;
        scenarios += 1;
        // In two scenarios etcd's own answers came too late for the step, or out of step with those to requests.
        let loose = scenario["only_event_order_is_stable"] == true;
        let (mut all, mut all_expected) = (Vec::new(), Vec::new());
        for (at, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let place = format!("scenario {}, step {at}", scenario["scenario"]);
            match step["do"].as_str().unwrap() {
                "call" => {
                    call(&mut member, step["method"].as_str().unwrap(), &step["request"], &mut long);
                    let revision = step["response"]["header"]["revision"].as_str().unwrap();
                    assert_eq!(member.store.revision().to_string(), revision, "{place}");
                }
                "open stream" => stream = Some(member.store.watch_hub().open_stream(Arc::new(|| {}))),
                "send" => stream.as_ref().unwrap().handle(from_json("WatchRequest", &step["request"])),
                "receive" => {
                    let mut expected = step["responses"].clone();
                    fill_in(&mut expected, &long);
                    let expected = expected.as_array().unwrap().iter();
                    let expected: Vec<pb::WatchResponse> = expected.map(|r| from_json("WatchResponse", r)).collect();
                    let answers = receive(&member, stream.as_ref().unwrap());
                    if loose {
                        all.extend(answers.iter().cloned());
                        all_expected.extend(expected.iter().cloned());
                    } else {
                        assert_eq!(essence(&answers), essence(&expected), "{place}");
                    }
                    receipts += 1;
                    exact += usize::from(answers == expected);
                }
                "close stream" => stream = None,
                other => panic!("{other}"),
            }
        }
        assert_eq!(essence(&all).0, essence(&all_expected).0, "scenario {}", scenario["scenario"]);
    }
    assert_eq!((scenarios, receipts), (100, 501));
    println!("{exact} of {receipts} receipts are the same answer by answer");
    assert!(
        exact >= 490,
        "answers are spread differently too often: {exact} of {receipts} the same"
    );
    assert_eq!(member.store.watch_hub().metrics().watchers, 0);
}
