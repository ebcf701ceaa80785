//! What members ask each other outside of consensus, one function each (`peer-protocol.md` 6).

use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use api::pb::leasepb;
use api::{ClusterId, LeaseId, MemberId};
use backend::schema::StoredMember;
use bytes::Bytes;
use compat::url::{self, Url};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use member::cluster::{Member, Version};
use prost::Message;
use serde::{Deserialize, Serialize};

use super::CLUSTER_ID;
use super::client::{Answer, Call, CallError, Client};
use super::dial::Dialler;

const PROTOBUF: &str = "application/protobuf";

/// The membership as a running member tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCluster {
    pub id: ClusterId,
    /// By id.
    pub members: Vec<Member>,
}

/// The versions that a member tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoteVersions {
    /// What its binary is.
    #[serde(rename = "etcdserver", default)]
    pub server: String,
    /// `not_decided` while the cluster has none.
    #[serde(rename = "etcdcluster", default)]
    pub cluster: String,
}

impl RemoteVersions {
    pub fn server(&self) -> Option<Version> {
        self.server.parse().ok()
    }

    pub fn cluster(&self) -> Option<Version> {
        self.cluster.parse().ok()
    }
}

/// The hash of another member's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHash {
    #[serde(default)]
    pub header: RemoteHeader,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hash: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compact_revision: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hash_revision: i64,
}

/// Its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHeader {
    /// The member's current revision.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: i64,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// What came of a request that the leader had to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded<T> {
    Done(T),
    /// The final answer: there is no such lease or member.
    NotFound,
    /// This member could not answer; another or a later one may.
    Failed(String),
}

/// What came of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion {
    Done(Vec<Member>),
    NotFound,
    NotReady,
    NotLearner,
    /// Took too long over there.
    TimedOut,
    Failed(String),
}

/// Other members, as far as plain requests go.
#[derive(Clone)]
pub struct Peers {
    client: Arc<Client>,
    dialler: Arc<Dialler>,
}

impl Peers {
    pub fn new(dialler: Dialler) -> Peers {
        let dialler = Arc::new(dialler);
        Peers {
            client: Arc::new(Client::new(dialler.clone())),
            dialler,
        }
    }

    pub fn dialler(&self) -> &Arc<Dialler> {
        &self.dialler
    }

    async fn ask(&self, url: &str, call: &Call, limit: Duration) -> Result<Answer, CallError> {
        let url: Url = url::parse(url).map_err(|error| CallError::Connection(error.to_string()))?;
        self.client.call(&url, call, limit).await
    }

    /// The members, from one of them.
    ///
    /// # Errors
    /// `CallError`, also for answers that are no list of members.
    pub async fn members(&self, url: &str, limit: Duration) -> Result<RemoteCluster, CallError> {
        let answer = self.ask(url, &Call::get("/members"), limit).await?;
        expect_ok(url, &answer)?;
        let id = answer
            .headers
            .get(CLUSTER_ID)
            .and_then(|id| id.to_str().ok())
            .and_then(|id| u64::from_str_radix(id, 16).ok())
            .ok_or_else(|| CallError::Answer(format!("{url}: no cluster id in the header of /members")))?;
        Ok(RemoteCluster {
            id: ClusterId(id),
            members: members_from_json(&answer.body).map_err(|error| CallError::Answer(format!("{url}: {error}")))?,
        })
    }

