//! The power goes at every call to the disk of random histories, and any legal subset of the unsynced writes has happened: opening
//! finds all that was synced, and a prefix of the rest.

#[path = "common/history.rs"]
mod history;

use history::{Model, Run, Step, recover, steps};
use proptest::prelude::*;
use wal::WalError;
use world::os::SplitMix;
use world::sim::{EIO, ENOSPC, Fate, Fault, SimDisk};

/// Runs a history to its end or to the first error.
fn play(disk: &SimDisk, segment_bytes: u64, history: &[Step]) -> (Run, Option<WalError>) {
    let mut run = Run::new(disk, Model::new(segment_bytes));
    let mut error = run.start().err();
    for step in history {
        if error.is_some() {
            break;
        }
        error = run.step(step).err();
    }
    (run, error)
}

/// After a power cut: recovers, goes on for a while, and loses the power once more.
fn survive(run: &Run, crash: u64, history: &[Step]) {
    let after = run.disk.crash(crash);
    let mut second = recover(&after, &run.model);
    if second.log.is_none() {
        return;
    }
    for step in history.iter().rev().take(6) {
        second.step(step).unwrap();
    }
    let model = second.model.clone();
    drop(second);
    let _ = recover(&after.crash(crash ^ 0x5a5a), &model);
}

fn plan(seed: u64) -> (u64, Vec<Step>) {
    let mut rng = SplitMix(seed);
    let segment_bytes = [1024, 4096, 10_000][(seed % 3) as usize];
    let history = steps(&mut rng, 30);
    (segment_bytes, history)
}

#[test]
fn every_call_may_be_the_last() {
    for seed in 0..10 {
        let (segment_bytes, history) = plan(seed);
        let whole = SimDisk::new();
        let (_, error) = play(&whole, segment_bytes, &history);
        assert!(error.is_none(), "seed {seed}: {error:?}");
        for call in 1..=whole.calls() {
            let disk = SimDisk::new();
            disk.fault_at(call, Fault::PowerCut);
            let (run, _) = play(&disk, segment_bytes, &history);
            assert!(disk.is_off(), "seed {seed} call {call}");
            for crash in 0..3 {
                println!("seed {seed}, segments of {segment_bytes}, power cut at call {call}, crash {crash}");
                survive(&run, crash * 1000 + call, &history);
            }
        }
    }
}

/// A killed process may leave names and records that were never synced. The next one reads them, so it must make them durable before
/// anything is built on them.
#[test]
fn what_a_killed_process_left_is_made_durable() {
    for seed in 400..406 {
        let (segment_bytes, history) = plan(seed);
        let whole = SimDisk::new();
        let _ = play(&whole, segment_bytes, &history);
        for call in 1..=whole.calls() {
            println!("seed {seed}, segments of {segment_bytes}, killed at call {call}");
            let disk = SimDisk::new();
            disk.fault_at(call, Fault::Kill);
            let (run, _) = play(&disk, segment_bytes, &history);
            let next = disk.kill();
            let mut second = recover(&next, &run.model);
            if second.log.is_none() {
                continue;
            }
            let _ = recover(&next.crash_losing_all(), &second.model);
            second
                .step(&Step::Append {
                    entries: 1,
                    back: 0,
                    size: 7,
                    zeros: false,
                    state: true,
                })
                .unwrap();
            second.step(&Step::Sync).unwrap();
            let _ = recover(&next.crash_losing_all(), &second.model);
        }
    }
}

#[test]
fn every_call_may_fail() {
    for seed in 100..104 {
        let (segment_bytes, history) = plan(seed);
        let whole = SimDisk::new();
        let _ = play(&whole, segment_bytes, &history);
        for call in 1..=whole.calls() {
            for errno in [EIO, ENOSPC] {
                println!("seed {seed}, segments of {segment_bytes}, errno {errno} at call {call}");
                let disk = SimDisk::new();
                disk.fault_at(call, Fault::Errno(errno));
                let (mut run, error) = play(&disk, segment_bytes, &history);
                if let (Some(WalError::Disk { path, source, .. }), Some(log)) = (&error, &mut run.log) {
                    assert_eq!(source.raw_os_error(), Some(errno));
                    assert!(path.starts_with(history::DIR), "{}", path.display());
                    // The failed call may have been the purger's, who is not the log.
                    let again = log.sync();
                    assert!(matches!(again, Ok(()) | Err(WalError::Poisoned { .. })), "{again:?}");
                }
                survive(&run, call, &history);
            }
        }
    }
}

