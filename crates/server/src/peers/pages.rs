//! The peer port's pages beside `/raft`: membership, versions, leases, promotions, hashes.
//!
//! Statuses, texts and headers are those of `peer-protocol.md` 6. Never decides anything: the member behind [`PeerMember`] does.

use std::sync::Arc;

use api::pb::etcdserverpb as pb;
use api::pb::leasepb;
use api::{ClusterId, LeaseId, MemberId};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use member::cluster::Member;
use member::lessor::LeaseError;
use prost::Message;
use serde::Deserialize;

use super::CLUSTER_ID;
use super::calls::{Promotion, RemoteHash};
use crate::http::{Body, BoxFuture, Versions, answer, version_json};

/// The longest request to `/leases`.
const MAX_LEASE_BYTES: usize = 64 << 10;
/// The longest request to `/members/hashkv`: one number.
const MAX_HASH_BYTES: usize = 64 << 10;

/// What the pages ask of the member.
pub trait PeerMember: Send + Sync {
    fn cluster_id(&self) -> ClusterId;
    /// By id.
    fn members(&self) -> Vec<Member>;
    fn versions(&self) -> Versions;
    /// Asked of the leader, or to be asked by this member.
    fn promote(&self, id: MemberId) -> BoxFuture<Promotion>;
    /// Whether a downgrade is going on, as of now.
    fn downgrade_enabled(&self) -> BoxFuture<Result<bool, String>>;
    /// Waits about a second for what is committed now to be applied; whether it is.
    fn catch_up(&self) -> BoxFuture<bool>;
    fn renew(&self, id: LeaseId) -> BoxFuture<Result<i64, LeaseError>>;
    fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, LeaseError>;
    /// The hash up to a revision, 0 for the current one; the text of why not.
    fn hash_kv(&self, revision: i64) -> BoxFuture<Result<RemoteHash, String>>;
}

/// The pages of one member.
pub struct PeerPages {
    member: Arc<dyn PeerMember>,
}

impl PeerPages {
    pub fn new(member: Arc<dyn PeerMember>) -> PeerPages {
        PeerPages { member }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        match path.as_str() {
            "/members" => self.members(&method),
            "/version" => match only(&method, Method::GET, "GET") {
                Err(refused) => *refused,
                Ok(()) => answer::ok("application/json", Body::full(version_json(&self.member.versions()))),
            },
            "/downgrade/enabled" => self.downgrade(&method).await,
            "/members/hashkv" => self.hash_kv(request).await,
            "/leases" => self.renew(request).await,
            "/leases/internal" => self.time_to_live(request).await,
            path => match path.strip_prefix("/members/promote/") {
                Some(id) => self.promote(&method, id).await,
                None => answer::not_found(),
            },
        }
    }

    fn with_cluster(&self, mut response: Response<Body>) -> Response<Body> {
        if let Ok(id) = HeaderValue::from_str(&self.member.cluster_id().to_string()) {
            response.headers_mut().insert(CLUSTER_ID, id);
        }
        response
    }

    fn members(&self, method: &Method) -> Response<Body> {
        if let Err(refused) = only(method, Method::GET, "GET") {
            return *refused;
        }
        self.with_cluster(answer::ok("application/json", Body::full(members_json(&self.member.members()))))
    }

