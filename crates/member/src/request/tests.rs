use super::*;
use crate::propose::{Body, wrap};
use pb::{InternalRaftRequest, PutRequest, RequestHeader};

fn header(id: u64) -> RequestHeader {
    RequestHeader {
        id,
        ..RequestHeader::default()
    }
}

#[test]
fn a_put_stays_in_its_buffer() {
    let put = PutRequest {
        key: Bytes::from_static(b"key"),
        value: Bytes::from(vec![1; 100]),
        lease: 5,
        ..PutRequest::default()
    };
    let data = wrap(&header(77), Body::Put, &put.encode_to_vec());
    let area = data.as_ptr_range();
    let decoded = decode(data).unwrap();
    assert_eq!((decoded.id, &decoded.request), (77, &Request::Put(put)));
    let Request::Put(put) = decoded.request else { unreachable!() };
    assert!(area.contains(&put.value.as_ptr()), "the value was copied");
}

#[test]
fn every_field_finds_its_request() {
    for (tag, body) in [
        (
            3,
            InternalRaftRequest {
                range: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            5,
            InternalRaftRequest {
                delete_range: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            6,
            InternalRaftRequest {
                txn: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            7,
            InternalRaftRequest {
                compaction: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            8,
            InternalRaftRequest {
                lease_grant: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            9,
            InternalRaftRequest {
                lease_revoke: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            10,
            InternalRaftRequest {
                alarm: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            11,
            InternalRaftRequest {
                lease_checkpoint: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            1000,
            InternalRaftRequest {
                auth_enable: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            1100,
            InternalRaftRequest {
                auth_user_add: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            1300,
            InternalRaftRequest {
                cluster_version_set: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            1301,
            InternalRaftRequest {
                cluster_member_attr_set: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            1302,
            InternalRaftRequest {
                downgrade_info_set: Some(Default::default()),
                ..Default::default()
            },
        ),
        (
            9900,
            InternalRaftRequest {
                downgrade_version_test: Some(Default::default()),
                ..Default::default()
            },
        ),
    ] {
        let with_header = InternalRaftRequest {
            header: Some(header(tag)),
            ..body
        };
        let decoded = decode(with_header.encode_to_vec().into()).unwrap();
        assert_eq!(decoded.id, tag);
        assert_ne!(decoded.request, Request::Nothing, "field {tag}");
        if (1000..1300).contains(&tag) {
            assert_eq!(decoded.request, Request::Auth(tag as u32));
        }
    }
}

#[test]
fn old_ids_stand_in_field_one() {
    let old = InternalRaftRequest {
        id: 9,
        put: Some(PutRequest::default()),
        ..Default::default()
    };
    assert_eq!(decode(old.encode_to_vec().into()).unwrap().id, 9);
}

#[test]
fn a_field_given_twice_is_merged() {
    let key = PutRequest {
        key: Bytes::from_static(b"k"),
        ..Default::default()
    };
    let value = PutRequest {
        value: Bytes::from_static(b"v"),
        ..Default::default()
    };
    let mut twice = wrap(&header(1), Body::Put, &key.encode_to_vec()).to_vec();
    twice.extend(wrap(&header(1), Body::Put, &value.encode_to_vec()));
    let full = InternalRaftRequest::decode(&twice[..]).unwrap();
    assert_eq!(decode(twice.into()).unwrap().request, Request::Put(full.put.unwrap()));
}

#[test]
fn raw_requests_of_3_5() {
    // {ID: 7, Method: "PUT", Path: "/0/version", Val: "3.5.0", Dir: false}
    let raw = b"\x08\x07\x12\x03PUT\x1a\x0a/0/version\x22\x053.5.0\x28\x00";
    let decoded = decode(Bytes::from_static(raw)).unwrap();
    assert_eq!(decoded.id, 7);
    assert!(matches!(decoded.request, Request::ClusterVersionSet(set) if set.ver == "3.5.0"));
    let mut wrapped = vec![0x12, raw.len() as u8];
    wrapped.extend(raw);
    assert!(matches!(decode(wrapped.into()).unwrap().request, Request::ClusterVersionSet(_)));
    let json = br#"{"name":"m0","clientURLs":["http://127.0.0.1:14001"]}"#;
    let mut raw = b"\x08\x08\x12\x03PUT\x1a\x26/0/members/8633bdd0743213ae/attributes\x22".to_vec();
    raw[8] = "/0/members/8633bdd0743213ae/attributes".len() as u8;
    raw.push(json.len() as u8);
    raw.extend(json);
    let decoded = decode(raw.into()).unwrap();
    let Request::ClusterMemberAttrSet(set) = decoded.request else {
        panic!("{decoded:?}")
    };
    assert_eq!(
        (set.member_id, set.member_attributes.unwrap().name),
        (0x8633bdd0743213ae, "m0".into())
    );
    let delete = b"\x08\x07\x12\x06DELETE\x1a\x02/1";
    assert!(matches!(decode(Bytes::from_static(delete)), Err(DecodeError::UnknownV2 { .. })));
}

proptest::proptest! {
    /// Damage before the checksum was made must not take the process down.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..200)) {
        let _ = decode(bytes.into());
    }

    #[test]
    fn damaged_requests_are_read_or_refused(at in 0usize..60, byte in 0u8..) {
        let put = PutRequest { key: Bytes::from_static(b"key"), value: Bytes::from_static(&[9; 40]), ..Default::default() };
        let mut data = wrap(&header(7), Body::Put, &put.encode_to_vec()).to_vec();
        let at = at % data.len();
        data[at] = byte;
        let _ = decode(data.into());
    }
}

#[test]
fn what_is_no_request_is_an_error() {
    for bad in [&b"\xff"[..], b"\x22\x7f", b"\x22\x02\x0a\x09", b"\xfa\xff\x01\x01"] {
        assert!(decode(Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
    }
    assert_eq!(decode(Bytes::from_static(b"\x62\x00")), Err(DecodeError::UnknownRequest(12)));
    assert_eq!(decode(Bytes::new()).unwrap().request, Request::Nothing);
}