/// All subsets, torn ones aside, where there are few enough.
#[test]
fn every_subset_of_unsynced_changes_is_survived() {
    for seed in 200..203 {
        let (segment_bytes, history) = plan(seed);
        for steps in (0..history.len()).step_by(3) {
            let disk = SimDisk::new();
            let (run, _) = play(&disk, segment_bytes, &history[..steps]);
            let unsynced = disk.unsynced().len().min(7);
            for subset in 0..1u32 << unsynced {
                let mut number = 0;
                let after = disk.crash_with(&mut |_| {
                    number += 1;
                    let kept = subset >> ((number - 1) % 7) & 1 == 1;
                    if kept { Fate::Kept } else { Fate::Lost }
                });
                println!("seed {seed}, {steps} steps, subset {subset:b}");
                let _ = recover(&after, &run.model);
            }
        }
    }
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    for free in (0..60_000).step_by(1500) {
        let (_, history) = plan(300);
        let disk = SimDisk::new();
        disk.set_free_bytes(Some(free));
        let (run, error) = play(&disk, 8192, &history);
        let mut run = run;
        run.log = None;
        disk.set_free_bytes(None);
        if let Some(error) = error {
            assert!(matches!(error, WalError::Disk { .. }), "{error}");
        }
        // A restart, without a power cut, and with one.
        let _ = recover(&disk.kill(), &run.model);
        survive(&run, free, &history);
    }
}

/// What an earlier run left under the name of the next segment is not read as records.
#[test]
fn a_prepared_segment_left_over_is_emptied() {
    let disk = SimDisk::new();
    let mut run = Run::new(&disk, Model::new(1024));
    run.start().unwrap();
    for number in 0..2 {
        let path = format!("{}/{number}.tmp", history::DIR);
        disk.install_file(std::path::Path::new(&path), &[0xee; 5000]).unwrap();
    }
    for prepare in [false, true, false, true] {
        for _ in 0..2 {
            run.step(&Step::Append {
                entries: 2,
                back: 0,
                size: 400,
                zeros: false,
                state: true,
            })
            .unwrap();
            if prepare {
                run.step(&Step::Prepare).unwrap();
            }
        }
        run.step(&Step::Sync).unwrap();
        let again = Run::new(&disk.crash_losing_all(), run.model.clone());
        let opened = again.reopen().unwrap();
        assert_eq!(opened.repaired, None);
        assert_eq!(opened.entries, run.model.content(run.model.records.len()).entries);
        let locked = again.reopen().err().unwrap();
        assert!(matches!(locked, WalError::Locked { .. }), "{locked}");
    }
    assert!(wal::segments(&disk.dyn_disk(), std::path::Path::new(history::DIR)).unwrap().len() > 3);
}

fn any_step() -> impl Strategy<Value = Step> {
    let append = (0..4u8, 0..4u8, 0..1600u16, any::<bool>(), any::<bool>()).prop_map(|(entries, back, size, zeros, state)| Step::Append {
        entries,
        back,
        size,
        zeros,
        state,
    });
    prop_oneof![
        6 => append,
        2 => Just(Step::Sync),
        1 => Just(Step::Snapshot),
        1 => (1..4u8).prop_map(|keep| Step::Purge { keep }),
        1 => Just(Step::Prepare),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_survive(history in prop::collection::vec(any_step(), 1..40), crash in any::<u64>(), segment_bytes in 512..12_000u64) {
        let disk = SimDisk::new();
        let (run, error) = play(&disk, segment_bytes, &history);
        prop_assert!(error.is_none(), "{:?}", error);
        survive(&run, crash, &history);
        // Killed, but not cut off: everything is there, synced or not.
        let count = run.model.records.len();
        let Run { model, .. } = run;
        let whole = recover(&disk.kill(), &model);
        prop_assert_eq!(whole.model.records.len(), count);
    }
}
