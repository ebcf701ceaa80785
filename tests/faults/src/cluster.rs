//! The cluster: who leads, whether all have caught up, whether all hold the same.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api::pb::etcdserverpb as pb;

use crate::member::{Member, Plan};
use crate::network::Network;
use crate::options::Options;
use crate::tls::Tls;

pub struct Cluster {
    pub members: Vec<Member>,
    pub network: Network,
}

/// One member's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    id: u64,
    leader: u64,
    term: u64,
    revision: i64,
}

impl Cluster {
    pub fn start(plan: &Plan, network: Network) -> anyhow::Result<Cluster> {
        let kinds = plan.options.members.iter();
        let members = (1..)
            .zip(kinds)
            .map(|(place, kind)| plan.member(place, *kind))
            .collect::<anyhow::Result<_>>()?;
        let mut cluster = Cluster { members, network };
        for member in &mut cluster.members {
            member.start()?;
        }
        Ok(cluster)
    }

    async fn views(&self) -> Vec<Option<View>> {
        let asked = self.members.iter().map(|member| {
            let control = member.control.clone();
            tokio::spawn(async move { control.status(&pb::StatusRequest {}).await })
        });
        let mut views = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            let view = answer.await.ok().and_then(Result::ok).and_then(|status| {
                let header = status.header?;
                Some(View {
                    id: header.member_id,
                    leader: status.leader,
                    term: status.raft_term,
                    revision: header.revision,
                })
            });
            views.push(view);
        }
        views
    }

    /// Waits until all members run, agree on a leader, and have applied everything up to a revision. Gives the leader.
    pub async fn settled(&mut self, revision: i64, limit: Duration) -> anyhow::Result<usize> {
        let begun = Instant::now();
        loop {
            for member in &mut self.members {
                if let Some(status) = member.ended()? {
                    bail!("m{} ended by itself with {status}\n{}", member.place, member.log_tail());
                }
            }
            let views = self.views().await;
            let known: Vec<View> = views.iter().flatten().copied().collect();
            let agree = known
                .windows(2)
                .all(|pair| (pair[0].leader, pair[0].term) == (pair[1].leader, pair[1].term));
            if known.len() == self.members.len()
                && agree
                && known.iter().all(|view| view.revision >= revision)
                && let Some(leader) = known.iter().position(|view| view.id == view.leader)
            {
                return Ok(leader);
            }
            if begun.elapsed() > limit {
                let logs: Vec<String> = self.members.iter().map(|m| format!("m{}:\n{}", m.place, m.log_tail())).collect();
                bail!(
                    "the cluster has not settled after {limit:?} (wanted revision {revision}): {views:?}\n{}",
                    logs.join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Hands the leadership to a member (by number, from 0) and waits until all agree on it, or on another that an election made.
    pub async fn move_leader(&mut self, from: usize, to: usize, limit: Duration) -> anyhow::Result<usize> {
        let begun = Instant::now();
        let mut leader = from;
        while leader != to {
            let target = self.views().await.get(to).copied().flatten().map(|view| view.id);
            let request = pb::MoveLeaderRequest {
                target_id: target.unwrap_or_default(),
            };
            let moved = self.members[leader].control.move_leader(&request).await;
            leader = self.settled(0, limit).await?;
            if begun.elapsed() > limit {
                bail!("m{} did not become leader within {limit:?}: {moved:?}", to + 1);
            }
        }
        Ok(leader)
    }

    /// Each member's hash of all revisions up to this one, which all must have applied.
    pub async fn hashes(&self, plan: &Plan<'_>, revision: i64) -> anyhow::Result<Vec<(u32, i64)>> {
        let mut hashes = Vec::new();
        for member in &self.members {
            let client = plan.client(member.place, Duration::from_secs(60))?;
            let answer = client.hash_kv(&pb::HashKvRequest { revision }).await;
            let answer = answer
                .map_err(|status| anyhow::anyhow!("m{}: {}", member.place, status.message))
                .context("HashKV")?;
            hashes.push((answer.hash, answer.compact_revision));
        }
        Ok(hashes)
    }
}

/// Certificates when they are asked for.
pub fn certificates(options: &Options, folder: &Path) -> anyhow::Result<Option<Tls>> {
    let make = || Tls::new(&folder.join("tls"), options.members.len() as u8);
    options.is_tls.then(make).transpose()
}
