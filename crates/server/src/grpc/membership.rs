//! Cluster: the list of members. Changing it comes with consensus.

use std::sync::Arc;

use api::Status;
use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::Encoded;

use super::decode;
use crate::node::Node;

/// Answers a MemberList.
pub async fn list(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberListRequest = decode(message)?;
    if request.linearizable {
        node.read_index().await?;
    }
    let members = node.cluster.members().into_iter().map(|member| pb::Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    });
    Ok(Encoded::message(&pb::MemberListResponse {
        header: Some(node.header_without_revision()),
        members: members.collect(),
    }))
}
