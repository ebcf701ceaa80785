//! Progress as a machine, and the window of appends against a plain list.

use proptest::prelude::*;

use super::*;

fn at(state: ProgressState, matched: u64, next: u64) -> Progress {
    let mut progress = Progress::new(next, Inflights::new(256, 0), false);
    progress.state = state;
    progress.matched = matched;
    progress
}

#[test]
fn shows_all_that_is_unusual() {
    let mut progress = at(ProgressState::Snapshot, 1, 2);
    progress.inflights = Inflights::new(1, 0);
    progress.inflights.add(123, 1);
    progress.pending_snapshot = 123;
    progress.is_learner = true;
    assert_eq!(
        progress.to_string(),
        "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]"
    );
    let mut usual = at(ProgressState::Replicate, 4, 5);
    usual.recent_active = true;
    assert_eq!(usual.to_string(), "StateReplicate match=4 next=5");
}

#[test]
fn a_probe_starts_behind_what_is_known_to_be_there() {
    for (mut progress, next) in [
        (at(ProgressState::Replicate, 1, 5), 2),
        (
            Progress {
                pending_snapshot: 10,
                ..at(ProgressState::Snapshot, 1, 11)
            },
            11,
        ),
        // The transport said that the snapshot failed: the core has cleared pending_snapshot.
        (at(ProgressState::Snapshot, 1, 11), 2),
    ] {
        progress.become_probe();
        assert_eq!((progress.state, progress.matched, progress.next), (ProgressState::Probe, 1, next));
    }
}

#[test]
fn late_acknowledgements_change_nothing() {
    for (index, matched, next, known) in [(2, 3, 5, false), (3, 3, 5, false), (4, 4, 5, true), (5, 5, 6, true)] {
        let mut progress = at(ProgressState::Probe, 3, 5);
        progress.flow_paused = true;
        assert_eq!(progress.maybe_update(index), known, "{index}");
        assert_eq!((progress.matched, progress.next), (matched, next), "{index}");
        assert_eq!(progress.flow_paused, !known, "{index}");
    }
}

#[test]
fn refusals_lower_next_unless_they_are_late() {
    use ProgressState::{Probe, Replicate};
    for (state, matched, next, rejected, hint, genuine, lowered) in [
        (Replicate, 5, 10, 5, 5, false, 10),
        (Replicate, 5, 10, 4, 4, false, 10),
        (Replicate, 5, 10, 9, 9, true, 6),
        (Probe, 0, 10, 5, 5, false, 10),
        (Probe, 0, 10, 9, 9, true, 9),
        (Probe, 0, 2, 1, 1, true, 1),
        (Probe, 0, 1, 0, 0, true, 1),
        // The hint skips what can't match.
        (Probe, 0, 10, 9, 2, true, 3),
        (Probe, 0, 10, 9, 0, true, 1),
        // Never below what is known to match, whatever the hint says.
        (Probe, 6, 10, 9, 2, true, 7),
        (Probe, 0, 10, 9, u64::MAX, true, 9),
    ] {
        let mut progress = at(state, matched, next);
        assert_eq!(progress.maybe_decr_to(rejected, hint), genuine);
        assert_eq!((progress.matched, progress.next), (matched, lowered));
    }
}

#[test]
fn a_probe_with_entries_pauses_and_an_empty_one_does_not() {
    let mut progress = at(ProgressState::Probe, 0, 1);
    progress.sent_entries(0, 0);
    assert!(!progress.is_paused());
    progress.sent_entries(3, 30);
    assert!(progress.is_paused());
    assert_eq!(progress.next, 1, "where the log ends is not known yet");
    progress.sent_entries(0, 0);
    assert!(progress.is_paused(), "an empty append does not resume");
}

#[test]
fn streaming_stops_at_the_limit_of_bytes_and_resumes_on_an_answer() {
    let mut progress = at(ProgressState::Replicate, 0, 1);
    progress.inflights = Inflights::new(10, 100);
    progress.sent_entries(2, 60);
    assert!(!progress.is_paused());
    progress.sent_entries(1, 60);
    assert!(progress.is_paused() && progress.inflights.is_full());
    assert_eq!(progress.next, 4);
    assert!(progress.maybe_update(2));
    progress.inflights.free_to(2);
    assert!(!progress.is_paused() && !progress.inflights.is_full());
}

#[test]
fn a_commit_index_is_told_once_and_again_after_loss() {
    let mut progress = at(ProgressState::Replicate, 5, 10);
    assert!(progress.can_bump_commit(7));
    progress.sent_commit(7);
    assert!(!progress.can_bump_commit(7));
    assert!(progress.can_bump_commit(8));
    progress.sent_commit(12);
    assert!(!progress.can_bump_commit(13), "it has nothing sent beyond 9 to commit");
    // The appends that told it were lost.
    assert!(progress.maybe_decr_to(9, 5));
    progress.become_probe();
    assert!(!progress.can_bump_commit(12), "up to 5 it was told");
    progress.next = 8;
    assert!(progress.can_bump_commit(12));
}

#[test]
#[should_panic(expected = "cannot add into a Full inflights")]
fn adding_beyond_the_limit_is_a_fault_of_the_caller() {
    let mut inflights = Inflights::new(1, 0);
    inflights.add(1, 1);
    inflights.add(2, 1);
}

#[derive(Debug, Clone)]
enum Step {
    /// Send with this gap to the index before, and these bytes.
    Send(u64, u64),
    /// Answer up to this far behind the newest index.
    Answer(u64),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4u64, 0..50u64).prop_map(|(gap, bytes)| Step::Send(gap, bytes)),
        4 => (0..12u64).prop_map(Step::Answer),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn the_window_behaves_as_a_plain_list(max_count in 1..9usize, max_bytes in prop_oneof![Just(0u64), 1..120u64], steps in steps()) {
        let mut window = Inflights::new(max_count, max_bytes);
        let mut list: Vec<(u64, u64)> = Vec::new();
        let mut newest = 1;
        for step in steps {
            let full = |list: &[(u64, u64)]| {
                list.len() == max_count || (max_bytes > 0 && list.iter().map(|append| append.1).sum::<u64>() >= max_bytes)
            };
            match step {
                Step::Send(gap, bytes) if !full(&list) => {
                    newest += gap;
                    list.push((newest, bytes));
                    window.add(newest, bytes);
                }
                Step::Send(..) => {}
                Step::Answer(behind) => {
                    let to = newest.saturating_sub(behind);
                    list.retain(|append| append.0 > to);
                    window.free_to(to);
                }
                Step::Clear => {
                    list.clear();
                    window.clear();
                }
            }
            prop_assert_eq!(window.count(), list.len());
            prop_assert_eq!(window.is_full(), full(&list));
        }
    }
}
