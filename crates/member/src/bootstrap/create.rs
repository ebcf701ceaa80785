//! A new member: its ids, its log, and the entry that makes it a member of its own cluster.

use api::MemberId;
use api::pb::etcdserverpb::Metadata;
use api::pb::raftpb;
use prost::Message;
use wal::{LogBatch, Opened, Wal};
use world::DynDisk;

use super::database::Database;
use super::{Config, OpenError, refuse};
use crate::cluster::{Member, MemberChange, id};

/// Makes the log of a new member. What it begins with is added by [`finish`], which a power cut in between leads to as well.
pub(super) fn log(disk: &DynDisk, config: &Config, database: &Database) -> Result<(), OpenError> {
    let held = database.backend.consistent_index().0;
    if held > 0 {
        return refuse(format!(
            "{} holds the effects of raft entries up to index {held}, but there is no log in {}: what was acknowledged after the \
             database's last commit is lost with it. Bring the log back; or restore from a snapshot (etcdutl snapshot restore \
             --skip-hash-check takes a copy of this database as well) into a new data directory",
            config.db_path().display(),
            config.wal_dir().display(),
        ));
    }
    let members = first_members(config)?;
    let ids: Vec<MemberId> = members.iter().map(Member::id).collect();
    let own = members
        .iter()
        .find(|member| member.name == config.name)
        .map_or(0, |member| member.id);
    let metadata = Metadata {
        node_id: Some(own),
        cluster_id: Some(id::cluster_id(&ids).0),
    };
    Wal::create_with(disk, &config.wal_dir(), &metadata.encode_to_vec(), config.wal_options)?.close()?;
    Ok(())
}

/// Begins a log that is empty: one committed entry for each first member, ascending, at term 1.
pub(super) fn finish(config: &Config, log: &mut Opened, member: MemberId, database: &Database) -> Result<(), OpenError> {
    let is_new = log.entries.is_empty() && log.hard_state.term.unwrap_or(0) == 0 && log.start_found;
    if !is_new || database.backend.consistent_index().0 > 0 {
        return Ok(());
    }
    let members = first_members(config)?;
    if !members.iter().any(|m| m.id() == member) {
        return refuse(format!(
            "the log in {} is empty and was begun for member {member}, which --name, --initial-cluster and --initial-cluster-token do \
             not give: remove the data directory, or start with the flags it was begun with",
            config.wal_dir().display(),
        ));
    }
    let entries: Vec<raftpb::Entry> = members
        .into_iter()
        .zip(1..)
        .map(|(member, index)| first_entry(member, index))
        .collect();
    let hard_state = raftpb::HardState {
        term: Some(1),
        vote: Some(0),
        commit: Some(entries.len() as u64),
    };
    log.wal.append(&LogBatch {
        entries: &entries,
        hard_state: Some(&hard_state),
    })?;
    log.wal.sync()?;
    log.entries = entries;
    log.hard_state = hard_state;
    Ok(())
}

fn first_entry(member: Member, index: u64) -> raftpb::Entry {
    raftpb::Entry {
        r#type: Some(raftpb::EntryType::EntryConfChange as i32),
        term: Some(1),
        index: Some(index),
        data: Some(MemberChange::Add(member).to_entry(0)),
    }
}

/// The members of `--initial-cluster`, by id. Several come with consensus.
fn first_members(config: &Config) -> Result<Vec<Member>, OpenError> {
    if config.join_existing {
        return refuse(
            "--initial-cluster-state existing: joining other members comes with consensus, this version serves a cluster of one",
        );
    }
    let text = || {
        let parts: Vec<String> = config.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect();
        parts.join(",")
    };
    let mut members: Vec<Member> = Vec::new();
    for (name, url) in &config.initial_cluster {
        if members.iter().any(|member| member.peer_urls.contains(url)) {
            return refuse(format!("initial cluster {} has duplicate url", text()));
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
    let Some(own) = members.iter().find(|member| member.name == config.name) else {
        return refuse(format!(
            "couldn't find local name {:?} in the initial cluster configuration",
            config.name
        ));
    };
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    if sorted(&own.peer_urls) != sorted(&config.peer_urls) {
        return refuse(format!(
            "--initial-cluster={} and --initial-advertise-peer-urls={} differ about {:?}",
            text(),
            config.peer_urls.join(","),
            config.name
        ));
    }
    if members.len() > 1 {
        return refuse(format!(
            "--initial-cluster names {} members: several members come with consensus, this version serves a cluster of one",
            members.len()
        ));
    }
    for member in &mut members {
        member.peer_urls.sort();
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
