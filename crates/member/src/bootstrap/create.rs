//! A new member: its ids, its log, and the entries that make the first members the members.

use api::pb::etcdserverpb::Metadata;
use api::pb::raftpb;
use api::{ClusterId, MemberId};
use prost::Message;
use wal::{LogBatch, Opened, Wal};
use world::DynDisk;

use super::database::Database;
use super::initial::{check_not_bootstrapped, first_members, own_place};
use super::{Config, OpenError, refuse};
use crate::cluster::{Member, MemberChange, id};

/// Makes the log of a new member, and gives the members that it knows before the log tells of any. What the log of a first member begins
/// with is added by [`finish`], which a power cut in between leads to as well; that of one who joins stays empty until the leader fills it.
pub(super) fn log(disk: &DynDisk, config: &Config, database: &Database) -> Result<Vec<Member>, OpenError> {
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
    let (own, cluster, members) = if config.join_existing { join(config)? } else { begin(config)? };
    let metadata = Metadata {
        node_id: Some(own.0),
        cluster_id: Some(cluster.0),
    };
    Wal::create_with(disk, &config.wal_dir(), &metadata.encode_to_vec(), config.wal_options)?.close()?;
    Ok(members)
}

/// Own id, cluster id and members of a cluster that begins now.
fn begin(config: &Config) -> Result<(MemberId, ClusterId, Vec<Member>), OpenError> {
    let members = first_members(config)?;
    let own = own_id(config, &members);
    if let Some(existing) = &config.existing {
        check_not_bootstrapped(existing, own)?;
    }
    Ok((own, cluster_id(&members), members))
}

/// The same of a cluster that runs already.
fn join(config: &Config) -> Result<(MemberId, ClusterId, Vec<Member>), OpenError> {
    let Some(existing) = &config.existing else {
        return refuse("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs");
    };
    let own = own_place(config, existing)?;
    Ok((own.id(), existing.cluster_id, existing.members.clone()))
}

fn own_id(config: &Config, members: &[Member]) -> MemberId {
    let own = members.iter().find(|member| member.name == config.name);
    own.map_or(MemberId(0), Member::id)
}

fn cluster_id(members: &[Member]) -> ClusterId {
    let ids: Vec<MemberId> = members.iter().map(Member::id).collect();
    id::cluster_id(&ids)
}

/// Begins a first member's log that is empty: one committed entry for each first member, ascending, at term 1. All first members write
/// the same bytes, so that their logs agree before the first election.
pub(super) fn finish(
    config: &Config,
    log: &mut Opened,
    member: MemberId,
    cluster: ClusterId,
    database: &Database,
) -> Result<(), OpenError> {
    let is_new = log.entries.is_empty() && log.hard_state.term.unwrap_or(0) == 0 && log.start_found;
    if !is_new || database.backend.consistent_index().0 > 0 || config.join_existing {
        return Ok(());
    }
    let members = first_members(config)?;
    if own_id(config, &members) != member || cluster_id(&members) != cluster {
        return refuse(format!(
            "the log in {} is empty and was begun for member {member} of cluster {cluster}, which --name, --initial-cluster, \
             --initial-cluster-token and --initial-cluster-state do not give: remove the data directory, or start with the flags it was \
             begun with",
            config.wal_dir().display(),
        ));
    }
    let entries: Vec<raftpb::Entry> = members
        .into_iter()
        .zip(1..)
        .map(|(member, index)| conf_entry(&MemberChange::Add(member), index, 1))
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

/// A membership change that nobody proposed.
pub(super) fn conf_entry(change: &MemberChange, index: u64, term: u64) -> raftpb::Entry {
    raftpb::Entry {
        r#type: Some(raftpb::EntryType::EntryConfChange as i32),
        term: Some(term),
        index: Some(index),
        data: Some(change.to_entry(0)),
    }
}
