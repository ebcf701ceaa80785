//! Readers keep what they saw, byte for byte, through commits, growth of the map, and reclaim.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bolt::{Db, Options, ReadTx};
use common::{Entry, Model, Op, PATH, append_key, apply, open, read_all, reclaim_all};
use world::Rng;
use world::os::SplitMix;
use world::sim::SimDisk;

struct Held {
    tx: ReadTx,
    model: Model,
}

impl Held {
    fn verify(&self) {
        assert!(
            read_all(&self.tx) == self.model,
            "commit {} has changed under its reader",
            self.tx.txid()
        );
        let report = self.tx.check();
        assert!(report.is_clean(), "{:?}", report.faults);
        let mut size = 0;
        self.tx
            .write_image(&mut |piece| {
                size += piece.len() as u64;
                Ok(())
            })
            .unwrap();
        assert_eq!(size, self.tx.size());
    }
}

#[test]
fn held_through_commits_and_reclaim() {
    for seed in 0..8u64 {
        let (page_size, freelist_sync) = (if seed % 2 == 0 { 1024 } else { 4096 }, seed % 4 >= 2);
        let disk = SimDisk::new().dyn_disk();
        let db = open(&disk, page_size, freelist_sync);
        let mut random = SplitMix(seed);
        let mut model = Model::default();
        let mut held: Vec<Held> = Vec::new();
        let mut tx = db.begin_write();
        let path = vec![b"key".to_vec()];
        apply(&mut tx, &mut model, &Op::Create(path.clone()));
        tx.commit().unwrap();
        for _ in 0..40 {
            let mut tx = db.begin_write();
            for _ in 0..1 + random.next_u64() % 4 {
                let (from, count) = (random.next_u64() as u32 % 2000, random.next_u64() as u32 % 200);
                let op = match random.next_u64() % 3 {
                    0 => Op::Trim(path.clone(), from, count * 4),
                    _ => Op::Append(path.clone(), from, count, random.next_u64() as usize % 150),
                };
                apply(&mut tx, &mut model, &op);
            }
            tx.commit().unwrap();
            if random.next_u64().is_multiple_of(2) {
                let tx = db.begin_read();
                held.push(Held { tx, model: model.clone() });
            }
            for _ in 0..random.next_u64() % 3 {
                db.reclaim(30).unwrap();
            }
            if random.next_u64().is_multiple_of(3) && !held.is_empty() {
                let index = random.next_u64() as usize % held.len();
                held.swap_remove(index).verify();
            }
        }
        held.iter().for_each(Held::verify);
        drop(held);
        reclaim_all(&db, 40);
        let used = db.size() - db.free_bytes();
        assert!(
            db.size() <= used + used / 4 + 64 * page_size as u64,
            "{} bytes, {used} used",
            db.size()
        );
        assert!(read_all(&db.begin_read()) == model);
    }
}

/// Pages that no open reader can see are used again even while an old reader is open.
#[test]
fn an_old_reader_does_not_make_the_file_grow_for_ever() {
    let disk = SimDisk::new().dyn_disk();
    let db = open(&disk, 4096, false);
    let write = |round: u32| {
        let mut tx = db.begin_write();
        let bucket = tx.create_bucket_if_missing(&[b"key"]).unwrap();
        for n in 0..500 {
            tx.put(bucket, &append_key(n), &[round as u8; 100]).unwrap();
        }
        tx.commit().unwrap();
    };
    write(0);
    let old = db.begin_read();
    (1..5).for_each(write);
    let size = db.size();
    (5..100).for_each(write);
    assert!(db.size() <= size + size / 2, "grew from {size} to {}", db.size());
    let bucket = old.bucket(b"key").unwrap().unwrap();
    assert_eq!(bucket.get(&append_key(7)).unwrap(), Some(&[0; 100][..]));
}

