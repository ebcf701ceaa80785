//! What a member proposes by itself: its attributes, the cluster version, revocations of expired leases, lease checkpoints.
//!
//! Asked by the shell about every 500 ms and at once after each `Effect::BecameLeader` (a new leader has to start counting the leases'
//! time). Only says what is due: the shell proposes it, and nobody waits for the answers.

use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb::{LeaseCheckpointRequest, LeaseRevokeRequest, RequestHeader};
use api::pb::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};
use prost::Message;

use crate::cluster::{Cluster, Downgrade, Version};
use crate::lessor::Lessor;
use crate::limits::{LEASE_CHECKPOINT_BATCH, LEASE_SCAN_INTERVAL, LEASE_SCAN_LIMIT, VERSION_INTERVAL};
use crate::propose::{Body, RequestIds, wrap};
use crate::replicate::{EntryKind, Proposal, ProposalId};
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
    /// The time now: the attributes are due.
    pub started: Duration,
}

/// The machine of a member's own proposals.
#[derive(Debug)]
pub struct Duties {
    config: DutiesConfig,
    cluster: Cluster,
    lessor: Lessor,
    ids: Arc<RequestIds>,
    progress: Arc<Progress>,
    /// Requests that carry this life's attributes: one of them applied makes the member ready.
    published_by: Vec<u64>,
    publish_at: Duration,
    version_at: Duration,
    scan_at: Duration,
}

impl Duties {
    pub fn new(config: DutiesConfig, cluster: Cluster, lessor: Lessor, ids: Arc<RequestIds>, progress: Arc<Progress>) -> Duties {
        Duties {
            publish_at: config.started,
            version_at: config.started,
            scan_at: config.started,
            config,
            cluster,
            lessor,
            ids,
            progress,
            published_by: Vec::new(),
        }
    }

    /// Adds what is due to `proposals`.
    pub fn step(&mut self, now: Duration, proposals: &mut Vec<Proposal>) {
        let leads = self.progress.leader() == self.cluster.local_id().0;
        if leads != self.lessor.is_primary() {
            if leads {
                self.lessor.promote(now, self.config.election);
                self.version_at = now;
            } else {
                self.lessor.demote();
            }
        }
        if now >= self.publish_at && !self.is_published() && !self.cluster.is_removed(self.cluster.local_id()) {
            self.publish_at = now + self.config.retry;
            let id = self.publish(proposals);
            self.published_by.push(id);
        }
        if !leads {
            return;
        }
        if now >= self.version_at {
            self.version_at = now + VERSION_INTERVAL;
            self.agree_on_version(proposals);
        }
        if now >= self.scan_at {
            self.scan_at = now + LEASE_SCAN_INTERVAL;
            self.scan_leases(now, proposals);
        }
    }

    /// Whether this member's attributes are applied: only then it is ready to serve.
    pub fn is_published(&self) -> bool {
        self.published_by.contains(&self.cluster.attributes_set_by())
    }

    fn publish(&self, proposals: &mut Vec<Proposal>) -> u64 {
        let request = ClusterMemberAttrSetRequest {
            member_id: self.cluster.local_id().0,
            member_attributes: Some(Attributes {
                name: self.config.name.clone(),
                client_urls: self.config.client_urls.clone(),
            }),
        };
        self.propose(Body::ClusterMemberAttrSet, &request, proposals)
    }

    /// Alone, the members' lowest version is the own one.
    fn agree_on_version(&self, proposals: &mut Vec<Proposal>) {
        let (version, downgrade) = self.cluster.read(|state| (state.version, state.downgrade.clone()));
        match next_version(Version::server_minor(), version, &downgrade) {
            Some(Agreement::Set(version)) => {
                let request = ClusterVersionSetRequest { ver: version.to_string() };
                self.propose(Body::ClusterVersionSet, &request, proposals);
            }
            Some(Agreement::DowngradeDone) => {
                self.propose(Body::DowngradeInfoSet, &DowngradeInfoSetRequest::default(), proposals);
            }
            None => {}
        }
    }

    fn scan_leases(&self, now: Duration, proposals: &mut Vec<Proposal>) {
        for lease in self.lessor.expired(now, LEASE_SCAN_LIMIT) {
            self.propose(Body::LeaseRevoke, &LeaseRevokeRequest { id: lease.0 }, proposals);
        }
        let checkpoints = self.lessor.due_checkpoints(now, LEASE_CHECKPOINT_BATCH);
        if !checkpoints.is_empty() {
            self.propose(Body::LeaseCheckpoint, &LeaseCheckpointRequest { checkpoints }, proposals);
        }
    }

    fn propose(&self, body: Body, request: &impl Message, proposals: &mut Vec<Proposal>) -> u64 {
        let id = self.ids.next();
        let header = RequestHeader {
            id,
            ..RequestHeader::default()
        };
        proposals.push(Proposal {
            id: ProposalId(id),
            kind: EntryKind::Normal,
            data: wrap(&header, body, &request.encode_to_vec()),
        });
        id
    }
}

/// What a leader has to propose about versions.
#[derive(Debug, PartialEq, Eq)]
enum Agreement {
    Set(Version),
    /// Every member runs the version that the downgrade was for.
    DowngradeDone,
}

/// `lowest` is the lowest version of all members, patch 0.
fn next_version(lowest: Version, cluster: Option<Version>, downgrade: &Downgrade) -> Option<Agreement> {
    let Some(cluster) = cluster else {
        return Some(Agreement::Set(lowest));
    };
    if !downgrade.enabled {
        return (lowest > cluster).then_some(Agreement::Set(lowest));
    }
    let target = downgrade.target_version.parse::<Version>().ok()?.whole_minor();
    if lowest.same_minor(target) {
        return Some(Agreement::DowngradeDone);
    }
    let one_above = Version::new(target.major, target.minor + 1, 0);
    (cluster.same_minor(one_above) && lowest.same_minor(one_above)).then_some(Agreement::Set(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_and_go_down_on_request() {
        let v = |minor| Version::new(3, minor, 0);
        let none = Downgrade::default();
        let to = |minor| Downgrade {
            enabled: true,
            target_version: v(minor).to_string(),
        };
        assert_eq!(next_version(v(7), None, &none), Some(Agreement::Set(v(7))));
        assert_eq!(next_version(v(7), Some(v(7)), &none), None);
        assert_eq!(next_version(v(7), Some(v(5)), &none), Some(Agreement::Set(v(7))));
        assert_eq!(next_version(v(6), Some(v(7)), &none), None);
        assert_eq!(next_version(v(7), Some(v(7)), &to(6)), Some(Agreement::Set(v(6))));
        assert_eq!(next_version(v(7), Some(v(6)), &to(6)), None, "waits for the binaries");
        assert_eq!(next_version(v(6), Some(v(6)), &to(6)), Some(Agreement::DowngradeDone));
        assert_eq!(next_version(v(7), Some(v(7)), &to(5)), None);
    }
}
