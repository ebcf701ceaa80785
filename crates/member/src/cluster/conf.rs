//! Membership changes: what an entry asks for, whether the members allow it, what it makes of them.

use api::pb::raftpb::{self, ConfChangeType};
use backend::schema::StoredMember;
use bytes::Bytes;
use serde::Deserialize;

use super::{Member, State};

/// A membership change as an entry asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    Add(Member),
    /// A learner becomes a voter.
    Promote(u64),
    Remove(u64),
    /// New peer URLs.
    Update(Member),
}

/// Why a membership change is refused. All members find the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("membership: ID removed")]
    Removed,
    #[error("membership: ID exists")]
    Exists,
    #[error("membership: ID not found")]
    NotFound,
    #[error("membership: peerURL exists")]
    PeerUrlExists,
    #[error("membership: can only promote a learner member")]
    NotLearner,
    #[error("membership: too many learner members in cluster")]
    TooManyLearners,
}

impl From<ChangeError> for api::Error {
    fn from(error: ChangeError) -> api::Error {
        match error {
            ChangeError::Removed | ChangeError::NotFound => api::Error::MemberNotFound,
            ChangeError::Exists => api::Error::MemberExist,
            ChangeError::PeerUrlExists => api::Error::PeerURLExist,
            ChangeError::NotLearner => api::Error::MemberNotLearner,
            ChangeError::TooManyLearners => api::Error::TooManyLearners,
        }
    }
}

/// The context of an addition or promotion.
#[derive(Deserialize)]
struct Context {
    #[serde(flatten)]
    member: StoredMember,
    #[serde(rename = "isPromote", default)]
    is_promote: bool,
}

impl MemberChange {
    /// Reads an entry's change.
    ///
    /// # Errors
    /// A text when the change cannot be what any etcd proposes: unknown kind, bad JSON, or two ids that differ.
    pub fn read(change: &raftpb::ConfChange) -> Result<MemberChange, String> {
        let node = change.node_id.unwrap_or(0);
        let kind =
            ConfChangeType::try_from(change.r#type.unwrap_or(0)).map_err(|_| format!("unknown membership change {:?}", change.r#type))?;
        let context = change.context.as_deref().unwrap_or_default();
        let read = |json: &[u8]| -> Result<Context, String> {
            let context: Context = serde_json::from_slice(json).map_err(|e| format!("context of a membership change: {e}"))?;
            if context.member.id != node {
                return Err(format!(
                    "a membership change of member {node:x} whose context names {:x}",
                    context.member.id
                ));
            }
            Ok(context)
        };
        Ok(match kind {
            ConfChangeType::ConfChangeRemoveNode => MemberChange::Remove(node),
            ConfChangeType::ConfChangeUpdateNode => MemberChange::Update(read(context)?.member.into()),
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                let context = read(context)?;
                if context.is_promote {
                    MemberChange::Promote(node)
                } else {
                    let mut member = Member::from(context.member);
                    // The kind counts for raft, the JSON for the membership; every etcd writes both alike.
                    member.is_learner |= kind == ConfChangeType::ConfChangeAddLearnerNode;
                    MemberChange::Add(member)
                }
            }
        })
    }

