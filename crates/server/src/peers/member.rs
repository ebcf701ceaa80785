//! The running member behind the peer port's pages.

use std::sync::Arc;

use api::pb::etcdserverpb as pb;
use api::{ClusterId, Error, LeaseId, MemberId, Status};
use member::cluster::Member;
use member::lessor::LeaseError;

use super::calls::{Promotion, RemoteHash, RemoteHeader};
use super::pages::PeerMember;
use crate::http::{BoxFuture, Pages, Versions};
use crate::node::Node;
use crate::pages::MemberPages;

/// The peer port's view of a node.
pub struct NodeMember {
    node: Arc<Node>,
    pages: MemberPages,
}

impl NodeMember {
    pub fn new(node: Arc<Node>) -> NodeMember {
        NodeMember {
            pages: MemberPages::new(node.clone()),
            node,
        }
    }
}

impl PeerMember for NodeMember {
    fn cluster_id(&self) -> ClusterId {
        self.node.cluster_id
    }

    fn members(&self) -> Vec<Member> {
        self.node.cluster.members()
    }

    fn versions(&self) -> Versions {
        self.pages.versions()
    }

    fn promote(&self, id: MemberId) -> BoxFuture<Promotion> {
        let node = self.node.clone();
        Box::pin(async move {
            match node.promote_member(id).await {
                Ok(members) => Promotion::Done(members),
                Err(status) if is(&status, Error::MemberNotFound) => Promotion::NotFound,
                Err(status) if is(&status, Error::LearnerNotReady) => Promotion::NotReady,
                Err(status) if is(&status, Error::MemberNotLearner) => Promotion::NotLearner,
                Err(status) => Promotion::Failed(status.message.into_owned()),
            }
        })
    }

    fn downgrade_enabled(&self) -> BoxFuture<Result<bool, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            node.read_index().await.map_err(|status| status.message.into_owned())?;
            Ok(node.cluster.downgrade().enabled)
        })
    }

    fn catch_up(&self) -> BoxFuture<bool> {
        let node = self.node.clone();
        Box::pin(async move { node.catch_up().await })
    }

    fn renew(&self, id: LeaseId) -> BoxFuture<Result<i64, LeaseError>> {
        let node = self.node.clone();
        Box::pin(async move { node.renew_here(id).await })
    }

    fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, LeaseError> {
        self.node.time_to_live_here(id, keys)
    }

    fn hash_kv(&self, revision: i64) -> BoxFuture<Result<RemoteHash, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || {
                let hash = node.store.hash_kv(revision).map_err(|error| error.to_string())?;
                Ok(RemoteHash {
                    header: RemoteHeader {
                        revision: node.store.revision(),
                    },
                    hash: hash.hash,
                    compact_revision: hash.compact_revision,
                    hash_revision: hash.revision,
                })
            });
            work.await.map_err(|error| error.to_string())?
        })
    }
}

fn is(status: &Status, error: Error) -> bool {
    *status == Status::from(error)
}
