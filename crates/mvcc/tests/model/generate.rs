//! Random requests.

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::compare::TargetUnion;
use api::pb::etcdserverpb::request_op::Request;
use bytes::Bytes;
use proptest::prelude::*;

pub const LEASES: [i64; 2] = [5, 9];

#[derive(Clone, Debug)]
pub enum Op {
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Range(pb::RangeRequest),
    Txn(pb::TxnRequest),
    Revoke(i64),
    /// So many revisions below the newest.
    Compact(i64),
    Commit,
    Step,
    Restart,
    PowerCut,
    Hash(i64),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => (0u8..7).prop_map(|n| vec![b'a' + n].into()), 1 => Just(Bytes::from_static(b"\0"))]
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => Just(Bytes::new()), 3 => key(), 1 => Just(Bytes::from_static(b"\0"))]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        (0u8..4).prop_map(|n| vec![n; usize::from(n)].into()),
        Just(Bytes::from(vec![7; 5000]))
    ]
}

fn put() -> impl Strategy<Value = pb::PutRequest> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let lease = prop_oneof![6 => Just(0), 2 => Just(5), 1 => Just(9), 1 => Just(77)];
    (key(), value(), lease, flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| pb::PutRequest {
        key,
        value: if ignore_value { Bytes::new() } else { value },
        lease: if ignore_lease { 0 } else { lease },
        prev_kv,
        ignore_value,
        ignore_lease,
    })
}

fn delete() -> impl Strategy<Value = pb::DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| pb::DeleteRangeRequest { key, range_end, prev_kv })
}

fn range() -> impl Strategy<Value = pb::RangeRequest> {
    let sort = (0i32..3, 0i32..5, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let bound = || prop_oneof![5 => Just(0i64), 1 => 1i64..40];
    let bounds = (bound(), bound(), bound(), bound());
    let revision = prop_oneof![3 => Just(0i64), 1 => 1i64..40, 1 => Just(-1)];
    (key(), end(), 0i64..5, revision, sort, bounds).prop_map(|(key, range_end, limit, revision, sort, bounds)| pb::RangeRequest {
        key,
        range_end,
        limit,
        revision,
        sort_order: sort.0,
        sort_target: sort.1,
        keys_only: sort.2,
        count_only: sort.3,
        min_mod_revision: bounds.0,
        max_mod_revision: bounds.1,
        min_create_revision: bounds.2,
        max_create_revision: bounds.3,
        serializable: false,
    })
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    let target = prop_oneof![
        (0i64..4).prop_map(TargetUnion::Version),
        (0i64..30).prop_map(TargetUnion::CreateRevision),
        (0i64..30).prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        (0i64..10).prop_map(TargetUnion::Lease),
    ];
    (key(), end(), 0i32..4, target).prop_map(|(key, range_end, result, union)| pb::Compare {
        target: match union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        },
        key,
        range_end,
        result,
        target_union: Some(union),
    })
}

fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let leaf = prop_oneof![
        range().prop_map(Request::RequestRange),
        put().prop_map(Request::RequestPut),
        delete().prop_map(Request::RequestDeleteRange),
    ];
    let op = leaf.prop_recursive(2, 12, 4, |inner| {
        let branch = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), branch(), branch())
            .prop_map(|(compare, success, failure)| Request::RequestTxn(make_txn(compare, success, failure)))
    });
    let branch = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), branch(), branch()).prop_map(|(compare, success, failure)| make_txn(compare, success, failure))
}

pub fn make_txn(compare: Vec<pb::Compare>, success: Vec<Request>, failure: Vec<Request>) -> pb::TxnRequest {
    let ops = |requests: Vec<Request>| requests.into_iter().map(|r| pb::RequestOp { request: Some(r) }).collect();
    pb::TxnRequest {
        compare,
        success: ops(success),
        failure: ops(failure),
    }
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => put().prop_map(Op::Put),
        2 => delete().prop_map(Op::Delete),
        6 => range().prop_map(Op::Range),
        8 => txn().prop_map(Op::Txn),
        1 => prop::sample::select(&LEASES[..]).prop_map(Op::Revoke),
        2 => (0i64..6).prop_map(Op::Compact),
        2 => Just(Op::Commit),
        3 => Just(Op::Step),
        1 => Just(Op::Restart),
        1 => Just(Op::PowerCut),
        2 => (-1i64..6).prop_map(Op::Hash),
    ]
}
