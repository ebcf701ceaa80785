//! Requests at and over every limit, and bytes that are no request at all.

use std::io::{Read, Write};
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::{Code, Encoded, Metadata};
use prost::Message;
use world::Rng;

use crate::harness::{Plan, call, connect};

const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const RANGE: &str = "/etcdserverpb.KV/Range";

fn put(key: &str, value: usize) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from(vec![b'v'; value]),
        ..Default::default()
    }
}

#[tokio::test]
async fn sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    // 1.5 MiB is the limit of the proposal: the request and the header around it.
    let most = (0..100)
        .map(|less| 1_572_864 - less)
        .find(|len| put("k", *len).encoded_len() + 32 <= 1_572_864)
        .expect("some size fits");
    call::<pb::PutResponse>(&client, PUT, &put("k", most))
        .await
        .expect("just below the limit");
    let large = call::<pb::PutResponse>(&client, PUT, &put("k", 1_572_864))
        .await
        .expect_err("over the limit");
    assert_eq!((large.code, &*large.message), (Code(3), "etcdserver: request is too large"));
    // 2 MiB is the limit of the message.
    let message = call::<pb::PutResponse>(&client, PUT, &put("k", 2_097_152))
        .await
        .expect_err("over the message limit");
    let len = put("k", 2_097_152).encoded_len();
    assert_eq!(
        (message.code, &*message.message),
        (Code(8), &*format!("grpc: received message larger than max ({len} vs. 2097152)"))
    );
    let read: pb::RangeResponse = call(
        &client,
        RANGE,
        &pb::RangeRequest {
            key: Bytes::from_static(b"k"),
            ..Default::default()
        },
    )
    .await
    .expect("a read");
    assert_eq!(read.kvs[0].value.len(), most, "the refused writes changed something");
    assert!(member.terminate().success());
}

#[tokio::test]
async fn operations_of_a_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let txn = |count: usize| {
        let op = |n: usize| pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put(&format!("k{n}"), 10))),
        };
        pb::TxnRequest {
            success: (0..count).map(op).collect(),
            ..Default::default()
        }
    };
    let answer = call::<pb::TxnResponse>(&client, TXN, &txn(128)).await.expect("128 operations");
    assert_eq!(answer.responses.len(), 128);
    let refused = call::<pb::TxnResponse>(&client, TXN, &txn(129)).await.expect_err("129 operations");
    assert_eq!(
        (refused.code, &*refused.message),
        (Code(3), "etcdserver: too many operations in txn request")
    );
    assert!(member.terminate().success());
}

#[tokio::test]
async fn ten_thousand_watchers_on_a_stream() {
    const WATCHERS: usize = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let (requests, mut answers) = client
        .stream("/etcdserverpb.Watch/Watch", &Metadata::new(), None)
        .expect("a stream");
    let writer = tokio::spawn(async move {
        for number in 0..WATCHERS {
            let create = pb::WatchCreateRequest {
                key: Bytes::from(format!("k{}", number % 100)),
                ..Default::default()
            };
            let request = pb::WatchRequest {
                request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
            };
            requests.send(Encoded::message(&request)).await.expect("the stream is open");
        }
        requests
    });
    let mut ids = std::collections::HashSet::new();
    while ids.len() < WATCHERS {
        let answer = pb::WatchResponse::decode(answers.message().await.expect("goes on").expect("does not end")).expect("a response");
        assert!(answer.created && !answer.canceled);
        assert!(ids.insert(answer.watch_id), "the id {} was given twice", answer.watch_id);
    }
    let _requests = writer.await.expect("the writer ends");
    let other = connect(&member.endpoint).await.expect("a connection");
    call::<pb::PutResponse>(&other, PUT, &put("k7", 3)).await.expect("a put");
    let mut told = 0;
    while told < WATCHERS / 100 {
        let answer = pb::WatchResponse::decode(answers.message().await.expect("goes on").expect("does not end")).expect("a response");
        assert_eq!(answer.events.len(), 1);
        told += 1;
    }
    assert!(member.terminate().success());
}

/// Bytes that are no HTTP, broken frames and broken messages: the connection may end, the member may not.
#[tokio::test]
async fn garbage() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).start();
    let endpoint = member.endpoint.clone();
    let sent = tokio::task::spawn_blocking(move || {
        let mut chance = world::os::SplitMix(7);
        for round in 0..300u64 {
            let mut stream = std::net::TcpStream::connect(&endpoint).expect("the member accepts connections");
            stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
            let mut bytes: Vec<u8> = Vec::new();
            if round % 3 != 0 {
                bytes.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            }
            for _ in 0..(chance.next_u64() % 40) {
                if round % 3 == 1 {
                    // Well-formed frame heads with wild types, flags and stream numbers.
                    let len = (chance.next_u64() % 50) as usize;
                    bytes.extend_from_slice(&[0, 0, len as u8, (chance.next_u64() % 12) as u8, chance.next_u64() as u8]);
                    bytes.extend_from_slice(&((chance.next_u64() % 9) as u32).to_be_bytes());
                    bytes.extend((0..len).map(|_| chance.next_u64() as u8));
                } else {
                    bytes.extend_from_slice(&chance.next_u64().to_le_bytes());
                }
            }
            // The member may have closed already.
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    sent.await.expect("the sender ends");
    let client = connect(&member.endpoint).await.expect("a connection");
    let bad = client
        .unary(PUT, &Metadata::new(), None, Encoded::copy_from(b"\xff\xff\xff\xff"))
        .await
        .expect_err("no protobuf");
    assert_eq!(bad.status.code, Code(13));
    call::<pb::PutResponse>(&client, PUT, &put("k", 3)).await.expect("the member lives");
    assert!(member.terminate().success());
}
