//! Disks that are slow, broken or really full.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::Code;
use http2::client::Client;

use crate::harness::{Plan, call, connect, free_port, gofail};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";

fn put(key: &str, value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from(value),
        ..Default::default()
    }
}

async fn get(client: &Client, key: &str) -> Option<Bytes> {
    let request = pb::RangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..Default::default()
    };
    let answer: pb::RangeResponse = call(client, RANGE, &request).await.expect("a read");
    answer.kvs.into_iter().next().map(|kv| kv.value)
}

/// A plan whose failpoints are set over HTTP; the address of their pages.
fn with_failpoints(folder: &Path) -> (Plan, String) {
    let mut plan = Plan::new(folder);
    let address = format!("127.0.0.1:{}", free_port());
    plan.environment = vec![("GOFAIL_HTTP".into(), address.clone())];
    (plan, address)
}

/// A disk that takes its time to sync makes writes late; reads do not wait behind them.
#[tokio::test]
async fn a_slow_sync_delays_writes_and_no_reads() {
    const SLOW: Duration = Duration::from_millis(1500);
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, pages) = with_failpoints(folder.path());
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    call::<pb::PutResponse>(&client, PUT, &put("k", b"before".to_vec()))
        .await
        .expect("a put");
    gofail(&pages, "PUT", "/walBeforeSync", "sleep(1500)");
    let begun = Instant::now();
    let writer = {
        let client = client.clone();
        tokio::spawn(async move { call::<pb::PutResponse>(&client, PUT, &put("k", b"after".to_vec())).await })
    };
    let (mut reads, mut early) = (0, 0);
    while !writer.is_finished() {
        let seen = get(&client, "k").await;
        reads += 1;
        if begun.elapsed() < SLOW {
            assert_eq!(seen.as_deref(), Some(&b"before"[..]), "visible before it was durable");
            early += 1;
        }
    }
    writer.await.expect("the writer ends").expect("late, and acknowledged");
    assert!(begun.elapsed() >= SLOW, "acknowledged before it was durable");
    assert!(early > 10, "{early} of {reads} reads were answered while the sync went on");
    gofail(&pages, "DELETE", "/walBeforeSync", "");
    assert_eq!(get(&client, "k").await.as_deref(), Some(&b"after"[..]));
    assert!(member.log_text().contains("\"slow fdatasync\""), "{}", member.log_text());
    assert!(member.terminate().success());
}

/// A database that cannot be written holds the writers up before memory fills, refuses when many of them wait, and loses nothing.
#[tokio::test]
async fn a_slow_commit_slows_the_writers_down() {
    const WAVE: usize = 500;
    const MOST: usize = 40_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, pages) = with_failpoints(folder.path());
    // A long election time-out makes the requests' own so long that none is given up here.
    let member = plan.with(&["--backend-batch-limit=100", "--election-timeout=50000"]).start();
    let client = connect(&member.endpoint).await.expect("a connection");
    gofail(&pages, "PUT", "/beforeCommit", "sleep(1500)");
    let mut puts = tokio::task::JoinSet::new();
    let (mut sent, mut kept, mut refused) = (0, 0, Vec::new());
    while refused.is_empty() {
        assert!(sent < MOST, "{sent} puts and none was refused");
        for n in sent..sent + WAVE {
            let client = client.clone();
            puts.spawn(async move { call::<pb::PutResponse>(&client, PUT, &put(&format!("k{n}"), b"v".to_vec())).await });
        }
        sent += WAVE;
        // Read in between: no reader waits for the commit.
        get(&client, "k0").await;
        while let Some(answer) = puts.try_join_next() {
            match answer.expect("a put ends") {
                Ok(_) => kept += 1,
                Err(status) => refused.push(status),
            }
        }
    }
    gofail(&pages, "DELETE", "/beforeCommit", "");
    while let Some(answer) = puts.join_next().await {
        match answer.expect("a put ends") {
            Ok(_) => kept += 1,
            Err(status) => refused.push(status),
        }
    }
    // Code 2, not 8: so it is on the wire (`errors.tsv`).
    for status in &refused {
        assert_eq!((status.code, &*status.message), (Code(2), "etcdserver: too many requests"));
    }
    let all = pb::RangeRequest {
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
        count_only: true,
        ..Default::default()
    };
    let found: pb::RangeResponse = call(&client, RANGE, &all).await.expect("a read");
    assert_eq!(found.count, kept, "{} of {sent} were refused", refused.len());
    assert!(member.terminate().success());
}

