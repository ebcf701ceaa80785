//! Reads an entry's bytes: which request it is, with whose id.
//!
//! Stands at step 8 of the life of a Put. Goes through the top-level fields itself and decodes only the one that matters, so that
//! a put costs no more than its own fields; keys and values stay slices of the entry. Knows the raw requests of 3.5 as well.

use api::pb::etcdserverpb as pb;
use api::pb::membershippb;
use bytes::Bytes;

/// A request as the applier dispatches it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// An entry without a request that this version knows: no effect but the index.
    Nothing,
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compaction(pb::CompactionRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    Alarm(pb::AlarmRequest),
    LeaseCheckpoint(pb::LeaseCheckpointRequest),
    /// Any auth request: its field number.
    Auth(u32),
    ClusterVersionSet(membershippb::ClusterVersionSetRequest),
    ClusterMemberAttrSet(membershippb::ClusterMemberAttrSetRequest),
    DowngradeInfoSet(membershippb::DowngradeInfoSetRequest),
    DowngradeVersionTest,
}

/// An entry's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The id in the header (or field 1 of old logs); 0 if there is none.
    pub id: u64,
    pub request: Request,
}

/// Why an entry cannot be read. The log's checksums have passed, so this is a request from a version that this one does not know,
/// or damage before it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("entry is not a request: {0}")]
    Malformed(String),
    #[error("v2 request {method} {path:?} is not one that etcd 3.5 proposes")]
    UnknownV2 { method: String, path: String },
}

/// Reads the data of a normal entry.
///
/// # Errors
/// `DecodeError` as above.
pub fn decode(data: Bytes) -> Result<Decoded, DecodeError> {
    let _ = data;
    unimplemented!()
}
