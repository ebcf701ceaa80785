//! What a request costs of the database's quota, and whether it still fits.
//!
//! Asked twice: by the server before it proposes (step 2 of the life of a Put) and by the applier, where it never stops an entry but
//! makes this member raise `NOSPACE`.

use api::MemberId;
use api::pb::etcdserverpb::alarm_request::AlarmAction;
use api::pb::etcdserverpb::{AlarmRequest, AlarmType, PutRequest, RequestOp, TxnRequest, request_op};

use crate::limits::{LEASE_COST_BYTES, PUT_OVERHEAD_BYTES};

/// A limit on the database's size, in bytes; `None` when turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    limit: Option<u64>,
}

impl Quota {
    /// From `--quota-backend-bytes`: 0 is the default of 2 GiB, negative turns the quota off.
    pub fn new(quota_bytes: i64) -> Quota {
        let limit = match quota_bytes {
            0 => Some(api::limits::QUOTA_BACKEND_BYTES as u64),
            bytes => u64::try_from(bytes).ok(),
        };
        Quota { limit }
    }

    /// The limit in bytes; 0 when turned off.
    pub fn bytes(&self) -> u64 {
        self.limit.unwrap_or(0)
    }

    /// Whether a request of this cost still fits a database of this size.
    pub fn fits(&self, db_size: u64, cost: u64) -> bool {
        cost == 0 || self.limit.is_none_or(|limit| db_size.saturating_add(cost) < limit)
    }
}

/// How a member whose database is full says so.
pub fn no_space(member: MemberId) -> AlarmRequest {
    AlarmRequest {
        action: AlarmAction::Activate as i32,
        member_id: member.0,
        alarm: AlarmType::Nospace as i32,
    }
}

/// What a put costs.
pub fn put_cost(put: &PutRequest) -> u64 {
    PUT_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

/// What a lease costs.
pub fn lease_cost() -> u64 {
    LEASE_COST_BYTES
}

/// What a transaction costs: the dearer of its branches, those of nested transactions included.
pub fn txn_cost(txn: &TxnRequest) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[RequestOp]) -> u64 {
    ops.iter()
        .map(|op| match &op.request {
            Some(request_op::Request::RequestPut(put)) => put_cost(put),
            Some(request_op::Request::RequestTxn(txn)) => txn_cost(txn),
            _ => 0,
        })
        .sum()
}
