//! Lease: grant, revoke, keep-alive, time-to-live, list.

use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use api::{Code, Error, LeaseId, Status};
use bytes::Bytes;
use http2::Encoded;
use member::apply::Response;
use member::lessor::LeaseError;
use member::propose::Body;
use member::quota;

use super::decode;
use super::kv::unexpected;
use super::streams::{Answers, Requests};
use crate::node::{Node, encode};

/// Between two looks at a lease that has run out and is being revoked.
const REVOKING_POLL: Duration = Duration::from_millis(50);

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
    while let Some(message) = requests.next().await? {
        let request: pb::LeaseKeepAliveRequest = decode(message)?;
        let ttl = renew(&node, LeaseId(request.id)).await?;
        let answer = pb::LeaseKeepAliveResponse {
            header: Some(node.header(0)),
            id: request.id,
            ttl,
        };
        answers.send(Encoded::message(&answer)).await?;
    }
    Ok(())
}

async fn renew(node: &Node, id: LeaseId) -> Result<i64, Status> {
    let deadline = node.now() + node.limits.request_timeout;
    loop {
        match node.lessor.renew(id, node.now()) {
            Ok(ttl) => {
                node.metrics.debugging_lease_renewed_total.inc();
                return Ok(ttl);
            }
            Err(LeaseError::NotFound) => return Ok(0),
            // Its revocation, or the news of our own leadership, is on the way.
            Err(LeaseError::Expired | LeaseError::NotPrimary) if node.now() < deadline => tokio::time::sleep(REVOKING_POLL).await,
            Err(LeaseError::Expired) => return Ok(0),
            Err(error) => return Err(Status::new(Code::Unknown, error.to_string())),
        }
    }
}

/// Answers a LeaseTimeToLive; a lease that is not there has a time to live of -1.
pub async fn time_to_live(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::LeaseTimeToLiveRequest = decode(message)?;
    node.read_index().await?;
    let answer = match node.lessor.lookup(LeaseId(request.id), node.now(), request.keys) {
        Ok(info) => pb::LeaseTimeToLiveResponse {
            header: Some(node.header(0)),
            id: request.id,
            ttl: info.remaining,
            granted_ttl: info.granted_ttl,
            keys: info.keys,
        },
        Err(LeaseError::NotFound) => pb::LeaseTimeToLiveResponse {
            header: Some(node.header(0)),
            id: request.id,
            ttl: -1,
            ..Default::default()
        },
        Err(_) => return Err(Error::LeaseNotFound.into()),
    };
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
