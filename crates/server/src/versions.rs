//! The version that all members agree on: the leader asks the others what they are, and proposes what follows.
//!
//! What follows is the member crate's rule; a member alone knows without asking (its duties propose).

use std::sync::Arc;
use std::time::Duration;

use api::MemberId;
use member::cluster::{Member, Version};
use member::duties;
use tokio::task::JoinSet;

use crate::log::{self, error_field, field};
use crate::node::Node;
use crate::peers::CallError;

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(4);

/// Runs as long as the process.
pub async fn monitor(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = node.leadership.wait_begun() => {}
        }
        if node.leads() && node.cluster.members().len() > 1 {
            agree(&node).await;
        }
    }
}

async fn agree(node: &Arc<Node>) {
    let lowest = lowest_version(node).await;
    // Leadership may have gone meanwhile.
    if !node.leads() {
        return;
    }
    let Some(agreement) = duties::agreement(lowest, node.cluster.version(), &node.cluster.downgrade()) else {
        return;
    };
    let (body, request) = agreement.request();
    log::info(
        "updating cluster version using v3 API",
        &[field("change", format!("{agreement:?}"))],
    );
    if let Err(status) = node.propose(body, &request).await {
        log::warn("failed to update cluster version", &[error_field(&status)]);
    }
}

/// The lowest version of all members; `None` while one of them does not answer.
async fn lowest_version(node: &Arc<Node>) -> Option<Version> {
    let mut asked = JoinSet::new();
    for member in node.cluster.members() {
        if member.id() != node.member_id {
            let node = node.clone();
            asked.spawn(async move { version_of(&node, &member).await });
        }
    }
    let mut lowest = Some(Version::server_minor());
    while let Some(answer) = asked.join_next().await {
        lowest = lowest.min(answer.ok().flatten().map(Version::whole_minor));
    }
    lowest
}

async fn version_of(node: &Node, member: &Member) -> Option<Version> {
    for url in &member.peer_urls {
        match node.peers.version(url, node.limits.request_timeout).await {
            Ok(versions) => match versions.server() {
                Some(version) => return Some(version),
                None => warn(member.id(), &CallError::Answer(format!("{:?} is not a version", versions.server))),
            },
            Err(error) => warn(member.id(), &error),
        }
    }
    None
}

fn warn(id: MemberId, error: &CallError) {
    log::warn(
        "failed to get version",
        &[field("remote-member-id", id.to_string()), error_field(error)],
    );
}
