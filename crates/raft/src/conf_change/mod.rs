//! Changes of the configuration: who votes, who learns, and the way from one configuration to the next.
//!
//! Works on copies and hands back a new configuration or a refusal; the core alone puts it into effect, when the entry that holds the change is
//! applied. Never proposes, never looks into the log. Simple changes move one voter at a time, joint ones any number (thesis section 4.3).

mod changer;
mod restore;
mod text;

use api::pb::raftpb::{ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

pub use changer::Changer;
pub use restore::{equivalent, restore};
pub use text::{ParseChangesError, describe_changes, parse_changes, show_changes};

/// Why a change is refused. The texts are Go's: its scripts print them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("config is already joint")]
    AlreadyJoint,
    #[error("can't make a zero-voter config joint")]
    NoVotersToJoin,
    #[error("can't leave a non-joint config")]
    NotJoint,
    #[error("can't apply simple config change in joint config")]
    SimpleInJoint,
    #[error("more than one voter changed without entering joint config")]
    TooManyVoters,
    #[error("removed all voters")]
    RemovedAllVoters,
    #[error("unexpected conf type {0}")]
    UnknownType(i32),
    #[error("unknown transition: {0}")]
    UnknownTransition(i32),
    #[error("no progress for {0}")]
    NoProgress(u64),
    #[error("{0} is in LearnersNext, but not Voters[1]")]
    NextLearnerNotOutgoing(u64),
    #[error("{0} is in LearnersNext, but is already marked as learner")]
    NextLearnerLearns(u64),
    #[error("{0} is in Learners and Voters[1]")]
    LearnerIsOutgoing(u64),
    #[error("{0} is in Learners and Voters[0]")]
    LearnerIsIncoming(u64),
    #[error("{0} is in Learners, but is not marked as learner")]
    LearnerNotMarked(u64),
    #[error("cfg.LearnersNext must be nil when not joint")]
    NextLearnersOutsideJoint,
    #[error("AutoLeave must be false when not joint")]
    AutoLeaveOutsideJoint,
}

/// What a change asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// One voter at most, at once.
    Simple,
    /// Into a joint configuration; with `auto_leave` the leader leaves it by itself.
    EnterJoint {
        auto_leave: bool,
    },
    LeaveJoint,
}

/// Reads from `change` what it asks for: an automatic change of more than one member goes through a joint configuration, an empty one leaves it.
///
/// # Errors
/// `ChangeError::UnknownTransition` for a transition that this version does not know.
pub fn plan(change: &ConfChangeV2) -> Result<Plan, ChangeError> {
    let number = change.transition.unwrap_or_default();
    let transition = ConfChangeTransition::try_from(number).map_err(|_| ChangeError::UnknownTransition(number))?;
    Ok(match (transition, change.changes.len()) {
        (ConfChangeTransition::Auto, 0) => Plan::LeaveJoint,
        (ConfChangeTransition::Auto, 1) => Plan::Simple,
        (ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit, _) => Plan::EnterJoint { auto_leave: true },
        (ConfChangeTransition::JointExplicit, _) => Plan::EnterJoint { auto_leave: false },
    })
}

/// The older form of a change in the newer one.
pub fn to_v2(change: &ConfChange) -> ConfChangeV2 {
    ConfChangeV2 {
        transition: None,
        changes: vec![ConfChangeSingle {
            r#type: Some(change.r#type.unwrap_or_default()),
            node_id: Some(change.node_id.unwrap_or_default()),
        }],
        context: change.context.clone(),
    }
}

fn single(kind: ConfChangeType, id: u64) -> ConfChangeSingle {
    ConfChangeSingle {
        r#type: Some(kind as i32),
        node_id: Some(id),
    }
}

#[cfg(test)]
mod tests;
