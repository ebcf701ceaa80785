//! The membership in the database: buckets `members`, `members_removed`, `cluster`, and the storage version in `meta`.

use std::ops::ControlFlow;

use api::MemberId;
use backend::{BackendError, Batch, Bucket, ReadView, schema};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::member::go_json;
use super::{Downgrade, Member, State, Version};

/// Why the membership cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("bucket {bucket}, key {key:?}: {problem}")]
    Malformed {
        bucket: &'static str,
        key: String,
        problem: String,
    },
}

#[derive(Serialize, Deserialize)]
struct DowngradeJson {
    #[serde(rename = "target-version", default)]
    target_version: String,
    #[serde(default)]
    enabled: bool,
}

/// Reads the membership of a database.
///
/// # Errors
/// `LoadError` for bytes that are not what etcd writes there.
pub fn load(view: &ReadView) -> Result<State, LoadError> {
    let mut state = State::default();
    let mut problem = None;
    view.scan(Bucket::Members, b"", b"", &mut |key, value| match read_member(key, value) {
        Ok(member) => {
            state.members.insert(member.id, member);
            ControlFlow::Continue(())
        }
        Err(text) => {
            problem = Some(malformed("members", key, text));
            ControlFlow::Break(())
        }
    })?;
    view.scan(Bucket::MembersRemoved, b"", b"", &mut |key, _| match hex_id(key) {
        Some(id) => {
            state.removed.insert(id);
            ControlFlow::Continue(())
        }
        None => {
            problem = Some(malformed("members_removed", key, "not a member id".into()));
            ControlFlow::Break(())
        }
    })?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let version = |bucket: Bucket, name: &'static str, key: &[u8]| -> Result<Option<Version>, LoadError> {
        let Some(text) = view.get(bucket, key)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text).into_owned();
        text.parse().map(Some).map_err(|e| malformed(name, key, format!("{e}")))
    };
    state.version = version(Bucket::Cluster, "cluster", schema::CLUSTER_VERSION)?;
    state.storage_version = version(Bucket::Meta, "meta", schema::STORAGE_VERSION)?;
    if let Some(json) = view.get(Bucket::Cluster, schema::DOWNGRADE)? {
        let stored: DowngradeJson = serde_json::from_slice(&json).map_err(|e| malformed("cluster", schema::DOWNGRADE, e.to_string()))?;
        state.downgrade = Downgrade {
            enabled: stored.enabled,
            target_version: stored.target_version,
        };
    }
    Ok(state)
}

fn malformed(bucket: &'static str, key: &[u8], problem: String) -> LoadError {
    LoadError::Malformed {
        bucket,
        key: String::from_utf8_lossy(key).into_owned(),
        problem,
    }
}

fn hex_id(key: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok()
}

fn read_member(key: &[u8], value: &[u8]) -> Result<Member, String> {
    let member = Member::from_json(value).map_err(|e| e.to_string())?;
    if hex_id(key) != Some(member.id) {
        return Err(format!("holds member {:x}", member.id));
    }
    Ok(member)
}

/// The key of a member: its id in hex.
fn key_of(id: u64) -> Bytes {
    MemberId(id).to_string().into()
}

pub(crate) fn put_member(batch: &mut Batch, member: &Member) {
    batch.put(Bucket::Members, key_of(member.id), member.to_json());
}

pub(crate) fn remove_member(batch: &mut Batch, id: u64) {
    batch.delete(Bucket::Members, key_of(id));
    batch.put(Bucket::MembersRemoved, key_of(id), Bytes::from_static(b"removed"));
}

pub(crate) fn put_version(batch: &mut Batch, version: Version) {
    batch.put(Bucket::Cluster, schema::CLUSTER_VERSION, version.to_string());
}

pub(crate) fn put_downgrade(batch: &mut Batch, downgrade: &Downgrade) {
    let json = DowngradeJson {
        target_version: downgrade.target_version.clone(),
        enabled: downgrade.enabled,
    };
    batch.put(
        Bucket::Cluster,
        schema::DOWNGRADE,
        go_json(serde_json::to_string(&json).unwrap_or_default()),
    );
}

pub(crate) fn put_storage_version(batch: &mut Batch, version: Option<Version>) {
    match version {
        Some(version) => batch.put(Bucket::Meta, schema::STORAGE_VERSION, version.to_string()),
        None => batch.delete(Bucket::Meta, schema::STORAGE_VERSION),
    }
}

/// `meta/confState`: empty lists are left out, `auto_leave` is always there.
pub(crate) fn put_conf_state(batch: &mut Batch, state: &State) {
    let conf = state.conf_state();
    let list = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let mut json = String::from("{");
    for (name, ids) in [("voters", &conf.voters), ("learners", &conf.learners)] {
        if !ids.is_empty() {
            json.push_str(&format!("\"{name}\":[{}],", list(ids)));
        }
    }
    json.push_str("\"auto_leave\":false}");
    batch.set_conf_state(json);
}
