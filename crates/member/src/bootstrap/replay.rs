//! What the log will bring: looked at before anything is started, so that a start that cannot go well does not begin.

use api::MemberId;
use api::pb::raftpb::{self, EntryType};
use api::pb::walpb;
use prost::Message;
use wal::Opened;

use super::database::Database;
use super::{Config, OpenError, refuse};
use crate::cluster::{MemberChange, State};
use crate::request::{self, Request};

/// Refuses a log that has lost what the database holds.
pub(super) fn check_complete(config: &Config, log: &Opened, snapshot: &walpb::Snapshot, database: &Database) -> Result<(), OpenError> {
    let start = snapshot.index.unwrap_or(0);
    let last = log.entries.last().map_or(start, |entry| entry.index.unwrap_or(0));
    let held = database.backend.consistent_index().0;
    if held > last {
        return refuse(format!(
            "{} holds the effects of raft entries up to index {held}, but the log in {} ends at index {last}: {} acknowledged entries are \
             lost from it (cut, overwritten, or the directory is made of two different copies). A start would give the same indexes out \
             again and silently drop what is written under them. Bring the right log back; or save this database ({}) and restore it \
             into a new data directory with `etcdutl snapshot restore --skip-hash-check`",
            config.db_path().display(),
            config.wal_dir().display(),
            held - last,
            config.db_path().display(),
        ));
    }
    Ok(())
}

/// Refuses a log whose entries this version cannot apply, and one by whose committed entries this member is removed. Gives the membership
/// as those entries make it.
pub(super) fn check(config: &Config, log: &Opened, database: &Database, member: MemberId) -> Result<State, OpenError> {
    let held = database.backend.consistent_index().0;
    for entry in log.entries.iter().filter(|entry| entry.index.unwrap_or(0) > held) {
        let data = entry.data.clone().unwrap_or_default();
        if entry.r#type.unwrap_or(0) == EntryType::EntryNormal as i32 && !data.is_empty() {
            check_request(entry.index.unwrap_or(0), data)?;
        }
    }
    let commit = log.hard_state.commit.unwrap_or(0);
    let committed = log.entries.partition_point(|entry| entry.index.unwrap_or(0) <= commit);
    let members = membership(config, &log.entries[..committed], held, database)?;
    check_not_removed(&members, member)?;
    Ok(members)
}

pub(super) fn check_not_removed(members: &State, member: MemberId) -> Result<(), OpenError> {
    if members.removed.contains(&member.0) {
        return refuse(format!(
            "member {member} has been permanently removed from the cluster: an id is never used again. To take part again it has to be \
             added anew (etcdctl member add) and started with an empty data directory"
        ));
    }
    Ok(())
}

/// The membership of the database, carried on by the entries behind `held`.
pub(super) fn membership(config: &Config, entries: &[raftpb::Entry], held: u64, database: &Database) -> Result<State, OpenError> {
    let mut state = database.state.clone();
    carry_on(&mut state, entries, held, config.max_learners)?;
    Ok(state)
}

/// Makes the membership changes of the entries behind `held` that the membership allows, as applying them does.
pub(super) fn carry_on(state: &mut State, entries: &[raftpb::Entry], held: u64, max_learners: usize) -> Result<(), OpenError> {
    let conf_change = EntryType::EntryConfChange as i32;
    for entry in entries.iter().filter(|entry| entry.r#type == Some(conf_change)) {
        let index = entry.index.unwrap_or(0);
        if index <= held {
            continue;
        }
        let data = entry.data.clone().unwrap_or_default();
        let change = raftpb::ConfChange::decode(data).map_err(|e| OpenError::Refused(format!("entry {index}: {e}")))?;
        let change = MemberChange::read(&change).map_err(|text| OpenError::Refused(format!("entry {index}: {text}")))?;
        if change.check(state, max_learners).is_ok() {
            change.carry_out(state);
        }
    }
    Ok(())
}

fn check_request(index: u64, data: bytes::Bytes) -> Result<(), OpenError> {
    match request::decode(data) {
        Ok(decoded) => match decoded.request {
            Request::Auth(field) if !is_auth_read(field) => refuse(format!(
                "entry {index} of the log changes users or roles, which this version cannot: start the etcd that wrote it once and stop it \
                 cleanly, so that its database holds the change"
            )),
            _ => Ok(()),
        },
        Err(error) => refuse(format!("entry {index} of the log: {error}")),
    }
}

/// Auth requests without an effect: status, and reads of users and roles.
fn is_auth_read(field: u32) -> bool {
    matches!(field, 1013 | 1102 | 1106 | 1107 | 1202)
}
