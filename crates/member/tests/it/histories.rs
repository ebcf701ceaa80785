//! What Go etcd 3.7.1 answered, request by request: every answer and every error has to be equal, with revisions, terms and hashes.

use std::path::PathBuf;

use api::pb::etcdserverpb as pb;
use api::{Error, LeaseId, Status};
use member::apply::Response;
use member::bootstrap::Config;
use member::propose::Body;
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;

use world::os::OsDisk;

use crate::json::{lines, message, value};
use crate::node::Node;

fn fresh(dir: &tempfile::TempDir) -> Node {
    let mut config = Config::single(
        "m0",
        PathBuf::from(dir.path()).join("m0.etcd"),
        "http://127.0.0.1:14102",
        "http://127.0.0.1:14101",
    );
    config.initial_cluster_token = "fx".into();
    config.wal_options.segment_bytes = 4 << 20;
    Node::start(&(Arc::new(OsDisk::without_sync()) as world::DynDisk), &config, 1_700_000_000_000).expect("starts")
}

fn header(node: &Node, revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        cluster_id: node.parts.cluster_id.0,
        member_id: node.parts.member_id.0,
        revision,
        raft_term: node.parts.progress.term().0,
    })
}

/// What a server does around the machines: checks, the way of reads, headers.
fn serve(node: &mut Node, method: &str, request: &Value) -> Result<Value, Status> {
    match method {
        "KV/Put" => {
            let put: pb::PutRequest = message("PutRequest", request);
            mvcc::check::put(&put)?;
            propose(node, Body::Put, &put)
        }
        "KV/DeleteRange" => {
            let delete: pb::DeleteRangeRequest = message("DeleteRangeRequest", request);
            mvcc::check::delete(&delete)?;
            propose(node, Body::DeleteRange, &delete)
        }
        "KV/Txn" => {
            let txn: pb::TxnRequest = message("TxnRequest", request);
            mvcc::check::txn(&txn, api::limits::MAX_TXN_OPS as usize)?;
            if mvcc::Store::is_read_only(&txn) {
                let mut answer = node.parts.store.txn(&txn).map_err(read_error)?;
                answer.header = header(node, answer.header.map_or(0, |h| h.revision));
                return Ok(value("TxnResponse", &answer));
            }
            propose(node, Body::Txn, &txn)
        }
        "KV/Range" => {
            let range: pb::RangeRequest = message("RangeRequest", request);
            mvcc::check::range(&range)?;
            let mut answer = node
                .parts
                .store
                .range(&range)
                .and_then(|found| found.into_message())
                .map_err(read_error)?;
            answer.header = header(node, answer.header.map_or(0, |h| h.revision));
            Ok(value("RangeResponse", &answer))
        }
        "KV/Compact" => {
            let answer = propose(
                node,
                Body::Compaction,
                &message::<pb::CompactionRequest>("CompactionRequest", request),
            );
            node.finish_compactions();
            answer
        }
        "Lease/LeaseGrant" => propose(
            node,
            Body::LeaseGrant,
            &message::<pb::LeaseGrantRequest>("LeaseGrantRequest", request),
        ),
        "Lease/LeaseRevoke" => propose(
            node,
            Body::LeaseRevoke,
            &message::<pb::LeaseRevokeRequest>("LeaseRevokeRequest", request),
        ),
        "Maintenance/Alarm" => propose(node, Body::Alarm, &message::<pb::AlarmRequest>("AlarmRequest", request)),
        _ => read(node, method, request),
    }
}

