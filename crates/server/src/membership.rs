//! Changes of the membership and of leadership that a client asks for: the guards before, the proposal, and the wait behind.
//!
//! What must hold before a change is proposed is `peer-protocol.md` 10; what every member checks when it applies one is the member's
//! own business. Beside the life of a Put, but through the same log.

use std::time::{Duration, Instant};

use api::{Code, Error, MemberId, Status};
use member::apply::Response;
use member::cluster::{Member, MemberChange};
use member::replicate::{EntryKind, Input, ReplicationStatus};
use tokio::sync::oneshot;

use crate::log::{self, error_field, field};
use crate::node::Node;
use crate::peers::Promotion;
use crate::threads::RaftCommand;

/// How long a member must have been in touch to count as connected.
const HEALTHY: Duration = Duration::from_secs(5);

/// How far a learner must be with the leader's log to become a voter.
const READY_SHARE: f64 = 0.9;

/// Between two attempts to reach the leader.
const FORWARD_PAUSE: Duration = Duration::from_millis(50);

/// The voters, as the guards count them.
struct Voters {
    all: usize,
    started: usize,
}

impl Voters {
    fn of<'m>(members: impl IntoIterator<Item = &'m Member>) -> Voters {
        let voters = members.into_iter().filter(|member| !member.is_learner);
        voters.fold(Voters { all: 0, started: 0 }, |count, member| Voters {
            all: count.all + 1,
            started: count.started + usize::from(member.is_started()),
        })
    }
}

/// Whether a quorum of started voters is left when another, not started yet, is added.
fn may_add_voter(members: &[Member]) -> bool {
    let voters = Voters::of(members);
    // A cluster restored to one member is grown from there.
    (voters.all, voters.started) == (1, 1) || voters.started > voters.all.div_ceil(2)
}

/// Whether one is left when this voter is gone.
fn may_remove_voter(members: &[Member], id: MemberId) -> bool {
    let others = Voters::of(members.iter().filter(|member| member.id() != id));
    others.started > others.all / 2
}

/// Whether one is left when a learner, which counts as started, becomes a voter.
fn may_promote(members: &[Member]) -> bool {
    let voters = Voters::of(members);
    voters.started + 1 > voters.all.div_ceil(2)
}

impl Node {
    /// Whether this member has been in touch since then at the latest. With oneself one always is.
    pub fn is_connected_since(&self, id: MemberId, since: Instant) -> bool {
        id == self.member_id || self.active_since(id).is_some_and(|active| active < since)
    }

    fn connected(&self, members: &[Member]) -> usize {
        let Some(since) = Instant::now().checked_sub(HEALTHY) else {
            return 1;
        };
        let voters = members.iter().filter(|member| !member.is_learner);
        voters.filter(|member| self.is_connected_since(member.id(), since)).count()
    }

