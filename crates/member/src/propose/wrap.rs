//! Frames a client's bytes as an `InternalRaftRequest`.

use api::pb::etcdserverpb::RequestHeader;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// The header's field number in `InternalRaftRequest`.
pub(crate) const HEADER_TAG: u32 = 100;

/// What a proposal carries: the field numbers of `InternalRaftRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Body {
    Range = 3,
    Put = 4,
    DeleteRange = 5,
    Txn = 6,
    Compaction = 7,
    LeaseGrant = 8,
    LeaseRevoke = 9,
    Alarm = 10,
    LeaseCheckpoint = 11,
    AuthEnable = 1000,
    AuthDisable = 1011,
    Authenticate = 1012,
    AuthStatus = 1013,
    AuthUserAdd = 1100,
    AuthUserDelete = 1101,
    AuthUserGet = 1102,
    AuthUserChangePassword = 1103,
    AuthUserGrantRole = 1104,
    AuthUserRevokeRole = 1105,
    AuthUserList = 1106,
    AuthRoleList = 1107,
    AuthRoleAdd = 1200,
    AuthRoleDelete = 1201,
    AuthRoleGet = 1202,
    AuthRoleGrantPermission = 1203,
    AuthRoleRevokePermission = 1204,
    ClusterVersionSet = 1300,
    ClusterMemberAttrSet = 1301,
    DowngradeInfoSet = 1302,
    DowngradeVersionTest = 9900,
}

/// The entry's bytes for a request: its header (id and, with auth, who asks) and `raw`, the encoded request as it came in.
/// The fields stand in the order of their numbers, as Go writes them.
pub fn wrap(header: &RequestHeader, body: Body, raw: &[u8]) -> Bytes {
    let tag = body as u32;
    let header_len = header.encoded_len();
    let capacity = key_len(tag)
        + encoded_len_varint(raw.len() as u64)
        + raw.len()
        + key_len(HEADER_TAG)
        + encoded_len_varint(header_len as u64)
        + header_len;
    let mut out = BytesMut::with_capacity(capacity);
    if tag < HEADER_TAG {
        put_field(&mut out, tag, raw);
        put_header(&mut out, header, header_len);
    } else {
        put_header(&mut out, header, header_len);
        put_field(&mut out, tag, raw);
    }
    assert_eq!(out.len(), capacity, "the length was counted wrong");
    out.freeze()
}

fn put_field(out: &mut BytesMut, tag: u32, raw: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(raw.len() as u64, out);
    out.put_slice(raw);
}

fn put_header(out: &mut BytesMut, header: &RequestHeader, len: usize) {
    encode_key(HEADER_TAG, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
    header.encode_raw(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::pb::etcdserverpb::{InternalRaftRequest, PutRequest};
    use api::pb::membershippb::ClusterVersionSetRequest;

    #[test]
    fn equals_the_full_encoding() {
        let header = RequestHeader {
            id: 0xAE13_0000_0000_0001,
            username: "root".into(),
            auth_revision: 7,
        };
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![7; 300]),
            ..PutRequest::default()
        };
        let full = InternalRaftRequest {
            header: Some(header.clone()),
            put: Some(put.clone()),
            ..InternalRaftRequest::default()
        };
        assert_eq!(wrap(&header, Body::Put, &put.encode_to_vec()), full.encode_to_vec());
        let set = ClusterVersionSetRequest { ver: "3.7.0".into() };
        let full = InternalRaftRequest {
            header: Some(header.clone()),
            cluster_version_set: Some(set.clone()),
            ..InternalRaftRequest::default()
        };
        assert_eq!(wrap(&header, Body::ClusterVersionSet, &set.encode_to_vec()), full.encode_to_vec());
    }
}
