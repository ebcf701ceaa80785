//! Alarms, and what they close.

use api::pb::etcdserverpb::alarm_request::AlarmAction;
use api::pb::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType};
use api::{Code, Error, Status};
use backend::{Bucket, schema};
use bytes::Bytes;

use super::Applier;
use super::data::header;
use crate::quota;
use crate::request::Request;

impl Applier {
    /// Why an alarm keeps a request from being executed. All members find the same: alarms are in the log.
    pub(super) fn closed_by_alarm(&self, request: &Request) -> Option<Error> {
        let alarms = &self.parts.alarms;
        if alarms.corrupt() && is_data(request) {
            return Some(Error::Corrupt);
        }
        if alarms.no_space() && cost(request) > 0 {
            return Some(Error::NoSpace);
        }
        None
    }

    pub(super) fn fits_quota(&self, request: &Request) -> bool {
        let cost = cost(request);
        cost == 0 || self.parts.quota.fits(self.parts.backend.size(), cost)
    }

    pub(super) fn alarm(&mut self, request: &AlarmRequest) -> Result<AlarmResponse, Status> {
        let alarms = &self.parts.alarms;
        let any = request.alarm == AlarmType::None as i32;
        let this = AlarmMember {
            member_id: request.member_id,
            alarm: request.alarm,
        };
        let key = || schema::alarm_key(&this);
        let shown = match AlarmAction::try_from(request.action) {
            // Kinds that no version knows are kept and shown too.
            Ok(AlarmAction::Get) => {
                let all = alarms.list(AlarmType::None);
                all.into_iter().filter(|alarm| any || alarm.alarm == request.alarm).collect()
            }
            _ if any => Vec::new(),
            Ok(AlarmAction::Activate) => {
                if alarms.raise(this.member_id, this.alarm) {
                    self.parts.writer.batch().put(Bucket::Alarm, key(), Bytes::new());
                }
                vec![this]
            }
            Ok(AlarmAction::Deactivate) => {
                let lowered = alarms.lower(this.member_id, this.alarm);
                if lowered {
                    self.parts.writer.batch().delete(Bucket::Alarm, key());
                }
                if lowered { vec![this] } else { Vec::new() }
            }
            // Go's server dies on it; nothing was changed here on any member.
            Err(_) => return Err(Status::new(Code::InvalidArgument, "etcdserver: unknown alarm action")),
        };
        Ok(AlarmResponse {
            header: header(self.parts.writer.revision()),
            alarms: shown,
        })
    }
}

/// What a `CORRUPT` alarm closes.
fn is_data(request: &Request) -> bool {
    matches!(
        request,
        Request::Put(_)
            | Request::Range(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compaction(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
    )
}

/// What a request takes of the quota; those that take something are what a `NOSPACE` alarm closes.
fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => quota::put_cost(put),
        Request::Txn(txn) => quota::txn_cost(txn),
        Request::LeaseGrant(_) => quota::lease_cost(),
        _ => 0,
    }
}
