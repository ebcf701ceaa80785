//! What a member proposes by itself: its attributes, the cluster version, revocations of expired leases, lease checkpoints.
//!
//! Asked by the shell about every 500 ms and after each `BecameLeader`. Only says what is due; proposing and waiting is the shell's.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::lessor::Lessor;
use crate::propose::RequestIds;
use crate::replicate::Proposal;
use crate::stats::Progress;

/// How the duties are set up.
#[derive(Clone, Debug)]
pub struct DutiesConfig {
    /// The member's `--name`.
    pub name: String,
    /// The member's advertised client URLs.
    pub client_urls: Vec<String>,
    /// After what time an own proposal counts as lost and is made again: the request timeout.
    pub retry: Duration,
    /// One election: what a new leader adds to every lease.
    pub election: Duration,
}

/// The machine of a member's own proposals.
#[derive(Debug)]
pub struct Duties {
    config: DutiesConfig,
    cluster: Cluster,
    lessor: Lessor,
    ids: Arc<RequestIds>,
    progress: Arc<Progress>,
}

impl Duties {
    pub fn new(config: DutiesConfig, cluster: Cluster, lessor: Lessor, ids: Arc<RequestIds>, progress: Arc<Progress>) -> Duties {
        Duties {
            config,
            cluster,
            lessor,
            ids,
            progress,
        }
    }

    /// Adds what is due to `proposals`.
    pub fn step(&mut self, now: Duration, proposals: &mut Vec<Proposal>) {
        let _ = (now, proposals, &self.config, &self.cluster, &self.lessor, &self.ids, &self.progress);
        unimplemented!()
    }

    /// Whether this member's attributes are applied: only then it is ready to serve.
    pub fn is_published(&self) -> bool {
        unimplemented!()
    }
}
