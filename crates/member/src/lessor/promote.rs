//! What a new leader does with the leases it inherits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Lessor;
use super::lease::{Lease, nanos};
use crate::limits::{LEASE_CHECKPOINT_INTERVAL, LEASE_SPREAD_ABOVE, LEASE_SPREAD_PER_SECOND};

impl Lessor {
    /// This member has become the leader: every lease lives from now on for what is left of it and `extend` (one election), since the
    /// leader before may have renewed it unseen. Piles of leases that would run out in the same second are spread.
    pub fn promote(&self, now: Duration, extend: Duration) {
        // First the flag, then the walk: a grant in between sees one or is seen by the other.
        self.inner.primary.store(true, Ordering::SeqCst);
        self.inner.fresh.lock().clear();
        let mut leases: Vec<Arc<Lease>> = Vec::with_capacity(self.len());
        for shard in &self.inner.shards {
            leases.extend(shard.read().values().cloned());
        }
        for lease in &leases {
            lease.refresh(now, extend);
        }
        if leases.len() >= LEASE_SPREAD_ABOVE {
            spread(&mut leases, now, extend);
        }
        for lease in &leases {
            self.schedule_checkpoint(lease, now);
        }
        let entries = leases.into_iter().map(|lease| (lease.deadline(), lease));
        self.inner.expiries.lock().rebuild(entries);
    }

    /// Puts a lease down for its next checkpoint, if it is so long that it needs one.
    pub(super) fn schedule_checkpoint(&self, lease: &Arc<Lease>, now: Duration) {
        if self.inner.config.checkpoints && lease.time_to_live() > LEASE_CHECKPOINT_INTERVAL.as_secs() as i64 {
            let at = nanos(now + LEASE_CHECKPOINT_INTERVAL);
            self.inner.checkpoints.lock().push(at, lease.clone());
        }
    }
}

/// Delays leases so that no second has more expirations than revocations can follow.
fn spread(leases: &mut [Arc<Lease>], now: Duration, extend: Duration) {
    leases.sort_by_key(|lease| (lease.deadline(), lease.id.0));
    let second = Duration::from_secs(1);
    let mut base = leases.first().map_or(Duration::ZERO, |lease| lease.remaining(now));
    let mut next_window = base + second;
    let mut expiring = 0u32;
    for lease in leases.iter() {
        let remaining = lease.remaining(now);
        if remaining > next_window {
            base = remaining;
            next_window = base + second;
            expiring = 1;
            continue;
        }
        expiring += 1;
        if expiring <= LEASE_SPREAD_PER_SECOND {
            continue;
        }
        let due = second.mul_f64(f64::from(expiring) / f64::from(LEASE_SPREAD_PER_SECOND));
        // Never negative: a pile's second windows only move forward.
        let delay = due.saturating_sub(remaining - base);
        next_window = base + delay;
        lease.refresh(now, delay + extend);
    }
}
