//! What is measured. Each scenario takes a fresh server of either side and gives its figures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::{Encoded, Metadata};
use prost::Message;

use crate::load::{self, Outcome, call};
use crate::process::{Cost, Server};
use crate::report::Figures;

const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const RANGE: &str = "/etcdserverpb.KV/Range";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const DEFRAGMENT: &str = "/etcdserverpb.Maintenance/Defragment";

const VALUE_BYTES: usize = 256;

/// How long and how large; smaller for a quick look.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub length: Duration,
    pub keys: usize,
    pub start_keys: usize,
    pub defrag_bytes: u64,
}

/// All names, in the order they run.
pub fn all() -> Vec<String> {
    let mut names = Vec::new();
    for clients in [1, 100, 1000] {
        names.extend(["put", "txn-put", "get-serializable", "get-linearizable"].map(|name| format!("{name}/{clients}")));
    }
    for clients in [1, 100, 1000] {
        names.extend(["cluster-put", "cluster-get-linearizable"].map(|name| format!("{name}/{clients}")));
    }
    names.extend(["page", "watch-fanout", "lease-keepalive", "start-up", "defrag"].map(String::from));
    names
}

/// Members of a cluster under measurement; clients are spread over all of them.
const MEMBERS: usize = 3;

/// Runs one scenario on a fresh member of `binary`, or a fresh cluster, with its data below `folder`.
pub async fn run(name: &str, binary: &Path, folder: &Path, scale: Scale) -> anyhow::Result<Figures> {
    let (kind, clients) = name.split_once('/').unwrap_or((name, "1"));
    let clients: usize = clients.parse()?;
    let data = folder.join("data");
    if kind == "start-up" {
        return start_up(binary, &data, scale).await;
    }
    let members = if kind.starts_with("cluster-") { MEMBERS } else { 1 };
    let server = Server::start_cluster(binary, &data, members, &[])?;
    let figures = match kind.trim_start_matches("cluster-") {
        "put" => put(&server, clients, scale, false).await,
        "txn-put" => put(&server, clients, scale, true).await,
        "get-serializable" => get(&server, clients, scale, true).await,
        "get-linearizable" => get(&server, clients, scale, false).await,
        "page" => page(&server, scale).await,
        "watch-fanout" => watch_fanout(&server, scale).await,
        "lease-keepalive" => keep_alive(&server, scale).await,
        "defrag" => defrag(&server, scale).await,
        other => anyhow::bail!("no scenario {other}"),
    };
    server.stop()?;
    figures
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace-{:03}/object-{number:08}", number % 1000))
}

fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

fn put_request(key: Bytes) -> pb::PutRequest {
    pb::PutRequest {
        key,
        value: value(),
        ..Default::default()
    }
}

/// Fills the member with `count` keys, as fast as it goes.
async fn fill(endpoints: &[String], count: usize, value: Bytes) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for client in load::connections(endpoints, 64).await? {
        let (next, value) = (next.clone(), value.clone());
        tasks.spawn(async move {
            loop {
                // Txns of many puts: loading is not what is measured.
                let from = next.fetch_add(100, Ordering::Relaxed) as usize;
                if from >= count {
                    return anyhow::Ok(());
                }
                let ops = (from..count.min(from + 100)).map(|n| pb::PutRequest {
                    key: key(n),
                    value: value.clone(),
                    ..Default::default()
                });
                let success = ops
                    .map(|put| pb::RequestOp {
                        request: Some(pb::request_op::Request::RequestPut(put)),
                    })
                    .collect();
                let _: pb::TxnResponse = call(
                    &client,
                    TXN,
                    &pb::TxnRequest {
                        success,
                        ..Default::default()
                    },
                )
                .await?;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

fn figures(outcome: &Outcome, before: Cost, after: Cost) -> Figures {
    let at = |quantile| Some(Duration::from_nanos(outcome.latency.value_at_quantile(quantile)));
    Figures {
        per_second: Some(outcome.operations as f64 / outcome.took.as_secs_f64()),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        cpu: Some((after.cpu - before.cpu).div_f64(outcome.operations.max(1) as f64)),
        rss_anon: Some(after.rss_anon),
        peak: Some(after.peak),
        ..Figures::default()
    }
}

async fn put(server: &Server, clients: usize, scale: Scale, in_txn: bool) -> anyhow::Result<Figures> {
    let keys = scale.keys;
    let request = move |client: usize, round: u64| {
        let put = put_request(key((client.wrapping_mul(7919) + round as usize * 104_729) % keys));
        if !in_txn {
            return Bytes::from(put.encode_to_vec());
        }
        let success = vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put)),
        }];
        Bytes::from(
            pb::TxnRequest {
                success,
                ..Default::default()
            }
            .encode_to_vec(),
        )
    };
    let path = if in_txn { TXN } else { PUT };
    load::closed_loop(&server.endpoints, clients, scale.length / 5, path, request).await?; // warm
    let before = server.cost()?;
    let outcome = load::closed_loop(&server.endpoints, clients, scale.length, path, request).await?;
    Ok(figures(&outcome, before, server.cost()?))
}

