//! Where a member stands, as numbers that any thread may read.
//!
//! Written by the machines, read by handlers, metrics and health pages. Never decides anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use api::{RaftIndex, Term};

/// Indexes and term of this member. Each number only grows.
#[derive(Debug, Default)]
pub struct Progress {
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    applied: AtomicU64,
    applied_term: AtomicU64,
    /// Whether reads at the head need no round of messages: a leader alone in its cluster whose own first entry is applied.
    reads_are_local: AtomicBool,
    proposals_pending: AtomicU64,
    proposals_failed: AtomicU64,
    leader_changes: AtomicU64,
    snapshot_index: AtomicU64,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $get:ident, $set:ident, $field:ident;)*) => {
        impl Progress {
            $($(#[$doc])*
            pub fn $get(&self) -> u64 {
                self.$field.load(Ordering::Acquire)
            }
            pub(crate) fn $set(&self, value: u64) {
                self.$field.store(value, Ordering::Release);
            })*
        }
    };
}

numbers! {
    /// The leader's member id; 0 when there is none.
    leader, set_leader, leader;
    /// Proposals that wait to be committed (`etcd_server_proposals_pending`).
    proposals_pending, set_proposals_pending, proposals_pending;
    /// Proposals refused (`etcd_server_proposals_failed_total`).
    proposals_failed, set_proposals_failed, proposals_failed;
    /// Times a leader was seen (`etcd_server_leader_changes_seen_total`).
    leader_changes, set_leader_changes, leader_changes;
    /// Index of the last disk snapshot.
    snapshot_index, set_snapshot_index, snapshot_index;
}

impl Progress {
    /// The current raft term: the header's `raft_term`.
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }
    /// The highest index known to be committed.
    pub fn committed(&self) -> RaftIndex {
        RaftIndex(self.committed.load(Ordering::Acquire))
    }
    /// The highest index whose effects readers can see.
    pub fn applied(&self) -> RaftIndex {
        RaftIndex(self.applied.load(Ordering::Acquire))
    }
    /// The term of the entry at [`Progress::applied`].
    pub fn applied_term(&self) -> Term {
        Term(self.applied_term.load(Ordering::Acquire))
    }
    /// Whether a linearizable read may be answered at once from the current view: this member is the leader of a cluster of one
    /// and has applied all that was committed before its term. Every acknowledged write is applied before it is acknowledged.
    pub fn reads_are_local(&self) -> bool {
        self.reads_are_local.load(Ordering::Acquire)
    }
    /// Whether more committed entries wait than a member may have (new proposals are refused).
    pub fn is_overloaded(&self) -> bool {
        self.committed().0.saturating_sub(self.applied().0) > crate::limits::MAX_UNAPPLIED
    }
    pub(crate) fn set_term(&self, term: Term) {
        self.term.store(term.0, Ordering::Release);
    }
    pub(crate) fn set_committed(&self, index: RaftIndex) {
        self.committed.store(index.0, Ordering::Release);
    }
    pub(crate) fn set_applied(&self, index: RaftIndex, term: Term) {
        self.applied_term.store(term.0, Ordering::Release);
        self.applied.store(index.0, Ordering::Release);
    }
    pub(crate) fn set_reads_are_local(&self, local: bool) {
        self.reads_are_local.store(local, Ordering::Release);
    }
}
