use std::sync::Arc;

use api::pb::raftpb::{ConfState, Entry, Snapshot, SnapshotMetadata};
use bytes::Bytes;

use super::size::encoded_size;
use super::{EntryId, MemoryStorage, RaftLog, Storage, StorageError};
use crate::NO_LIMIT;
use crate::logger::Silent;

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        term: Some(term),
        index: Some(index),
        data: Some(Bytes::from_static(b"0123456789")),
        ..Entry::default()
    }
}

fn entries(term: u64, from: u64, to: u64) -> Vec<Entry> {
    (from..=to).map(|index| entry(term, index)).collect()
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(Entry::index).collect()
}

fn snapshot(index: u64, term: u64) -> Snapshot {
    Snapshot {
        data: None,
        metadata: Some(SnapshotMetadata {
            conf_state: None,
            index: Some(index),
            term: Some(term),
        }),
    }
}

/// Compacted at 3, entries 4 to 6 stored, 7 to 9 not.
fn log(max_applying_size: u64) -> RaftLog<MemoryStorage> {
    let mut storage = MemoryStorage::new();
    storage.apply_snapshot(snapshot(3, 1)).expect("an empty storage takes any");
    storage.append(&entries(1, 4, 6)).expect("follows");
    let mut log = RaftLog::new(storage, Arc::new(Silent), max_applying_size).expect("sound");
    log.append(entries(2, 7, 9));
    log
}

/// The log says that everything is being written, and then that it is.
fn store_all(log: &mut RaftLog<MemoryStorage>) {
    let next = log.unstable.next_entries();
    log.storage.append(&next).expect("follows");
    log.unstable.accept_in_progress();
    log.unstable.stable_to(log.last_id());
}

#[test]
fn stored_and_unstored_entries_read_as_one() {
    let log = log(NO_LIMIT);
    assert_eq!((log.first_index(), log.last_index()), (4, 9));
    assert_eq!(
        (log.committed, log.applying, log.applied),
        (3, 3, 3),
        "what is compacted was committed and applied"
    );
    let terms: Vec<_> = (2..=10).map(|index| log.term(index)).collect();
    let (compacted, missing) = (Err(StorageError::Compacted), Err(StorageError::Unavailable));
    assert_eq!(terms, [compacted, Ok(1), Ok(1), Ok(1), Ok(1), Ok(2), Ok(2), Ok(2), missing]);
    assert_eq!(indexes(&log.entries(4, NO_LIMIT).expect("there")), [4, 5, 6, 7, 8, 9]);
    assert_eq!(log.entries(3, NO_LIMIT), Err(StorageError::Compacted));
    assert_eq!(log.entries(10, NO_LIMIT), Ok(Vec::new()));
}

#[test]
fn sizes_are_kept_but_for_the_first_entry() {
    let log = log(NO_LIMIT);
    let one = encoded_size(&[entry(1, 4)]);
    for from in 4..=9 {
        let there = 10 - from;
        for limit in [0, 1, one - 1, one, one + 1, 2 * one, 3 * one - 1, 4 * one, 6 * one, NO_LIMIT] {
            let expected = (limit / one).clamp(1, there);
            let got = log.entries(from, limit).expect("there");
            let wanted: Vec<u64> = (from..from + expected).collect();
            assert_eq!(indexes(&got), wanted, "from {from}, at most {limit} of {one} each");
        }
    }
}

#[test]
fn nothing_is_given_out_twice_to_be_written() {
    let mut log = log(NO_LIMIT);
    assert_eq!(indexes(&log.unstable.next_entries()), [7, 8, 9]);
    log.unstable.accept_in_progress();
    assert!(!log.unstable.has_next_entries());
    log.append(entries(2, 10, 11));
    assert_eq!(indexes(&log.unstable.next_entries()), [10, 11]);
    // Another leader's entries replace some that are being written: they have to be written again.
    log.append(entries(3, 8, 8));
    assert_eq!(indexes(&log.unstable.next_entries()), [8]);
    assert_eq!(log.last_id(), EntryId { term: 3, index: 8 });
}

#[test]
fn a_write_counts_only_for_what_still_stands_there() {
    let mut log = log(NO_LIMIT);
    log.unstable.accept_in_progress();
    log.append(entries(3, 8, 9));
    for (term, index) in [(2, 9), (2, 8), (9, 7), (2, 10), (1, 6)] {
        log.unstable.stable_to(EntryId { term, index });
        assert_eq!(log.unstable.offset(), 7, "{term}/{index} is not there any more, or was long stored");
    }
    log.unstable.stable_to(EntryId { term: 2, index: 7 });
    assert_eq!(log.unstable.offset(), 8);
    assert_eq!(indexes(&log.unstable.next_entries()), [8, 9]);
}

#[test]
fn only_what_is_stored_is_applied_unless_allowed() {
    let mut log = log(NO_LIMIT);
    log.commit_to(8);
    assert_eq!(indexes(&log.next_committed(false)), [4, 5, 6]);
    assert_eq!(indexes(&log.next_committed(true)), [4, 5, 6, 7, 8]);
    log.accept_applying(6, 0, false);
    assert!(!log.has_next_committed(false));
    store_all(&mut log);
    assert_eq!(indexes(&log.next_committed(false)), [7, 8]);
}

#[test]
fn applying_pauses_at_its_limit_and_goes_on_as_entries_are_applied() {
    let one = encoded_size(&[entry(1, 4)]);
    let mut log = log(2 * one + 1);
    log.commit_to(9);
    let first = log.next_committed(true);
    assert_eq!(indexes(&first), [4, 5]);
    log.accept_applying(5, encoded_size(&first), true);
    assert!(!log.has_next_committed(true), "one more would go over the limit");
    log.applied_to(4, one);
    assert_eq!(indexes(&log.next_committed(true)), [6], "room for one");
    log.accept_applying(6, one, true);
    log.applied_to(6, 2 * one);
    assert_eq!(indexes(&log.next_committed(true)), [7, 8]);
}