async fn get(server: &Server, clients: usize, scale: Scale, serializable: bool) -> anyhow::Result<Figures> {
    fill(&server.endpoints, scale.keys, value()).await?;
    let keys = scale.keys;
    let request = move |client: usize, round: u64| {
        let key = key((client.wrapping_mul(7919) + round as usize * 104_729) % keys);
        Bytes::from(
            pb::RangeRequest {
                key,
                serializable,
                ..Default::default()
            }
            .encode_to_vec(),
        )
    };
    load::closed_loop(&server.endpoints, clients, scale.length / 5, RANGE, request).await?;
    let before = server.cost()?;
    let outcome = load::closed_loop(&server.endpoints, clients, scale.length, RANGE, request).await?;
    Ok(figures(&outcome, before, server.cost()?))
}

/// Pages of 10 000 out of 300 000 keys; an operation is a returned key.
async fn page(server: &Server, scale: Scale) -> anyhow::Result<Figures> {
    let (total, limit) = (scale.keys * 3, scale.keys / 10);
    fill(&server.endpoints, total, Bytes::from_static(b"a small value of a list")).await?;
    let client = load::connect(server.endpoint()).await?;
    let request = pb::RangeRequest {
        key: Bytes::from_static(b"/"),
        range_end: Bytes::from_static(b"0"),
        limit: limit as i64,
        ..Default::default()
    };
    let first: pb::RangeResponse = call(&client, RANGE, &request).await?;
    ensure!(
        first.kvs.len() == limit && first.count == total as i64 && first.more,
        "the page is not what was asked for"
    );
    let message = Bytes::from(request.encode_to_vec());
    let before = server.cost()?;
    let outcome = load::run(1, scale.length, move |_, _| {
        let (client, message) = (client.clone(), message.clone());
        async move {
            client.unary(RANGE, &Metadata::new(), None, Encoded::from(message)).await?;
            Ok(limit as u64)
        }
    })
    .await?;
    Ok(figures(&outcome, before, server.cost()?))
}

/// 1 000 watchers on one key, on 10 streams; an operation is a delivered event.
async fn watch_fanout(server: &Server, scale: Scale) -> anyhow::Result<Figures> {
    const STREAMS: usize = 10;
    const WATCHERS: usize = 1000;
    let seen = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    for _ in 0..STREAMS {
        let client = load::connect(server.endpoint()).await?;
        let (sender, mut answers) = client.stream(WATCH, &Metadata::new(), None)?;
        for _ in 0..WATCHERS / STREAMS {
            let create = pb::WatchCreateRequest {
                key: Bytes::from_static(b"fan"),
                ..Default::default()
            };
            let request = pb::WatchRequest {
                request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
            };
            sender.send(Encoded::message(&request)).await?;
        }
        for _ in 0..WATCHERS / STREAMS {
            let created = pb::WatchResponse::decode(answers.message().await?.context("the watch stream ended")?)?;
            ensure!(created.created && !created.canceled, "a watcher was not created");
        }
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = answers.message().await {
                if let Ok(answer) = pb::WatchResponse::decode(message) {
                    seen.fetch_add(answer.events.len() as u64, Ordering::Relaxed);
                }
            }
        });
        senders.push((sender, client));
    }
    let writer = load::connect(server.endpoint()).await?;
    let before = server.cost()?;
    let (begun, mut events) = (Instant::now(), 0);
    let mut latency = hdrhistogram::Histogram::new_with_bounds(1_000, 120_000_000_000, 3)?;
    while begun.elapsed() < scale.length {
        let sent = Instant::now();
        let _: pb::PutResponse = call(&writer, PUT, &put_request(Bytes::from_static(b"fan"))).await?;
        events += WATCHERS as u64;
        while seen.load(Ordering::Relaxed) < events {
            ensure!(
                sent.elapsed() < Duration::from_secs(30),
                "events are missing: {} of {events}",
                seen.load(Ordering::Relaxed)
            );
            tokio::task::yield_now().await;
        }
        latency.saturating_record(sent.elapsed().as_nanos() as u64);
    }
    let outcome = Outcome {
        operations: events,
        took: begun.elapsed(),
        latency,
    };
    Ok(figures(&outcome, before, server.cost()?))
}

