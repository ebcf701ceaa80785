//! Applies changes to a copy of the configuration and checks that the result may stand.

use api::pb::raftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};

use super::{ChangeError, Plan, plan};
use crate::progress::{Config, Progress, ProgressMap, Tracker};

/// Where changes start from.
#[derive(Debug, Clone, Copy)]
pub struct Changer<'a> {
    pub tracker: &'a Tracker,
    /// The last index of the leader's log, from which new members are probed.
    pub last_index: u64,
}

/// A configuration that may be put into effect.
pub type Changed = (Config, ProgressMap);

impl Changer<'_> {
    /// Does what the entry's change asks for.
    ///
    /// # Errors
    /// Any `ChangeError`; nothing has changed then.
    pub fn apply(&self, change: &ConfChangeV2) -> Result<Changed, ChangeError> {
        match plan(change)? {
            Plan::Simple => self.simple(&change.changes),
            Plan::EnterJoint { auto_leave } => self.enter_joint(auto_leave, &change.changes),
            Plan::LeaveJoint => self.leave_joint(),
        }
    }

    /// From `(1 2 3)` to `(1 2 3)&&(1 2 3)`, with `changes` made to the incoming half.
    pub fn enter_joint(&self, auto_leave: bool, changes: &[ConfChangeSingle]) -> Result<Changed, ChangeError> {
        let mut draft = self.draft()?;
        if draft.config.voters.is_joint() {
            return Err(ChangeError::AlreadyJoint);
        }
        // An empty configuration may be filled one by one (a bootstrap does), never jointly.
        if draft.config.voters.incoming.is_empty() {
            return Err(ChangeError::NoVotersToJoin);
        }
        draft.config.voters.outgoing = draft.config.voters.incoming.clone();
        draft.change_all(changes)?;
        draft.config.auto_leave = auto_leave;
        draft.finish()
    }

    /// Drops the outgoing half and everyone who was in it alone; voters that were to become learners do.
    pub fn leave_joint(&self) -> Result<Changed, ChangeError> {
        let mut draft = self.draft()?;
        if !draft.config.voters.is_joint() {
            return Err(ChangeError::NotJoint);
        }
        for id in std::mem::take(&mut draft.config.learners_next).iter() {
            draft.config.learners.insert(id);
            draft.progress.entry(id).and_modify(|progress| progress.is_learner = true);
        }
        for id in std::mem::take(&mut draft.config.voters.outgoing).iter() {
            if !draft.config.voters.incoming.contains(id) && !draft.config.learners.contains(id) {
                draft.progress.remove(&id);
            }
        }
        draft.config.auto_leave = false;
        draft.finish()
    }

    /// Changes that together move at most one voter: any two majorities of before and after overlap.
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Result<Changed, ChangeError> {
        let mut draft = self.draft()?;
        if draft.config.voters.is_joint() {
            return Err(ChangeError::SimpleInJoint);
        }
        draft.change_all(changes)?;
        if self.tracker.config.voters.incoming.differing(&draft.config.voters.incoming) > 1 {
            return Err(ChangeError::TooManyVoters);
        }
        draft.finish()
    }

    fn draft(&self) -> Result<Draft<'_>, ChangeError> {
        let draft = Draft {
            changer: self,
            config: self.tracker.config.clone(),
            progress: self.tracker.progress.clone(),
        };
        check(&draft.config, &draft.progress)?;
        Ok(draft)
    }
}

/// The copy that is changed.
struct Draft<'a> {
    changer: &'a Changer<'a>,
    config: Config,
    progress: ProgressMap,
}

impl Draft<'_> {
    fn finish(self) -> Result<Changed, ChangeError> {
        check(&self.config, &self.progress)?;
        Ok((self.config, self.progress))
    }

    fn change_all(&mut self, changes: &[ConfChangeSingle]) -> Result<(), ChangeError> {
        for change in changes {
            let id = change.node_id.unwrap_or_default();
            // The application writes a zero over the id of a change that it has refused.
            if id == 0 {
                continue;
            }
            let number = change.r#type.unwrap_or_default();
            match ConfChangeType::try_from(number).map_err(|_| ChangeError::UnknownType(number))? {
                ConfChangeType::ConfChangeAddNode => self.make_voter(id),
                ConfChangeType::ConfChangeAddLearnerNode => self.make_learner(id),
                ConfChangeType::ConfChangeRemoveNode => self.remove(id),
                // Carries the application's data alone.
                ConfChangeType::ConfChangeUpdateNode => {}
            }
        }
        if self.config.voters.incoming.is_empty() {
            return Err(ChangeError::RemovedAllVoters);
        }
        Ok(())
    }

    fn make_voter(&mut self, id: u64) {
        match self.progress.get_mut(&id) {
            Some(progress) => progress.is_learner = false,
            None => self.start_progress(id, false),
        }
        self.config.learners.remove(id);
        self.config.learners_next.remove(id);
        self.config.voters.incoming.insert(id);
    }

    /// A voter of the outgoing half is only noted to become a learner: it votes until the joint configuration is left.
    fn make_learner(&mut self, id: u64) {
        let Some(progress) = self.progress.get_mut(&id) else {
            self.start_progress(id, true);
            self.config.learners.insert(id);
            return;
        };
        if progress.is_learner {
            return;
        }
        self.config.voters.incoming.remove(id);
        if self.config.voters.outgoing.contains(id) {
            self.config.learners_next.insert(id);
        } else {
            progress.is_learner = true;
            self.config.learners.insert(id);
        }
    }

    fn remove(&mut self, id: u64) {
        self.config.voters.incoming.remove(id);
        self.config.learners.remove(id);
        self.config.learners_next.remove(id);
        // A voter of the outgoing half still counts there.
        if !self.config.voters.outgoing.contains(id) {
            self.progress.remove(&id);
        }
    }

    fn start_progress(&mut self, id: u64, is_learner: bool) {
        // Probing starts at the leader's end, although the new member is most likely empty: its refusal tells where it stands.
        let next = self.changer.last_index.max(1);
        let mut progress = Progress::new(next, self.changer.tracker.inflights(), is_learner);
        // It had no chance to be heard of yet, and must not cost the leader its quorum for that.
        progress.recent_active = true;
        self.progress.insert(id, progress);
    }
}

/// What every configuration obeys, before a change and after.
fn check(config: &Config, progress: &ProgressMap) -> Result<(), ChangeError> {
    let learns = |id| progress.get(&id).is_some_and(|progress| progress.is_learner);
    let (voters, learners, next) = (&config.voters, &config.learners, &config.learners_next);
    if let Some(id) = voters
        .ids()
        .chain(learners.iter())
        .chain(next.iter())
        .find(|id| !progress.contains_key(id))
    {
        return Err(ChangeError::NoProgress(id));
    }
    for id in next.iter() {
        if !voters.outgoing.contains(id) {
            return Err(ChangeError::NextLearnerNotOutgoing(id));
        }
        if learns(id) {
            return Err(ChangeError::NextLearnerLearns(id));
        }
    }
    for id in learners.iter() {
        if voters.outgoing.contains(id) {
            return Err(ChangeError::LearnerIsOutgoing(id));
        }
        if voters.incoming.contains(id) {
            return Err(ChangeError::LearnerIsIncoming(id));
        }
        if !learns(id) {
            return Err(ChangeError::LearnerNotMarked(id));
        }
    }
    if !voters.is_joint() {
        if !next.is_empty() {
            return Err(ChangeError::NextLearnersOutsideJoint);
        }
        if config.auto_leave {
            return Err(ChangeError::AutoLeaveOutsideJoint);
        }
    }
    Ok(())
}
