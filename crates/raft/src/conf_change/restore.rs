//! From a stored `ConfState` back to a configuration.

use api::pb::raftpb::{ConfChangeSingle, ConfChangeType, ConfState};

use super::changer::Changed;
use super::{ChangeError, Changer, single};
use crate::progress::Tracker;

/// Builds the configuration that `state` describes. Of `tracker` only the limits are used; its members are not kept.
///
/// # Errors
/// The refusal of the change that `state` would have needed: no configuration comes to look like that.
pub fn restore(tracker: &Tracker, last_index: u64, state: &ConfState) -> Result<Changed, ChangeError> {
    let mut tracker = tracker.emptied();
    let (outgoing, incoming) = changes_towards(state);
    // The outgoing half is built first, as if it were alone; entering the joint configuration then turns it outgoing.
    let one_by_one = if outgoing.is_empty() { &incoming } else { &outgoing };
    for change in one_by_one {
        (tracker.config, tracker.progress) = Changer {
            tracker: &tracker,
            last_index,
        }
        .simple(std::slice::from_ref(change))?;
    }
    if !outgoing.is_empty() {
        let changer = Changer {
            tracker: &tracker,
            last_index,
        };
        (tracker.config, tracker.progress) = changer.enter_joint(state.auto_leave.unwrap_or_default(), &incoming)?;
    }
    Ok((tracker.config, tracker.progress))
}

/// The changes that make the outgoing half out of nothing, and those that make the whole out of it.
///
/// For voters (1 2 3), learners (5), outgoing (1 2 4 6), learners_next (4): add 1 2 4 6; then remove 1 2 4 6, add 1 2 3, learners 5 and 4.
/// Whether 5 learned before the joint configuration is not known, and does not matter.
fn changes_towards(state: &ConfState) -> (Vec<ConfChangeSingle>, Vec<ConfChangeSingle>) {
    let each = |kind: ConfChangeType, ids: &[u64]| ids.iter().map(|&id| single(kind, id)).collect::<Vec<_>>();
    let outgoing = each(ConfChangeType::ConfChangeAddNode, &state.voters_outgoing);
    let incoming = [
        each(ConfChangeType::ConfChangeRemoveNode, &state.voters_outgoing),
        each(ConfChangeType::ConfChangeAddNode, &state.voters),
        each(ConfChangeType::ConfChangeAddLearnerNode, &state.learners),
        // These still vote in the outgoing half, so the changer notes them for later.
        each(ConfChangeType::ConfChangeAddLearnerNode, &state.learners_next),
    ];
    (outgoing, incoming.concat())
}

/// Whether the two describe the same configuration: order does not count, and an absent `auto_leave` is false.
pub fn equivalent(one: &ConfState, other: &ConfState) -> bool {
    let sorted = |state: &ConfState| {
        let mut lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next].map(Clone::clone);
        lists.iter_mut().for_each(|list| list.sort_unstable());
        (lists, state.auto_leave.unwrap_or_default())
    };
    sorted(one) == sorted(other)
}
