//! The recorded histories of a real etcd 3.7.1: every answer and every hash must be the same.

mod common;

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::ResponseHeader;
use api::{Status, pb::etcdserverpb::HashKvResponse};
use common::{Chance, Member, gunzip};
use compat::protojson;
use mvcc::{MvccError, Store, check};
use prost::Message;
use serde_json::Value;

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

/// What the store answers, in Go's words if it refuses.
type Answer = Result<Box<dyn PartialMessage>, Status>;

trait PartialMessage {
    fn bytes(&self) -> Vec<u8>;
}

impl<M: Message> PartialMessage for M {
    fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn status(error: MvccError) -> Status {
    error.api().unwrap_or_else(|| panic!("{error}")).into()
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

const MAX_TXN_OPS: usize = 128;

fn call(member: &mut Member, method: &str, request: &Value) -> Option<(&'static str, Answer)> {
    fn boxed<M: Message + 'static>(answer: Result<M, MvccError>) -> Answer {
        answer.map(|m| Box::new(m) as Box<dyn PartialMessage>).map_err(status)
    }
    Some(match method {
        "KV/Range" => {
            let r: pb::RangeRequest = from_json("RangeRequest", request);
            let answer = check::range(&r).map_err(Status::from).and_then(|()| {
                let answer = member.store.range(&r).map_err(status)?;
                let encoded = answer.encode(ResponseHeader::default());
                let decoded = pb::RangeResponse::decode(encoded).unwrap();
                assert_eq!(decoded, answer.into_message().unwrap());
                Ok(Box::new(decoded) as Box<dyn PartialMessage>)
            });
            ("RangeResponse", answer)
        }
        "KV/Put" => {
            let r: pb::PutRequest = from_json("PutRequest", request);
            if let Err(error) = check::put(&r) {
                return Some(("PutResponse", Err(error.into())));
            }
            let answer = boxed(member.writer.put(&r, &mut member.lessor));
            member.finish();
            ("PutResponse", answer)
        }
        "KV/DeleteRange" => {
            let r: pb::DeleteRangeRequest = from_json("DeleteRangeRequest", request);
            if let Err(error) = check::delete(&r) {
                return Some(("DeleteRangeResponse", Err(error.into())));
            }
            let answer = boxed(member.writer.delete_range(&r, &mut member.lessor));
            member.finish();
            ("DeleteRangeResponse", answer)
        }
        "KV/Txn" => {
            let r: pb::TxnRequest = from_json("TxnRequest", request);
            if let Err(error) = check::txn(&r, MAX_TXN_OPS) {
                return Some(("TxnResponse", Err(error.into())));
            }
            if Store::is_read_only(&r) {
                return Some(("TxnResponse", boxed(member.store.txn(&r))));
            }
            let answer = boxed(member.writer.txn(&r, &mut member.lessor));
            member.finish();
            ("TxnResponse", answer)
        }
        "KV/Compact" => {
            let r: pb::CompactionRequest = from_json("CompactionRequest", request);
            let job = member.writer.compact(r.revision);
            member.finish();
            let answer = job.map(|job| {
                member.run(job);
                pb::CompactionResponse {
                    header: header(member.store.revision()),
                }
            });
            ("CompactionResponse", boxed(answer))
        }
        "Maintenance/HashKV" => {
            let r: pb::HashKvRequest = from_json("HashKVRequest", request);
            let answer = member.store.hash_kv(r.revision).map(|hash| HashKvResponse {
                header: header(member.store.revision()),
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.revision,
            });
            ("HashKVResponse", boxed(answer))
        }
        "Lease/LeaseGrant" => {
            let r: pb::LeaseGrantRequest = from_json("LeaseGrantRequest", request);
            if r.id != 0 && r.ttl <= api::limits::MAX_LEASE_TTL {
                member.lessor.leases.entry(r.id).or_default();
            }
            member.finish();
            return None;
        }
        "Lease/LeaseRevoke" => {
            let r: pb::LeaseRevokeRequest = from_json("LeaseRevokeRequest", request);
            if let Some(keys) = member.lessor.leases.remove(&r.id) {
                let keys: Vec<_> = keys.into_iter().collect();
                assert_eq!(member.writer.delete_keys(&keys).unwrap(), keys.len() as i64);
                for key in &keys {
                    member.lessor.keys.remove(key);
                }
            }
            member.finish();
            return None;
        }
        _ => return None,
    })
}

/// The recorded answer with nothing in its header but the revision.
fn expected(kind: &str, response: &Value) -> Vec<u8> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Object(header)) = fields.get_mut("header") {
                    header.retain(|name, _| name == "revision");
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut response = response.clone();
    strip(&mut response);
    match kind {
        "RangeResponse" => from_json::<pb::RangeResponse>(kind, &response).encode_to_vec(),
        "PutResponse" => from_json::<pb::PutResponse>(kind, &response).encode_to_vec(),
        "DeleteRangeResponse" => from_json::<pb::DeleteRangeResponse>(kind, &response).encode_to_vec(),
        "TxnResponse" => from_json::<pb::TxnResponse>(kind, &response).encode_to_vec(),
        "CompactionResponse" => from_json::<pb::CompactionResponse>(kind, &response).encode_to_vec(),
        "HashKVResponse" => from_json::<pb::HashKvResponse>(kind, &response).encode_to_vec(),
        _ => panic!("{kind}"),
    }
}

