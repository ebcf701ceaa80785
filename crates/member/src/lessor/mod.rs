//! Leases: who holds which, until when, and which keys go with them.
//!
//! Granting, revoking and attaching happen in log order, by the applier. Renewing happens on any thread of the leader and writes nothing:
//! it finds the lease under a shared lock of one of many shards and stores a new deadline. Only a leader counts time ("primary");
//! its scans name the leases to revoke, and the revoking goes through the log. Never reads a clock: every call is told the time.

use std::sync::Arc;
use std::time::Duration;

use api::LeaseId;
use api::pb::etcdserverpb::LeaseCheckpoint;
use bytes::Bytes;

/// How leases behave here.
#[derive(Clone, Debug)]
pub struct LessorConfig {
    /// Shorter grants are raised to it, in seconds.
    pub min_ttl_seconds: i64,
    /// Whether a leader records how much of long leases is left (gate `LeaseCheckpoint`).
    pub checkpoints: bool,
    /// After what time a revocation that did not come is asked for again.
    pub revoke_retry: Duration,
}

impl LessorConfig {
    /// The least time to live of a grant, in seconds: one and a half elections, counted in whole ticks, rounded up.
    pub fn min_ttl(election_ticks: u32, tick: Duration) -> i64 {
        let ticks = (3 * election_ticks) / 2;
        let millis = u128::from(ticks) * tick.as_millis();
        i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX)
    }
}

/// Why a lease operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("lease not found")]
    NotFound,
    #[error("lease already exists")]
    Exists,
    #[error("too large lease TTL")]
    TtlTooLarge,
    /// This member is not the leader, or does not know yet that it is.
    #[error("not a primary lessor")]
    NotPrimary,
    /// The lease has run out, its revocation is on the way: ask again shortly, it will be `NotFound`.
    #[error("lease has expired and is being revoked")]
    Expired,
}

/// What a time-to-live request is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    pub id: LeaseId,
    pub granted_ttl: i64,
    /// Seconds left, rounded towards zero.
    pub remaining: i64,
    /// Attached keys, sorted; empty unless asked for.
    pub keys: Vec<Bytes>,
}

/// A shared handle to the leases.
#[derive(Clone, Debug)]
pub struct Lessor {
    inner: Arc<LessorConfig>,
}

impl Lessor {
    pub fn new(config: LessorConfig) -> Lessor {
        Lessor { inner: Arc::new(config) }
    }

    /// Renews a lease and gives its time to live in seconds. Any thread.
    ///
    /// # Errors
    /// `NotFound`, `Expired` or `NotPrimary`.
    pub fn renew(&self, id: LeaseId, now: Duration) -> Result<i64, LeaseError> {
        let _ = (id, now, &self.inner);
        unimplemented!()
    }

    /// What is known of a lease; with its keys if asked. Any thread.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn lookup(&self, id: LeaseId, now: Duration, with_keys: bool) -> Result<LeaseInfo, LeaseError> {
        let _ = (id, now, with_keys);
        unimplemented!()
    }

    /// All leases, those that run out first in front.
    pub fn leases(&self) -> Vec<LeaseId> {
        unimplemented!()
    }

    /// The number of leases.
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this member counts time.
    pub fn is_primary(&self) -> bool {
        unimplemented!()
    }

    /// This member has become the leader: every lease lives from now on for what is left of it and `extend` (one election), since the
    /// leader before may have renewed it unseen. Piles of leases that would run out in the same second are spread.
    pub fn promote(&self, now: Duration, extend: Duration) {
        let _ = (now, extend);
        unimplemented!()
    }

    /// This member leads no more: nothing runs out here.
    pub fn demote(&self) {
        unimplemented!()
    }

    /// Leases that have run out and whose revocation is due (again), at most `limit`.
    pub fn expired(&self, now: Duration, limit: usize) -> Vec<LeaseId> {
        let _ = (now, limit);
        unimplemented!()
    }

    /// Checkpoints that are due, at most `limit`; always empty unless turned on.
    pub fn due_checkpoints(&self, now: Duration, limit: usize) -> Vec<LeaseCheckpoint> {
        let _ = (now, limit);
        unimplemented!()
    }
}
