//! What the log will bring: looked at before anything is started, so that a start that cannot go well does not begin.

use api::MemberId;
use api::pb::raftpb::{self, EntryType};
use api::pb::walpb;
use prost::Message;
use wal::Opened;

use super::database::Database;
use super::{Config, OpenError, refuse};
use crate::cluster::MemberChange;
use crate::request::{self, Request};

/// Refuses a log that has lost what the database holds, and one whose entries this version cannot apply.
pub(super) fn check(
    config: &Config,
    log: &Opened,
    snapshot: &walpb::Snapshot,
    database: &Database,
    member: MemberId,
) -> Result<(), OpenError> {
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
    let mut members = database.state.clone();
    for entry in &log.entries {
        let index = entry.index.unwrap_or(0);
        if index <= held {
            continue;
        }
        let data = entry.data.clone().unwrap_or_default();
        match entry.r#type.unwrap_or(0) {
            kind if kind == EntryType::EntryConfChange as i32 => {
                let change = raftpb::ConfChange::decode(data).map_err(|e| OpenError::Refused(format!("entry {index}: {e}")))?;
                let change = MemberChange::read(&change).map_err(|text| OpenError::Refused(format!("entry {index}: {text}")))?;
                if change.check(&members, config.max_learners).is_ok() {
                    change.carry_out(&mut members);
                }
            }
            _ if data.is_empty() => {}
            _ => check_request(index, data)?,
        }
    }
    if members.members.len() > 1 {
        return refuse(format!(
            "the membership has {} members: several members come with consensus, this version serves a cluster of one",
            members.members.len()
        ));
    }
    if members.removed.contains(&member.0) {
        return refuse(format!("member {member} has been permanently removed from the cluster"));
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
