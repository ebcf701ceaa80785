//! Buckets `lease` and `alarm`.

use std::ops::ControlFlow;

use api::LeaseId;
use api::pb::etcdserverpb::AlarmMember;
use api::pb::leasepb::Lease;
use bytes::Bytes;
use prost::Message;

use crate::{BackendError, Bucket, ReadView};

/// The key of a lease: its id, big-endian.
pub fn lease_key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

pub fn decode_lease_key(key: &[u8]) -> Result<LeaseId, BackendError> {
    let bytes: Result<[u8; 8], _> = key.try_into();
    match bytes {
        Ok(bytes) => Ok(LeaseId(i64::from_be_bytes(bytes))),
        Err(_) => Err(BackendError::schema(Bucket::Lease, key, "not a lease id")),
    }
}

pub fn encode_lease(lease: &Lease) -> Bytes {
    Bytes::from(lease.encode_to_vec())
}

pub fn decode_lease(key: &[u8], value: &[u8]) -> Result<Lease, BackendError> {
    Lease::decode(value).map_err(|e| BackendError::schema(Bucket::Lease, key, e.to_string()))
}

/// All leases, by id as the bucket has them.
pub fn read_leases(view: &ReadView) -> Result<Vec<Lease>, BackendError> {
    collect(view, Bucket::Lease, |key, value| {
        decode_lease_key(key)?;
        decode_lease(key, value)
    })
}

/// The key of an alarm: the whole message. Its value is empty.
pub fn alarm_key(alarm: &AlarmMember) -> Bytes {
    Bytes::from(alarm.encode_to_vec())
}

pub fn decode_alarm_key(key: &[u8]) -> Result<AlarmMember, BackendError> {
    AlarmMember::decode(key).map_err(|e| BackendError::schema(Bucket::Alarm, key, e.to_string()))
}

/// All active alarms.
pub fn read_alarms(view: &ReadView) -> Result<Vec<AlarmMember>, BackendError> {
    collect(view, Bucket::Alarm, |key, _| decode_alarm_key(key))
}

fn collect<T>(view: &ReadView, bucket: Bucket, decode: impl Fn(&[u8], &[u8]) -> Result<T, BackendError>) -> Result<Vec<T>, BackendError> {
    let mut found = Ok(Vec::new());
    view.scan(bucket, &[], &[], &mut |key, value| match (decode(key, value), &mut found) {
        (Ok(item), Ok(items)) => {
            items.push(item);
            ControlFlow::Continue(())
        }
        (Err(error), _) => {
            found = Err(error);
            ControlFlow::Break(())
        }
        (Ok(_), Err(_)) => ControlFlow::Break(()),
    })?;
    found
}
