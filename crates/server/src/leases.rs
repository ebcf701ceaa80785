//! Keep-alives and times to live of leases: answered by the leader, who alone counts their time; other members ask it.
//!
//! Stands beside the life of a Put: nothing here goes through the log.

use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use api::{Code, Error, LeaseId, Status};
use member::lessor::LeaseError;

use crate::membership::time_left;
use crate::node::Node;
use crate::peers::Forwarded;

/// How long the leader waits for what is committed to be applied before it answers.
const APPLY_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at what is being waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Between two looks at a lease that has run out and is being revoked.
const REVOKING_INTERVAL: Duration = Duration::from_millis(20);
/// Between two attempts to reach the leader.
const FORWARD_PAUSE: Duration = Duration::from_millis(50);

impl Node {
    /// Waits until what is committed now is applied; whether it is, after a second at most.
    pub async fn catch_up(&self) -> bool {
        let target = self.progress.committed();
        let deadline = Instant::now() + APPLY_LIMIT;
        while self.progress.applied() < target {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        true
    }

    /// Renews a lease where this member leads. One that has run out is not there any more once its revocation is through; that is waited for.
    ///
    /// # Errors
    /// `LeaseError`.
    pub async fn renew_here(&self, id: LeaseId) -> Result<i64, LeaseError> {
        let deadline = Instant::now() + self.limits.request_timeout;
        loop {
            match self.lessor.renew(id, self.now()) {
                Ok(ttl) => {
                    self.metrics.debugging_lease_renewed_total.inc();
                    return Ok(ttl);
                }
                Err(LeaseError::Expired) if Instant::now() < deadline => tokio::time::sleep(REVOKING_INTERVAL).await,
                Err(LeaseError::Expired) => return Err(LeaseError::NotFound),
                Err(error) => return Err(error),
            }
        }
    }

    /// Renews a lease; the time to live in seconds, 0 for a lease that is not there.
    ///
    /// # Errors
    /// When no leader answers in time.
    pub async fn renew(&self, id: LeaseId) -> Result<i64, Status> {
        let deadline = Instant::now() + self.limits.request_timeout;
        while let Some(left) = time_left(deadline) {
            if self.leads() {
                // One who was deposed and has not heard of it yet would renew what the new leader revokes.
                if self.read_index().await.is_err() {
                    return Err(Status::new(Code::Unknown, LeaseError::NotPrimary.to_string()));
                }
                if !self.catch_up().await {
                    return Err(Error::TimeoutWaitAppliedIndex.into());
                }
                match self.renew_here(id).await {
                    Ok(ttl) => return Ok(ttl),
                    Err(LeaseError::NotFound) => return Ok(0),
                    // Not the leader any more, or not yet aware of it.
                    Err(_) => {}
                }
            } else {
                let leader = self.wait_leader(deadline).await?;
                for url in &leader.peer_urls {
                    match self.peers.renew(url, id, left).await {
                        Forwarded::Done(ttl) => return Ok(ttl),
                        Forwarded::NotFound => return Ok(0),
                        Forwarded::Failed(_) => {}
                    }
                }
            }
            tokio::time::sleep(FORWARD_PAUSE).await;
        }
        Err(Error::Timeout.into())
    }

    /// How long a lease has to live, where this member leads.
    ///
    /// # Errors
    /// `LeaseError`: also when leadership was lost meanwhile, because then nobody here knows.
    pub fn time_to_live_here(&self, id: LeaseId, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, LeaseError> {
        let info = self.lessor.lookup(id, self.now(), keys)?;
        if !self.lessor.is_primary() {
            return Err(LeaseError::NotPrimary);
        }
        Ok(pb::LeaseTimeToLiveResponse {
            header: Some(pb::ResponseHeader::default()),
            id: id.0,
            ttl: info.remaining,
            granted_ttl: info.granted_ttl,
            keys: info.keys,
        })
    }

    /// How long a lease has to live; `None` for one that is not there.
    ///
    /// # Errors
    /// When no leader answers in time.
    pub async fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<Option<pb::LeaseTimeToLiveResponse>, Status> {
        let deadline = Instant::now() + self.limits.request_timeout;
        while let Some(left) = time_left(deadline) {
            if self.leads() {
                if !self.catch_up().await {
                    return Err(Error::TimeoutWaitAppliedIndex.into());
                }
                match self.time_to_live_here(id, keys) {
                    Ok(found) => return Ok(Some(found)),
                    Err(LeaseError::NotFound) => return Ok(None),
                    Err(_) => {}
                }
            } else {
                let leader = self.wait_leader(deadline).await?;
                for url in &leader.peer_urls {
                    match self.peers.time_to_live(url, id, keys, left).await {
                        Forwarded::Done(found) => return Ok(Some(found)),
                        Forwarded::NotFound => return Ok(None),
                        Forwarded::Failed(_) => {}
                    }
                }
            }
            tokio::time::sleep(FORWARD_PAUSE).await;
        }
        Err(Error::Timeout.into())
    }
}
