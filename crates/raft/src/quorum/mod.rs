//! Who must agree: majorities, joint majorities, and what a set of acknowledgements or votes amounts to under them.
//!
//! Pure set arithmetic. Never knows a member's state, term or log; `progress` supplies what each voter acknowledged. It decides the moment
//! at which a Put is committed: when the leader's entry is on the disks of a majority (step 5 of the life of a Put).

mod joint;
mod majority;

use std::fmt;

pub use joint::Joint;
pub use majority::Majority;

/// What an empty majority commits: everything. Joining it with another majority must not hold the other one back.
pub const UNBOUNDED: u64 = u64::MAX;

/// Where a vote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoteResult {
    /// Neither "yes" nor "no" has a quorum yet; votes still missing decide.
    Pending,
    /// A quorum said "no", or "yes" can no longer reach one.
    Lost,
    /// A quorum said "yes".
    Won,
}

impl fmt::Display for VoteResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VoteResult::Pending => "VotePending",
            VoteResult::Lost => "VoteLost",
            VoteResult::Won => "VoteWon",
        })
    }
}

/// Prints a log index as the tables of `describe` and the logs do: `UNBOUNDED` is the sign for infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownIndex(pub u64);

impl fmt::Display for ShownIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UNBOUNDED => f.pad("∞"),
            index => fmt::Display::fmt(&index, f),
        }
    }
}

#[cfg(test)]
mod model_tests;
