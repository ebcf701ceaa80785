//! Random operations against nested maps: what was committed is there, in order, and every file is sound after every commit.

mod common;

use common::{Model, Op, apply, assert_same, open};
use proptest::prelude::*;
use world::sim::SimDisk;

#[derive(Clone, Debug)]
enum Step {
    Op(Op),
    Commit,
    Rollback,
    Reopen,
    /// Opens the file again with the list of free pages stored, or not.
    Switch,
    Reclaim(usize),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"key".to_vec()),
        Just(b"key-00004".to_vec())
    ]
}

fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![8 => prop::collection::vec(name(), 1), 3 => prop::collection::vec(name(), 2), 1 => prop::collection::vec(name(), 3)]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => (0..400u32).prop_map(|n| format!("key-{n:05}").into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 1..40),
        1 => (1..2000usize).prop_map(|len| vec![b'k'; len]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => (any::<u8>(), 0..120usize).prop_map(|(byte, len)| vec![byte; len]),
        2 => (any::<u8>(), 0..3000usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u8>(), 0..30_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (path(), key(), value()).prop_map(|(path, key, value)| Step::Op(Op::Put(path, key, value))),
        15 => (path(), key()).prop_map(|(path, key)| Step::Op(Op::Delete(path, key))),
        6 => path().prop_map(|path| Step::Op(Op::Create(path))),
        1 => path().prop_map(|path| Step::Op(Op::Drop(path))),
        2 => (path(), any::<u64>()).prop_map(|(path, n)| Step::Op(Op::Sequence(path, n))),
        2 => (path(), 0.0..1.2f32).prop_map(|(path, fill)| Step::Op(Op::Fill(path, fill))),
        5 => (path(), 0..3000u32, 1..600u32, 0..100usize).prop_map(|(path, from, count, len)| Step::Op(Op::Append(path, from, count, len))),
        5 => (path(), 0..3000u32, 1..1000u32).prop_map(|(path, from, count)| Step::Op(Op::Trim(path, from, count))),
        8 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::Reopen),
        1 => Just(Step::Switch),
        3 => (1..50usize).prop_map(Step::Reclaim),
    ]
}

fn run(page_size: usize, mut freelist_sync: bool, steps: &[Step]) {
    let disk = SimDisk::with_page_size(page_size).dyn_disk();
    let mut db = open(&disk, page_size, freelist_sync);
    let mut committed = Model::default();
    let mut tx = db.begin_write();
    for name in [&b"a"[..], b"key"] {
        apply(&mut tx, &mut committed, &Op::Create(vec![name.to_vec()]));
    }
    tx.commit().unwrap();
    let mut at = 0;
    while at < steps.len() {
        let mut model = committed.clone();
        let mut tx = db.begin_write();
        // Operations up to the next step of another kind are one transaction.
        while let Some(Step::Op(op)) = steps.get(at) {
            apply(&mut tx, &mut model, op);
            at += 1;
        }
        match steps.get(at) {
            Some(Step::Rollback) => tx.rollback(),
            _ => {
                tx.commit().unwrap();
                committed = model;
            }
        }
        match steps.get(at) {
            Some(Step::Reopen) => {
                drop(db);
                db = open(&disk, page_size, freelist_sync);
            }
            Some(Step::Switch) => {
                drop(db);
                freelist_sync = !freelist_sync;
                db = open(&disk, page_size, freelist_sync);
            }
            Some(Step::Reclaim(pages)) => {
                let before = db.size();
                db.reclaim(*pages).unwrap();
                assert!(db.size() <= before);
            }
            _ => {}
        }
        assert_same(&db, &committed);
        at += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_pages(freelist_sync: bool, steps in prop::collection::vec(step(), 1..150)) {
        run(1024, freelist_sync, &steps);
    }

    #[test]
    fn pages_of_4096(freelist_sync: bool, steps in prop::collection::vec(step(), 1..150)) {
        run(4096, freelist_sync, &steps);
    }
}
