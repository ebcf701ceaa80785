//! `--initial-cluster`: the members a new cluster begins with, and what the running members of an existing one say of themselves.
//!
//! Only what can be told from the configuration and from answers already fetched: names are resolved, and members asked, by the shell.

use std::fmt;

use api::{ClusterId, MemberId};

use super::{Config, OpenError, refuse};
use crate::cluster::{Member, id};

/// What the running members answered on `/members`: fetched by the shell before a member without a log is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingCluster {
    /// The answer's `X-Etcd-Cluster-ID`.
    pub cluster_id: ClusterId,
    /// Peer URLs are compared as texts: where a name resolves to what `--initial-cluster` says, it stands here as it stands there.
    pub members: Vec<Member>,
}

/// As Go prints it into its errors.
impl fmt::Display for ExistingCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ClusterID:{} Members:[", self.cluster_id)?;
        for (i, member) in self.members.iter().enumerate() {
            let (space, id) = (if i > 0 { " " } else { "" }, member.id());
            let (peer_urls, client_urls) = (member.peer_urls.join(" "), member.client_urls.join(" "));
            let (learner, name) = (member.is_learner, &member.name);
            write!(
                f,
                "{space}&{{ID:{id} RaftAttributes:{{PeerURLs:[{peer_urls}] IsLearner:{learner}}} \
                 Attributes:{{Name:{name} ClientURLs:[{client_urls}]}}}}"
            )?;
        }
        f.write_str("] RemovedMemberIDs:[]}")
    }
}

/// The members of `--initial-cluster`, without ids.
fn named(config: &Config) -> Result<Vec<Member>, OpenError> {
    let mut members: Vec<Member> = Vec::new();
    for (name, url) in &config.initial_cluster {
        if members.iter().any(|member| member.peer_urls.contains(url)) {
            let mut pairs: Vec<String> = config.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect();
            pairs.sort();
            return refuse(format!("initial cluster {} has duplicate url", pairs.join(",")));
        }
        match members.iter_mut().find(|member| member.name == *name) {
            Some(member) => member.peer_urls.push(url.clone()),
            None => members.push(Member {
                name: name.clone(),
                peer_urls: vec![url.clone()],
                ..Member::default()
            }),
        }
    }
    if !members.iter().any(|member| member.name == config.name) {
        return refuse(format!(
            "couldn't find local name {:?} in the initial cluster configuration",
            config.name
        ));
    }
    for member in &mut members {
        member.peer_urls.sort();
    }
    Ok(members)
}

/// The first members of a new cluster, by id: the same on each of them.
pub(super) fn first_members(config: &Config) -> Result<Vec<Member>, OpenError> {
    let mut members = named(config)?;
    for member in &mut members {
        member.id = id::member_id(&member.peer_urls, &config.initial_cluster_token, None).0;
        if member.id == 0 {
            return refuse(format!(
                "the peer URLs of {:?} give the member id 0: use others, or another token",
                member.name
            ));
        }
    }
    members.sort_by_key(|member| member.id);
    Ok(members)
}

/// Refuses to begin a cluster again that is running with this very member: its log is elsewhere, or lost.
pub(super) fn check_not_bootstrapped(existing: &ExistingCluster, own: MemberId) -> Result<(), OpenError> {
    let known = existing.members.iter().find(|member| member.id() == own);
    // A member without client URLs has not started yet.
    if known.is_some_and(|member| !member.client_urls.is_empty()) {
        return refuse(format!("member {own} has already been bootstrapped"));
    }
    Ok(())
}

/// Finds this member among the running ones.
pub(super) fn own_place(config: &Config, existing: &ExistingCluster) -> Result<Member, OpenError> {
    let local = named(config)?;
    let invalid = |text: String| OpenError::Refused(format!("error validating peerURLs {existing}: {text}"));
    let mut running: Vec<&Member> = existing.members.iter().collect();
    running.sort_by_key(|member| member.id);
    if running.len() != local.len() {
        return Err(invalid("member count is unequal".into()));
    }
    let mut own = None;
    for member in running {
        let mut last = String::new();
        let found = local.iter().find(|named| match difference(&member.peer_urls, &named.peer_urls) {
            None => true,
            Some(reason) => {
                last = reason;
                false
            }
        });
        let Some(found) = found else {
            return Err(invalid(format!(
                "PeerURLs: no match found for existing member ({}, [{}]), last resolver error ({last})",
                member.id(),
                member.peer_urls.join(" ")
            )));
        };
        if found.name == config.name {
            own = Some(member.clone());
        }
    }
    // Every local member was matched, for there are as many of them as of the others, and no two share a URL.
    let own = own.ok_or_else(|| invalid("two existing members have the same peer URLs".into()))?;
    let learners = existing.members.iter().filter(|member| member.is_learner).count();
    if learners > config.max_learners {
        return refuse(crate::cluster::ChangeError::TooManyLearners.to_string());
    }
    check_never_started(&own)?;
    Ok(own)
}

/// A member votes and acknowledges with its log. Begun again under its old id with an empty one, it would take back both, and the leader
/// would tell it of commits that it does not have (Go then ends with `tocommit(..) is out of range`).
fn check_never_started(own: &Member) -> Result<(), OpenError> {
    if !own.is_started() {
        return Ok(());
    }
    let id = own.id();
    refuse(format!(
        "member {id} ({:?}) of the running cluster has been started before, but its data directory is not here: what it voted for and \
         acknowledged is lost with it, so it cannot go on under this id. Bring the data directory back; or remove the member \
         (etcdctl member remove {id}), add it again (etcdctl member add), and start it with what that prints",
        own.name
    ))
}

/// Why two lists of URLs differ, in Go's words; `None` if they are equal as sets.
fn difference(a: &[String], b: &[String]) -> Option<String> {
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    let (a, b) = (sorted(a), sorted(b));
    if a.len() != b.len() {
        let list = |urls: &[String]| urls.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(" ");
        return Some(format!("len([{}]) != len([{}])", list(&a), list(&b)));
    }
    let (a, b) = a.iter().zip(&b).find(|(a, b)| a != b)?;
    Some(format!("resolved urls: {a:?} != {b:?}"))
}
