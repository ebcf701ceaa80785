//! What clients ask a member for, and the answers in the words of the checkers.

use api::Status;
use api::pb::etcdserverpb as pb;
use api::pb::mvccpb;
use bytes::Bytes;
use member::apply::Response;
use member::propose::Body;
use mvcc::{MvccError, Store};
use prost::Message;

use crate::checkers::watches::Event;
use crate::checkers::{Action, Answer, Expect, Key, Revision, Seen, Value};

/// A request as it arrives at a member.
#[derive(Clone, Debug)]
pub enum Request {
    Propose { body: Body, raw: Vec<u8> },
    Read { key: Key, linearizable: bool },
}

/// What a member says to it.
#[derive(Clone, Debug)]
pub enum Reply {
    Applied(Result<Response, Status>),
    Got {
        seen: Option<Seen>,
        revision: Revision,
    },
    /// It had no effect and will have none.
    NotDone,
}

pub fn key_bytes(key: Key) -> Bytes {
    Bytes::from(format!("k{}", key.0))
}

fn value_bytes(value: Value) -> Bytes {
    Bytes::from(value.0.to_string())
}

fn key_of(bytes: &[u8]) -> Option<Key> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"k")?).ok()?;
    text.parse().ok().map(Key)
}

fn seen(pair: &mvccpb::KeyValue) -> Option<Seen> {
    let value = std::str::from_utf8(&pair.value).ok()?.parse().ok()?;
    Some(Seen {
        value: Value(value),
        mod_revision: pair.mod_revision,
    })
}

fn seen_in(pairs: &[mvccpb::KeyValue]) -> Option<Seen> {
    pairs.first().and_then(seen)
}

fn put(key: Key, value: Value) -> pb::PutRequest {
    pb::PutRequest {
        key: key_bytes(key),
        value: value_bytes(value),
        ..Default::default()
    }
}

fn range(key: Key) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key_bytes(key),
        ..Default::default()
    }
}

/// The request for an action.
pub fn of_action(key: Key, action: Action) -> Request {
    let (body, raw) = match action {
        Action::Get => return Request::Read { key, linearizable: true },
        Action::Put(value) => (Body::Put, put(key, value).encode_to_vec()),
        Action::Delete => {
            let delete = pb::DeleteRangeRequest {
                key: key_bytes(key),
                prev_kv: true,
                ..Default::default()
            };
            (Body::DeleteRange, delete.encode_to_vec())
        }
        Action::Swap { expect, value } => (Body::Txn, swap(key, expect, value).encode_to_vec()),
    };
    Request::Propose { body, raw }
}

fn swap(key: Key, expect: Expect, value: Value) -> pb::TxnRequest {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let (target, union) = match expect {
        Expect::Value(value) => (CompareTarget::Value, TargetUnion::Value(value_bytes(value))),
        Expect::ModRevision(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision)),
    };
    let op = |request| pb::RequestOp { request: Some(request) };
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal as i32,
            target: target as i32,
            key: key_bytes(key),
            target_union: Some(union),
            ..Default::default()
        }],
        success: vec![op(pb::request_op::Request::RequestPut(put(key, value)))],
        failure: vec![op(pb::request_op::Request::RequestRange(range(key)))],
    }
}

/// Grants a lease.
pub fn grant(id: i64, ttl: i64) -> Request {
    Request::Propose {
        body: Body::LeaseGrant,
        raw: pb::LeaseGrantRequest { id, ttl }.encode_to_vec(),
    }
}

/// Puts a key that no checker looks at, so that a lease has something to delete.
pub fn put_with_lease(id: i64) -> Request {
    let put = pb::PutRequest {
        key: Bytes::from(format!("lease/{id}")),
        value: Bytes::from_static(b"x"),
        lease: id,
        ..Default::default()
    };
    Request::Propose {
        body: Body::Put,
        raw: put.encode_to_vec(),
    }
}

pub fn revoke(id: i64) -> Request {
    Request::Propose {
        body: Body::LeaseRevoke,
        raw: pb::LeaseRevokeRequest { id }.encode_to_vec(),
    }
}

/// Answers a read from the store.
pub fn read(store: &Store, request: &Request) -> Result<Reply, MvccError> {
    let Request::Read { key, .. } = request else {
        return Ok(Reply::NotDone);
    };
    let answer = store.range(&range(*key))?;
    let pair = match answer.kvs.first() {
        Some(stored) => Some(mvcc::kv::message(stored)?),
        None => None,
    };
    Ok(Reply::Got {
        seen: pair.as_ref().and_then(seen),
        revision: answer.revision,
    })
}

/// A reply in the words of the checkers; `None` for one that says nothing about a key.
pub fn answer(reply: &Reply) -> Option<Answer> {
    let revision = |header: &Option<pb::ResponseHeader>| header.as_ref().map_or(0, |header| header.revision);
    let answer = match reply {
        Reply::Got { seen, revision } => Answer::Got {
            seen: *seen,
            revision: *revision,
        },
        Reply::Applied(Ok(Response::Put(put))) => Answer::Put {
            revision: revision(&put.header),
        },
        Reply::Applied(Ok(Response::DeleteRange(deleted))) => Answer::Deleted {
            seen: seen_in(&deleted.prev_kvs),
            revision: revision(&deleted.header),
        },
        Reply::Applied(Ok(Response::Txn(txn))) if txn.succeeded => Answer::Swapped {
            revision: revision(&txn.header),
        },
        Reply::Applied(Ok(Response::Txn(txn))) => {
            let response = txn.responses.first().and_then(|op| op.response.as_ref());
            let Some(pb::response_op::Response::ResponseRange(range)) = response else {
                return None;
            };
            Answer::NotSwapped {
                seen: seen_in(&range.kvs),
                revision: revision(&txn.header),
            }
        }
        _ => return None,
    };
    Some(answer)
}

/// A watch event in the words of the checkers; `None` for keys that they do not look at.
pub fn event(encoded: &Bytes) -> Option<Event> {
    let event = mvccpb::Event::decode(encoded.clone()).ok()?;
    let pair = event.kv?;
    let is_put = event.r#type == mvccpb::event::EventType::Put as i32;
    Some(Event {
        key: key_of(&pair.key)?,
        revision: pair.mod_revision,
        value: if is_put { Some(seen(&pair)?.value) } else { None },
        version: pair.version,
        create_revision: pair.create_revision,
    })
}