/// Puts until the member is gone; the acknowledged keys.
async fn put_until_the_end(client: &Client, bytes: usize, at_most: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0..at_most {
        let key = format!("k{n}");
        if call::<pb::PutResponse>(client, PUT, &put(&key, vec![n as u8; bytes]))
            .await
            .is_err()
        {
            break;
        }
        acknowledged.push(key);
    }
    acknowledged
}

async fn check_all(client: &Client, acknowledged: &[String], bytes: usize) {
    for (n, key) in acknowledged.iter().enumerate() {
        let value = get(client, key)
            .await
            .unwrap_or_else(|| panic!("{key} was acknowledged and is lost"));
        assert!(
            value.len() == bytes && value.iter().all(|byte| *byte == n as u8),
            "{key} holds something else"
        );
    }
}

/// After a sync that failed nobody knows what is on the disk: the process says so and ends, and nothing acknowledged is lost.
#[tokio::test]
async fn a_failed_sync_ends_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::new(folder.path());
    // The start syncs some times itself: the failure comes somewhere among the puts.
    plan.environment = vec![(
        "GOFAIL_FAILPOINTS".into(),
        r#"walBeforeSync=60*off->return("input/output error")"#.into(),
    )];
    let mut member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let acknowledged = put_until_the_end(&client, 100, 200).await;
    let status = member.ended(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1));
    let log = member.log_text();
    let fatal = log.lines().find(|line| line.contains("\"level\":\"fatal\"")).expect("a last word");
    assert!(
        fatal.contains("failed to sync the write-ahead log") && fatal.contains("input/output error"),
        "{fatal}"
    );
    assert!((10..60).contains(&acknowledged.len()), "{} acknowledged", acknowledged.len());
    plan.environment.clear();
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    check_all(&client, &acknowledged, 100).await;
    assert!(member.terminate().success());
}

/// A thread that panics takes the process with it.
#[tokio::test]
async fn a_panic_ends_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut plan, pages) = with_failpoints(folder.path());
    let mut member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let acknowledged = put_until_the_end(&client, 100, 20).await;
    gofail(&pages, "PUT", "/walBeforeSync", "panic");
    assert!(call::<pb::PutResponse>(&client, PUT, &put("k20", vec![20; 100])).await.is_err());
    let status = member.ended(Duration::from_secs(30));
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(
        member.log_text().contains("failpoint panic: walBeforeSync"),
        "{}",
        member.log_text()
    );
    plan.environment.clear();
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    check_all(&client, &acknowledged, 100).await;
    assert!(member.terminate().success());
}

/// A file system of its own, in memory; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount.
    fn new(path: PathBuf, size: &str) -> Option<Mount> {
        std::fs::create_dir_all(&path).expect("a folder");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Mount(path)),
            Ok(output) => {
                eprintln!("SKIPPED, mount says: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED, mount does not run: {error}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// No space left for log or database: the process ends rather than answer, refuses to serve while there is none, and has everything
/// when there is space again.
#[tokio::test]
async fn a_full_file_system_loses_nothing() {
    const VALUE: usize = 500_000;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mount) = Mount::new(folder.path().join("disk"), "200m") else {
        return;
    };
    let ballast = mount.0.join("ballast");
    std::fs::write(&ballast, vec![1; 90 << 20]).expect("ballast");
    let mut plan = Plan::new(folder.path());
    plan.data = mount.0.join("data");
    // Its log stands beside the mount: the last words must not be lost with the space.
    plan.log = folder.path().join("member.log");
    let mut member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    let acknowledged = put_until_the_end(&client, VALUE, 400).await;
    let status = member.ended(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1));
    assert!(acknowledged.len() > 20, "only {} puts before the disk was full", acknowledged.len());
    let log = member.log_text();
    let fatal = log.lines().find(|line| line.contains("\"level\":\"fatal\"")).expect("a last word");
    assert!(fatal.contains("No space left on device"), "{fatal}");
    std::fs::remove_file(&ballast).expect("ballast");
    let member = plan.start();
    let client = connect(&member.endpoint).await.expect("a connection");
    check_all(&client, &acknowledged, VALUE).await;
    call::<pb::PutResponse>(&client, PUT, &put("again", vec![1]))
        .await
        .expect("there is space again");
    assert!(member.terminate().success());
}
