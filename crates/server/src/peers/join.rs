//! What running members say before this one starts for the first time: whether it is one of them already, and for one who joins, who
//! they are and whether their version suits.
//!
//! Asks one member after the other, as etcd does, and takes the first answer. Never decides about ids: bootstrap does.

use std::time::{Duration, Instant};

use api::MemberId;
use member::bootstrap::ExistingCluster;
use member::cluster::{Member, Version};

use super::calls::{Peers, RemoteCluster, RemoteVersions};
use super::client::CallError;
use crate::config::{Config, InitialCluster};
use crate::log::{self, error_field, field};

/// How long a member may take to answer one who begins a cluster.
const NEW_LIMIT: Duration = Duration::from_secs(1);
/// The same for one who joins.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// The oldest cluster version that this server works with.
const OLDEST: Version = Version::new(3, 0, 0);

/// Why this member must not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("cannot fetch cluster info from peer urls: {0}")]
    Fetch(&'static str),
    #[error("incompatible with current running cluster")]
    Incompatible,
}

/// Asks the other members of `--initial-cluster`. `None` when a cluster begins and none of them runs yet.
///
/// # Errors
/// `JoinError` for one who joins.
pub async fn ask(config: &Config, initial: &InitialCluster, peers: &Peers) -> Result<Option<ExistingCluster>, JoinError> {
    let mut urls: Vec<String> = initial
        .members()
        .iter()
        .filter(|(name, _)| **name != config.name)
        .flat_map(|(_, urls)| urls.iter().map(ToString::to_string))
        .collect();
    urls.sort();
    if config.initial_cluster_state != "existing" {
        let found = fetch(peers, &urls, NEW_LIMIT, false).await.ok();
        return Ok(found.map(|cluster| named_as_configured(cluster, initial)));
    }
    let cluster = fetch(peers, &urls, JOIN_LIMIT, true).await.map_err(JoinError::Fetch)?;
    let cluster = named_as_configured(cluster, initial);
    let own = initial.members().get(&config.name);
    let others: Vec<&Member> = cluster
        .members
        .iter()
        .filter(|member| !own.is_some_and(|own| own.iter().all(|url| member.peer_urls.contains(&url.to_string()))))
        .collect();
    check_versions(peers, &others, config.request_timeout()).await?;
    Ok(Some(cluster))
}

async fn fetch(peers: &Peers, urls: &[String], limit: Duration, tell: bool) -> Result<RemoteCluster, &'static str> {
    for url in urls {
        match peers.members(url, limit).await {
            Ok(cluster) if cluster.members.is_empty() => {
                return Err("failed to get raft cluster member(s) from the given URLs");
            }
            Ok(cluster) => return Ok(cluster),
            Err(error) if tell => {
                let address = format!("{url}/members");
                let message = match error {
                    CallError::Answer(_) => "failed to unmarshal cluster response",
                    CallError::Connection(_) | CallError::TimedOut => "failed to get cluster response",
                };
                log::warn(message, &[field("address", address), error_field(&error)]);
            }
            Err(_) => {}
        }
    }
    Err("could not retrieve cluster information from the given URLs")
}

/// Bootstrap compares URLs as texts: where names resolve to what the flag says, they are written as the flag has them.
fn named_as_configured(cluster: RemoteCluster, initial: &InitialCluster) -> ExistingCluster {
    let deadline = Instant::now() + crate::config::RESOLVE_DEADLINE;
    let mut members = cluster.members;
    for member in &mut members {
        if let Some(urls) = initial.same_urls(&member.peer_urls, deadline) {
            member.peer_urls = urls;
        }
    }
    ExistingCluster {
        cluster_id: cluster.id,
        members,
    }
}

/// At least one member's cluster version has to be known, and all known ones to suit.
async fn check_versions(peers: &Peers, others: &[&Member], limit: Duration) -> Result<(), JoinError> {
    let own = Version::server_minor();
    let mut allowed = OLDEST..=own;
    for member in others {
        // While a downgrade goes on, only a member of the version to come may join.
        if first_answer(member, |url| async move { peers.downgrade_enabled(&url, limit).await }).await == Some(true) {
            let next = Version::new(own.major, own.minor + 1, 0);
            allowed = next..=next;
            break;
        }
    }
    let mut known = false;
    for member in others {
        let Some(RemoteVersions { server, cluster }) = first_answer(member, |url| async move { peers.version(&url, limit).await }).await
        else {
            log::warn("failed to get version of remote peer", &[id_field(member.id())]);
            continue;
        };
        let Ok(version) = cluster.parse::<Version>() else {
            log::warn(
                "failed to parse cluster version of remote member",
                &[id_field(member.id()), field("remote-member-cluster-version", &cluster)],
            );
            continue;
        };
        if !allowed.contains(&version.whole_minor()) {
            log::warn(
                "cluster version of remote member is not compatible",
                &[
                    id_field(member.id()),
                    field("remote-member-server-version", &server),
                    field("remote-member-cluster-version", &cluster),
                    field("minimum-cluster-version-supported", allowed.start().to_string()),
                    field("maximum-cluster-version-supported", allowed.end().to_string()),
                ],
            );
            return Err(JoinError::Incompatible);
        }
        known = true;
    }
    if known { Ok(()) } else { Err(JoinError::Incompatible) }
}

fn id_field(id: MemberId) -> log::Field<'static> {
    field("remote-member-id", id.to_string())
}

/// The first answer that one of the member's URLs gives.
async fn first_answer<T, F>(member: &Member, ask: impl Fn(String) -> F) -> Option<T>
where
    F: Future<Output = Result<T, CallError>>,
{
    for url in &member.peer_urls {
        match ask(url.clone()).await {
            Ok(answer) => return Some(answer),
            Err(error) => log::warn("failed to reach the peer URL", &[field("address", url), error_field(&error)]),
        }
    }
    None
}
