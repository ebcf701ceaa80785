//! Reads an entry's bytes: which request it is, with whose id.
//!
//! Stands at step 8 of the life of a Put. Goes through the top-level fields itself and decodes only the one that matters, so that
//! a put costs no more than its own fields; keys and values stay slices of the entry. Knows the raw requests of 3.5 as well.

mod v2;

use api::pb::etcdserverpb as pb;
use api::pb::membershippb;
use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::propose::HEADER_TAG;

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

/// What kind of request it is, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Op {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compaction,
    LeaseGrant,
    LeaseRevoke,
    Alarm,
    LeaseCheckpoint,
    ClusterVersionSet,
    ClusterMemberAttrSet,
    DowngradeInfoSet,
    DowngradeVersionTest,
    Unknown,
}

impl Op {
    /// How many there are.
    pub const COUNT: usize = Op::Unknown as usize + 1;

    /// As etcd's metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Range => "Range",
            Op::Put => "Put",
            Op::DeleteRange => "DeleteRange",
            Op::Txn => "Txn",
            Op::Compaction => "Compaction",
            Op::LeaseGrant => "LeaseGrant",
            Op::LeaseRevoke => "LeaseRevoke",
            Op::Alarm => "Alarm",
            Op::LeaseCheckpoint => "LeaseCheckpoint",
            Op::ClusterVersionSet => "ClusterVersionSet",
            Op::ClusterMemberAttrSet => "ClusterMemberAttrSet",
            Op::DowngradeInfoSet => "DowngradeInfoSet",
            Op::DowngradeVersionTest => "DowngradeVersionTest",
            Op::Unknown => "unknown",
        }
    }
}

impl Request {
    pub fn op(&self) -> Op {
        match self {
            Request::Range(_) => Op::Range,
            Request::Put(_) => Op::Put,
            Request::DeleteRange(_) => Op::DeleteRange,
            Request::Txn(_) => Op::Txn,
            Request::Compaction(_) => Op::Compaction,
            Request::LeaseGrant(_) => Op::LeaseGrant,
            Request::LeaseRevoke(_) => Op::LeaseRevoke,
            Request::Alarm(_) => Op::Alarm,
            Request::LeaseCheckpoint(_) => Op::LeaseCheckpoint,
            Request::ClusterVersionSet(_) => Op::ClusterVersionSet,
            Request::ClusterMemberAttrSet(_) => Op::ClusterMemberAttrSet,
            Request::DowngradeInfoSet(_) => Op::DowngradeInfoSet,
            Request::DowngradeVersionTest => Op::DowngradeVersionTest,
            Request::Auth(_) | Request::Nothing => Op::Unknown,
        }
    }
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
    /// Ignoring it would let this member drift from those that know it.
    #[error("entry holds a request of field {0}, which this version does not know")]
    UnknownRequest(u32),
    #[error("v2 request {method} {path:?} is not one that etcd 3.5 proposes")]
    UnknownV2 { method: String, path: String },
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> DecodeError {
        DecodeError::Malformed(error.to_string())
    }
}

const ID_TAG: u32 = 1;
const V2_TAG: u32 = 2;

/// Reads the data of a normal entry.
///
/// # Errors
/// `DecodeError` as above.
pub fn decode(data: Bytes) -> Result<Decoded, DecodeError> {
    let fields = Fields::read(data.clone())?;
    if let Some(v2) = fields.v2 {
        // By content, not by failure: a raw v2 request has its method here, a wrapped one begins with its own field 1.
        let raw = if v2.first() == Some(&0x08) { v2 } else { data };
        return v2::decode(raw);
    }
    let id = match fields.header {
        Some(header) => header_id(header)?,
        None => fields.id,
    };
    let request = match fields.body {
        Some((tag, body)) => body_of(tag, body)?,
        None => Request::Nothing,
    };
    Ok(Decoded { id, request })
}

/// The top-level fields of an entry, undecoded.
#[derive(Default)]
struct Fields {
    id: u64,
    v2: Option<Bytes>,
    header: Option<Bytes>,
    body: Option<(u32, Bytes)>,
}

impl Fields {
    fn read(mut data: Bytes) -> Result<Fields, DecodeError> {
        let mut fields = Fields::default();
        while data.has_remaining() {
            let (tag, wire_type) = decode_key(&mut data)?;
            match wire_type {
                WireType::LengthDelimited => {
                    let len = decode_varint(&mut data)?;
                    if len > data.remaining() as u64 {
                        return Err(DecodeError::Malformed(format!("field {tag} is longer than the entry")));
                    }
                    fields.take(tag, data.split_to(len as usize));
                }
                WireType::Varint if tag == ID_TAG => fields.id = decode_varint(&mut data)?,
                other => skip_field(other, tag, &mut data, DecodeContext::default())?,
            }
        }
        Ok(fields)
    }

    fn take(&mut self, tag: u32, value: Bytes) {
        match tag {
            ID_TAG => {}
            V2_TAG => self.v2 = Some(value),
            HEADER_TAG => self.header = Some(join(self.header.take(), value)),
            _ => match self.body.take() {
                None => self.body = Some((tag, value)),
                Some((before, bytes)) if before == tag => self.body = Some((tag, join(Some(bytes), value))),
                Some(before) => self.body = Some(if rank(tag) < rank(before.0) { (tag, value) } else { before }),
            },
        }
    }
}

/// A field that occurs twice is merged, and merging is what decoding both encodings one after the other does.
fn join(before: Option<Bytes>, more: Bytes) -> Bytes {
    match before {
        None => more,
        Some(before) => [before, more].concat().into(),
    }
}

/// Where a body stands in Go's dispatch (`peer-protocol.md` 9.1): of two bodies in one request, which never happens, the first counts.
fn rank(tag: u32) -> u32 {
    match tag {
        1300..=1302 | 9900 => tag - 1300,
        _ => tag + 10_000,
    }
}

fn header_id(mut header: Bytes) -> Result<u64, DecodeError> {
    let mut id = 0;
    while header.has_remaining() {
        let (tag, wire_type) = decode_key(&mut header)?;
        if tag == 1 && wire_type == WireType::Varint {
            id = decode_varint(&mut header)?;
        } else {
            skip_field(wire_type, tag, &mut header, DecodeContext::default())?;
        }
    }
    Ok(id)
}

fn body_of(tag: u32, body: Bytes) -> Result<Request, DecodeError> {
    Ok(match tag {
        3 => Request::Range(Message::decode(body)?),
        4 => Request::Put(Message::decode(body)?),
        5 => Request::DeleteRange(Message::decode(body)?),
        6 => Request::Txn(Message::decode(body)?),
        7 => Request::Compaction(Message::decode(body)?),
        8 => Request::LeaseGrant(Message::decode(body)?),
        9 => Request::LeaseRevoke(Message::decode(body)?),
        10 => Request::Alarm(Message::decode(body)?),
        11 => Request::LeaseCheckpoint(Message::decode(body)?),
        1000..=1299 => Request::Auth(tag),
        1300 => Request::ClusterVersionSet(Message::decode(body)?),
        1301 => Request::ClusterMemberAttrSet(Message::decode(body)?),
        1302 => Request::DowngradeInfoSet(Message::decode(body)?),
        9900 => Request::DowngradeVersionTest,
        _ => return Err(DecodeError::UnknownRequest(tag)),
    })
}

#[cfg(test)]
mod tests;
