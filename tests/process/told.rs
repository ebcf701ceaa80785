//! What a member tells of its work: metrics that count it, lines about slow requests; and how many connections it takes.

use std::io::{Read, Write};
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::client::Client;
use http2::{Encoded, Metadata};
use prost::Message;

use crate::harness::{Plan, call, connect, http};

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from_static(b"value"),
        ..Default::default()
    }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..Default::default()
    }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

async fn ok<A: Message + Default>(client: &Client, path: &'static str, request: &impl Message) -> A {
    call(client, path, request).await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One of everything that is counted.
async fn use_everything(client: &Client) {
    for n in 0..20 {
        let _: pb::PutResponse = ok(client, "/etcdserverpb.KV/Put", &put(&format!("k{}", n % 3))).await;
    }
    let _: pb::RangeResponse = ok(client, "/etcdserverpb.KV/Range", &range("k1")).await;
    let reads = pb::TxnRequest {
        success: vec![op(pb::request_op::Request::RequestRange(range("k1")))],
        ..Default::default()
    };
    let _: pb::TxnResponse = ok(client, "/etcdserverpb.KV/Txn", &reads).await;
    let writes = pb::TxnRequest {
        success: vec![
            op(pb::request_op::Request::RequestPut(put("k1"))),
            op(pb::request_op::Request::RequestPut(put("k2"))),
        ],
        ..Default::default()
    };
    let _: pb::TxnResponse = ok(client, "/etcdserverpb.KV/Txn", &writes).await;
    let lease = pb::LeaseGrantRequest { ttl: 100, id: 7 };
    let _: pb::LeaseGrantResponse = ok(client, "/etcdserverpb.Lease/LeaseGrant", &lease).await;
    let compaction = pb::CompactionRequest {
        revision: 15,
        physical: true,
    };
    let _: pb::CompactionResponse = ok(client, "/etcdserverpb.KV/Compact", &compaction).await;
    let _: pb::HashResponse = ok(client, "/etcdserverpb.Maintenance/Hash", &pb::HashRequest {}).await;
    let _: pb::HashKvResponse = ok(client, "/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision: 0 }).await;
    let alarm = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate as i32,
        member_id: 255,
        alarm: pb::AlarmType::Nospace as i32,
    };
    let _: pb::AlarmResponse = ok(client, "/etcdserverpb.Maintenance/Alarm", &alarm).await;
    let refused = call::<pb::PutResponse>(client, "/etcdserverpb.KV/Put", &put("k1"))
        .await
        .expect_err("an alarm is raised");
    assert_eq!(&*refused.message, "etcdserver: mvcc: database space exceeded");
    let (snapshot, mut chunks) = client
        .stream("/etcdserverpb.Maintenance/Snapshot", &Metadata::new(), None)
        .expect("a stream");
    snapshot.send(Encoded::message(&pb::SnapshotRequest {})).await.expect("open");
    drop(snapshot);
    while chunks.message().await.expect("goes on").is_some() {}
    watch(client).await;
}

/// A watch of one past event, and its cancellation.
async fn watch(client: &Client) {
    let (requests, mut answers) = client
        .stream("/etcdserverpb.Watch/Watch", &Metadata::new(), None)
        .expect("a stream");
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(b"k2"),
        start_revision: 20,
        ..Default::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    requests.send(Encoded::message(&request)).await.expect("open");
    for _ in 0..2 {
        answers.message().await.expect("goes on").expect("does not end");
    }
}

/// The value of a line of `/metrics`.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))
}

