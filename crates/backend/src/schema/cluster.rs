//! Buckets `members`, `members_removed` and `cluster`: who belongs to the cluster, and its version.

use api::MemberId;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::{DOWNGRADE, go_json};
use crate::{BackendError, Bucket};

/// A member as bucket `members` has it. The order of the fields is that of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    #[serde(default)]
    pub id: u64,
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_empty")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
    /// Empty until the member has published itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

/// Go writes a list that was never set as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl StoredMember {
    /// The value in bucket `members`.
    pub fn encode(&self) -> Bytes {
        Bytes::from(go_json(self))
    }

    /// Reads an entry of bucket `members`; `key` is the member's id as text.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<StoredMember, BackendError> {
        serde_json::from_slice(value).map_err(|e| BackendError::schema(Bucket::Members, key, e.to_string()))
    }
}

/// The key of a member in `members` and `members_removed`.
pub fn member_key(id: MemberId) -> Bytes {
    Bytes::from(id.to_string())
}

/// Reads the key of a member.
pub fn decode_member_id(bucket: Bucket, key: &[u8]) -> Result<MemberId, BackendError> {
    let text = std::str::from_utf8(key).ok().filter(|t| !t.starts_with('+'));
    let id = text.and_then(|t| u64::from_str_radix(t, 16).ok());
    id.map(MemberId).ok_or_else(|| BackendError::schema(bucket, key, "not a member id"))
}

/// `cluster/downgrade`. An empty target with `enabled` false is what a cancelled downgrade leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downgrade {
    #[serde(rename = "target-version", default)]
    pub target_version: String,
    #[serde(default)]
    pub enabled: bool,
}

impl Downgrade {
    pub fn encode(&self) -> Bytes {
        Bytes::from(go_json(self))
    }

    pub fn decode(value: &[u8]) -> Result<Downgrade, BackendError> {
        serde_json::from_slice(value).map_err(|e| BackendError::schema(Bucket::Cluster, DOWNGRADE, e.to_string()))
    }
}