/// Replays a history, committing (and starting again) at moments that the seed chooses. Gives the answers compared.
fn replay(path: &str, seed: u64, commit_one_in: u64, restart_one_in: u64) -> usize {
    let mut member = Member::new();
    let mut chance = Chance(seed);
    let mut compared = 0;
    // Compactions whose hash was remembered before a restart: afterwards HashKV computes it anew, under another compact revision.
    let mut forgotten = Vec::new();
    let text = gunzip(path);
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        // That limit is the server's own.
        if line["error"]["message"] == "etcdserver: request is too large" {
            continue;
        }
        let method = line["method"].as_str().unwrap();
        let revision = line["request"]["revision"].as_str().and_then(|r| r.parse().ok());
        if method == "Maintenance/HashKV" && revision.is_some_and(|r: i64| forgotten.contains(&r)) {
            continue;
        }
        let answer = call(&mut member, method, &line["request"]);
        if chance.one_in(commit_one_in) {
            member.committer.commit().unwrap();
        }
        if chance.one_in(restart_one_in) {
            forgotten.extend(member.store.compaction_hashes().iter().map(|h| h.revision));
            member = restart(member);
        }
        let Some((kind, answer)) = answer else { continue };
        let at = format!("{path} line {} {method} {} (seed {seed})", line["n"], line["request"]);
        match (answer, line.get("error")) {
            (Ok(answer), None) => {
                let expected = expected(kind, &line["response"]);
                if answer.bytes() != expected {
                    let mut got = Vec::new();
                    let message = protojson::message(&format!("etcdserverpb.{kind}")).unwrap();
                    protojson::encode(message, &answer.bytes(), protojson::Escape::Plain, &mut got).unwrap();
                    panic!("{at}:\n got {}\nwant {}", String::from_utf8_lossy(&got), line["response"]);
                }
            }
            (Err(status), Some(error)) => assert_eq!(error["message"].as_str(), Some(&*status.message), "{at}"),
            (Ok(_), Some(error)) => panic!("{at}: answered, but Go says {error}"),
            (Err(status), None) => panic!("{at}: {status}"),
        }
        compared += 1;
    }
    compared
}

/// Stops after a commit and starts again on the same disk.
fn restart(mut member: Member) -> Member {
    member.committer.commit().unwrap();
    let Member {
        disk,
        backend,
        committer,
        store,
        writer,
        lessor,
        index,
        ..
    } = member;
    drop((backend, committer, store, writer));
    let again = Member::open(disk, mvcc::StoreOptions::default());
    assert_eq!(again.index, index);
    let attached: std::collections::BTreeMap<_, _> = lessor.keys.clone().into_iter().collect();
    assert_eq!(again.attached, attached);
    Member { lessor, ..again }
}

#[test]
fn kv() {
    let compared = replay("fixtures/histories/kv.jsonl.gz", 1, 50, u64::MAX);
    assert!(compared > 8000, "{compared}");
}

#[test]
fn kv_with_restarts() {
    replay("fixtures/histories/kv.jsonl.gz", 2, 7, 400);
}

#[test]
fn leases() {
    let compared = replay("fixtures/histories/leases.jsonl.gz", 3, 20, 100);
    assert!(compared > 1000, "{compared}");
}
