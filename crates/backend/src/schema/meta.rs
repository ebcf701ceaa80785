//! Bucket `meta`: where the database stands.

use api::pb::raftpb::ConfState;
use api::{RaftIndex, Term};
use bytes::Bytes;

use super::{CONSISTENT_INDEX, STORAGE_VERSION, TERM, go_json};
use crate::{BackendError, Bucket};

/// A number as it stands in the file.
pub fn encode_u64(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// Reads a number of 8 bytes; `key` is for the message.
pub fn decode_u64(bucket: Bucket, key: &[u8], value: &[u8]) -> Result<u64, BackendError> {
    let bytes: Result<[u8; 8], _> = value.try_into();
    match bytes {
        Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
        Err(_) => Err(BackendError::schema(bucket, key, format!("{} bytes instead of 8", value.len()))),
    }
}

/// Keys of bucket `meta` that differ from member to member and so do not count in the hash.
pub(crate) fn is_local(key: &[u8]) -> bool {
    matches!(key, CONSISTENT_INDEX | TERM | STORAGE_VERSION)
}

/// The consistent index and its term as they stand in the file.
pub(crate) fn read_applied(base: &bolt::ReadTx) -> Result<Option<(RaftIndex, Term)>, BackendError> {
    let Some(meta) = base.bucket(Bucket::Meta.name())? else {
        return Ok(None);
    };
    let number = |key: &[u8]| match meta.get(key)? {
        Some(value) => decode_u64(Bucket::Meta, key, value).map(Some),
        None => Ok(None),
    };
    let index = number(CONSISTENT_INDEX)?;
    let term = number(TERM)?;
    Ok(index.map(|index| (RaftIndex(index), Term(term.unwrap_or(0)))))
}

/// The JSON of `meta/confState`, as raft's own struct prints in Go.
pub fn conf_state_json(state: &ConfState) -> Bytes {
    #[derive(serde::Serialize)]
    struct Json<'a> {
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        voters: &'a [u64],
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        learners: &'a [u64],
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        voters_outgoing: &'a [u64],
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        learners_next: &'a [u64],
        auto_leave: bool,
    }
    let json = go_json(&Json {
        voters: &state.voters,
        learners: &state.learners,
        voters_outgoing: &state.voters_outgoing,
        learners_next: &state.learners_next,
        auto_leave: state.auto_leave.unwrap_or(false),
    });
    Bytes::from(json)
}
