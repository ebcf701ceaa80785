//! The power goes at every call that changes the disk, also in the middle of a compaction; what was committed is there, what
//! belongs together is there together, and the next start finishes the compaction.

mod common;

use std::path::Path;

use api::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use api::{RaftIndex, Revision, Term};
use backend::{Backend, Bucket, schema};
use common::{Chance, DB, Member, options};
use mvcc::{NoLeases, Step, Store, StoreOptions};
use world::sim::{Fault, SimDisk};

const ENTRIES: u64 = 60;

/// Keys and their encoded pairs.
type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// The request of a log entry: every entry has an effect that tells it from the others.
fn apply(writer: &mut mvcc::Writer, index: u64) -> Option<mvcc::CompactJob> {
    let key = |n: u64| format!("key{:02}", n % 7).into_bytes();
    let job = match index {
        n if n % 20 == 0 => Some(writer.compact(writer.revision() - 3).unwrap()),
        n if n % 5 == 0 => {
            let request = DeleteRangeRequest {
                key: key(n).into(),
                range_end: key(n + 2).into(),
                ..Default::default()
            };
            writer.delete_range(&request, &mut NoLeases).unwrap();
            None
        }
        n => {
            let request = PutRequest {
                key: key(n).into(),
                value: vec![n as u8; 200].into(),
                ..Default::default()
            };
            writer.put(&request, &mut NoLeases).unwrap();
            None
        }
    };
    writer.finish(RaftIndex(index), Term(3));
    job
}

fn small_slices() -> StoreOptions {
    StoreOptions {
        compaction_batch: 4,
        ..StoreOptions::default()
    }
}

/// Applies entries from the one after the consistent index on, committing and compacting now and then, until the end or the
/// power goes. Gives the newest index that a commit has answered for.
fn run(disk: &SimDisk, seed: u64) -> u64 {
    let mut chance = Chance(seed);
    let Ok((backend, mut committer)) = Backend::open(&disk.dyn_disk(), Path::new(DB), options()) else {
        return 0;
    };
    let (_store, mut writer) = Store::open(backend.clone(), small_slices(), &mut |_, _| {}).unwrap();
    let mut jobs: Vec<_> = writer.resume_compaction().into_iter().collect();
    let mut safe = backend.consistent_index().0;
    for index in safe + 1..=ENTRIES {
        jobs.extend(apply(&mut writer, index));
        if chance.one_in(2)
            && let Some(job) = jobs.first_mut()
            && job.step().unwrap() != Step::More
        {
            jobs.remove(0);
        }
        if chance.one_in(4) {
            match committer.commit() {
                Ok(committed) => safe = committed.consistent_index.0,
                Err(_) => {
                    assert!(committer.commit().is_err(), "commits after a failed commit");
                    return safe;
                }
            }
        }
    }
    safe
}

/// What the same entries give on a disk that never fails: by index, revision and hash of everything readable.
fn expected() -> Vec<(i64, Contents)> {
    let mut member = Member::new();
    let mut states = vec![(1, Vec::new())];
    for index in 1..=ENTRIES {
        let job = apply(&mut member.writer, index);
        if let Some(job) = job {
            member.run(job);
        }
        states.push((member.store.revision(), contents(&member.store)));
    }
    states
}

fn contents(store: &Store) -> Contents {
    let everything = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..Default::default()
    };
    let answer = store.range(&everything).unwrap().into_message().unwrap();
    answer
        .kvs
        .into_iter()
        .map(|kv| (kv.key.to_vec(), prost::Message::encode_to_vec(&kv)))
        .collect()
}

fn check(disk: &SimDisk, safe: u64, states: &[(i64, Contents)], at: &str) {
    let opened = Backend::open(&disk.dyn_disk(), Path::new(DB), options());
    let (backend, mut committer) = opened.unwrap_or_else(|error| panic!("{at}: {error}"));
    let index = backend.consistent_index().0;
    assert!(index >= safe, "{at}: index {index} after a commit of {safe}");
    let (store, mut writer) = Store::open(backend.clone(), small_slices(), &mut |_, _| {}).unwrap();
    let (revision, content) = &states[index as usize];
    assert_eq!(store.revision(), *revision, "{at}: index {index}");
    assert_eq!(contents(&store), *content, "{at}: index {index}");
    // A compaction that the entries so far have asked for is finished or goes on.
    if let Some(mut job) = writer.resume_compaction() {
        while job.step().unwrap() == Step::More {}
    }
    let view = backend.view();
    let scheduled = view.get(Bucket::Meta, schema::SCHEDULED_COMPACT).unwrap();
    assert_eq!(view.get(Bucket::Meta, schema::FINISHED_COMPACT).unwrap(), scheduled, "{at}");
    if let Some(key) = scheduled {
        let (compacted, _) = Revision::from_key(&key).unwrap();
        assert_eq!(store.compact_revision(), compacted.main, "{at}");
        // What is left at or below it is one entry a key at most.
        let mut left = 0;
        let end = Revision::new(compacted.main + 1, 0).to_key();
        view.scan(Bucket::Key, &[], &end, &mut |_, _| {
            left += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert!(left <= 7, "{at}: {left} entries below the compaction");
    }
    // The rest of the log leads to the same end.
    for index in index + 1..=ENTRIES {
        if let Some(mut job) = apply(&mut writer, index) {
            while job.step().unwrap() == Step::More {}
        }
    }
    committer.commit().unwrap();
    assert_eq!(contents(&store), states[ENTRIES as usize].1, "{at}");
}

/// A disk with the member's folder, safely there.
fn empty_disk() -> SimDisk {
    let disk = SimDisk::with_page_size(4096);
    let home = Path::new("/member/snap");
    disk.dyn_disk().create_dir_all(home, 0o700).unwrap();
    for dir in [Path::new("/"), Path::new("/member"), home] {
        disk.dyn_disk().sync_dir(dir).unwrap();
    }
    disk
}

#[test]
fn power_cuts_at_every_call() {
    let states = expected();
    let disk = empty_disk();
    let before = disk.calls();
    assert!(run(&disk, 1) > 0);
    let calls = disk.calls() - before;
    assert!(calls > 50, "{calls}");
    for call in 1..=calls {
        let disk = empty_disk();
        let first = disk.calls();
        disk.fault_at(first + call, Fault::PowerCut);
        let safe = run(&disk, 1);
        for seed in 0..3 {
            let at = format!("power cut at call {call} of {calls}, seed {seed}");
            check(&disk.crash(call * 100 + seed), safe, &states, &at);
        }
        check(
            &disk.crash_losing_all(),
            safe,
            &states,
            &format!("power cut at call {call}, all lost"),
        );
    }
}

#[test]
fn failing_calls_are_final() {
    let states = expected();
    let disk = empty_disk();
    let before = disk.calls();
    run(&disk, 2);
    let calls = disk.calls() - before;
    for call in 1..=calls {
        for errno in [world::sim::EIO, world::sim::ENOSPC] {
            let disk = empty_disk();
            disk.fault_at(disk.calls() + call, Fault::Errno(errno));
            let safe = run(&disk, 2);
            let at = format!("errno {errno} at call {call} of {calls}");
            check(&disk.crash(call), safe, &states, &at);
        }
    }
}
