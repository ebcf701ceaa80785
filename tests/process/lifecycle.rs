//! Start, readiness, stop, restart, and a disk that is full.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use bytes::Bytes;

use crate::harness::{ETCD, Plan, call, connect, http};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";

fn put(key: String, value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::from(key),
        value: Bytes::from(value),
        ..Default::default()
    }
}

#[test]
fn says_its_version() {
    let output = std::process::Command::new(ETCD).arg("--version").output().expect("etcd runs");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("etcd Version: 3.7.1\n"));
}

#[tokio::test]
async fn comes_back_with_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan::new(folder.path());
    let mut hashes = Vec::new();
    for round in 0..3 {
        let member = plan.start();
        let client = connect(&member.endpoint).await.expect("a connection");
        let before: pb::HashKvResponse = call(&client, "/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision: 0 })
            .await
            .expect("a hash");
        if let Some(last) = hashes.last() {
            assert_eq!(*last, before.hash, "the restart changed the data");
        }
        for n in 0..50 {
            call::<pb::PutResponse>(&client, PUT, &put(format!("{round}/{n}"), vec![b'v'; 100]))
                .await
                .expect("a put");
        }
        let after: pb::HashKvResponse = call(&client, "/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision: 0 })
            .await
            .expect("a hash");
        hashes.push(after.hash);
        let status: pb::StatusResponse = call(&client, "/etcdserverpb.Maintenance/Status", &pb::StatusRequest {})
            .await
            .expect("a status");
        assert_eq!(status.raft_term, 2 + round, "each start is one election");
        assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.7.1", "3.7.0"));
        assert!(member.terminate().success(), "SIGTERM is no failure");
    }
}

/// While a long log is gone through again, the member's own proposals wait instead of being refused: a refused one is made again only
/// after its time-out, and the start was late by that.
#[tokio::test]
async fn starts_behind_a_long_log_without_refusing_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan::new(folder.path()).with(&["--snapshot-count=100000", "--unsafe-no-fsync"]);
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..50 {
        let client = client.clone();
        writers.spawn(async move {
            for n in 0..140 {
                call::<pb::PutResponse>(&client, PUT, &put(format!("{writer}/{n}"), vec![b'v'; 10]))
                    .await
                    .expect("a put");
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("no writer panics");
    }
    member.kill();
    let member = plan.start();
    let metrics = http(&member.endpoint, "GET /metrics HTTP/1.1").expect("metrics");
    assert!(
        metrics.contains("\netcd_server_proposals_failed_total 0\n"),
        "an own proposal was refused at the start"
    );
    assert!(member.terminate().success());
}

#[test]
fn tells_systemd_when_it_is_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    let mut plan = Plan::new(folder.path());
    plan.shell = Some(format!("export NOTIFY_SOCKET='{}'", path.display()));
    let member = plan.spawn();
    let mut message = [0; 256];
    let len = socket.recv(&mut message).expect("a message comes");
    assert_eq!(&message[..len], b"READY=1\n");
    assert!(
        http(&member.endpoint, "GET /readyz HTTP/1.1").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")),
        "ready, but not serving"
    );
    drop(member);
}

/// The database or the log cannot grow any more: the process ends rather than answer, and starts again with nothing lost.
#[tokio::test]
async fn a_full_disk_ends_the_process_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::new(folder.path());
    // No file may grow beyond 80 MB (160 where the shell counts in KiB): enough for a log segment, not for what is put.
    plan.shell = Some("trap '' XFSZ; ulimit -f 160000".into());
    let mut member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let mut acknowledged = Vec::new();
    for n in 0..400 {
        let key = format!("k{n}");
        match call::<pb::PutResponse>(&client, PUT, &put(key.clone(), vec![n as u8; 500_000])).await {
            Ok(_) => acknowledged.push((key, n as u8)),
            Err(_) => break,
        }
    }
    let status = member.ended(Duration::from_secs(30));
    assert!(!status.success(), "a full disk is a failure");
    assert!(acknowledged.len() > 20, "only {} puts before the disk was full", acknowledged.len());
    assert!(member.log_text().contains("\"level\":\"fatal\""), "{}", member.log_text());
    plan.shell = None;
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    for (key, byte) in &acknowledged {
        let request = pb::RangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let answer: pb::RangeResponse = call(&client, RANGE, &request).await.expect("a read");
        assert_eq!(answer.kvs.len(), 1, "{key} was acknowledged and is lost");
        assert!(answer.kvs[0].value.iter().all(|b| b == byte), "{key} holds something else");
    }
    call::<pb::PutResponse>(&client, PUT, &put("again".into(), vec![1]))
        .await
        .expect("there is space again");
    assert!(member.terminate().success());
}