#[tokio::test]
async fn work_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    use_everything(&client).await;
    let endpoint = member.endpoint.clone();
    let text = http(&endpoint, "GET /metrics HTTP/1.1").expect("metrics");
    let exactly = [
        (
            "etcd_server_apply_duration_seconds_count{op=\"Put\",success=\"true\",version=\"v3\"}",
            20.0,
        ),
        (
            "etcd_server_apply_duration_seconds_count{op=\"Txn\",success=\"true\",version=\"v3\"}",
            1.0,
        ),
        (
            "etcd_server_apply_duration_seconds_count{op=\"Compaction\",success=\"true\",version=\"v3\"}",
            1.0,
        ),
        ("etcd_server_request_duration_seconds_count{success=\"true\",type=\"Put\"}", 20.0),
        ("etcd_server_request_duration_seconds_count{success=\"false\",type=\"Put\"}", 1.0),
        ("etcd_server_request_duration_seconds_count{success=\"true\",type=\"Range\"}", 1.0),
        (
            "etcd_server_request_duration_seconds_count{success=\"true\",type=\"ReadonlyTxn\"}",
            1.0,
        ),
        (
            "etcd_server_request_duration_seconds_count{success=\"true\",type=\"LeaseGrant\"}",
            1.0,
        ),
        ("etcd_server_range_duration_seconds_count{success=\"true\"}", 1.0),
        (
            "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"stream\"}",
            2.0,
        ),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", 22.0 * 7.0),
        ("etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"ff\"}", 1.0),
        ("etcd_mvcc_hash_duration_seconds_count", 1.0),
        ("etcd_mvcc_hash_rev_duration_seconds_count", 1.0),
        ("etcd_disk_backend_snapshot_duration_seconds_count", 1.0),
        ("etcd_debugging_mvcc_db_compaction_keys_total", 11.0),
        ("etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count", 1.0),
        ("etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count", 1.0),
    ];
    for (name, value) in exactly {
        assert!(
            (metric(&text, name) - value).abs() < 1e-9,
            "{name} is {}, not {value}",
            metric(&text, name)
        );
    }
    for name in [
        "etcd_disk_wal_write_bytes_total",
        "etcd_debugging_mvcc_db_compaction_last",
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count",
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count",
        "etcd_server_request_duration_seconds_sum{success=\"true\",type=\"Put\"}",
    ] {
        assert!(metric(&text, name) > 0.0, "{name} was never updated");
    }
    assert!(member.terminate().success());
}

#[tokio::test]
async fn slow_requests_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Plan::new(folder.path()).with(&["--warning-unary-request-duration=1ns"]).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let _: pb::PutResponse = ok(&client, "/etcdserverpb.KV/Put", &put("k")).await;
    let _: pb::RangeResponse = ok(&client, "/etcdserverpb.KV/Range", &range("k")).await;
    let log = member.log_text();
    let line = |method: &str| {
        let line = log.lines().find(|line| line.contains("\"request stats\"") && line.contains(method));
        let line = line.unwrap_or_else(|| panic!("nothing about {method} in\n{log}"));
        serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON")
    };
    let told = line("/etcdserverpb.KV/Put");
    assert_eq!(told["level"], "warn");
    assert_eq!(told["request content"], "key:\"k\" value_size:5 ");
    assert!(
        told["remote"].as_str().is_some_and(|remote| remote.starts_with("127.0.0.1:")),
        "{told}"
    );
    let told = line("/etcdserverpb.KV/Range");
    assert_eq!((&told["response count"], &told["request count"]), (&1.into(), &0.into()));
    assert!(member.terminate().success());
}

/// Each listener takes as many connections as there are files left; those beyond wait until one ends.
#[test]
fn connections_beyond_the_limit_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::new(folder.path());
    plan.shell = Some("ulimit -n 152".into());
    let member = plan.start();
    let open = || std::net::TcpStream::connect(&member.endpoint).expect("the kernel takes it");
    let ask = |stream: &mut std::net::TcpStream, wait: Duration| {
        stream.set_read_timeout(Some(wait)).expect("a time-out");
        stream.read(&mut [0; 64])
    };
    let send = |stream: &mut std::net::TcpStream| stream.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut taken: Vec<_> = (0..2).map(|_| open()).collect();
    for stream in &mut taken {
        send(stream);
        assert!(ask(stream, Duration::from_secs(60)).is_ok_and(|count| count > 0));
    }
    let mut beyond = open();
    send(&mut beyond);
    assert!(
        ask(&mut beyond, Duration::from_millis(200)).is_err(),
        "a connection beyond the limit was served"
    );
    drop(taken.pop());
    assert!(
        ask(&mut beyond, Duration::from_secs(60)).is_ok_and(|count| count > 0),
        "not served when there was room"
    );
}

#[test]
fn too_few_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::new(folder.path());
    plan.shell = Some("ulimit -n 150".into());
    let mut member = plan.spawn();
    assert_eq!(member.ended(Duration::from_secs(60)).code(), Some(1));
    assert!(
        member
            .log_text()
            .contains("file descriptor limit of etcd process is too low; please set higher"),
        "{}",
        member.log_text()
    );
}
