//! The two requests of etcd 3.5's v2 store that still matter: a member's attributes and the cluster version.
//!
//! 3.5 proposes them unwrapped; a log of 3.5 holds them. Everything else of the v2 store has no successor.

use api::pb::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use bytes::Bytes;
use prost::Message;
use serde::Deserialize;

use super::{DecodeError, Decoded, Request};

/// `etcdserverpb.Request`, as much of it as is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct V2Request {
    #[prost(uint64, optional, tag = "1")]
    id: Option<u64>,
    #[prost(string, optional, tag = "2")]
    method: Option<String>,
    #[prost(string, optional, tag = "3")]
    path: Option<String>,
    #[prost(string, optional, tag = "4")]
    val: Option<String>,
}

#[derive(Deserialize)]
struct AttributesJson {
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default)]
    client_urls: Option<Vec<String>>,
}

pub(super) fn decode(raw: Bytes) -> Result<Decoded, DecodeError> {
    let request = V2Request::decode(raw)?;
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let value = request.val.unwrap_or_default();
    let translated = match (method.as_str(), path.as_str()) {
        ("PUT", "/0/version") => Request::ClusterVersionSet(ClusterVersionSetRequest { ver: value }),
        ("PUT", other) => match member_of(other) {
            Some(member_id) => attributes(member_id, &value)?,
            None => return Err(DecodeError::UnknownV2 { method, path }),
        },
        // A sweep of the v2 store's own expired keys.
        ("SYNC", _) => Request::Nothing,
        _ => return Err(DecodeError::UnknownV2 { method, path }),
    };
    Ok(Decoded {
        id: request.id.unwrap_or(0),
        request: translated,
    })
}

/// The member of `/0/members/{hex}/attributes`.
fn member_of(path: &str) -> Option<u64> {
    let hex = path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
    u64::from_str_radix(hex, 16).ok()
}

fn attributes(member_id: u64, json: &str) -> Result<Request, DecodeError> {
    let parsed: AttributesJson = serde_json::from_str(json).map_err(|e| DecodeError::Malformed(format!("member attributes: {e}")))?;
    Ok(Request::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
        member_id,
        member_attributes: Some(Attributes {
            name: parsed.name,
            client_urls: parsed.client_urls.unwrap_or_default(),
        }),
    }))
}