    async fn promote(&self, method: &Method, id: &str) -> Response<Body> {
        if let Err(refused) = only(method, Method::POST, "POST") {
            return *refused;
        }
        let Ok(number) = id.parse::<u64>() else {
            let text = format!("member {id} not found in cluster");
            return self.with_cluster(answer::error(StatusCode::NOT_FOUND, &text));
        };
        let refuse = |status, text| answer::error(status, text);
        self.with_cluster(match self.member.promote(MemberId(number)).await {
            Promotion::Done(members) => answer::ok("application/json", Body::full(members_json(&members))),
            Promotion::NotFound => refuse(StatusCode::NOT_FOUND, "membership: ID not found"),
            Promotion::NotReady => refuse(StatusCode::PRECONDITION_FAILED, api::Error::LearnerNotReady.message()),
            Promotion::NotLearner => refuse(StatusCode::PRECONDITION_FAILED, "membership: can only promote a learner member"),
            Promotion::TimedOut | Promotion::Failed(_) => {
                let mut response = answer::ok("application/json", Body::full(r#"{"message":"Internal Server Error"}"#));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        })
    }

    async fn downgrade(&self, method: &Method) -> Response<Body> {
        if let Err(refused) = only(method, Method::GET, "GET") {
            return *refused;
        }
        self.with_cluster(match self.member.downgrade_enabled().await {
            Ok(enabled) => answer::ok("text/plain", Body::full(enabled.to_string())),
            Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &format!("failed linearized read: {error}")),
        })
    }

    async fn hash_kv(&self, request: Request<Body>) -> Response<Body> {
        #[derive(Deserialize)]
        struct Wanted {
            #[serde(default)]
            revision: i64,
        }
        if let Err(refused) = only(request.method(), Method::GET, "GET") {
            return *refused;
        }
        let meant = request.headers().get(CLUSTER_ID);
        if meant.is_some_and(|id| !id.is_empty() && id.as_bytes() != self.member.cluster_id().to_string().as_bytes()) {
            return answer::error(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch");
        }
        let body = match read(request.into_body(), MAX_HASH_BYTES).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let Ok(wanted) = serde_json::from_slice::<Wanted>(&body) else {
            return answer::error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self.member.hash_kv(wanted.revision).await {
            Ok(hash) => match serde_json::to_vec(&hash) {
                Ok(json) => self.with_cluster(answer::ok("application/json", Body::full(json))),
                Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            Err(error) => answer::error(StatusCode::BAD_REQUEST, &error),
        }
    }

    async fn renew(&self, request: Request<Body>) -> Response<Body> {
        let wanted = match self.lease_request::<pb::LeaseKeepAliveRequest>(request).await {
            Ok(wanted) => wanted,
            Err(refused) => return refused,
        };
        match self.member.renew(LeaseId(wanted.id)).await {
            Ok(ttl) => protobuf(&pb::LeaseKeepAliveResponse {
                header: None,
                id: wanted.id,
                ttl,
            }),
            Err(LeaseError::NotFound) => answer::error(StatusCode::NOT_FOUND, &LeaseError::NotFound.to_string()),
            Err(error) => answer::error(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    async fn time_to_live(&self, request: Request<Body>) -> Response<Body> {
        let wanted = match self.lease_request::<leasepb::LeaseInternalRequest>(request).await {
            Ok(wanted) => wanted,
            Err(refused) => return refused,
        };
        // Go's handler dies of a request without content, and its caller of the cut connection.
        let Some(wanted) = wanted.lease_time_to_live_request else {
            return answer::error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self.member.time_to_live(LeaseId(wanted.id), wanted.keys) {
            Ok(found) => protobuf(&leasepb::LeaseInternalResponse {
                lease_time_to_live_response: Some(found),
            }),
            Err(LeaseError::NotFound) => answer::error(StatusCode::NOT_FOUND, &LeaseError::NotFound.to_string()),
            Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    async fn lease_request<M: Message + Default>(&self, request: Request<Body>) -> Result<M, Response<Body>> {
        if request.method() != Method::POST {
            return Err(answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
        }
        let body = read(request.into_body(), MAX_LEASE_BYTES).await?;
        let wanted = M::decode(body).map_err(|_| answer::error(StatusCode::BAD_REQUEST, "error unmarshalling request"))?;
        if self.member.catch_up().await {
            return Ok(wanted);
        }
        Err(answer::error(
            StatusCode::REQUEST_TIMEOUT,
            "waiting for node to catch up its applied index has timed out",
        ))
    }
}

/// The members as `/members` tells them.
fn members_json(members: &[Member]) -> Bytes {
    let mut json = BytesMut::from(&b"["[..]);
    for (place, member) in members.iter().enumerate() {
        if place > 0 {
            json.extend_from_slice(b",");
        }
        json.extend_from_slice(&member.to_json());
    }
    json.extend_from_slice(b"]\n");
    json.freeze()
}

fn protobuf(message: &impl Message) -> Response<Body> {
    answer::ok("application/protobuf", Body::full(message.encode_to_vec()))
}

fn only(method: &Method, wanted: Method, name: &'static str) -> Result<(), Box<Response<Body>>> {
    if *method == wanted {
        return Ok(());
    }
    let mut response = answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(name));
    Err(Box::new(response))
}

/// The whole body, which must not be longer than `limit`.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, Response<Body>> {
    let mut all = BytesMut::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| answer::error(StatusCode::BAD_REQUEST, "error reading body"))?;
        if all.len() + chunk.len() > limit {
            return Err(answer::error(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
