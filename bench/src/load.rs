//! Closed-loop load: N clients, each sending its next request when the last is answered, over a bounded number of connections.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http2::client::{Client, Options};
use http2::{Encoded, Metadata};
use prost::Message;

/// Most connections that a scenario opens; further clients share them, as the Go benchmark tool does.
const MOST_CONNECTIONS: usize = 100;

/// What the clients saw.
pub struct Outcome {
    pub operations: u64,
    pub took: Duration,
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Opens a connection; its task ends with it.
pub async fn connect(endpoint: &str) -> anyhow::Result<Client> {
    let socket = tokio::net::TcpStream::connect(endpoint).await?;
    socket.set_nodelay(true)?;
    let (client, connection) = http2::client::connect(
        socket,
        Options {
            authority: endpoint.to_owned(),
            ..Options::default()
        },
    );
    tokio::spawn(connection);
    Ok(client)
}

/// The connections that `clients` clients share, to all endpoints in turn.
pub async fn connections(endpoints: &[String], clients: usize) -> anyhow::Result<Vec<Client>> {
    let mut all = Vec::new();
    for number in 0..clients.min(MOST_CONNECTIONS) {
        all.push(connect(&endpoints[number % endpoints.len()]).await?);
    }
    Ok(all)
}

/// One unary call.
pub async fn call<A: Message + Default>(client: &Client, path: &'static str, request: &impl Message) -> anyhow::Result<A> {
    let answer = client
        .unary(path, &Metadata::new(), None, Encoded::message(request))
        .await
        .context(path)?;
    Ok(A::decode(answer)?)
}

/// Runs `clients` clients for `length`. `request(client, round)` gives the message to send, encoded; answers are checked for
/// success only, so that the generator costs as little as it can.
pub async fn closed_loop(
    endpoints: &[String],
    clients: usize,
    length: Duration,
    path: &'static str,
    request: impl Fn(usize, u64) -> Bytes + Send + Sync + 'static,
) -> anyhow::Result<Outcome> {
    let connections = connections(endpoints, clients).await?;
    let request = Arc::new(request);
    run(clients, length, move |client, round| {
        let (connection, request) = (connections[client % connections.len()].clone(), request.clone());
        async move {
            connection
                .unary(path, &Metadata::new(), None, Encoded::from(request(client, round)))
                .await?;
            Ok(1)
        }
    })
    .await
}

/// Runs `operation(client, round)` in a closed loop from `clients` tasks for `length`; it gives the number of operations it did.
pub async fn run<F>(
    clients: usize,
    length: Duration,
    operation: impl Fn(usize, u64) -> F + Send + Sync + 'static,
) -> anyhow::Result<Outcome>
where
    F: Future<Output = anyhow::Result<u64>> + Send,
{
    let (operation, stop) = (Arc::new(operation), Arc::new(AtomicBool::new(false)));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (operation, stop) = (operation.clone(), stop.clone());
        tasks.spawn(async move {
            let mut latency = histogram();
            let (mut done, mut round) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let sent = Instant::now();
                done += operation(client, round).await?;
                latency.saturating_record(sent.elapsed().as_nanos() as u64);
                round += 1;
            }
            anyhow::Ok((done, latency))
        });
    }
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let mut outcome = Outcome {
        operations: 0,
        took: begun.elapsed(),
        latency: histogram(),
    };
    while let Some(task) = tasks.join_next().await {
        let (done, latency) = task??;
        outcome.operations += done;
        outcome.latency.add(latency)?;
    }
    Ok(outcome)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("fixed bounds are valid")
}
