//! What the health and debug pages are told about the member.

use std::sync::Arc;

use api::MemberId;
use api::pb::etcdserverpb::{AlarmType, RangeRequest};
use bytes::Bytes;

use crate::grpc::storage_version;
use crate::http::{Alarm, BoxFuture, Pages, Versions};
use crate::node::Node;

/// The pages' view of a node.
pub struct MemberPages {
    node: Arc<Node>,
}

impl MemberPages {
    pub fn new(node: Arc<Node>) -> MemberPages {
        MemberPages { node }
    }
}

impl Pages for MemberPages {
    fn versions(&self) -> Versions {
        let storage = storage_version(&self.node);
        Versions {
            cluster: self.node.cluster.version().map(|version| version.to_string()),
            storage: (!storage.is_empty()).then_some(storage),
        }
    }

    fn has_leader(&self) -> bool {
        self.node.progress.leader() != 0
    }

    fn is_learner(&self) -> bool {
        self.node.cluster.is_local_learner()
    }

    fn auth_enabled(&self) -> bool {
        // A data directory with auth enabled is refused at the start.
        false
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.node
            .alarms
            .list(AlarmType::None)
            .into_iter()
            .map(|alarm| Alarm {
                member: MemberId(alarm.member_id),
                kind: alarm.alarm,
            })
            .collect()
    }

    fn read(&self, serializable: bool) -> BoxFuture<Result<(), String>> {
        let node = self.node.clone();
        Box::pin(async move {
            if !serializable {
                node.read_index().await.map_err(|status| status.message.into_owned())?;
            }
            let request = RangeRequest {
                key: Bytes::from_static(b"health"),
                limit: 1,
                ..RangeRequest::default()
            };
            node.store.range(&request).map(drop).map_err(|error| error.to_string())
        })
    }

    fn raft_status(&self) -> String {
        let progress = &self.node.progress;
        let state = if progress.leader() == self.node.member_id.0 {
            "StateLeader"
        } else {
            "StateFollower"
        };
        format!(
            r#"{{"id":"{}","term":{},"vote":"{}","commit":{},"lead":"{:x}","raftState":"{state}","applied":{},"progress":{{}},"leadtransferee":"0"}}"#,
            self.node.member_id,
            progress.term().0,
            self.node.member_id,
            progress.committed().0,
            progress.leader(),
            progress.applied().0,
        )
    }
}
