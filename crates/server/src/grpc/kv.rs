//! KV: Range, RangeStream, Put, DeleteRange, Txn, Compact.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use api::{Code, Status};
use bytes::Bytes;
use http2::{Encoded, Reply};
use member::apply::Response;
use member::propose::Body;
use member::quota;

use super::slow::Watched;
use super::streams::{Answers, Requests};
use super::{decode, later, ready, to_transport};
use crate::metrics::RequestType;
use crate::node::{Node, store_error};

/// Ranges up to this many keys are answered in the connection's own task; larger ones go to a thread that may take its time, so that
/// they do not hold up the other calls of the connection.
const INLINE_KEYS: i64 = 128;

/// Answers a Range.
pub fn range(node: &Arc<Node>, watched: Watched, message: Bytes) -> Reply {
    let request = match checked_range(message) {
        Ok(request) => request,
        Err(status) => return Reply::Ready(Err(to_transport(status))),
    };
    let local = request.serializable || node.reads_are_local();
    let small = request.range_end.is_empty() || request.count_only || (1..=INLINE_KEYS).contains(&request.limit);
    let begun = Instant::now();
    if local && small {
        let (result, took) = range_now(node, &request, begun);
        node.metrics.request_took(RequestType::Range, result.is_ok(), took);
        return ready(watched, result);
    }
    let node = node.clone();
    later(watched, async move {
        let result = range_later(node.clone(), request, small).await;
        node.metrics.request_took(RequestType::Range, result.is_ok(), begun.elapsed());
        result
    })
}

async fn range_later(node: Arc<Node>, request: pb::RangeRequest, small: bool) -> Result<Encoded, Status> {
    if !request.serializable {
        node.read_index().await?;
    }
    if small {
        return range_now(&node, &request, Instant::now()).0;
    }
    let work = tokio::task::spawn_blocking(move || range_now(&node, &request, Instant::now()).0);
    work.await.map_err(|error| Status::new(Code::Internal, error.to_string()))?
}

fn checked_range(message: Bytes) -> Result<pb::RangeRequest, Status> {
    let request: pb::RangeRequest = decode(message)?;
    mvcc::check::range(&request)?;
    Ok(request)
}

/// Reads from what is here, and how long that took since `begun`.
fn range_now(node: &Node, request: &pb::RangeRequest, begun: Instant) -> (Result<Encoded, Status>, Duration) {
    let found = node.store.range(request).map_err(store_error);
    let result = found.map(|answer| Encoded::from(answer.encode(node.header(answer.revision))));
    let took = begun.elapsed();
    node.metrics.mvcc_range_total.inc();
    node.metrics.range_took(result.is_ok(), took);
    (result, took)
}

/// Answers a RangeStream: the same answer in pieces, all of one revision.
pub async fn range_stream(node: Arc<Node>, mut requests: Requests, answers: Answers) -> Result<(), Status> {
    let request: pb::RangeRequest = decode(requests.only().await?)?;
    mvcc::check::range(&request)?;
    mvcc::check::range_stream(&request)?;
    if !request.serializable {
        node.read_index().await?;
    }
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        for chunk in node.store.range_stream(request) {
            let chunk = chunk.map_err(store_error)?;
            answers.send_blocking(encode_chunk(&node, chunk), &runtime)?;
        }
        Ok(())
    });
    work.await.map_err(|error| Status::new(Code::Internal, error.to_string()))?
}

/// One `RangeStreamResponse` around the stored bytes of its keys.
fn encode_chunk(node: &Node, chunk: mvcc::RangeChunk) -> Encoded {
    const RANGE_RESPONSE: u32 = 1;
    let inner = match chunk.end {
        Some(end) => {
            let header = node.header(end.revision);
            mvcc::RangeAnswer { kvs: chunk.kvs, ..end }.encode(header)
        }
        None => {
            const KVS: u32 = 2;
            let mut kvs = Vec::new();
            chunk.kvs.iter().for_each(|kv| prost::encoding::bytes::encode(KVS, kv, &mut kvs));
            Bytes::from(kvs)
        }
    };
    let mut out = Vec::with_capacity(inner.len() + 8);
    prost::encoding::bytes::encode(RANGE_RESPONSE, &inner, &mut out);
    Encoded::from(out)
}

/// Answers a Put.
pub async fn put(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::PutRequest = decode(message.clone())?;
    mvcc::check::put(&request)?;
    node.check_quota(quota::put_cost(&request))?;
    match node.propose(Body::Put, &message).await? {
        Response::Put(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

/// Answers a DeleteRange.
pub async fn delete_range(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::DeleteRangeRequest = decode(message.clone())?;
    mvcc::check::delete(&request)?;
    match node.propose(Body::DeleteRange, &message).await? {
        Response::DeleteRange(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

/// Answers a Txn: one that only reads is answered from here, like a Range.
pub fn txn(node: &Arc<Node>, watched: Watched, message: Bytes) -> Reply {
    let request: pb::TxnRequest = match decode(message.clone()) {
        Ok(request) => request,
        Err(status) => return Reply::Ready(Err(to_transport(status))),
    };
    if let Err(error) = mvcc::check::txn(&request, node.limits.max_txn_ops) {
        return ready(watched, Err(error.into()));
    }
    let node = node.clone();
    if mvcc::Store::is_read_only(&request) {
        return later(watched, async move {
            let begun = Instant::now();
            let result = read_txn(node.clone(), request).await;
            node.metrics.request_took(RequestType::ReadonlyTxn, result.is_ok(), begun.elapsed());
            result
        });
    }
    if let Err(status) = node.check_quota(quota::txn_cost(&request)) {
        return ready(watched, Err(status));
    }
    later(watched, async move {
        match node.propose(Body::Txn, &message).await? {
            Response::Txn(answer) => Ok(finish_txn(&node, answer)),
            other => Err(unexpected(&other)),
        }
    })
}

async fn read_txn(node: Arc<Node>, request: pb::TxnRequest) -> Result<Encoded, Status> {
    if !is_serializable(&request) {
        node.read_index().await?;
    }
    let work = tokio::task::spawn_blocking(move || {
        let answer = node.store.txn(&request).map_err(store_error)?;
        Ok(finish_txn(&node, answer))
    });
    work.await.map_err(|error| Status::new(Code::Internal, error.to_string()))?
}

fn is_serializable(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(&op.request, Some(pb::request_op::Request::RequestRange(range)) if range.serializable))
}

fn finish_txn(node: &Node, mut answer: pb::TxnResponse) -> Encoded {
    node.complete(&mut answer.header);
    Encoded::message(&answer)
}

/// Answers a Compact. A physical one is answered when the space is free.
pub async fn compact(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    // The applier decides about the revision; here only what is no compaction request is refused.
    let _: pb::CompactionRequest = decode(message.clone())?;
    match node.propose(Body::Compaction, &message).await? {
        Response::Compaction(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn unexpected(response: &Response) -> Status {
    Status::new(Code::Internal, format!("the applier gave an answer of another kind: {response:?}"))
}
