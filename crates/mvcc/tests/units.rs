//! The parts that stand by themselves: Go's sort, the stored form of a pair, the checks of requests.

use api::Error;
use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::request_op::Request;
use api::pb::mvccpb::KeyValue;
use bytes::{Bytes, BytesMut};
use mvcc::kv::{self, Kv};
use mvcc::{check, gosort};
use proptest::prelude::*;
use prost::Message;

mod common;

/// A rank, and where it stood before.
type Item = (u32, u32);

fn crc(items: &[Item]) -> u32 {
    let bytes: Vec<u8> = items.iter().flat_map(|(_, place)| place.to_le_bytes()).collect();
    crc32c::crc32c(&bytes)
}

fn ranks(kind: &str, n: usize, distinct: usize, seed: u64) -> Vec<Item> {
    let mut chance = common::Chance(seed);
    let rank = |i: usize| match kind {
        "chance" => chance.below(distinct as u64) as usize,
        "up" => i * distinct / n,
        "down" => (n - i) * distinct / n,
        "saw" => i % distinct,
        "pipe" => i.min(n - i) % distinct,
        "nearly" => {
            let v = if chance.one_in(20) { chance.below(n as u64) as usize } else { i };
            v * distinct / n
        }
        _ => panic!("{kind}"),
    };
    (0..n).map(rank).zip(0..).map(|(rank, place)| (rank as u32, place)).collect()
}

/// McIlroy's adversary: gives elements their ranks while they are compared, so that every pivot is a bad one.
fn killer(n: u32) -> Vec<Item> {
    let mut ranks = vec![n; n as usize];
    let (mut solid, mut candidate) = (0, 0);
    let mut places: Vec<u32> = (0..n).collect();
    gosort::sort(&mut places, |&x, &y| {
        let (a, b) = (x as usize, y as usize);
        if ranks[a] == n && ranks[b] == n {
            ranks[if x == candidate { a } else { b }] = solid;
            solid += 1;
        }
        if ranks[a] == n {
            candidate = x;
        } else if ranks[b] == n {
            candidate = y;
        }
        ranks[a] < ranks[b]
    });
    ranks.into_iter().zip(0..).collect()
}

#[test]
fn ties_as_go_leaves_them() {
    let text = std::fs::read_to_string(common::data("golden/gosort.tsv")).unwrap();
    let mut cases = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('\t').collect();
        let n: usize = parts[1].parse().unwrap();
        let mut items = match parts[0] {
            "killer" => killer(n as u32),
            kind => ranks(kind, n, parts[2].parse().unwrap(), parts[3].parse().unwrap()),
        };
        gosort::sort(&mut items, |a, b| a.0 < b.0);
        assert!(items.is_sorted_by_key(|(rank, _)| *rank), "{line}");
        assert_eq!(crc(&items).to_string(), parts[4], "{line}");
        cases += 1;
    }
    assert!(cases > 500, "{cases}");
}

