//! Power cuts and disk errors at every call: what is found afterwards is the last commit or the one that was on its way.

mod common;

use std::path::Path;

use bolt::{CommitError, Db, OpenError, Options};
use common::{Model, Op, PATH, apply, read_all};
use world::Rng;
use world::os::SplitMix;
use world::sim::{EIO, ENOSPC, Fault, SimDisk};

/// A run of transactions and reclaim steps that depends on the seed alone.
struct Script {
    page_size: usize,
    freelist_sync: bool,
    steps: Vec<Step>,
}

enum Step {
    Commit(Vec<Op>),
    Reclaim,
}

fn script(seed: u64) -> Script {
    let mut random = SplitMix(seed);
    let mut steps = vec![Step::Commit(vec![
        Op::Create(vec![b"key".to_vec()]),
        Op::Create(vec![b"meta".to_vec()]),
    ])];
    let mut next = 0;
    for round in 0..14u64 {
        let mut ops = Vec::new();
        let key = || vec![b"key".to_vec()];
        ops.push(Op::Fill(key(), 0.9));
        let count = 5 + random.next_u64() as u32 % 60;
        ops.push(Op::Append(key(), next, count, 20 + random.next_u64() as usize % 200));
        next += count;
        let meta = round.to_be_bytes().to_vec();
        ops.push(Op::Put(vec![b"meta".to_vec()], b"consistent_index".to_vec(), meta));
        if round % 3 == 2 {
            ops.push(Op::Trim(key(), next / 3, next / 2));
        }
        if round % 5 == 4 {
            ops.push(Op::Put(vec![b"meta".to_vec()], b"big".to_vec(), vec![round as u8; 9000]));
        }
        steps.push(Step::Commit(ops));
        if round % 4 >= 2 {
            steps.push(Step::Reclaim);
        }
    }
    steps.extend([Step::Reclaim, Step::Reclaim]);
    Script {
        page_size: if seed.is_multiple_of(2) { 1024 } else { 4096 },
        freelist_sync: seed % 4 >= 2,
        steps,
    }
}

impl Script {
    fn open(&self, disk: &SimDisk) -> Result<Db, OpenError> {
        let options = Options {
            page_size: Some(self.page_size),
            freelist_sync: self.freelist_sync,
            ..Options::default()
        };
        Db::open(&disk.dyn_disk(), Path::new(PATH), options)
    }

    /// Runs until an error. Gives what was committed for certain, and what a commit that failed would have made of it.
    fn run(&self, disk: &SimDisk) -> (Model, Model, bool) {
        let mut committed = Model::default();
        let Ok(db) = self.open(disk) else {
            return (committed.clone(), committed, false);
        };
        for step in &self.steps {
            match step {
                Step::Commit(ops) => {
                    let mut model = committed.clone();
                    let mut tx = db.begin_write();
                    ops.iter().for_each(|op| apply(&mut tx, &mut model, op));
                    if tx.commit().is_err() {
                        assert_poisoned(&db, &committed);
                        return (committed, model, false);
                    }
                    committed = model;
                }
                Step::Reclaim => {
                    if db.reclaim(20).is_err() {
                        assert_poisoned(&db, &committed);
                        return (committed.clone(), committed, false);
                    }
                }
            }
        }
        (committed.clone(), committed, true)
    }

    /// Opens what a crash left: it must be one of the two, sound, and take more commits.
    fn recover(&self, disk: &SimDisk, committed: &Model, on_its_way: &Model, what: &str) {
        let db = self.open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        let report = db.begin_read().check();
        assert!(report.is_clean(), "{what}: {:?}", report.faults);
        let mut found = read_all(&db.begin_read());
        assert!(
            found == *committed || found == *on_its_way,
            "{what}: neither the commit nor the one on its way"
        );
        let mut tx = db.begin_write();
        let bucket = tx.create_bucket_if_missing(&[b"after"]).unwrap();
        tx.put(bucket, b"key", b"value").unwrap();
        tx.commit().unwrap();
        let after = read_all(&db.begin_read());
        assert!(after.entries.contains_key(&b"after"[..]), "{what}");
        found.entries.remove(&b"after"[..]);
        assert!(db.begin_read().check().is_clean(), "{what}");
    }
}

/// After an error no commit is taken, and readers still see the last one.
fn assert_poisoned(db: &Db, committed: &Model) {
    assert!(read_all(&db.begin_read()) == *committed);
    let error = db.begin_write().commit().unwrap_err();
    assert!(matches!(error, CommitError::Poisoned { .. }), "{error}");
    assert!(matches!(db.reclaim(1), Err(CommitError::Poisoned { .. })));
    assert!(error.to_string().contains(PATH), "{error}");
}

fn calls_of(script: &Script) -> u64 {
    let disk = SimDisk::new();
    assert!(script.run(&disk).2, "the script runs through");
    disk.calls()
}

#[test]
fn power_cut_at_every_call() {
    for seed in 0..4 {
        let script = script(seed);
        for call in 1..=calls_of(&script) {
            let disk = SimDisk::new();
            disk.fault_at(call, Fault::PowerCut);
            let (committed, on_its_way, _) = script.run(&disk);
            assert!(disk.is_off());
            for crash in 0..6 {
                let what = format!("script {seed}, call {call}, crash {crash}");
                script.recover(&disk.crash(call * 100 + crash), &committed, &on_its_way, &what);
            }
            script.recover(&disk.crash_losing_all(), &committed, &on_its_way, "all lost");
        }
    }
}

#[test]
fn disk_error_at_every_call() {
    for seed in 0..4 {
        let script = script(seed);
        for call in 1..=calls_of(&script) {
            for errno in [EIO, ENOSPC] {
                let disk = SimDisk::new();
                disk.fault_at(call, Fault::Errno(errno));
                let (committed, on_its_way, through) = script.run(&disk);
                assert!(
                    !through || call == calls_of(&script),
                    "an error at call {call} of script {seed} went by unseen"
                );
                let what = format!("script {seed}, error at call {call}");
                script.recover(&disk.kill(), &committed, &on_its_way, &what);
                let disk = SimDisk::new();
                disk.fault_at(call, Fault::Errno(errno));
                let (committed, on_its_way, _) = script.run(&disk);
                script.recover(&disk.crash(call), &committed, &on_its_way, &what);
            }
        }
    }
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let script = script(1);
    for free in (20_000..200_000u64).step_by(9973) {
        let disk = SimDisk::new();
        disk.set_free_bytes(Some(free));
        let (committed, on_its_way, _) = script.run(&disk);
        disk.set_free_bytes(None);
        script.recover(&disk.kill(), &committed, &on_its_way, &format!("{free} bytes free"));
    }
}

/// One process at a time; readers share.
#[test]
fn locked() {
    let disk = SimDisk::new();
    let script = script(0);
    let db = script.open(&disk).unwrap();
    assert!(matches!(script.open(&disk), Err(OpenError::Locked)));
    let read = || {
        let options = Options {
            read_only: true,
            ..Options::default()
        };
        Db::open(&disk.dyn_disk(), Path::new(PATH), options)
    };
    assert!(matches!(read(), Err(OpenError::Locked)));
    drop(db);
    let both = (read().unwrap(), read().unwrap());
    assert!(matches!(script.open(&disk), Err(OpenError::Locked)));
    drop(both);
    script.open(&disk).unwrap();
}
