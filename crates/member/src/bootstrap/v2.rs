//! The v2 store of 3.5, which kept the membership there first: what the database says differently is mended, or refused.
//!
//! From 3.6 on the database alone counts. A database written by a 3.5 before 3.5.26 may still call a member a learner that was promoted,
//! or know members that were removed; members that count their majorities differently would elect two leaders.

use api::pb::{raftpb, walpb};
use backend::schema::StorageVersion;
use wal::{SnapError, snap, v2store};
use world::DynDisk;

use super::database::Database;
use super::replay::carry_on;
use super::{Config, Note, OpenError, refuse};
use crate::cluster::{Member, State};

/// Compares the two memberships as of the database's consistent index.
pub(super) fn reconcile(
    disk: &DynDisk,
    config: &Config,
    entries: &[raftpb::Entry],
    snapshot: &walpb::Snapshot,
    database: &mut Database,
    notes: &mut Vec<Note>,
) -> Result<(), OpenError> {
    let newer =
        |version: crate::cluster::Version| (version.major, version.minor) > (StorageVersion::V3_5.major, StorageVersion::V3_5.minor);
    if database.state.storage_version.is_some_and(newer) {
        return Ok(());
    }
    let (mut state, index) = match newest(disk, config, snapshot)? {
        Some(found) => found,
        None => return Ok(()),
    };
    let held = database.backend.consistent_index().0;
    let upto = entries.partition_point(|entry| entry.index.unwrap_or(0) <= held);
    carry_on(&mut state, &entries[..upto], index, usize::MAX)?;
    for voter in state.members.values().filter(|member| !member.is_learner) {
        if let Some(member) = database.state.members.get(&voter.id).filter(|member| member.is_learner) {
            let member = Member {
                is_learner: false,
                ..member.clone()
            };
            notes.push(Note::PromotedVoter(member.id()));
            database.put_member(member);
        }
    }
    // An older file than the log's newest snapshot says who votes, but not who was removed since.
    if index == snapshot.index.unwrap_or(0) {
        check_equal(config, &state, &database.state)?;
    }
    Ok(())
}

/// The membership in the newest `.snap` file, and its index: that of nobody at index 0 if the log goes back that far.
fn newest(disk: &DynDisk, config: &Config, snapshot: &walpb::Snapshot) -> Result<Option<(State, u64)>, OpenError> {
    if snapshot.index.unwrap_or(0) == 0 {
        return Ok(Some((State::default(), 0)));
    }
    let valid = wal::valid_snapshots(disk, &config.wal_dir())?;
    let loaded = match snap::load_newest(disk, &config.snap_dir(), &valid) {
        Ok(loaded) => loaded,
        Err(SnapError::NoSnapshot { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let index = loaded.snapshot.metadata.as_ref().and_then(|metadata| metadata.index).unwrap_or(0);
    let json = loaded.snapshot.data.unwrap_or_default();
    let v2 = v2store::decode(&json).map_err(|error| OpenError::Refused(format!("{}: {error}", loaded.path.display())))?;
    let members = v2.members.into_iter().map(|member| (member.id, Member::from(member)));
    let state = State {
        members: members.collect(),
        removed: v2.removed.into_iter().collect(),
        ..State::default()
    };
    Ok(Some((state, index)))
}

fn check_equal(config: &Config, v2: &State, v3: &State) -> Result<(), OpenError> {
    let voters = |state: &State| -> Vec<(u64, bool)> { state.members.values().map(|member| (member.id, member.is_learner)).collect() };
    if voters(v2) == voters(v3) {
        return Ok(());
    }
    let list = |state: &State| {
        state
            .members
            .values()
            .map(|member| member.id().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    refuse(format!(
        "{}: the database has the members {}, but the v2 store, which counts for etcd 3.5, has {}. Versions of 3.5 before 3.5.26 left such \
         databases; members that start on them may disagree about what a majority is. Start every member once with etcd 3.5.26 or a later \
         3.5, which mends them, and stop it cleanly",
        config.db_path().display(),
        list(v3),
        list(v2),
    ))
}

impl From<v2store::Member> for Member {
    fn from(member: v2store::Member) -> Member {
        Member {
            id: member.id,
            peer_urls: member.peer_urls,
            is_learner: member.is_learner,
            name: member.name,
            client_urls: member.client_urls,
        }
    }
}