fn pair() -> impl Strategy<Value = KeyValue> {
    let number = || prop_oneof![Just(0i64), Just(-1), Just(i64::MAX), any::<i64>(), 0i64..300];
    let bytes = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (bytes(), number(), number(), number(), bytes(), number()).prop_map(|(key, create, modified, version, value, lease)| KeyValue {
        key,
        create_revision: create,
        mod_revision: modified,
        version,
        value,
        lease,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pairs_are_canonical(pair in pair()) {
        let kv = Kv {
            key: &pair.key,
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            value: &pair.value,
            lease: pair.lease,
        };
        let stored = kv.encode();
        prop_assert_eq!(&stored[..], &pair.encode_to_vec()[..]);
        prop_assert_eq!(stored.len(), kv.encoded_len());
        prop_assert_eq!(Kv::parse(&stored).unwrap(), kv);
        prop_assert_eq!(kv::message(&stored).unwrap(), pair.clone());
        prop_assert_eq!(kv::key_of(&stored).unwrap(), &pair.key);
        let mut without = BytesMut::new();
        kv::put_without_value(&stored, &mut without).unwrap();
        let keyed = KeyValue { value: Bytes::new(), ..pair };
        prop_assert_eq!(&without[..], &keyed.encode_to_vec()[..]);
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        // What one takes the other takes, and they read the same.
        if let Ok(kv) = Kv::parse(&bytes) {
            let message = KeyValue::decode(&bytes[..]);
            if let Ok(message) = message {
                prop_assert_eq!(kv.key, &message.key[..]);
                prop_assert_eq!(kv.lease, message.lease);
            }
            let _ = kv::put_without_value(&bytes, &mut BytesMut::new());
        }
    }

    #[test]
    fn overlaps_are_found(ops in prop::collection::vec((any::<bool>(), 0u8..8, prop::option::of(0u8..10)), 0..8)) {
        let name = |n: u8| Bytes::from(vec![b'a' + n]);
        let requests: Vec<Request> = ops
            .iter()
            .map(|(put, key, end)| match put {
                true => Request::RequestPut(pb::PutRequest { key: name(*key), ..Default::default() }),
                false => Request::RequestDeleteRange(pb::DeleteRangeRequest {
                    key: name(*key),
                    range_end: end.map(|end| if end == 9 { vec![0].into() } else { name(end) }).unwrap_or_default(),
                    ..Default::default()
                }),
            })
            .collect();
        let mut overlap = false;
        for (i, (put, key, _)) in ops.iter().enumerate().filter(|(_, op)| op.0) {
            overlap |= ops[..i].iter().any(|(other, k, _)| *other && *put && k == key);
            overlap |= ops.iter().any(|(other, from, end)| !*other && match end {
                None => from == key,
                // "From this key on" is not noticed by Go either.
                Some(9) => false,
                Some(end) => from <= key && key < end,
            });
        }
        let txn = branch(requests);
        prop_assert_eq!(check::txn(&txn, 128).err(), overlap.then_some(Error::DuplicateKey));
        // The same one level down, and beside an empty branch.
        let nested = branch(vec![Request::RequestTxn(txn)]);
        prop_assert_eq!(check::txn(&nested, 128).err(), overlap.then_some(Error::DuplicateKey));
    }
}

fn branch(requests: Vec<Request>) -> pb::TxnRequest {
    pb::TxnRequest {
        success: requests.into_iter().map(|r| pb::RequestOp { request: Some(r) }).collect(),
        ..Default::default()
    }
}

fn put(key: &'static str) -> Request {
    Request::RequestPut(pb::PutRequest {
        key: key.into(),
        ..Default::default()
    })
}

fn both(success: Vec<Request>, failure: Vec<Request>) -> Request {
    Request::RequestTxn(pb::TxnRequest {
        failure: branch(failure).success,
        ..branch(success)
    })
}

#[test]
fn branches_of_one_nested_transaction_may_put_the_same_key() {
    assert_eq!(check::txn(&branch(vec![both(vec![put("a")], vec![put("a")])]), 128), Ok(()));
    let twice = branch(vec![both(vec![put("a")], vec![]), both(vec![], vec![put("a")])]);
    assert_eq!(check::txn(&twice, 128), Err(Error::DuplicateKey));
    let above = branch(vec![both(vec![put("a")], vec![]), put("a")]);
    assert_eq!(check::txn(&above, 128), Err(Error::DuplicateKey));
}

#[test]
fn nested_transactions_share_the_limit() {
    // Levels of one op each: the limit is used up by the levels above.
    let mut txn = branch(vec![put("a")]);
    for level in 2..=6 {
        txn = branch(vec![Request::RequestTxn(txn)]);
        assert_eq!(check::txn(&txn, level), Ok(()));
        assert_eq!(check::txn(&txn, level - 1), Err(Error::TooManyOps));
    }
}
