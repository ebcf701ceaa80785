//! The membership as the applied entries made it: members, removed ids, cluster version, downgrade.
//!
//! Written by the applier alone, read on any thread. Never talks to other members.

pub mod id;
mod member;
mod version;

use std::sync::Arc;

use api::{ClusterId, MemberId};

pub use member::Member;
pub use version::Version;

/// A downgrade that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downgrade {
    pub enabled: bool,
    /// Version text; empty when not enabled.
    pub target_version: String,
}

/// A shared handle to the membership.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<()>,
}

impl Cluster {
    pub fn cluster_id(&self) -> ClusterId {
        let _ = &self.inner;
        unimplemented!()
    }

    pub fn local_id(&self) -> MemberId {
        unimplemented!()
    }

    /// All members, by id.
    pub fn members(&self) -> Vec<Member> {
        unimplemented!()
    }

    pub fn member(&self, id: MemberId) -> Option<Member> {
        let _ = id;
        unimplemented!()
    }

    /// Ids that were members once and never will be again, sorted.
    pub fn removed(&self) -> Vec<MemberId> {
        unimplemented!()
    }

    pub fn is_removed(&self, id: MemberId) -> bool {
        let _ = id;
        unimplemented!()
    }

    /// Whether this member is a learner.
    pub fn is_local_learner(&self) -> bool {
        unimplemented!()
    }

    /// The version that all members agreed on; `None` before the first agreement.
    pub fn version(&self) -> Option<Version> {
        unimplemented!()
    }

    pub fn downgrade(&self) -> Downgrade {
        unimplemented!()
    }
}
