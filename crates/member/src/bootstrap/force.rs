//! `--force-new-cluster`: the log of one member goes on as that of a cluster of its own (`data-dir.md` 4.3).
//!
//! For the case that the other members are gone for good. What was not committed is dropped, and the removal of all others is written
//! as committed, which no majority has agreed to: a member that lives on elsewhere must never be started again.

use api::MemberId;
use wal::{LogBatch, Opened};

use super::create::conf_entry;
use super::database::Database;
use super::{Config, Note, OpenError, replay};
use crate::cluster::{Member, MemberChange, State};

/// What Go gives a member that is not in its own membership; to be put right with `etcdctl member update`.
const PLACEHOLDER_URL: &str = "http://localhost:2380";

/// Rewrites the end of the log. Done twice it does nothing more.
pub(super) fn new_cluster(
    config: &Config,
    log: &mut Opened,
    database: &Database,
    member: MemberId,
    notes: &mut Vec<Note>,
) -> Result<(), OpenError> {
    let held = database.backend.consistent_index().0;
    let mut commit = log.hard_state.commit.unwrap_or(0).max(held);
    let before = log.entries.len();
    log.entries.retain(|entry| entry.index.unwrap_or(0) <= commit);
    let dropped = before - log.entries.len();
    let state = replay::membership(config, &log.entries, held, database)?;
    replay::check_not_removed(&state, member)?;
    let term = log.hard_state.term.unwrap_or(0);
    let mut entries = Vec::new();
    for change in changes(&state, member) {
        commit += 1;
        entries.push(conf_entry(&change, commit, term));
    }
    log.hard_state.commit = Some(commit);
    log.wal.append(&LogBatch {
        entries: &entries,
        hard_state: Some(&log.hard_state),
    })?;
    log.wal.sync()?;
    let changed = entries.len();
    log.entries.append(&mut entries);
    notes.push(Note::ForcedNewCluster { dropped, changed });
    Ok(())
}

/// What makes `member` the only one: first it is made a voter if it is none, for a membership without voters cannot be.
fn changes(state: &State, member: MemberId) -> Vec<MemberChange> {
    let mut changes = Vec::new();
    match state.members.get(&member.0) {
        None => changes.push(MemberChange::Add(Member {
            id: member.0,
            peer_urls: vec![PLACEHOLDER_URL.into()],
            ..Member::default()
        })),
        Some(own) if own.is_learner => changes.push(MemberChange::Promote(member.0)),
        Some(_) => {}
    }
    let others = state.members.keys().filter(|id| **id != member.0);
    changes.extend(others.map(|id| MemberChange::Remove(*id)));
    changes
}