/// 100 streams, each renewing its lease in a closed loop.
async fn keep_alive(server: &Server, scale: Scale) -> anyhow::Result<Figures> {
    const STREAMS: usize = 100;
    let mut streams = Vec::new();
    for client in load::connections(&server.endpoints, STREAMS).await? {
        let lease: pb::LeaseGrantResponse = call(&client, GRANT, &pb::LeaseGrantRequest { ttl: 3600, id: 0 }).await?;
        let (sender, answers) = client.stream(KEEP_ALIVE, &Metadata::new(), None)?;
        streams.push(Arc::new((sender, tokio::sync::Mutex::new(answers), lease.id, client)));
    }
    let before = server.cost()?;
    let outcome = load::run(STREAMS, scale.length, move |client, _| {
        let stream = streams[client].clone();
        async move {
            let (sender, answers, id, _connection) = &*stream;
            sender.send(Encoded::message(&pb::LeaseKeepAliveRequest { id: *id })).await?;
            answers.lock().await.message().await?.context("the keep-alive stream ended")?;
            Ok(1)
        }
    })
    .await?;
    Ok(figures(&outcome, before, server.cost()?))
}

/// A member with many keys is stopped and started again: time to its first answer and memory then.
async fn start_up(binary: &Path, data: &Path, scale: Scale) -> anyhow::Result<Figures> {
    let server = Server::start(binary, data, &[])?;
    fill(&server.endpoints, scale.start_keys, value()).await?;
    server.stop()?;
    let server = Server::start(binary, data, &[])?;
    let cost = server.cost()?;
    let figures = Figures {
        took: Some(server.started_in),
        cpu: None,
        rss_anon: Some(cost.rss_anon),
        peak: Some(cost.peak),
        ..Figures::default()
    };
    server.stop()?;
    Ok(figures)
}

/// A file that is 90 % free is defragmented while one client puts: the longest put during it.
async fn defrag(server: &Server, scale: Scale) -> anyhow::Result<Figures> {
    const LARGE: usize = 64 * 1024;
    let keys = (scale.defrag_bytes / LARGE as u64) as usize;
    let client = load::connect(server.endpoint()).await?;
    for number in 0..keys {
        let put = pb::PutRequest {
            key: key(number),
            value: Bytes::from(vec![b'x'; LARGE]),
            ..Default::default()
        };
        let _: pb::PutResponse = call(&client, PUT, &put).await?;
    }
    for number in (0..keys).filter(|n| n % 10 != 0) {
        let _: pb::DeleteRangeResponse = call(
            &client,
            "/etcdserverpb.KV/DeleteRange",
            &pb::DeleteRangeRequest {
                key: key(number),
                ..Default::default()
            },
        )
        .await?;
    }
    let last: pb::PutResponse = call(&client, PUT, &put_request(Bytes::from_static(b"last"))).await?;
    let revision = last.header.context("an answer without a header")?.revision;
    let _: pb::CompactionResponse = call(&client, COMPACT, &pb::CompactionRequest { revision, physical: true }).await?;
    let before = server.cost()?;
    let putting = tokio::spawn({
        let endpoint = server.endpoint().to_owned();
        async move {
            let client = load::connect(&endpoint).await?;
            let mut longest = Duration::ZERO;
            let mut defragmenting = true;
            let (done_sender, mut done) = tokio::sync::oneshot::channel();
            let other = load::connect(&endpoint).await?;
            let begun = Instant::now();
            tokio::spawn(async move {
                let answer: anyhow::Result<pb::DefragmentResponse> = call(&other, DEFRAGMENT, &pb::DefragmentRequest {}).await;
                let _ = done_sender.send(answer);
            });
            while defragmenting {
                let sent = Instant::now();
                let _: pb::PutResponse = call(&client, PUT, &put_request(Bytes::from_static(b"during"))).await?;
                longest = longest.max(sent.elapsed());
                if let Ok(answer) = done.try_recv() {
                    answer?;
                    defragmenting = false;
                }
            }
            anyhow::Ok((longest, begun.elapsed()))
        }
    });
    let (longest, took) = putting.await??;
    let status: pb::StatusResponse = call(&client, "/etcdserverpb.Maintenance/Status", &pb::StatusRequest {}).await?;
    ensure!(
        status.db_size < scale.defrag_bytes as i64 / 2,
        "the file is still {} bytes",
        status.db_size
    );
    let after = server.cost()?;
    Ok(Figures {
        longest: Some(longest),
        took: Some(took),
        cpu: Some(after.cpu - before.cpu),
        peak: Some(after.peak),
        ..Figures::default()
    })
}