/// A write transaction in the making and the disk's work hold no reader up, and readers on other threads see whole commits only.
#[test]
fn readers_on_other_threads() {
    let disk = SimDisk::new().dyn_disk();
    let options = Options {
        page_size: Some(1024),
        ..Options::default()
    };
    let db = Db::open(&disk, Path::new(PATH), options).unwrap();
    let write = |round: u64| {
        let mut tx = db.begin_write();
        let bucket = tx.create_bucket_if_missing(&[b"key"]).unwrap();
        for n in 0..300u32 {
            tx.put(bucket, &append_key(n * 7919 % 1000), &round.to_be_bytes()).unwrap();
        }
        let during = db.begin_read();
        assert_eq!(during.txid() + 1, tx.txid());
        tx.commit().unwrap();
        db.reclaim(10).unwrap();
    };
    write(0);
    let stop = AtomicBool::new(false);
    let (failed, failures) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (db, stop, failed) = (&db, &stop, failed.clone());
            scope.spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let tx = db.begin_read();
                    let Some(Entry::Bucket(model)) = read_all(&tx).entries.remove(&b"key"[..]) else {
                        break;
                    };
                    let mut rounds = model.entries.values().map(|entry| match entry {
                        Entry::Value(value) => u64::from_be_bytes(value[..].try_into().unwrap()),
                        Entry::Bucket(_) => 0,
                    });
                    let first = rounds.next().unwrap();
                    if first < last || !rounds.all(|round| round == first) {
                        failed.send(first).unwrap();
                    }
                    last = first;
                }
            });
        }
        (1..200).for_each(write);
        stop.store(true, Ordering::Relaxed);
    });
    drop(failed);
    assert_eq!(failures.iter().count(), 0);
}

/// A file that outgrows its map is mapped anew; who holds the old map keeps it.
#[test]
fn the_map_grows() {
    let disk = SimDisk::new().dyn_disk();
    let db = open(&disk, 4096, false);
    let mut held = Vec::new();
    let mut model = Model::default();
    for round in 0..6u32 {
        let mut tx = db.begin_write();
        if round == 0 {
            apply(&mut tx, &mut model, &Op::Create(vec![b"key".to_vec()]));
        }
        apply(&mut tx, &mut model, &Op::Append(vec![b"key".to_vec()], round * 1000, 1000, 200));
        tx.commit().unwrap();
        let tx = db.begin_read();
        held.push(Held { tx, model: model.clone() });
    }
    assert!(db.size() > 20 * (32 << 10), "the first map was of 32 KiB");
    held.iter().for_each(Held::verify);
}

/// Big values move down too, although small ones lie scattered where they have to go.
#[test]
fn big_values_are_reclaimed() {
    for freelist_sync in [false, true] {
        let disk = SimDisk::new().dyn_disk();
        let db = open(&disk, 4096, freelist_sync);
        let mut model = Model::default();
        let path = vec![b"key".to_vec()];
        let mut tx = db.begin_write();
        apply(&mut tx, &mut model, &Op::Create(path.clone()));
        apply(&mut tx, &mut model, &Op::Append(path.clone(), 0, 4000, 500));
        tx.commit().unwrap();
        for big in 0..6u8 {
            let mut tx = db.begin_write();
            apply(&mut tx, &mut model, &Op::Put(path.clone(), vec![b'z', big], vec![big; 100_000]));
            tx.commit().unwrap();
        }
        // One of five pages stays: no free run is longer than a few pages.
        let mut tx = db.begin_write();
        for n in (0..4000).step_by(30) {
            apply(&mut tx, &mut model, &Op::Trim(path.clone(), n, 24));
        }
        tx.commit().unwrap();
        reclaim_all(&db, 40);
        assert!(read_all(&db.begin_read()) == model);
        assert!(db.begin_read().check().is_clean());
        let used = db.size() - db.free_bytes();
        assert!(db.size() <= used + used / 8, "{} bytes, {used} used", db.size());
    }
}
