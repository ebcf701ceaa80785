//! The membership as the applied entries made it: members, removed ids, cluster version, downgrade.
//!
//! Written by the applier alone, read on any thread. Never talks to other members.

mod conf;
pub mod id;
mod member;
pub(crate) mod store;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::pb::raftpb;
use api::{ClusterId, MemberId};
use parking_lot::RwLock;

pub use conf::{ChangeError, MemberChange};
pub use member::Member;
pub use store::{LoadError, load};
pub use version::{NotAVersion, Version};

/// A downgrade that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downgrade {
    pub enabled: bool,
    /// Version text; empty when not enabled.
    pub target_version: String,
}

/// The membership at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub members: BTreeMap<u64, Member>,
    pub removed: BTreeSet<u64>,
    pub version: Option<Version>,
    pub downgrade: Downgrade,
    /// What `meta/storageVersion` says; `None` where the database has none.
    pub storage_version: Option<Version>,
}

impl State {
    /// Who votes and who learns, as raft and the snapshots want it.
    pub fn conf_state(&self) -> raftpb::ConfState {
        let ids = |learners: bool| self.members.values().filter(|m| m.is_learner == learners).map(|m| m.id).collect();
        raftpb::ConfState {
            voters: ids(false),
            learners: ids(true),
            auto_leave: Some(false),
            ..raftpb::ConfState::default()
        }
    }
}

/// A shared handle to the membership.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster_id: ClusterId,
    local_id: MemberId,
    state: RwLock<State>,
    /// The request id of the newest applied entry that set this member's own attributes.
    attributes_set_by: AtomicU64,
}

impl Cluster {
    pub fn new(cluster_id: ClusterId, local_id: MemberId, state: State) -> Cluster {
        Cluster {
            inner: Arc::new(Inner {
                cluster_id,
                local_id,
                state: RwLock::new(state),
                attributes_set_by: AtomicU64::new(0),
            }),
        }
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.inner.cluster_id
    }

    pub fn local_id(&self) -> MemberId {
        self.inner.local_id
    }

    /// All members, by id.
    pub fn members(&self) -> Vec<Member> {
        self.inner.state.read().members.values().cloned().collect()
    }

    pub fn member(&self, id: MemberId) -> Option<Member> {
        self.inner.state.read().members.get(&id.0).cloned()
    }

    /// Ids that were members once and never will be again, sorted.
    pub fn removed(&self) -> Vec<MemberId> {
        self.inner.state.read().removed.iter().copied().map(MemberId).collect()
    }

    pub fn is_removed(&self, id: MemberId) -> bool {
        self.inner.state.read().removed.contains(&id.0)
    }

    /// Whether this member is a learner.
    pub fn is_local_learner(&self) -> bool {
        let state = self.inner.state.read();
        state.members.get(&self.inner.local_id.0).is_some_and(|member| member.is_learner)
    }

    /// The version that all members agreed on; `None` before the first agreement.
    pub fn version(&self) -> Option<Version> {
        self.inner.state.read().version
    }

    /// The version of this member's database; `None` while it has none (3.5 and older).
    pub fn storage_version(&self) -> Option<Version> {
        self.inner.state.read().storage_version
    }

    pub fn downgrade(&self) -> Downgrade {
        self.inner.state.read().downgrade.clone()
    }

    /// All of it at one moment.
    pub fn state(&self) -> State {
        self.inner.state.read().clone()
    }

    pub(crate) fn read<R>(&self, with: impl FnOnce(&State) -> R) -> R {
        with(&self.inner.state.read())
    }

    pub(crate) fn change<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.inner.state.write())
    }

    pub(crate) fn attributes_set_by(&self) -> u64 {
        self.inner.attributes_set_by.load(Ordering::Acquire)
    }

    pub(crate) fn note_attributes_set_by(&self, request: u64) {
        self.inner.attributes_set_by.store(request, Ordering::Release);
    }
}
