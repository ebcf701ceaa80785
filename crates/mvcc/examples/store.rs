//! Measures the store on a real disk: `cargo run --release -p mvcc --example store -- DIR [KEYS [ROUNDS]]`.
//!
//! Fills a database, then times pages, point reads, counts, hashes, a compaction and a start. With a number of rounds it
//! takes the database that is there and only reads, so often.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb::{PutRequest, RangeRequest};
use api::{RaftIndex, Term};
use backend::{Backend, Committer, Options};
use mvcc::{NoLeases, Step, Store, StoreOptions, Writer};
use world::DynDisk;
use world::os::OsDisk;

/// Time of this thread on a processor: machines that measure are seldom idle otherwise. Waiting for the disk does not count.
#[derive(Clone, Copy)]
struct Instant(Duration);

impl Instant {
    fn now() -> Instant {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        Instant(Duration::from_nanos(nanos))
    }

    fn elapsed(self) -> Duration {
        Instant::now().0 - self.0
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a folder for the database");
    let keys: u64 = arguments.next().map_or(300_000, |n| n.parse().expect("a number of keys"));
    let path = Path::new(&dir).join("db");
    let disk: DynDisk = Arc::new(OsDisk::default());
    if let Some(rounds) = arguments.next() {
        let (_, _, store, _) = open(&disk, &path);
        println!("start: rss {} MiB, {:?}", rss(), store.hash_kv(0).expect("hash"));
        (0..rounds.parse().expect("a number of rounds")).for_each(|_| reads(&store, keys));
        return;
    }
    let _ = std::fs::remove_file(&path);
    {
        let (backend, mut committer, store, mut writer) = open(&disk, &path);
        fill(&backend, &mut committer, &mut writer, keys);
        time("fill again (second version of every key)", keys, || {
            fill(&backend, &mut committer, &mut writer, keys);
        });
        reads(&store, keys);
        let before = rss();
        time("hash_kv", keys * 2, || {
            store.hash_kv(0).expect("hash");
        });
        compaction(&store, &backend, &mut committer, &mut writer);
        println!("rss {before} MiB before hash and compaction, {} MiB after", rss());
    }
    println!("rss {} MiB with the store closed", rss());
    let start = Instant::now();
    let (_, _, store, _) = open(&disk, &path);
    println!("start with {} keys: {:?}, rss {} MiB", store.keys(), start.elapsed(), rss());
    reads(&store, keys);
}

fn open(disk: &DynDisk, path: &Path) -> (Backend, Committer, Store, Writer) {
    let start = Instant::now();
    let (backend, committer) = Backend::open(disk, path, Options::default()).expect("open");
    let opened = start.elapsed();
    let (store, writer) = Store::open(backend.clone(), StoreOptions::default(), &mut |_, _| {}).expect("start");
    println!(
        "backend opened in {opened:?}, {} keys read in {:?}",
        store.keys(),
        start.elapsed() - opened
    );
    (backend, committer, store, writer)
}

fn key(n: u64) -> Vec<u8> {
    format!("/registry/pods/namespace-{:04}/pod-{n:010}", n % 1000).into_bytes()
}

fn fill(backend: &Backend, committer: &mut Committer, writer: &mut Writer, keys: u64) {
    let value = vec![b'v'; 256];
    let (mut apply, mut commit) = (Duration::ZERO, Duration::ZERO);
    let from = backend.consistent_index().0;
    let mut lap = Instant::now();
    for n in 0..keys {
        let request = PutRequest {
            key: key(n).into(),
            value: value.clone().into(),
            ..PutRequest::default()
        };
        writer.put(&request, &mut NoLeases).expect("put");
        writer.finish(RaftIndex(from + n + 1), Term(1));
        if backend.should_commit() {
            apply += lap.elapsed();
            lap = Instant::now();
            committer.commit().expect("commit");
            commit += lap.elapsed();
            lap = Instant::now();
        }
    }
    apply += lap.elapsed();
    committer.commit().expect("commit");
    println!(
        "{keys} puts: {:.2} us apply, {:.2} us commit each; rss {} MiB, db {} MiB",
        apply.as_secs_f64() * 1e6 / keys as f64,
        commit.as_secs_f64() * 1e6 / keys as f64,
        rss(),
        backend.size() >> 20,
    );
}

fn reads(store: &Store, keys: u64) {
    let all = RangeRequest {
        key: b"/registry/".to_vec().into(),
        range_end: b"/registry0".to_vec().into(),
        ..RangeRequest::default()
    };
    let page = RangeRequest {
        limit: 10_000,
        ..all.clone()
    };
    for _ in 0..3 {
        time("page of 10000", 10_000, || {
            assert_eq!(store.range(&page).expect("page").count as u64, keys);
        });
    }
    time("everything", keys, || {
        store.range(&all).expect("everything");
    });
    let keys_only = RangeRequest {
        keys_only: true,
        ..page.clone()
    };
    time("keys of a page of 10000", 10_000, || {
        store.range(&keys_only).expect("page");
    });
    let answer = store.range(&page).expect("page");
    time("encoding that page", 10_000, || {
        answer.encode(Default::default());
    });
    let old = RangeRequest {
        revision: (store.revision() - 1000).max(store.compact_revision()),
        ..page.clone()
    };
    time("page of 10000, 1000 revisions ago", 10_000, || {
        store.range(&old).expect("page");
    });
    let count = RangeRequest {
        count_only: true,
        ..all.clone()
    };
    time("count", 1, || {
        store.range(&count).expect("count");
    });
    time("point reads", 100_000, || {
        for n in 0..100_000u64 {
            let request = RangeRequest {
                key: key(n.wrapping_mul(7919) % keys).into(),
                ..RangeRequest::default()
            };
            assert_eq!(store.range(&request).expect("get").kvs.len(), 1);
        }
    });
}

fn compaction(store: &Store, backend: &Backend, committer: &mut Committer, writer: &mut Writer) {
    let mut job = writer.compact(store.revision()).expect("compact");
    writer.finish(RaftIndex(backend.consistent_index().0 + 1), Term(1));
    let (mut longest, mut steps) = (Duration::ZERO, 0);
    let start = Instant::now();
    let mut committing = Duration::ZERO;
    loop {
        let step = Instant::now();
        let done = job.step().expect("step") != Step::More;
        longest = longest.max(step.elapsed());
        steps += 1;
        if backend.should_commit() {
            let start = Instant::now();
            committer.commit().expect("commit");
            committing += start.elapsed();
        }
        if done {
            break;
        }
    }
    committer.commit().expect("commit");
    println!(
        "compaction: {} deleted in {steps} steps, {:?} in all, {committing:?} of it committing, longest step {longest:?}; in use {} of {} MiB",
        job.deleted(),
        start.elapsed(),
        backend.size_in_use() >> 20,
        backend.size() >> 20,
    );
}

fn time(what: &str, count: u64, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    let elapsed = start.elapsed();
    println!("{what}: {elapsed:?}, {:.3} us each", elapsed.as_secs_f64() * 1e6 / count as f64);
}

/// Resident memory that is not the map of a file, in MiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
