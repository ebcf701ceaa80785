//! Two majorities, possibly overlapping, that must both agree (thesis section 4.3).

use std::fmt;

use super::{Majority, VoteResult};

/// `incoming` decides alone outside of a joint configuration; `outgoing` is then empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joint {
    pub incoming: Majority,
    pub outgoing: Majority,
}

impl Joint {
    /// Every voter of either half once, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.incoming.ids().union(self.outgoing.ids()).copied()
    }

    pub fn contains(&self, id: u64) -> bool {
        self.incoming.contains(id) || self.outgoing.contains(id)
    }

    /// Whether a change of configuration is half done.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// An index is committed when it is in both halves.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        self.incoming.committed_index(&acked).min(self.outgoing.committed_index(&acked))
    }

    /// Won when both halves are won, lost as soon as one of them is.
    pub fn vote_result(&self, vote: impl Fn(u64) -> Option<bool>) -> VoteResult {
        match (self.incoming.vote_result(&vote), self.outgoing.vote_result(&vote)) {
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            _ => VoteResult::Pending,
        }
    }

    /// The table of [`Majority::describe`] over the voters of both halves.
    pub fn describe(&self, acked: impl Fn(u64) -> Option<u64>) -> String {
        self.ids().collect::<Majority>().describe(acked)
    }
}

impl fmt::Display for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.incoming)?;
        if self.is_joint() {
            write!(f, "&&{}", self.outgoing)?;
        }
        Ok(())
    }
}
