//! Leases: who holds which, until when, and which keys go with them.
//!
//! Granting, revoking and attaching happen in log order, by the applier. Renewing happens on any thread of the leader and writes nothing:
//! it finds the lease under a shared lock of one of many shards and stores a new deadline. Only a leader counts time ("primary");
//! its scans name the leases to revoke, and the revoking goes through the log. Never reads a clock: every call is told the time.

mod lease;
mod promote;
mod queue;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use api::LeaseId;
use api::pb::etcdserverpb::LeaseCheckpoint;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use lease::Lease;
use queue::Queue;
pub use writer::LeaseWriter;

/// Enough that renewals on many threads rarely meet.
const SHARDS: usize = 64;

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
    inner: Arc<Inner>,
}

type Shard = RwLock<HashMap<i64, Arc<Lease>>>;

#[derive(Debug)]
struct Inner {
    config: LessorConfig,
    primary: AtomicBool,
    count: AtomicUsize,
    shards: Box<[Shard]>,
    /// Leases granted since the last scan: the applier never waits for one.
    fresh: Mutex<Vec<Arc<Lease>>>,
    /// When leases run out. Renewals do not touch it: an entry that comes up too early is put back with the lease's own deadline.
    expiries: Mutex<Queue>,
    /// When the next checkpoint of a lease is due.
    checkpoints: Mutex<Queue>,
}

impl Lessor {
    pub fn new(config: LessorConfig) -> Lessor {
        Lessor {
            inner: Arc::new(Inner {
                config,
                primary: AtomicBool::new(false),
                count: AtomicUsize::new(0),
                shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
                fresh: Mutex::default(),
                expiries: Mutex::default(),
                checkpoints: Mutex::default(),
            }),
        }
    }

    fn shard(&self, id: LeaseId) -> &Shard {
        // Client-chosen ids are often small or share their low bits: fold all of them in.
        let folded = (id.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
        &self.inner.shards[folded as usize % SHARDS]
    }

    fn get(&self, id: LeaseId) -> Option<Arc<Lease>> {
        self.shard(id).read().get(&id.0).cloned()
    }

    /// Renews a lease and gives its time to live in seconds. Any thread. With checkpoints on, ask
    /// [`Lessor::reset_before_renewal`] first.
    ///
    /// # Errors
    /// `NotFound`, `Expired` or `NotPrimary`.
    pub fn renew(&self, id: LeaseId, now: Duration) -> Result<i64, LeaseError> {
        if !self.is_primary() {
            return Err(LeaseError::NotPrimary);
        }
        let shard = self.shard(id).read();
        let lease = shard.get(&id.0).ok_or(LeaseError::NotFound)?;
        if lease.is_expired(now) {
            return Err(LeaseError::Expired);
        }
        lease.refresh(now, Duration::ZERO);
        Ok(lease.ttl)
    }

    /// A renewal gives a lease its whole time again. Where a checkpoint has recorded less, that has to be proposed, and applied, before
    /// the client is answered; `None` where there is nothing to take back.
    pub fn reset_before_renewal(&self, id: LeaseId) -> Option<LeaseCheckpoint> {
        let recorded = self.inner.config.checkpoints && self.get(id)?.checkpointed() > 0;
        recorded.then_some(LeaseCheckpoint {
            id: id.0,
            remaining_ttl: 0,
        })
    }

    /// What is known of a lease; with its keys if asked. Any thread.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn lookup(&self, id: LeaseId, now: Duration, with_keys: bool) -> Result<LeaseInfo, LeaseError> {
        let lease = self.get(id).ok_or(LeaseError::NotFound)?;
        Ok(LeaseInfo {
            id,
            granted_ttl: lease.ttl,
            remaining: lease.remaining_seconds(now),
            keys: if with_keys { lease.keys() } else { Vec::new() },
        })
    }

    /// All leases, those that run out first in front.
    pub fn leases(&self) -> Vec<LeaseId> {
        let mut all: Vec<(u64, i64)> = Vec::with_capacity(self.len());
        for shard in &self.inner.shards {
            all.extend(shard.read().values().map(|lease| (lease.deadline(), lease.id.0)));
        }
        all.sort_unstable();
        all.into_iter().map(|(_, id)| LeaseId(id)).collect()
    }

    /// The number of leases.
    pub fn len(&self) -> usize {
        self.inner.count.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this member counts time.
    pub fn is_primary(&self) -> bool {
        self.inner.primary.load(Ordering::SeqCst)
    }

    /// This member leads no more: nothing runs out here.
    pub fn demote(&self) {
        self.inner.primary.store(false, Ordering::SeqCst);
        for shard in &self.inner.shards {
            shard.read().values().for_each(|lease| lease.never_expires());
        }
        self.inner.expiries.lock().clear();
        self.inner.checkpoints.lock().clear();
    }

    /// Leases that have run out and whose revocation is due (again), at most `limit`.
    pub fn expired(&self, now: Duration, limit: usize) -> Vec<LeaseId> {
        if !self.is_primary() {
            return Vec::new();
        }
        let fresh = std::mem::take(&mut *self.inner.fresh.lock());
        let mut expiries = self.inner.expiries.lock();
        for lease in fresh {
            expiries.push(lease.deadline(), lease);
        }
        expiries.drop_revoked_beyond(self.len());
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(lease) = expiries.pop_due(now) else { break };
            if lease.is_expired(now) {
                found.push(lease.id);
                expiries.push(lease::nanos(now + self.inner.config.revoke_retry), lease);
            } else if lease.deadline() != lease::NEVER {
                expiries.push(lease.deadline(), lease);
            }
        }
        found
    }

    /// Checkpoints that are due, at most `limit`; always empty unless turned on.
    pub fn due_checkpoints(&self, now: Duration, limit: usize) -> Vec<LeaseCheckpoint> {
        if !self.inner.config.checkpoints || !self.is_primary() {
            return Vec::new();
        }
        let mut queue = self.inner.checkpoints.lock();
        queue.drop_revoked_beyond(self.len());
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(lease) = queue.pop_due(now) else { break };
            let left = lease.remaining_seconds_up(now);
            // Nothing has passed since it was renewed, or it has run out: the next grant, renewal or checkpoint puts it back.
            if left < lease.ttl && left > 0 {
                due.push(LeaseCheckpoint {
                    id: lease.id.0,
                    remaining_ttl: left,
                });
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