    /// Adds a member, as voter or learner.
    ///
    /// # Errors
    /// A guard's refusal, the membership's, or a time-out.
    pub async fn add_member(&self, member: Member) -> Result<Vec<Member>, Status> {
        if self.limits.strict_reconfig {
            let members = self.cluster.members();
            if !member.is_learner && !may_add_voter(&members) {
                return Err(self.refuse_change(
                    "rejecting member add request; not enough healthy members",
                    &member,
                    Error::MemberNotEnoughStarted,
                ));
            }
            let voters = Voters::of(&members).all;
            if voters > 1 && self.connected(&members) <= voters.div_ceil(2) {
                let text =
                    "rejecting member add request; local member has not been connected to all peers, reconfigure breaks active quorum";
                return Err(self.refuse_change(text, &member, Error::Unhealthy));
            }
        }
        self.change_members(MemberChange::Add(member)).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As for `add_member`.
    pub async fn remove_member(&self, id: MemberId) -> Result<Vec<Member>, Status> {
        let members = self.cluster.members();
        let target = members.iter().find(|member| member.id() == id);
        if self.limits.strict_reconfig && !target.is_some_and(|member| member.is_learner) {
            let named = target.cloned().unwrap_or_default();
            if !may_remove_voter(&members, id) {
                return Err(self.refuse_change(
                    "rejecting member remove request; not enough healthy members",
                    &named,
                    Error::MemberNotEnoughStarted,
                ));
            }
            // One that is down already is no part of the quorum that works.
            let is_up = id == self.member_id || self.active_since(id).is_some();
            let voters = Voters::of(&members).all;
            if is_up && self.connected(&members) < 2 + voters.saturating_sub(1) / 2 {
                let text =
                    "rejecting member remove request; local member has not been connected to all peers, reconfigure breaks active quorum";
                return Err(self.refuse_change(text, &named, Error::Unhealthy));
            }
        }
        self.change_members(MemberChange::Remove(id.0)).await
    }

    /// Gives a member other peer URLs.
    ///
    /// # Errors
    /// The membership's refusal, or a time-out.
    pub async fn update_member(&self, member: Member) -> Result<Vec<Member>, Status> {
        self.change_members(MemberChange::Update(member)).await
    }

    fn refuse_change(&self, text: &str, member: &Member, error: Error) -> Status {
        log::warn(
            text,
            &[
                field("local-member-id", self.member_id.to_string()),
                field("requested-member-id", member.id().to_string()),
                error_field(&error.message()),
            ],
        );
        error.into()
    }

    /// Has the change put in order and applied; the members after it. Raft has taken note of it by then, so that the next change may follow.
    async fn change_members(&self, change: MemberChange) -> Result<Vec<Member>, Status> {
        let id = self.ids.next();
        let data = change.to_entry(id);
        match self.submit(id, EntryKind::ConfChange, data).await? {
            Response::Members(members) => Ok(members),
            other => Err(Status::new(
                Code::Internal,
                format!("a change of members was answered with {other:?}"),
            )),
        }
    }

    /// Makes a voter of a learner. Only the leader knows whether it is ready: the others have it do so.
    ///
    /// # Errors
    /// As for `add_member`, and while the learner is not ready.
    pub async fn promote_member(&self, id: MemberId) -> Result<Vec<Member>, Status> {
        match self.promote_here(id).await {
            Ok(members) => {
                self.metrics.server_learner_promote_successes.inc();
                return Ok(members);
            }
            Err(status) if status == Status::from(Error::NotLeader) => {}
            Err(status) => {
                self.metrics.server_learner_promote_failures.with(&[&status.message]).inc();
                return Err(status);
            }
        }
        let deadline = Instant::now() + self.limits.request_timeout;
        while let Some(left) = time_left(deadline) {
            let leader = self.wait_leader(deadline).await?;
            for url in &leader.peer_urls {
                match self.peers.promote(url, id, left).await {
                    Promotion::Done(members) => return Ok(members),
                    Promotion::NotFound => return Err(Error::MemberNotFound.into()),
                    Promotion::NotReady => return Err(Error::LearnerNotReady.into()),
                    Promotion::NotLearner => return Err(Error::MemberNotLearner.into()),
                    Promotion::TimedOut => return Err(Error::Timeout.into()),
                    Promotion::Failed(error) => log::warn(
                        "failed to forward a promotion to the leader",
                        &[field("address", url), error_field(&error)],
                    ),
                }
            }
            tokio::time::sleep(FORWARD_PAUSE).await;
        }
        Err(Error::Timeout.into())
    }

    async fn promote_here(&self, id: MemberId) -> Result<Vec<Member>, Status> {
        let status = self.replication_status().await?;
        let place = |wanted: MemberId| status.peers.iter().find(|peer| peer.id == wanted);
        let Some(own) = place(self.member_id).filter(|_| status.leader == self.member_id) else {
            return Err(Error::NotLeader.into());
        };
        let learner = place(id).ok_or(Error::MemberNotFound)?;
        if (learner.matched as f64) < READY_SHARE * own.matched as f64 {
            return Err(Error::LearnerNotReady.into());
        }
        let members = self.cluster.members();
        if self.limits.strict_reconfig && !may_promote(&members) {
            let member = members.into_iter().find(|member| member.id() == id).unwrap_or_default();
            return Err(self.refuse_change(
                "rejecting member promote request; not enough healthy members",
                &member,
                Error::MemberNotEnoughStarted,
            ));
        }
        self.change_members(MemberChange::Promote(id.0)).await
    }

    /// What consensus knows of all members at this moment.
    ///
    /// # Errors
    /// When the member stops.
    pub async fn replication_status(&self) -> Result<ReplicationStatus, Status> {
        let (sender, receiver) = oneshot::channel();
        self.raft.bring(RaftCommand::Status(sender));
        receiver.await.map_err(|_| Error::Stopped.into())
    }

    /// Hands leadership over, and waits until this member knows the new leader.
    ///
    /// # Errors
    /// When the target can't lead, or does not do so in time.
    pub async fn move_leader(&self, target: MemberId) -> Result<(), Status> {
        if self.progress.leader() != self.member_id.0 {
            return Err(Error::NotLeader.into());
        }
        if self.cluster.member(target).is_none_or(|member| member.is_learner) {
            return Err(Error::BadLeaderTransferee.into());
        }
        if self.transfer(target, self.limits.request_timeout).await {
            return Ok(());
        }
        Err(Status::new(
            Code::Unknown,
            "etcdserver: request timed out, leader transfer took too long",
        ))
    }

    /// Asks consensus to make this member the leader; whether it is in time.
    async fn transfer(&self, target: MemberId, limit: Duration) -> bool {
        let begun = Instant::now();
        let fields = [
            field("local-member-id", self.member_id.to_string()),
            field("current-leader-member-id", self.member_id.to_string()),
            field("transferee-member-id", target.to_string()),
        ];
        log::info("leadership transfer starting", &fields);
        self.raft.bring(RaftCommand::Input(Input::TransferLeader(target)));
        while self.progress.leader() != target.0 {
            if begun.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        log::info("leadership transfer finished", &[field("took", begun.elapsed())]);
        true
    }

    /// Before this member stops: another one leads, if this one does and there is one in touch. Whoever has been so for longest.
    pub async fn hand_leadership_over(&self) {
        if self.progress.leader() != self.member_id.0 {
            return;
        }
        let members = self.cluster.members();
        let others = members.iter().filter(|member| !member.is_learner && member.id() != self.member_id);
        let longest = others
            .filter_map(|member| Some((self.active_since(member.id())?, member.id())))
            .min();
        let Some((_, target)) = longest else {
            return;
        };
        if !self.transfer(target, self.limits.request_timeout).await {
            log::warn(
                "leadership transfer failed",
                &[
                    field("local-member-id", self.member_id.to_string()),
                    field("transferee-member-id", target.to_string()),
                ],
            );
        }
    }

    /// The leader, as soon as there is one that the membership knows.
    ///
    /// # Errors
    /// `etcdserver: no leader` when there is none until then.
    pub async fn wait_leader(&self, deadline: Instant) -> Result<Member, Status> {
        loop {
            let leader = MemberId(self.progress.leader());
            if let Some(leader) = self.cluster.member(leader).filter(|leader| !leader.peer_urls.is_empty()) {
                return Ok(leader);
            }
            if time_left(deadline).is_none() {
                return Err(Error::NoLeader.into());
            }
            tokio::time::sleep(FORWARD_PAUSE).await;
        }
    }
}

/// The time until then; `None` when it is over.
pub fn time_left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

/// What clients are told of a member.
pub fn to_pb(members: Vec<Member>) -> Vec<api::pb::etcdserverpb::Member> {
    members.iter().map(Member::to_pb).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `v` a started voter, `V` one that has not started, `l` a learner.
    fn members(text: &str) -> Vec<Member> {
        let member = |(place, kind): (usize, char)| Member {
            id: place as u64 + 1,
            name: if kind == 'V' { String::new() } else { "m".to_owned() },
            is_learner: kind == 'l',
            ..Member::default()
        };
        text.chars().enumerate().map(member).collect()
    }

    #[test]
    fn guards_keep_a_started_quorum() {
        for (text, add, promote) in [
            ("v", true, true),
            ("V", false, false),
            ("vv", true, true),
            ("vV", false, true),
            ("vvv", true, true),
            ("vvV", false, true),
            ("vVV", false, false),
            ("vvvv", true, true),
            ("vvvV", true, true),
            ("vvvvv", true, true),
            ("vvvvV", true, true),
            ("vvvVV", false, true),
            ("vvl", true, true),
        ] {
            assert_eq!(may_add_voter(&members(text)), add, "add to {text}");
            assert_eq!(may_promote(&members(text)), promote, "promote in {text}");
        }
        for (text, id, remove) in [
            ("v", 1, false),
            ("vv", 2, true),
            ("vV", 2, true),
            ("vV", 1, false),
            ("vvV", 3, true),
            ("vvV", 1, false),
            ("vvv", 1, true),
            ("vvvv", 1, true),
            ("vvvV", 1, true),
            ("vvVV", 1, false),
        ] {
            assert_eq!(may_remove_voter(&members(text), MemberId(id)), remove, "remove {id} of {text}");
        }
    }
}
