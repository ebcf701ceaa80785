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
    leases_expired: u64,
}

impl Duties {
    pub fn new(config: DutiesConfig, cluster: Cluster, lessor: Lessor, ids: Arc<RequestIds>, progress: Arc<Progress>) -> Duties {
        Duties {
            publish_at: config.started,
            version_at: config.started,
            scan_at: config.started,
            leases_expired: 0,
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
        self.propose(Body::ClusterMemberAttrSet, &request.encode_to_vec(), proposals)
    }

    /// Alone, the members' lowest version is the own one. With others, the shell asks them and proposes what [`agreement`] says.
    fn agree_on_version(&self, proposals: &mut Vec<Proposal>) {
        let (alone, version, downgrade) = self
            .cluster
            .read(|state| (state.members.len() <= 1, state.version, state.downgrade.clone()));
        let agreed = agreement(Some(Version::server_minor()), version, &downgrade).filter(|_| alone);
        if let Some((body, request)) = agreed.map(|agreed| agreed.request()) {
            self.propose(body, &request, proposals);
        }
    }

    /// Leases found expired since the start.
    pub fn leases_expired(&self) -> u64 {
        self.leases_expired
    }

    fn scan_leases(&mut self, now: Duration, proposals: &mut Vec<Proposal>) {
        for lease in self.lessor.expired(now, LEASE_SCAN_LIMIT) {
            self.leases_expired += 1;
            let request = LeaseRevokeRequest { id: lease.0 };
            self.propose(Body::LeaseRevoke, &request.encode_to_vec(), proposals);
        }
        let checkpoints = self.lessor.due_checkpoints(now, LEASE_CHECKPOINT_BATCH);
        if !checkpoints.is_empty() {
            let request = LeaseCheckpointRequest { checkpoints };
            self.propose(Body::LeaseCheckpoint, &request.encode_to_vec(), proposals);
        }
    }

    fn propose(&self, body: Body, request: &[u8], proposals: &mut Vec<Proposal>) -> u64 {
        let id = self.ids.next();
        let header = RequestHeader {
            id,
            ..RequestHeader::default()
        };
        proposals.push(Proposal {
            id: ProposalId(id),
            kind: EntryKind::Normal,
            data: wrap(&header, body, request),
        });
        id
    }
}

/// What a cluster is taken for while not all of its members can be asked.
const OLDEST: Version = Version::new(3, 0, 0);

/// What a leader has to propose about versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    Set(Version),
    /// Every member runs the version that the downgrade was for.
    DowngradeDone,
}

impl Agreement {
    /// The request to propose.
    pub fn request(self) -> (Body, Vec<u8>) {
        match self {
            Agreement::Set(version) => {
                let request = ClusterVersionSetRequest { ver: version.to_string() };
                (Body::ClusterVersionSet, request.encode_to_vec())
            }
            Agreement::DowngradeDone => (Body::DowngradeInfoSet, DowngradeInfoSetRequest::default().encode_to_vec()),
        }
    }
}

/// What follows from the members' lowest version (patch 0; `None` while one of them can't be asked), the agreed one, and a downgrade.
pub fn agreement(lowest: Option<Version>, cluster: Option<Version>, downgrade: &Downgrade) -> Option<Agreement> {
    let Some(cluster) = cluster else {
        return Some(Agreement::Set(lowest.unwrap_or(OLDEST)));
    };
    let lowest = lowest?;
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
        assert_eq!(agreement(Some(v(7)), None, &none), Some(Agreement::Set(v(7))));
        assert_eq!(agreement(Some(v(7)), Some(v(7)), &none), None);
        assert_eq!(agreement(Some(v(7)), Some(v(5)), &none), Some(Agreement::Set(v(7))));
        assert_eq!(agreement(Some(v(6)), Some(v(7)), &none), None);
        assert_eq!(agreement(Some(v(7)), Some(v(7)), &to(6)), Some(Agreement::Set(v(6))));
        assert_eq!(agreement(Some(v(7)), Some(v(6)), &to(6)), None, "waits for the binaries");
        assert_eq!(agreement(Some(v(6)), Some(v(6)), &to(6)), Some(Agreement::DowngradeDone));
        assert_eq!(agreement(Some(v(7)), Some(v(7)), &to(5)), None);
        assert_eq!(agreement(None, None, &none), Some(Agreement::Set(Version::new(3, 0, 0))));
        assert_eq!(agreement(None, Some(v(0)), &none), None, "somebody did not answer");
        assert_eq!(
            agreement(Some(v(5)), Some(v(0)), &none),
            Some(Agreement::Set(v(5))),
            "3.5 among them"
        );
    }
}
