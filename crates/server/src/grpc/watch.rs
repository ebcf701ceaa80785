//! Watch: a client's stream on one side, the hub's stream on the other.

use std::sync::Arc;

use api::pb::etcdserverpb::WatchRequest;
use api::{Code, Error, Status};
use http2::Encoded;
use mvcc::watch::{Polled, progress_interval};
use tokio::sync::Notify;
use world::Rng;

use super::decode;
use super::streams::{Answers, Requests};
use crate::node::Node;

/// While so many answers wait, no further request of the stream is read.
const MOST_WAITING: usize = 1024;

/// Runs a watch stream until the client is gone.
pub async fn serve(node: Arc<Node>, mut requests: Requests, answers: Answers) -> Result<(), Status> {
    let wake = Arc::new(Notify::new());
    let waker = wake.clone();
    let stream = node.store.watch_hub().open_stream(Arc::new(move || waker.notify_one()));
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
                Err(status) => return Err(status),
            },
            () = wake.notified() => {}
            _ = progress.tick() => stream.notify_progress(),
            () = answers.closed() => return Err(Error::WatchCanceled.into()),
        }
        loop {
            let header = node.header(0);
            let polled = stream
                .poll(&node.store, &header, &mut ready)
                .map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
            for answer in ready.drain(..) {
                answers.send(encode(&answer, &header)).await?;
            }
            if polled == Polled::Idle {
                break;
            }
        }
    }
}

fn encode(answer: &mvcc::watch::WatchAnswer, header: &api::pb::etcdserverpb::ResponseHeader) -> Encoded {
    let mut out = Vec::with_capacity(answer.encoded_len(header));
    answer.encode(header, &mut out);
    Encoded::from(out)
}
