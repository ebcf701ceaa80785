//! The active configuration, the progress of its members and the votes of the running election.

use std::collections::BTreeMap;
use std::fmt;

use api::pb::raftpb::ConfState;

use super::{Inflights, Progress, ProgressMap};
use crate::quorum::{Joint, Majority, VoteResult};

/// Who votes and who learns. Voters and learners never overlap; `conf_change` keeps it so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub voters: Joint,
    /// Whether the leader leaves the joint configuration by itself once it is committed. False outside of one.
    pub auto_leave: bool,
    pub learners: Majority,
    /// Voters of the outgoing half that become learners when the joint configuration is left. They can't be learners at once: they still vote.
    pub learners_next: Majority,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters={}", self.voters)?;
        if !self.learners.is_empty() {
            write!(f, " learners={}", self.learners)?;
        }
        if !self.learners_next.is_empty() {
            write!(f, " learners_next={}", self.learners_next)?;
        }
        if self.auto_leave {
            f.write_str(" autoleave")?;
        }
        Ok(())
    }
}

/// How an election stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub granted: usize,
    pub rejected: usize,
    pub result: VoteResult,
}

/// Configuration, progress and votes.
#[derive(Debug, Clone)]
pub struct Tracker {
    pub config: Config,
    pub progress: ProgressMap,
    pub votes: BTreeMap<u64, bool>,
    max_inflight: usize,
    max_inflight_bytes: u64,
}

impl Tracker {
    /// No members. The limits are those of [`Inflights::new`].
    pub fn new(max_inflight: usize, max_inflight_bytes: u64) -> Self {
        Tracker {
            config: Config::default(),
            progress: ProgressMap::new(),
            votes: BTreeMap::new(),
            max_inflight,
            max_inflight_bytes,
        }
    }

    /// A tracker with the same limits and no members, to build a configuration in.
    pub fn emptied(&self) -> Self {
        Tracker::new(self.max_inflight, self.max_inflight_bytes)
    }

    /// An empty window with this tracker's limits.
    pub fn inflights(&self) -> Inflights {
        Inflights::new(self.max_inflight, self.max_inflight_bytes)
    }

    /// Forgets what is known of every member: each will be probed from `next` on.
    pub fn reset_progress(&mut self, next: u64) {
        let (max_count, max_bytes) = (self.max_inflight, self.max_inflight_bytes);
        for progress in self.progress.values_mut() {
            *progress = Progress::new(next, Inflights::new(max_count, max_bytes), progress.is_learner);
        }
    }

    pub fn conf_state(&self) -> ConfState {
        let list = |ids: &Majority| ids.iter().collect();
        ConfState {
            voters: list(&self.config.voters.incoming),
            voters_outgoing: list(&self.config.voters.outgoing),
            learners: list(&self.config.learners),
            learners_next: list(&self.config.learners_next),
            auto_leave: Some(self.config.auto_leave),
        }
    }

    /// Whether one voter alone decides.
    pub fn is_singleton(&self) -> bool {
        self.config.voters.incoming.len() == 1 && !self.config.voters.is_joint()
    }

    /// The highest index that a quorum holds.
    pub fn committed(&self) -> u64 {
        self.config
            .voters
            .committed_index(|id| self.progress.get(&id).map(|progress| progress.matched))
    }

    /// Whether a quorum was heard of since `recent_active` was last cleared.
    pub fn quorum_active(&self) -> bool {
        let active = |id| {
            self.progress
                .get(&id)
                .filter(|progress| !progress.is_learner)
                .map(|progress| progress.recent_active)
        };
        self.config.voters.vote_result(active) == VoteResult::Won
    }

    /// Voters of both halves, ascending.
    pub fn voter_nodes(&self) -> Vec<u64> {
        self.config.voters.ids().collect()
    }

    pub fn learner_nodes(&self) -> Vec<u64> {
        self.config.learners.iter().collect()
    }

    pub fn reset_votes(&mut self) {
        self.votes.clear();
    }

    /// The first word counts: a member does not change its vote within an election.
    pub fn record_vote(&mut self, id: u64, granted: bool) {
        self.votes.entry(id).or_insert(granted);
    }

    /// Counts the votes. Those of members that have left or never vote are not in the counts.
    pub fn tally_votes(&self) -> Tally {
        let cast = |wanted: bool| {
            let counts = |&(id, progress): &(&u64, &Progress)| !progress.is_learner && self.votes.get(id) == Some(&wanted);
            self.progress.iter().filter(counts).count()
        };
        Tally {
            granted: cast(true),
            rejected: cast(false),
            result: self.config.voters.vote_result(|id| self.votes.get(&id).copied()),
        }
    }
}