    /// The versions of a member.
    ///
    /// # Errors
    /// As those of `members`.
    pub async fn version(&self, url: &str, limit: Duration) -> Result<RemoteVersions, CallError> {
        let answer = self.ask(url, &Call::get("/version"), limit).await?;
        // Members older than 2.1 have no such page.
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(RemoteVersions {
                server: "2.0.0".to_owned(),
                cluster: "2.0.0".to_owned(),
            });
        }
        expect_ok(url, &answer)?;
        serde_json::from_slice(&answer.body).map_err(|error| CallError::Answer(format!("{url}: {error}")))
    }

    /// Whether a downgrade is going on. Members older than 3.5 know of none.
    ///
    /// # Errors
    /// As those of `members`.
    pub async fn downgrade_enabled(&self, url: &str, limit: Duration) -> Result<bool, CallError> {
        let answer = self.ask(url, &Call::get("/downgrade/enabled"), limit).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        expect_ok(url, &answer)?;
        match answer.text().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(CallError::Answer(format!("{url}: neither true nor false: {other}"))),
        }
    }

    /// Has the leader renew a lease; its time to live in seconds.
    pub async fn renew(&self, url: &str, id: LeaseId, limit: Duration) -> Forwarded<i64> {
        let request = pb::LeaseKeepAliveRequest { id: id.0 };
        let call = Call::post("/leases", PROTOBUF, request.encode_to_vec());
        match self.lease_answer::<pb::LeaseKeepAliveResponse>(url, &call, limit).await {
            Forwarded::Done(answer) if answer.id == id.0 => Forwarded::Done(answer.ttl),
            Forwarded::Done(_) => Forwarded::Failed("lease: renew id mismatch".to_owned()),
            Forwarded::NotFound => Forwarded::NotFound,
            Forwarded::Failed(error) => Forwarded::Failed(error),
        }
    }

    /// Asks the leader how long a lease has to live.
    pub async fn time_to_live(&self, url: &str, id: LeaseId, keys: bool, limit: Duration) -> Forwarded<pb::LeaseTimeToLiveResponse> {
        let request = leasepb::LeaseInternalRequest {
            lease_time_to_live_request: Some(pb::LeaseTimeToLiveRequest { id: id.0, keys }),
        };
        let call = Call::post("/leases/internal", PROTOBUF, request.encode_to_vec());
        match self.lease_answer::<leasepb::LeaseInternalResponse>(url, &call, limit).await {
            Forwarded::Done(answer) => match answer.lease_time_to_live_response {
                Some(answer) if answer.id == id.0 => Forwarded::Done(answer),
                _ => Forwarded::Failed("lease: renew id mismatch".to_owned()),
            },
            Forwarded::NotFound => Forwarded::NotFound,
            Forwarded::Failed(error) => Forwarded::Failed(error),
        }
    }

    async fn lease_answer<A: Message + Default>(&self, url: &str, call: &Call, limit: Duration) -> Forwarded<A> {
        let answer = match self.ask(url, call, limit).await {
            Ok(answer) => answer,
            Err(error) => return Forwarded::Failed(error.to_string()),
        };
        match answer.status {
            StatusCode::OK => A::decode(answer.body).map_or_else(|error| Forwarded::Failed(error.to_string()), Forwarded::Done),
            StatusCode::NOT_FOUND => Forwarded::NotFound,
            StatusCode::REQUEST_TIMEOUT => Forwarded::Failed("waiting for node to catch up its applied index has timed out".to_owned()),
            status => Forwarded::Failed(format!("lease: unknown error(status {}, {})", status.as_u16(), answer.text())),
        }
    }

    /// Has the leader make a voter of a learner.
    pub async fn promote(&self, url: &str, id: MemberId, limit: Duration) -> Promotion {
        let mut call = Call::get(format!("/members/promote/{}", id.0));
        call.method = Method::POST;
        let answer = match self.ask(url, &call, limit).await {
            Ok(answer) => answer,
            Err(error) => return Promotion::Failed(error.to_string()),
        };
        let text = answer.text();
        match answer.status {
            StatusCode::OK => members_from_json(&answer.body).map_or_else(|error| Promotion::Failed(error.to_string()), Promotion::Done),
            StatusCode::NOT_FOUND => Promotion::NotFound,
            StatusCode::REQUEST_TIMEOUT => Promotion::TimedOut,
            StatusCode::PRECONDITION_FAILED if text.contains(api::Error::LearnerNotReady.message()) => Promotion::NotReady,
            StatusCode::PRECONDITION_FAILED if text.contains("membership: can only promote a learner member") => Promotion::NotLearner,
            _ => Promotion::Failed(format!("member promote: unknown error({text})")),
        }
    }

    /// The hash of a member's data up to a revision; 0 for its current one.
    ///
    /// # Errors
    /// As those of `members`; texts of revisions that it does not have any more, or not yet, are in there.
    pub async fn hash_kv(&self, url: &str, cluster: ClusterId, revision: i64, limit: Duration) -> Result<RemoteHash, CallError> {
        let body = if revision == 0 {
            "{}".to_owned()
        } else {
            format!("{{\"revision\":{revision}}}")
        };
        let mut call = Call::get("/members/hashkv");
        call.headers = cluster_header(cluster);
        call.headers
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.body = Bytes::from(body);
        let answer = self.ask(url, &call, limit).await?;
        expect_ok(url, &answer)?;
        serde_json::from_slice(&answer.body).map_err(|error| CallError::Answer(format!("{url}: {error}")))
    }
}

/// The header that says which cluster is meant.
pub(super) fn cluster_header(cluster: ClusterId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(id) = HeaderValue::from_str(&cluster.to_string()) {
        headers.insert(CLUSTER_ID, id);
    }
    headers
}

fn members_from_json(json: &[u8]) -> Result<Vec<Member>, serde_json::Error> {
    let stored: Vec<StoredMember> = serde_json::from_slice(json)?;
    let mut members: Vec<Member> = stored.into_iter().map(Member::from).collect();
    members.sort_by_key(|member| member.id);
    Ok(members)
}

fn expect_ok(url: &str, answer: &Answer) -> Result<(), CallError> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    Err(CallError::Answer(format!("{url}: {}: {}", answer.status, answer.text())))
}
