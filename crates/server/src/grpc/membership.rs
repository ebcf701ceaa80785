//! Cluster: the list of members, and changes of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::pb::etcdserverpb as pb;
use api::{Error, MemberId, Status};
use bytes::Bytes;
use http2::Encoded;
use member::cluster::{Member, id};

use super::decode;
use crate::membership::to_pb;
use crate::node::Node;

/// Answers a MemberList.
pub async fn list(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberListRequest = decode(message)?;
    if request.linearizable {
        node.read_index().await?;
    }
    Ok(Encoded::message(&pb::MemberListResponse {
        header: Some(node.header_without_revision()),
        members: to_pb(node.cluster.members()),
    }))
}

/// Peer URLs as the membership has them; their texts make the new member's id.
fn checked(urls: &[String]) -> Result<Vec<String>, Status> {
    if urls.is_empty() {
        return Err(Error::MemberBadURLs.into());
    }
    let parsed = urls.iter().map(|text| compat::url::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut urls: Vec<String> = parsed
        .map_err(|_| Status::from(Error::MemberBadURLs))?
        .iter()
        .map(ToString::to_string)
        .collect();
    urls.sort();
    Ok(urls)
}

/// Answers a MemberAdd.
pub async fn add(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberAddRequest = decode(message)?;
    let peer_urls = checked(&request.peer_ur_ls)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let member = Member {
        id: id::member_id(&peer_urls, "", Some(now)).0,
        peer_urls,
        is_learner: request.is_learner,
        ..Member::default()
    };
    let members = node.add_member(member.clone()).await?;
    Ok(Encoded::message(&pb::MemberAddResponse {
        header: Some(node.header_without_revision()),
        member: Some(member.to_pb()),
        members: to_pb(members),
    }))
}

/// Answers a MemberRemove.
pub async fn remove(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberRemoveRequest = decode(message)?;
    let members = node.remove_member(MemberId(request.id)).await?;
    Ok(Encoded::message(&pb::MemberRemoveResponse {
        header: Some(node.header_without_revision()),
        members: to_pb(members),
    }))
}

/// Answers a MemberUpdate.
pub async fn update(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberUpdateRequest = decode(message)?;
    let member = Member {
        id: request.id,
        peer_urls: checked(&request.peer_ur_ls)?,
        ..Member::default()
    };
    let members = node.update_member(member).await?;
    Ok(Encoded::message(&pb::MemberUpdateResponse {
        header: Some(node.header_without_revision()),
        members: to_pb(members),
    }))
}

/// Answers a MemberPromote.
pub async fn promote(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MemberPromoteRequest = decode(message)?;
    let members = node.promote_member(MemberId(request.id)).await?;
    Ok(Encoded::message(&pb::MemberPromoteResponse {
        header: Some(node.header_without_revision()),
        members: to_pb(members),
    }))
}
