//! One lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use api::LeaseId;
use api::pb::leasepb;
use backend::schema;
use bytes::Bytes;
use parking_lot::Mutex;

/// The deadline of a lease that nobody counts down.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

/// A lease. What changes without the log, its deadline, is one atomic number.
#[derive(Debug)]
pub(super) struct Lease {
    pub id: LeaseId,
    /// Seconds, as granted.
    pub ttl: i64,
    /// Seconds that the last checkpoint recorded; 0 for none.
    checkpointed: AtomicI64,
    /// Nanoseconds since the process began.
    deadline: AtomicU64,
    revoked: AtomicBool,
    keys: Mutex<BTreeSet<Arc<[u8]>>>,
}

impl Lease {
    pub fn new(id: LeaseId, ttl: i64, checkpointed: i64) -> Lease {
        Lease {
            id,
            ttl,
            checkpointed: AtomicI64::new(checkpointed),
            deadline: AtomicU64::new(NEVER),
            revoked: AtomicBool::new(false),
            keys: Mutex::default(),
        }
    }

    pub fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Acquire)
    }

    pub fn set_deadline(&self, deadline: u64) {
        self.deadline.store(deadline, Ordering::Release);
    }

    pub fn never_expires(&self) {
        self.set_deadline(NEVER);
    }

    /// Starts its time anew: what the last checkpoint left of it, or all, and `extend`.
    pub fn refresh(&self, now: Duration, extend: Duration) {
        let left = Duration::from_secs(self.time_to_live().max(0) as u64);
        self.set_deadline(nanos(now.saturating_add(extend).saturating_add(left)));
    }

    /// Seconds it has when its time starts.
    pub fn time_to_live(&self) -> i64 {
        match self.checkpointed() {
            0 => self.ttl,
            left => left,
        }
    }

    pub fn checkpointed(&self) -> i64 {
        self.checkpointed.load(Ordering::Acquire)
    }

    pub fn set_checkpointed(&self, seconds: i64) {
        self.checkpointed.store(seconds.max(0), Ordering::Release);
    }

    pub fn is_expired(&self, now: Duration) -> bool {
        self.deadline() <= nanos(now)
    }

    /// Time left; none when it has run out.
    pub fn remaining(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.deadline().saturating_sub(nanos(now)))
    }

    /// Seconds left, rounded towards zero; negative once it ran out more than a second ago, as Go says it.
    pub fn remaining_seconds(&self, now: Duration) -> i64 {
        let left = i128::from(self.deadline().min(i64::MAX as u64)) - i128::from(nanos(now));
        (left / 1_000_000_000) as i64
    }

    /// Seconds left, rounded up.
    pub fn remaining_seconds_up(&self, now: Duration) -> i64 {
        self.remaining(now).as_nanos().div_ceil(1_000_000_000) as i64
    }

    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    pub fn attach(&self, key: Arc<[u8]>) {
        self.keys.lock().insert(key);
    }

    pub fn detach(&self, key: &[u8]) {
        self.keys.lock().remove(key);
    }

    /// Attached keys, sorted.
    pub fn keys(&self) -> Vec<Bytes> {
        self.keys.lock().iter().map(|key| Bytes::copy_from_slice(key)).collect()
    }

    /// How it stands in the database.
    pub fn encode(&self) -> Bytes {
        schema::encode_lease(&leasepb::Lease {
            id: self.id.0,
            ttl: self.ttl,
            remaining_ttl: self.checkpointed(),
        })
    }
}
