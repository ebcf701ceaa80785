//! Lease: grant, revoke, keep-alive, time-to-live, list.

use std::sync::Arc;

use api::pb::etcdserverpb as pb;
use api::{Code, LeaseId, Status};
use bytes::Bytes;
use http2::Encoded;
use member::apply::Response;
use member::propose::Body;
use member::quota;

use super::decode;
use super::kv::unexpected;
use super::streams::{Answers, Requests};
use crate::node::{Node, encode};

/// Answers a LeaseGrant; id 0 leaves the choice to the server.
pub async fn grant(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let mut request: pb::LeaseGrantRequest = decode(message.clone())?;
    node.check_quota(quota::lease_cost())?;
    let raw = if request.id == 0 {
        request.id = node.ids.next_lease().0;
        encode(&request)
    } else {
        message
    };
    match node.propose(Body::LeaseGrant, &raw).await? {
        Response::LeaseGrant(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

/// Answers a LeaseRevoke.
pub async fn revoke(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let _: pb::LeaseRevokeRequest = decode(message.clone())?;
    match node.propose(Body::LeaseRevoke, &message).await? {
        Response::LeaseRevoke(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

/// Runs a LeaseKeepAlive stream: one answer a request, in order. A lease that is not there is answered with a time to live of 0.
pub async fn keep_alive(node: Arc<Node>, mut requests: Requests, answers: Answers) -> Result<(), Status> {
    loop {
        let message = match requests.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(status) => {
                if status.code != Code::Canceled {
                    let failures = &node.metrics.network_server_stream_failures_total;
                    failures.with(&["receive", "lease-keepalive"]).inc();
                }
                return Err(status);
            }
        };
        let request: pb::LeaseKeepAliveRequest = decode(message)?;
        // The header is as of before the renewal: what is told of the lease is true at that revision.
        let header = Some(node.header(0));
        let ttl = node.renew(LeaseId(request.id)).await?;
        let answer = pb::LeaseKeepAliveResponse {
            header,
            id: request.id,
            ttl,
        };
        answers.send(Encoded::message(&answer)).await?;
    }
}

/// Answers a LeaseTimeToLive; a lease that is not there has a time to live of -1.
pub async fn time_to_live(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::LeaseTimeToLiveRequest = decode(message)?;
    let found = node.time_to_live(LeaseId(request.id), request.keys).await?;
    let mut answer = found.unwrap_or(pb::LeaseTimeToLiveResponse {
        id: request.id,
        ttl: -1,
        ..Default::default()
    });
    answer.header = Some(node.header(0));
    Ok(Encoded::message(&answer))
}

/// Answers a LeaseLeases.
pub async fn leases(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let _: pb::LeaseLeasesRequest = decode(message)?;
    node.read_index().await?;
    let leases = node.lessor.leases().into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect();
    Ok(Encoded::message(&pb::LeaseLeasesResponse {
        header: Some(node.header(0)),
        leases,
    }))
}
