//! The membership in the database: buckets `members`, `members_removed`, `cluster`, and the storage version in `meta`.

use std::ops::ControlFlow;

use api::MemberId;
use backend::schema::{self, StoredMember};
use backend::{BackendError, Batch, Bucket, ReadView};
use bytes::Bytes;

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

/// Reads the membership of a database.
///
/// # Errors
/// `LoadError` for bytes that are not what etcd writes there.
pub fn load(view: &ReadView) -> Result<State, LoadError> {
    let mut state = State::default();
    each(view, Bucket::Members, |key, value| {
        let member = Member::from(StoredMember::decode(key, value)?);
        if schema::decode_member_id(Bucket::Members, key)? != member.id() {
            return Err(malformed("members", key, format!("holds member {:x}", member.id)));
        }
        state.members.insert(member.id, member);
        Ok(())
    })?;
    each(view, Bucket::MembersRemoved, |key, _| {
        state.removed.insert(schema::decode_member_id(Bucket::MembersRemoved, key)?.0);
        Ok(())
    })?;
    if let Some(text) = view.get(Bucket::Cluster, schema::CLUSTER_VERSION)? {
        let text = String::from_utf8_lossy(&text);
        let version = text
            .parse()
            .map_err(|e| malformed("cluster", schema::CLUSTER_VERSION, format!("{e}")))?;
        state.version = Some(version);
    }
    if let Some(json) = view.get(Bucket::Cluster, schema::DOWNGRADE)? {
        let stored = schema::Downgrade::decode(&json)?;
        state.downgrade = Downgrade {
            enabled: stored.enabled,
            target_version: stored.target_version,
        };
    }
    state.storage_version = storage_version(view)?;
    Ok(state)
}

/// The storage version of a database; `None` while nothing in it tells.
pub(crate) fn storage_version(view: &ReadView) -> Result<Option<Version>, BackendError> {
    Ok(schema::detect(view)?.map(|found| Version::new(found.major, found.minor, 0)))
}

fn each(view: &ReadView, bucket: Bucket, mut take: impl FnMut(&[u8], &[u8]) -> Result<(), LoadError>) -> Result<(), LoadError> {
    let mut result = Ok(());
    view.scan(bucket, b"", b"", &mut |key, value| {
        result = take(key, value);
        if result.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    result
}

fn malformed(bucket: &'static str, key: &[u8], problem: String) -> LoadError {
    LoadError::Malformed {
        bucket,
        key: key.escape_ascii().to_string(),
        problem,
    }
}

pub(crate) fn put_member(batch: &mut Batch, member: &Member) {
    batch.put(Bucket::Members, schema::member_key(member.id()), member.to_json());
}

pub(crate) fn remove_member(batch: &mut Batch, id: MemberId) {
    batch.delete(Bucket::Members, schema::member_key(id));
    batch.put(Bucket::MembersRemoved, schema::member_key(id), Bytes::from_static(schema::REMOVED));
}

pub(crate) fn put_version(batch: &mut Batch, version: Version) {
    batch.put(Bucket::Cluster, schema::CLUSTER_VERSION, version.to_string());
}

pub(crate) fn put_downgrade(batch: &mut Batch, downgrade: &Downgrade) {
    let stored = schema::Downgrade {
        target_version: downgrade.target_version.clone(),
        enabled: downgrade.enabled,
    };
    batch.put(Bucket::Cluster, schema::DOWNGRADE, stored.encode());
}

pub(crate) fn put_conf_state(batch: &mut Batch, state: &State) {
    batch.set_conf_state(schema::conf_state_json(&state.conf_state()));
}
