//! A member.

use api::MemberId;
use api::pb::etcdserverpb;
use backend::schema::StoredMember;
use bytes::Bytes;

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub peer_urls: Vec<String>,
    pub is_learner: bool,
    /// Empty until the member has started for the first time.
    pub name: String,
    pub client_urls: Vec<String>,
}

impl From<StoredMember> for Member {
    fn from(stored: StoredMember) -> Member {
        Member {
            id: stored.id,
            peer_urls: stored.peer_urls,
            is_learner: stored.is_learner,
            name: stored.name,
            client_urls: stored.client_urls,
        }
    }
}

impl From<&Member> for StoredMember {
    fn from(member: &Member) -> StoredMember {
        StoredMember {
            id: member.id,
            peer_urls: member.peer_urls.clone(),
            is_learner: member.is_learner,
            name: member.name.clone(),
            client_urls: member.client_urls.clone(),
        }
    }
}

impl Member {
    pub fn id(&self) -> MemberId {
        MemberId(self.id)
    }

    /// Whether it has told its name, which it does at its first start.
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The JSON that Go writes, in the database, in membership entries and on `/members`.
    pub fn to_json(&self) -> Bytes {
        StoredMember::from(self).encode()
    }

    pub fn to_pb(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id,
            name: self.name.clone(),
            peer_ur_ls: self.peer_urls.clone(),
            client_ur_ls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_as_go_writes_it() {
        let mut member = Member {
            id: 9670281527894873006,
            peer_urls: vec!["http://127.0.0.1:14002".into()],
            name: "m0".into(),
            ..Member::default()
        };
        assert_eq!(
            member.to_json(),
            r#"{"id":9670281527894873006,"peerURLs":["http://127.0.0.1:14002"],"name":"m0"}"#
        );
        member.is_learner = true;
        member.client_urls = vec!["http://c".into()];
        let stored = StoredMember::decode(b"8633bdd0743213ae", &member.to_json()).unwrap();
        assert_eq!(Member::from(stored), member);
    }
}
