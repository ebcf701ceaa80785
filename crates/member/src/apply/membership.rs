//! Requests of the members among themselves: membership, attributes, cluster version, downgrade, storage version.

use api::pb::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};
use api::{Error, MemberId, Status};
use backend::Batch;
use backend::schema::{self, StorageVersion};

use super::{Applier, ApplyError, ApplyOutcome, Response};
use crate::cluster::{Downgrade, MemberChange, Version, store};
use crate::replicate::Committed;

impl Applier {
    /// A change that the membership does not allow leaves no trace but the index; its proposer hears why.
    pub(super) fn change_membership(&mut self, wanted: &MemberChange, done: &mut ApplyOutcome) -> Result<Response, Status> {
        let cluster = self.parts.cluster.clone();
        let batch = self.parts.writer.batch();
        let max_learners = self.parts.max_learners;
        let members = cluster.change(|state| {
            wanted.check(state, max_learners)?;
            match wanted.carry_out(state) {
                Some(member) => store::put_member(batch, member),
                None => store::remove_member(batch, MemberId(wanted.member_id())),
            }
            store::put_conf_state(batch, state);
            Ok(state.members.values().cloned().collect())
        });
        let members = members.map_err(|error: crate::cluster::ChangeError| Status::from(Error::from(error)))?;
        done.conf_changes.push(wanted.to_raft());
        done.removed_self |= matches!(wanted, MemberChange::Remove(id) if *id == cluster.local_id().0);
        Ok(Response::Members(members))
    }

    pub(super) fn set_attributes(&mut self, entry: &Committed, id: u64, set: ClusterMemberAttrSetRequest) -> Result<Response, ApplyError> {
        let attributes = set.member_attributes.unwrap_or_default();
        let batch = self.parts.writer.batch();
        let known = self.parts.cluster.change(|state| match state.members.get_mut(&set.member_id) {
            Some(member) => {
                member.name = attributes.name;
                member.client_urls = attributes.client_urls;
                store::put_member(batch, member);
                true
            }
            // A member may be gone before its attributes arrive.
            None => state.removed.contains(&set.member_id),
        });
        if !known {
            return Err(ApplyError::Entry {
                index: entry.index.0,
                problem: format!("attributes of {:x}, which never was a member", set.member_id),
            });
        }
        if set.member_id == self.parts.cluster.local_id().0 {
            self.parts.cluster.note_attributes_set_by(id);
        }
        Ok(Response::Done)
    }

    pub(super) fn set_cluster_version(&mut self, entry: &Committed, set: &ClusterVersionSetRequest) -> Result<Response, ApplyError> {
        let fail = |problem| ApplyError::Entry {
            index: entry.index.0,
            problem,
        };
        let version: Version = set.ver.parse().map_err(|e| fail(format!("cluster version: {e}")))?;
        if version.whole_minor() > Version::server_minor() {
            let own = api::SERVER_VERSION;
            return Err(fail(format!(
                "the cluster is at version {version}: this server ({own}) is too old for it"
            )));
        }
        store::put_version(self.parts.writer.batch(), version);
        let before = self.parts.cluster.change(|state| state.version.replace(version));
        // What a lower version has to read must not stand in the log behind its newest snapshot.
        self.snapshot_forced |= before.is_some_and(|before| version < before);
        self.version_look = std::time::Duration::ZERO;
        Ok(Response::Done)
    }

    pub(super) fn set_downgrade(&mut self, set: &DowngradeInfoSetRequest) -> Response {
        let downgrade = Downgrade {
            enabled: set.enabled,
            target_version: if set.enabled { set.ver.clone() } else { String::new() },
        };
        store::put_downgrade(self.parts.writer.batch(), &downgrade);
        self.parts.cluster.change(|state| state.downgrade = downgrade);
        Response::Done
    }

    /// Takes the database to the storage version of the cluster version (`data-dir.md` 6.4): each member by itself, not through the log.
    pub(super) fn follow_cluster_version(&mut self) -> Result<(), ApplyError> {
        let Some(cluster) = self.parts.cluster.version() else {
            return Ok(());
        };
        let wanted = StorageVersion {
            major: cluster.major,
            minor: cluster.minor,
        };
        // 3.0 is the version of a cluster whose members could not be asked.
        if wanted < StorageVersion::V3_5 {
            return Ok(());
        }
        let fail = |error: backend::BackendError| ApplyError::Entry {
            index: self.last.0.0,
            problem: format!("storage version: {error}"),
        };
        let now = schema::detect(&self.parts.backend.view()).map_err(fail)?;
        if now.is_some_and(|now| wanted < now) && self.newest_of_3_6.0 > self.parts.progress.snapshot_index() {
            self.snapshot_forced = true;
            return Ok(());
        }
        let mut batch = Batch::new();
        match schema::set_storage_version(&mut batch, now, wanted) {
            Ok(true) => self.parts.backend.append(batch),
            Ok(false) => {}
            // Nothing tells what this database is: entries of this version will. Go waits as well.
            Err(_) => return Ok(()),
        }
        self.parts
            .cluster
            .change(|state| state.storage_version = Some(Version::new(wanted.major, wanted.minor, 0)));
        Ok(())
    }
}
