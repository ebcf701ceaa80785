//! Measures the engine on a real disk: `cargo run --release -p bolt --example load -- FOLDER [KEYS]`.
//!
//! Appends 17-byte keys with 512-byte values to bucket `key` in commits of 10 000, as etcd does under load, then reads them at
//! random, scans them, deletes half of them in batches of 1000 as a compaction does, gives the space back, and opens the file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bolt::{Db, Options};
use world::os::OsDisk;
use world::{DynDisk, Rng};

const BATCH: u64 = 10_000;

fn key(n: u64) -> [u8; 17] {
    let mut key = [b'_'; 17];
    key[..8].copy_from_slice(&n.to_be_bytes());
    key[9..].fill(0);
    key
}

fn report(what: &str, count: u64, time: Duration) {
    println!(
        "{what:<28} {:>9.3} s  {:>9.0} ns each",
        time.as_secs_f64(),
        time.as_nanos() as f64 / count.max(1) as f64
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |keys| keys.parse())?;
    let path = Path::new(&folder).join("load.db");
    let disk: DynDisk = Arc::new(OsDisk::default());
    if disk.exists(&path)? {
        disk.remove_file(&path)?;
    }
    let options = Options {
        initial_map: 10 << 30,
        ..Options::default()
    };
    let db = Db::open(&disk, &path, options.clone())?;
    let value = [7; 512];

    let start = Instant::now();
    for from in (0..keys).step_by(BATCH as usize) {
        let mut tx = db.begin_write();
        let bucket = tx.create_bucket_if_missing(&[b"key"])?;
        tx.set_fill_percent(bucket, 0.9);
        for n in from..keys.min(from + BATCH) {
            tx.put(bucket, &key(n), &value)?;
        }
        tx.commit()?;
    }
    report("append", keys, start.elapsed());

    let tx = db.begin_read();
    let bucket = tx.bucket(b"key")?.ok_or("no bucket")?;
    for round in ["scan, cold map", "scan", "scan again"] {
        let start = Instant::now();
        let (mut cursor, mut bytes) = (bucket.cursor(), 0);
        while let Some((key, value)) = cursor.next()? {
            bytes += key.len() + value.len();
        }
        assert_eq!(bytes as u64, keys * 529);
        report(round, keys, start.elapsed());
    }
    let mut random = world::os::SplitMix(1);
    for round in ["get", "get again"] {
        let start = Instant::now();
        for _ in 0..keys {
            assert!(bucket.get(&key(random.next_u64() % keys))?.is_some());
        }
        report(round, keys, start.elapsed());
    }
    drop(tx);

    // Every second key goes from the first half, all keys from the third quarter.
    let doomed: Vec<u64> = (0..keys / 2).step_by(2).chain(keys / 2..keys / 4 * 3).collect();
    let start = Instant::now();
    for batch in doomed.chunks(1000) {
        let mut tx = db.begin_write();
        let bucket = tx.create_bucket_if_missing(&[b"key"])?;
        tx.set_fill_percent(bucket, 0.9);
        for n in batch {
            assert!(tx.delete(bucket, &key(*n))?);
        }
        tx.commit()?;
    }
    report("delete in batches of 1000", doomed.len() as u64, start.elapsed());

    println!("{} MiB, {} MiB free", db.size() >> 20, db.free_bytes() >> 20);
    let (start, mut steps, mut moved, mut longest) = (Instant::now(), 0, 0, Duration::ZERO);
    loop {
        let step = Instant::now();
        let reclaimed = db.reclaim(500)?;
        longest = longest.max(step.elapsed());
        steps += 1;
        moved += reclaimed.moved;
        if reclaimed.done {
            break;
        }
    }
    report("reclaim", steps, start.elapsed());
    println!(
        "{moved} pages in {steps} steps, the longest {longest:?}; {} MiB, {} MiB free",
        db.size() >> 20,
        db.free_bytes() >> 20
    );

    drop(db);
    let start = Instant::now();
    let db = Db::open(&disk, &path, options)?;
    report("open", 1, start.elapsed());
    let start = Instant::now();
    let report_of_check = db.begin_read().check();
    report("check", 1, start.elapsed());
    println!("{} faults", report_of_check.faults.len());
    Ok(())
}
