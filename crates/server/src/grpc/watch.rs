//! Watch: a client's stream on one side, the hub's stream on the other.

use std::sync::Arc;
use std::time::Instant;

use api::pb::etcdserverpb::{ResponseHeader, WatchRequest};
use api::{Code, Error, Status};
use http2::Encoded;
use mvcc::watch::{HistoryError, Polled, WatchAnswer, WatchStream, progress_interval};
use tokio::sync::Notify;
use world::Rng;

use super::decode;
use super::streams::{Answers, Requests};
use crate::metrics::Metrics;
use crate::node::Node;

/// While so many answers wait, no further request of the stream is read.
const MOST_WAITING: usize = 1024;

/// Runs a watch stream until the client is gone.
pub async fn serve(node: Arc<Node>, mut requests: Requests, answers: Answers) -> Result<(), Status> {
    let wake = Arc::new(Notify::new());
    let waker = wake.clone();
    let stream = Arc::new(node.store.watch_hub().open_stream(Arc::new(move || waker.notify_one())));
    let interval = progress_interval(node.limits.watch_progress_interval, world::os::SplitMix::from_os().next_u64());
    let mut progress = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    let mut ready = Vec::new();
    let mut half_closed = false;
    loop {
        tokio::select! {
            request = requests.next(), if !half_closed && stream.backlog() < MOST_WAITING => match request {
                Ok(Some(message)) => stream.handle(decode::<WatchRequest>(message)?),
                // The client has said all it wants to say and goes on listening.
                Ok(None) => half_closed = true,
                Err(status) if status.code == Code::Canceled => return Err(Error::WatchCanceled.into()),
                Err(status) => {
                    node.metrics.network_server_stream_failures_total.with(&["receive", "watch"]).inc();
                    return Err(status);
                }
            },
            () = wake.notified() => {}
            _ = progress.tick() => stream.notify_progress(),
            () = answers.closed() => return Err(Error::WatchCanceled.into()),
        }
        loop {
            let header = node.header(0);
            let polled = poll(&node, &stream, &header, &mut ready).await?;
            let metrics = &node.metrics;
            let mut begun = Instant::now();
            for answer in ready.drain(..) {
                answers.send(encode(&answer, &header)).await?;
                begun = sent(metrics, &answer, begun);
            }
            if polled == Polled::Idle {
                break;
            }
        }
    }
}

/// Takes what is ready. What a stream that lags behind has missed is read on a thread that may take its time: the other calls of the
/// connection, and the other connections of this thread, do not wait for it.
async fn poll(
    node: &Arc<Node>,
    stream: &Arc<WatchStream>,
    header: &ResponseHeader,
    ready: &mut Vec<WatchAnswer>,
) -> Result<Polled, Status> {
    let failed = |error: HistoryError| Status::new(Code::Unknown, error.to_string());
    if !stream.is_behind() {
        return stream.poll(&node.store, header, ready).map_err(failed);
    }
    let (node, stream, header) = (node.clone(), stream.clone(), *header);
    let work = tokio::task::spawn_blocking(move || {
        let mut ready = Vec::new();
        let polled = stream.poll(&node.store, &header, &mut ready)?;
        Ok((polled, ready))
    });
    let (polled, more) = work
        .await
        .map_err(|error| Status::new(Code::Internal, error.to_string()))?
        .map_err(failed)?;
    ready.extend(more);
    Ok(polled)
}

/// Counts an answer that was sent since `begun`, and gives the time now.
fn sent(metrics: &Metrics, answer: &WatchAnswer, begun: Instant) -> Instant {
    let now = Instant::now();
    let took = now.duration_since(begun);
    let events = answer.events.len();
    if events > 0 {
        metrics
            .debugging_server_watch_send_loop_watch_stream_duration_seconds
            .observe_duration(took);
        metrics
            .debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds
            .observe(took.as_secs_f64() / events as f64);
    } else if answer.created || answer.canceled {
        metrics
            .debugging_server_watch_send_loop_control_stream_duration_seconds
            .observe_duration(took);
    } else {
        metrics
            .debugging_server_watch_send_loop_progress_duration_seconds
            .observe_duration(took);
    }
    now
}

fn encode(answer: &WatchAnswer, header: &ResponseHeader) -> Encoded {
    let mut out = Vec::with_capacity(answer.encoded_len(header));
    answer.encode(header, &mut out);
    Encoded::from(out)
}
