//! The applier's half of the lessor: what changes leases in log order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::LeaseId;
use api::pb::leasepb;
use backend::{Batch, Bucket, schema};
use bytes::Bytes;
use mvcc::LeaseSink;

use super::lease::Lease;
use super::{LeaseError, Lessor};

/// Grants, revokes and attaches. One exists; it belongs to the applier.
#[derive(Debug)]
pub struct LeaseWriter {
    lessor: Lessor,
    /// The lease of each key that has one. Owned keys: a slice of a request would keep the whole request alive.
    keys: HashMap<Arc<[u8]>, LeaseId>,
}

impl LeaseWriter {
    /// The writing half of a lessor that holds no leases yet.
    pub fn new(lessor: Lessor) -> LeaseWriter {
        LeaseWriter {
            lessor,
            keys: HashMap::new(),
        }
    }

    pub fn lessor(&self) -> &Lessor {
        &self.lessor
    }

    /// Takes in a lease from the database, before any key is attached. Nobody counts it down until this member leads.
    pub fn restore(&mut self, stored: leasepb::Lease) {
        let ttl = stored.ttl.max(self.lessor.inner.config.min_ttl_seconds);
        let lease = Lease::new(LeaseId(stored.id), ttl, stored.remaining_ttl.max(0));
        self.insert(Arc::new(lease));
    }

    /// Forgets all leases: those of another database are restored next.
    pub fn clear(&mut self) {
        self.keys.clear();
        for shard in &self.lessor.inner.shards {
            let gone = std::mem::take(&mut *shard.write());
            self.lessor.inner.count.fetch_sub(gone.len(), Ordering::Relaxed);
            gone.values().for_each(|lease| lease.revoke());
        }
        self.lessor.inner.fresh.lock().clear();
        self.lessor.inner.expiries.lock().clear();
        self.lessor.inner.checkpoints.lock().clear();
    }

    fn insert(&mut self, lease: Arc<Lease>) {
        let before = self.lessor.shard(lease.id).write().insert(lease.id.0, lease);
        if before.is_none() {
            self.lessor.inner.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Grants a lease and gives its time to live.
    ///
    /// # Errors
    /// `NotFound` for id 0, `TtlTooLarge`, `Exists`, in this order, as Go checks them.
    pub fn grant(&mut self, id: LeaseId, ttl: i64, now: Duration, batch: &mut Batch) -> Result<i64, LeaseError> {
        if id.0 == 0 {
            return Err(LeaseError::NotFound);
        }
        if ttl > api::limits::MAX_LEASE_TTL {
            return Err(LeaseError::TtlTooLarge);
        }
        if self.lessor.get(id).is_some() {
            return Err(LeaseError::Exists);
        }
        let ttl = ttl.max(self.lessor.inner.config.min_ttl_seconds);
        let lease = Arc::new(Lease::new(id, ttl, 0));
        batch.put(Bucket::Lease, schema::lease_key(id), lease.encode());
        self.insert(lease.clone());
        // Asked after the insertion: see `promote`.
        if self.lessor.is_primary() {
            lease.refresh(now, Duration::ZERO);
            self.lessor.schedule_checkpoint(&lease, now);
            self.lessor.inner.fresh.lock().push(lease);
        }
        Ok(ttl)
    }

    /// Takes a lease away and gives the keys to delete with it, sorted.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn revoke(&mut self, id: LeaseId, batch: &mut Batch) -> Result<Vec<Bytes>, LeaseError> {
        let lease = self.lessor.shard(id).write().remove(&id.0).ok_or(LeaseError::NotFound)?;
        self.lessor.inner.count.fetch_sub(1, Ordering::Relaxed);
        lease.revoke();
        let keys = lease.keys();
        for key in &keys {
            self.keys.remove(&key[..]);
        }
        batch.delete(Bucket::Lease, schema::lease_key(id));
        Ok(keys)
    }

    /// Records what is left of a lease; an unknown one is passed over. `keep`: also in the database.
    pub fn checkpoint(&mut self, id: LeaseId, remaining_ttl: i64, keep: bool, now: Duration, batch: &mut Batch) {
        let Some(lease) = self.lessor.get(id) else { return };
        lease.set_checkpointed(remaining_ttl);
        if keep {
            batch.put(Bucket::Lease, schema::lease_key(id), lease.encode());
        }
        if self.lessor.is_primary() {
            self.lessor.schedule_checkpoint(&lease, now);
        }
    }

    /// Whether any key hangs on any lease.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }
}

impl LeaseSink for LeaseWriter {
    fn exists(&self, lease: LeaseId) -> bool {
        self.lessor.shard(lease).read().contains_key(&lease.0)
    }

    fn lease_of(&self, key: &[u8]) -> Option<LeaseId> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(key).copied()
    }

    fn attach(&mut self, lease: LeaseId, key: &Bytes) {
        // A key whose lease is gone stays without one, as in Go.
        let Some(lease) = self.lessor.get(lease) else { return };
        let key: Arc<[u8]> = Arc::from(&key[..]);
        lease.attach(key.clone());
        self.keys.insert(key, lease.id);
    }

    fn detach(&mut self, lease: LeaseId, key: &[u8]) {
        if let Some(lease) = self.lessor.get(lease) {
            lease.detach(key);
        }
        if self.keys.get(key) == Some(&lease) {
            self.keys.remove(key);
        }
    }
}