fn read(node: &mut Node, method: &str, request: &Value) -> Result<Value, Status> {
    let header = header(node, node.parts.store.revision());
    match method {
        "Lease/LeaseKeepAlive" => {
            let id = message::<pb::LeaseKeepAliveRequest>("LeaseKeepAliveRequest", request).id;
            let ttl = node.parts.lessor.renew(LeaseId(id), node.now).unwrap_or(0);
            Ok(value("LeaseKeepAliveResponse", &pb::LeaseKeepAliveResponse { header, id, ttl }))
        }
        "Lease/LeaseTimeToLive" => {
            let asked: pb::LeaseTimeToLiveRequest = message("LeaseTimeToLiveRequest", request);
            let answer = match node.parts.lessor.lookup(LeaseId(asked.id), node.now, asked.keys) {
                Ok(info) => pb::LeaseTimeToLiveResponse {
                    header,
                    id: asked.id,
                    ttl: info.remaining,
                    granted_ttl: info.granted_ttl,
                    keys: info.keys,
                },
                Err(_) => pb::LeaseTimeToLiveResponse {
                    header,
                    id: asked.id,
                    ttl: -1,
                    ..Default::default()
                },
            };
            Ok(value("LeaseTimeToLiveResponse", &answer))
        }
        "Lease/LeaseLeases" => {
            let mut ids: Vec<i64> = node.parts.lessor.leases().into_iter().map(|id| id.0).collect();
            ids.sort_unstable();
            let leases = ids.into_iter().map(|id| pb::LeaseStatus { id }).collect();
            Ok(value("LeaseLeasesResponse", &pb::LeaseLeasesResponse { header, leases }))
        }
        "Maintenance/HashKV" => {
            let asked: pb::HashKvRequest = message("HashKVRequest", request);
            let hash = node.parts.store.hash_kv(asked.revision).map_err(read_error)?;
            let answer = pb::HashKvResponse {
                header,
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.revision,
            };
            Ok(value("HashKVResponse", &answer))
        }
        "Cluster/MemberList" => {
            let mut header = header;
            header.as_mut().expect("made above").revision = 0;
            let members = node.parts.cluster.members().iter().map(member::cluster::Member::to_pb).collect();
            Ok(value("MemberListResponse", &pb::MemberListResponse { header, members }))
        }
        other => panic!("method {other}"),
    }
}

fn read_error(error: mvcc::MvccError) -> Status {
    error.api().expect("no fault of the database").into()
}

fn propose(node: &mut Node, body: Body, request: &impl Message) -> Result<Value, Status> {
    if request.encoded_len() as u64 > api::limits::MAX_REQUEST_BYTES {
        return Err(Error::RequestTooLarge.into());
    }
    let fill = |mut own: Option<pb::ResponseHeader>, node: &Node| {
        let revision = own.take().map_or(0, |h| h.revision);
        header(node, revision)
    };
    Ok(match node.request(body, request)? {
        Response::Put(mut answer) => {
            answer.header = fill(answer.header, node);
            value("PutResponse", &answer)
        }
        Response::DeleteRange(mut answer) => {
            answer.header = fill(answer.header, node);
            value("DeleteRangeResponse", &answer)
        }
        Response::Txn(mut answer) => {
            answer.header = fill(answer.header, node);
            value("TxnResponse", &answer)
        }
        Response::Compaction(mut answer) => {
            answer.header = fill(answer.header, node);
            value("CompactionResponse", &answer)
        }
        Response::LeaseGrant(mut answer) => {
            answer.header = fill(answer.header, node);
            value("LeaseGrantResponse", &answer)
        }
        Response::LeaseRevoke(mut answer) => {
            answer.header = fill(answer.header, node);
            value("LeaseRevokeResponse", &answer)
        }
        Response::Alarm(mut answer) => {
            answer.header = fill(answer.header, node);
            value("AlarmResponse", &answer)
        }
        other => panic!("answer {other:?}"),
    })
}

fn run(name: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut node = fresh(&dir);
    for line in lines(&format!("histories/{name}.jsonl.gz")) {
        let method = line["method"].as_str().expect("a method");
        if method.starts_with("Auth/") {
            continue;
        }
        let got = match serve(&mut node, method, &line["request"]) {
            Ok(mut answer) => {
                if let Some(keys) = answer.get_mut("keys").and_then(Value::as_array_mut) {
                    // As the recording has them; Go's own order is that of a map.
                    keys.sort_by_key(Value::to_string);
                }
                if line["response"]["TTL"] == "#remaining" {
                    answer["TTL"] = json!("#remaining");
                }
                json!({ "response": answer })
            }
            Err(status) => {
                json!({ "error": {"code": status.code as u32, "message": status.message, "name": format!("{:?}", status.code)} })
            }
        };
        let expected = match line.get("error") {
            Some(error) => json!({ "error": error }),
            None => json!({ "response": line["response"] }),
        };
        assert_eq!(got, expected, "line {} of {name}: {method} {}", line["n"], line["request"]);
        if line["n"].as_u64().expect("a number") % 100 == 0 {
            node.commit().expect("commits");
        }
    }
    node.stop().expect("stops");
}

#[test]
fn keys_as_in_go() {
    run("kv");
}

#[test]
fn leases_as_in_go() {
    run("leases");
}

#[test]
fn alarms_as_in_go() {
    run("alarms");
}
