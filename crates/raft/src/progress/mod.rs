//! What the leader knows of each member: how far its log matches, what is in flight to it, and whether it was heard of lately.
//!
//! Holds the flow control of step 4 of the life of a Put (which entries may go to whom). Never sends anything and never sees a message:
//! the replication part of the core asks and reports. Followers keep a [`Tracker`] too, for its configuration and votes alone.

mod inflights;
mod tracker;

use std::collections::BTreeMap;
use std::fmt;

pub use inflights::Inflights;
pub use tracker::{Config, Tally, Tracker};

/// Progress of every voter and learner, by id. The order is visible in scripts and decides in which order messages are made.
pub type ProgressMap = BTreeMap<u64, Progress>;

/// How the leader treats a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ProgressState {
    /// Where its log ends is unknown: one append at a time, until one is accepted.
    #[default]
    Probe,
    /// Entries stream, as far as the limits of what may be in flight allow.
    Replicate,
    /// It needs entries that the log no longer holds: a snapshot is on its way and nothing else is sent.
    Snapshot,
}

impl fmt::Display for ProgressState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProgressState::Probe => "StateProbe",
            ProgressState::Replicate => "StateReplicate",
            ProgressState::Snapshot => "StateSnapshot",
        })
    }
}

/// One member in the eyes of the leader.
///
/// `matched < next` always; entries strictly between them are in flight.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Up to here its log is known to equal the leader's.
    pub matched: u64,
    /// The next entry to send.
    pub next: u64,
    pub state: ProgressState,
    /// The index of the snapshot on its way, in state [`ProgressState::Snapshot`]; 0 otherwise. Whatever snapshot arrives in the end, an append
    /// response that meets the leader's log ends the wait; a report of the transport does too, in case that response was lost.
    pub pending_snapshot: u64,
    /// Whether any message came from it since the last check of the quorum.
    pub recent_active: bool,
    /// Nothing may be sent until it answers: a probe is out, or what may be in flight is used up.
    pub flow_paused: bool,
    pub inflights: Inflights,
    pub is_learner: bool,
    /// The highest commit index it was told of. Follows `next` down when appends were lost, or it would not be told again.
    sent_commit: u64,
}

impl Progress {
    /// A member to be probed from `next` on, of which nothing was heard yet.
    pub fn new(next: u64, inflights: Inflights, is_learner: bool) -> Self {
        assert!(next > 0, "next must be above matched");
        Progress {
            matched: 0,
            next,
            state: ProgressState::Probe,
            pending_snapshot: 0,
            recent_active: false,
            flow_paused: false,
            inflights,
            is_learner,
            sent_commit: 0,
        }
    }

    fn enter(&mut self, state: ProgressState) {
        self.flow_paused = false;
        self.pending_snapshot = 0;
        self.state = state;
        self.inflights.clear();
    }

    /// Probe from `matched + 1`, or from behind the snapshot that has just reached the member.
    pub fn become_probe(&mut self) {
        let delivered = if self.state == ProgressState::Snapshot {
            self.pending_snapshot
        } else {
            0
        };
        self.enter(ProgressState::Probe);
        self.next = self.matched.max(delivered) + 1;
        self.sent_commit = self.sent_commit.min(self.next - 1);
    }

    pub fn become_replicate(&mut self) {
        self.enter(ProgressState::Replicate);
        self.next = self.matched + 1;
    }

    /// Wait for the snapshot at `index` to arrive.
    pub fn become_snapshot(&mut self, index: u64) {
        self.enter(ProgressState::Snapshot);
        self.pending_snapshot = index;
        self.next = index + 1;
        self.sent_commit = index;
    }

    /// Notes an append of `entries` entries from `next` on, `bytes` in all, as sent.
    ///
    /// # Panics
    /// In state [`ProgressState::Snapshot`], where no append may be sent.
    pub fn sent_entries(&mut self, entries: usize, bytes: u64) {
        match self.state {
            ProgressState::Replicate => {
                if entries > 0 {
                    self.next += entries as u64;
                    self.inflights.add(self.next - 1, bytes);
                }
                // At the limit only empty appends go out, and those only on a heartbeat response.
                self.flow_paused = self.inflights.is_full();
            }
            // An empty probe carries a commit index, but tells nothing of where the log ends: it may be followed by another.
            ProgressState::Probe => self.flow_paused |= entries > 0,
            ProgressState::Snapshot => panic!("sending append in unhandled state {}", self.state),
        }
    }

    /// Whether telling it of commit index `index` can move its own.
    pub fn can_bump_commit(&self, index: u64) -> bool {
        // Beyond next - 1 it could not commit anything even if it were told.
        index > self.sent_commit && self.sent_commit < self.next - 1
    }

    pub fn sent_commit(&mut self, commit: u64) {
        self.sent_commit = commit;
    }

    /// Its log reaches up to `index`. False when that was known: the response is a late one.
    pub fn maybe_update(&mut self, index: u64) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index.saturating_add(1));
        self.flow_paused = false;
        true
    }

    /// It refused the append that followed entry `rejected` and hints that its log may match at `match_hint`. False when the refusal is a late one
    /// and tells nothing; otherwise `next` is lower and the member may be sent to.
    pub fn maybe_decr_to(&mut self, rejected: u64, match_hint: u64) -> bool {
        if self.state == ProgressState::Replicate {
            if rejected <= self.matched {
                return false;
            }
            // Many appends may be in flight here, so the hint belongs to any of them; matched is the one certain place.
            self.next = self.matched + 1;
            self.sent_commit = self.sent_commit.min(self.next - 1);
            return true;
        }
        // One probe at a time: a refusal of anything but the last probe is a late one.
        if self.next - 1 != rejected {
            return false;
        }
        self.next = rejected.min(match_hint.saturating_add(1)).max(self.matched + 1);
        self.sent_commit = self.sent_commit.min(self.next - 1);
        self.flow_paused = false;
        true
    }

    /// Whether entries may not be sent now.
    pub fn is_paused(&self) -> bool {
        self.flow_paused || self.state == ProgressState::Snapshot
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} match={} next={}", self.state, self.matched, self.next)?;
        if self.is_learner {
            f.write_str(" learner")?;
        }
        if self.is_paused() {
            f.write_str(" paused")?;
        }
        if self.pending_snapshot > 0 {
            write!(f, " pendingSnap={}", self.pending_snapshot)?;
        }
        if !self.recent_active {
            f.write_str(" inactive")?;
        }
        if self.inflights.count() > 0 {
            write!(f, " inflight={}", self.inflights.count())?;
            if self.inflights.is_full() {
                f.write_str("[full]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