#[test]
fn a_snapshot_stands_for_all_before_it_until_it_is_stored() {
    let mut log = log(NO_LIMIT);
    log.restore(snapshot(20, 5));
    assert_eq!((log.first_index(), log.last_index(), log.committed), (21, 20, 20));
    assert_eq!(log.last_id(), EntryId { term: 5, index: 20 });
    assert_eq!(log.term(19), Err(StorageError::Compacted));
    assert!(log.unstable.next_snapshot().is_some());
    log.unstable.accept_in_progress();
    assert!(log.unstable.next_snapshot().is_none() && log.has_snapshot());
    log.append(entries(6, 21, 22));
    log.commit_to(22);
    assert!(!log.has_next_committed(true), "the snapshot comes first");
    log.storage.apply_snapshot(snapshot(20, 5)).expect("newer");
    log.unstable.stable_snapshot_to(19);
    assert!(log.has_snapshot(), "another one was stored");
    log.unstable.stable_snapshot_to(20);
    log.applied_to(20, 0);
    assert_eq!(indexes(&log.next_committed(true)), [21, 22]);
}

#[test]
fn a_guess_of_where_logs_match_skips_later_terms() {
    let log = log(NO_LIMIT);
    // Our terms: 3 to 6 are of term 1, 7 to 9 of term 2.
    let cases = [
        ((9, 2), (9, 2)),
        ((9, 1), (6, 1)),
        ((5, 7), (5, 1)),
        ((12, 7), (12, 0)),
        ((9, 0), (2, 0)),
        ((2, 9), (2, 0)),
    ];
    for ((index, term), expected) in cases {
        assert_eq!(log.find_conflict_by_term(index, term), expected, "{term}/{index}");
    }
}

#[test]
#[should_panic(expected = "tocommit(10) is out of range [lastIndex(9)]")]
fn a_log_that_lacks_what_is_committed_is_lost() {
    log(NO_LIMIT).commit_to(10);
}

#[test]
#[should_panic(expected = "is out of range [committed(8)]")]
fn what_is_committed_is_never_replaced() {
    let mut log = log(NO_LIMIT);
    log.commit_to(8);
    log.append(entries(3, 8, 9));
}

#[test]
fn memory_storage_drops_old_entries_and_replaces_newer_ones() {
    let mut storage = MemoryStorage::new();
    storage.append(&entries(1, 1, 5)).expect("from the beginning");
    storage.compact(3).expect("stored");
    assert_eq!(storage.compact(3), Err(StorageError::Compacted));
    assert_eq!(storage.compact(9), Err(StorageError::Unavailable));
    assert_eq!((storage.first_index(), storage.last_index()), (Ok(4), Ok(5)));
    assert_eq!((storage.term(2), storage.term(3)), (Err(StorageError::Compacted), Ok(1)));
    assert_eq!(storage.entries(3, 5, NO_LIMIT), Err(StorageError::Compacted));
    assert_eq!(storage.entries(4, 7, NO_LIMIT), Err(StorageError::Unavailable));
    // What overlaps the compacted part, what replaces, what leaves a gap, what is all gone.
    storage.append(&entries(1, 2, 4)).expect("known");
    assert_eq!(storage.last_index(), Ok(4), "what was behind gave way");
    storage.append(&entries(2, 4, 6)).expect("replaces");
    assert_eq!((storage.term(4), storage.last_index()), (Ok(2), Ok(6)));
    assert_eq!(storage.append(&entries(2, 8, 8)), Err(StorageError::Unavailable));
    storage.append(&entries(1, 1, 3)).expect("long gone");
    assert_eq!(storage.last_index(), Ok(6));
}

#[test]
fn memory_storage_keeps_the_newest_snapshot() {
    let mut storage = MemoryStorage::new();
    storage.apply_snapshot(snapshot(0, 0)).expect("just a configuration");
    storage.append(&entries(1, 1, 5)).expect("follows");
    let members = ConfState {
        voters: vec![1, 2],
        ..ConfState::default()
    };
    let taken = storage
        .create_snapshot(4, Some(members.clone()), Bytes::from_static(b"data"))
        .expect("newer")
        .clone();
    let metadata = taken.metadata.expect("it says where it stands");
    assert_eq!(
        (metadata.index(), metadata.term(), metadata.conf_state),
        (4, 1, Some(members.clone()))
    );
    assert_eq!(storage.create_snapshot(4, None, Bytes::new()), Err(StorageError::SnapOutOfDate));
    assert_eq!(storage.create_snapshot(9, None, Bytes::new()), Err(StorageError::Unavailable));
    let kept = storage.snapshot().expect("there").metadata.expect("there");
    assert_eq!(kept.index(), 4, "a refusal changes nothing");
    let next = storage
        .create_snapshot(5, None, Bytes::new())
        .expect("newer")
        .metadata
        .clone()
        .expect("there");
    assert_eq!(next.conf_state, Some(members), "the members are the ones of before");
    assert_eq!(storage.apply_snapshot(snapshot(5, 1)), Err(StorageError::SnapOutOfDate));
    storage.apply_snapshot(snapshot(9, 3)).expect("newer");
    assert_eq!(
        (storage.first_index(), storage.last_index(), storage.term(9)),
        (Ok(10), Ok(9), Ok(3))
    );
}