    /// Writes a change as a proposal's data, with the request's id.
    pub fn to_entry(&self, id: u64) -> Bytes {
        use prost::Message;
        let (kind, node_id, context) = match self {
            MemberChange::Add(member) if member.is_learner => (ConfChangeType::ConfChangeAddLearnerNode, member.id, Some(member.to_json())),
            MemberChange::Add(member) => (ConfChangeType::ConfChangeAddNode, member.id, Some(member.to_json())),
            MemberChange::Promote(id) => {
                let json = format!(r#"{{"id":{id},"peerURLs":null,"isPromote":true}}"#);
                (ConfChangeType::ConfChangeAddNode, *id, Some(json.into()))
            }
            MemberChange::Remove(id) => (ConfChangeType::ConfChangeRemoveNode, *id, None),
            MemberChange::Update(member) => (ConfChangeType::ConfChangeUpdateNode, member.id, Some(member.to_json())),
        };
        let change = raftpb::ConfChange {
            // The first members' entries have none.
            id: (id != 0).then_some(id),
            r#type: Some(kind as i32),
            node_id: Some(node_id),
            context,
        };
        change.encode_to_vec().into()
    }

    /// The member it is about.
    pub fn member_id(&self) -> u64 {
        match self {
            MemberChange::Add(member) | MemberChange::Update(member) => member.id,
            MemberChange::Promote(id) | MemberChange::Remove(id) => *id,
        }
    }

    /// Whether the membership of the entry before allows it (`peer-protocol.md` 9.3).
    ///
    /// # Errors
    /// `ChangeError` when it does not.
    pub fn check(&self, state: &State, max_learners: usize) -> Result<(), ChangeError> {
        let id = self.member_id();
        if state.removed.contains(&id) {
            return Err(ChangeError::Removed);
        }
        let known = state.members.get(&id);
        match self {
            MemberChange::Add(member) => {
                if known.is_some() {
                    return Err(ChangeError::Exists);
                }
                check_urls(state, member)?;
                let learners = state.members.values().filter(|m| m.is_learner).count();
                if member.is_learner && learners + 1 > max_learners {
                    return Err(ChangeError::TooManyLearners);
                }
            }
            MemberChange::Promote(_) => {
                if !known.ok_or(ChangeError::NotFound)?.is_learner {
                    return Err(ChangeError::NotLearner);
                }
            }
            MemberChange::Remove(_) => {
                known.ok_or(ChangeError::NotFound)?;
            }
            MemberChange::Update(member) => {
                known.ok_or(ChangeError::NotFound)?;
                check_urls(state, member)?;
            }
        }
        Ok(())
    }

    /// Makes the change in memory; [`MemberChange::check`] has allowed it. Gives what has to be stored: a changed member, or none for
    /// a removal.
    pub fn carry_out<'s>(&self, state: &'s mut State) -> Option<&'s Member> {
        let id = self.member_id();
        match self {
            MemberChange::Add(member) => {
                state.members.insert(id, member.clone());
            }
            MemberChange::Promote(_) => {
                if let Some(member) = state.members.get_mut(&id) {
                    member.is_learner = false;
                }
            }
            MemberChange::Remove(_) => {
                state.members.remove(&id);
                state.removed.insert(id);
            }
            MemberChange::Update(update) => {
                if let Some(member) = state.members.get_mut(&id) {
                    member.peer_urls.clone_from(&update.peer_urls);
                }
            }
        }
        state.members.get(&id)
    }

    /// The same for raft.
    pub fn to_raft(&self) -> raftpb::ConfChangeV2 {
        let kind = match self {
            MemberChange::Add(member) if member.is_learner => ConfChangeType::ConfChangeAddLearnerNode,
            MemberChange::Add(_) | MemberChange::Promote(_) => ConfChangeType::ConfChangeAddNode,
            MemberChange::Remove(_) => ConfChangeType::ConfChangeRemoveNode,
            MemberChange::Update(_) => ConfChangeType::ConfChangeUpdateNode,
        };
        raftpb::ConfChangeV2 {
            transition: None,
            changes: vec![raftpb::ConfChangeSingle {
                r#type: Some(kind as i32),
                node_id: Some(self.member_id()),
            }],
            context: None,
        }
    }
}

fn check_urls(state: &State, member: &Member) -> Result<(), ChangeError> {
    let others = state.members.values().filter(|m| m.id != member.id);
    let taken = others.flat_map(|m| &m.peer_urls).any(|url| member.peer_urls.contains(url));
    if taken { Err(ChangeError::PeerUrlExists) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn member(id: u64, url: &str, is_learner: bool) -> Member {
        Member {
            id,
            peer_urls: vec![url.into()],
            is_learner,
            ..Member::default()
        }
    }

    #[test]
    fn the_rules_of_membership() {
        let mut state = State::default();
        let go = |change: MemberChange, state: &mut State| -> Result<(), ChangeError> {
            let entry = raftpb::ConfChange::decode(change.to_entry(9)).unwrap();
            assert_eq!(MemberChange::read(&entry).unwrap(), change, "survives the log");
            change.check(state, 1)?;
            change.carry_out(state);
            Ok(())
        };
        assert_eq!(go(MemberChange::Add(member(1, "http://a", false)), &mut state), Ok(()));
        assert_eq!(
            go(MemberChange::Add(member(1, "http://b", false)), &mut state),
            Err(ChangeError::Exists)
        );
        assert_eq!(
            go(MemberChange::Add(member(2, "http://a", false)), &mut state),
            Err(ChangeError::PeerUrlExists)
        );
        assert_eq!(go(MemberChange::Add(member(2, "http://b", true)), &mut state), Ok(()));
        assert_eq!(
            go(MemberChange::Add(member(3, "http://c", true)), &mut state),
            Err(ChangeError::TooManyLearners)
        );
        assert_eq!(state.conf_state().learners, [2]);
        assert_eq!(go(MemberChange::Promote(1), &mut state), Err(ChangeError::NotLearner));
        assert_eq!(go(MemberChange::Promote(2), &mut state), Ok(()));
        assert_eq!(state.conf_state().voters, [1, 2]);
        assert_eq!(
            go(MemberChange::Update(member(2, "http://a", false)), &mut state),
            Err(ChangeError::PeerUrlExists)
        );
        assert_eq!(go(MemberChange::Update(member(2, "http://d", false)), &mut state), Ok(()));
        assert_eq!(go(MemberChange::Remove(2), &mut state), Ok(()));
        assert_eq!(go(MemberChange::Remove(2), &mut state), Err(ChangeError::Removed));
        assert_eq!(go(MemberChange::Remove(7), &mut state), Err(ChangeError::NotFound));
        assert_eq!(
            go(MemberChange::Add(member(2, "http://e", false)), &mut state),
            Err(ChangeError::Removed)
        );
    }

    #[test]
    fn ids_that_differ_are_no_change() {
        let change = raftpb::ConfChange {
            node_id: Some(4),
            context: Some(Bytes::from_static(br#"{"id":5,"peerURLs":[]}"#)),
            ..raftpb::ConfChange::default()
        };
        assert!(MemberChange::read(&change).is_err());
    }
}
