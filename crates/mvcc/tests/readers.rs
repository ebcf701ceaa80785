//! Readers on other threads, while entries are applied, committed and compacted; and ranges in chunks.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::request_op::Request;
use common::{Chance, Member};
use mvcc::{MvccError, NoLeases, RangeAnswer, RangeStream, Step, Store, kv::Kv};

/// Keys alive at every revision: each transaction deletes one and puts another.
const ALIVE: i64 = 50;

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: b"k".to_vec().into(),
        range_end: b"l".to_vec().into(),
        ..Default::default()
    }
}

fn name(n: u64) -> bytes::Bytes {
    format!("k{n:03}").into_bytes().into()
}

fn put(n: u64, value: u64) -> pb::PutRequest {
    pb::PutRequest {
        key: name(n),
        value: value.to_be_bytes().to_vec().into(),
        ..Default::default()
    }
}

/// Moves the value of one key to a key that does not exist, in one transaction.
fn swap(member: &mut Member, alive: &mut [u64], chance: &mut Chance, index: u64) {
    let at = chance.below(alive.len() as u64) as usize;
    let to = loop {
        let to = chance.below(200);
        if !alive.contains(&to) {
            break to;
        }
    };
    let ops = [
        Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: name(alive[at]),
            ..Default::default()
        }),
        Request::RequestPut(put(to, index)),
    ];
    let txn = pb::TxnRequest {
        success: ops.map(|r| pb::RequestOp { request: Some(r) }).to_vec(),
        ..Default::default()
    };
    alive[at] = to;
    member.writer.txn(&txn, &mut NoLeases).unwrap();
}

fn look(store: &Store, chance: &mut Chance, looks: &AtomicU64, lost: &AtomicU64) {
    let count = pb::RangeRequest {
        count_only: true,
        ..everything()
    };
    assert_eq!(store.range(&count).unwrap().count, ALIVE);
    let limit = 1 + chance.below(60) as i64;
    let page = pb::RangeRequest { limit, ..everything() };
    let answer = store.range(&page).unwrap();
    assert_eq!(answer.count, ALIVE);
    assert_eq!(answer.kvs.len() as i64, limit.min(ALIVE));
    assert_eq!(answer.more, limit < ALIVE);
    let all = store.range(&everything()).unwrap();
    let newest = all.kvs.iter().map(|kv| Kv::parse(kv).unwrap().mod_revision).max().unwrap();
    assert_eq!(newest, all.revision, "the newest change is seen, and nothing newer");
    // The same revision again, if it is still there.
    let again = pb::RangeRequest {
        revision: all.revision,
        ..everything()
    };
    match store.range(&again) {
        Ok(answer) => assert_eq!((answer.kvs, answer.count), (all.kvs, all.count)),
        Err(MvccError::Compacted) => {
            assert!(store.compact_revision() > all.revision);
            lost.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => panic!("{error}"),
    }
    looks.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn readers_see_whole_revisions() {
    let mut member = Member::new();
    let mut alive: Vec<u64> = (0..ALIVE as u64).collect();
    for n in &alive {
        member.writer.put(&put(*n, 0), &mut NoLeases).unwrap();
        member.finish();
    }
    let (done, looks, lost) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let store = member.store.clone();
    std::thread::scope(|threads| {
        for seed in 0..3 {
            let (store, done, looks, lost) = (&store, &done, &looks, &lost);
            threads.spawn(move || {
                let mut chance = Chance(seed);
                while !done.load(Ordering::Relaxed) {
                    look(store, &mut chance, looks, lost);
                }
            });
        }
        let (jobs, work) = std::sync::mpsc::channel::<mvcc::CompactJob>();
        threads.spawn(move || {
            for mut job in work {
                while job.step().unwrap() == Step::More {}
            }
        });
        let mut chance = Chance(99);
        let mut index = 0;
        while index < 3000 || (looks.load(Ordering::Relaxed) < 300 && index < 100_000) {
            index += 1;
            swap(&mut member, &mut alive, &mut chance, index);
            let job = chance
                .one_in(100)
                .then(|| member.writer.compact(member.writer.revision() - 5).unwrap());
            member.finish();
            if let Some(job) = job {
                jobs.send(job).unwrap();
            }
            if chance.one_in(60) {
                member.committer.commit().unwrap();
            }
            if chance.one_in(300) {
                member.committer.reclaim(8).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        drop(jobs);
    });
    assert!(looks.load(Ordering::Relaxed) > 20);
}

fn chunks(stream: RangeStream) -> (Vec<usize>, Vec<bytes::Bytes>, RangeAnswer) {
    let (mut sizes, mut kvs, mut end) = (Vec::new(), Vec::new(), None);
    for chunk in stream {
        let chunk = chunk.unwrap();
        assert!(end.is_none(), "a chunk after the last");
        sizes.push(chunk.kvs.len());
        kvs.extend(chunk.kvs);
        end = chunk.end;
    }
    (sizes, kvs, end.expect("a last chunk"))
}

#[test]
fn chunks_make_the_range() {
    let mut member = Member::new();
    for n in 0..300 {
        member.writer.put(&put(n, n), &mut NoLeases).unwrap();
        member.finish();
    }
    let store = &member.store;
    let whole = store.range(&everything()).unwrap();
    let (sizes, kvs, end) = chunks(store.range_stream(everything()));
    assert_eq!(sizes, [10, 20, 40, 80, 150]);
    assert_eq!(kvs, whole.kvs);
    assert_eq!((end.revision, end.count, end.more), (301, 300, false));

    let limited = pb::RangeRequest {
        limit: 25,
        keys_only: true,
        ..everything()
    };
    let (sizes, kvs, end) = chunks(store.range_stream(limited.clone()));
    assert_eq!(sizes, [10, 15]);
    assert_eq!(kvs, store.range(&limited).unwrap().kvs);
    assert_eq!((end.count, end.more), (300, true));

    // Nothing to send: one message all the same.
    for request in [
        pb::RangeRequest {
            count_only: true,
            ..everything()
        },
        pb::RangeRequest {
            key: b"none".to_vec().into(),
            ..Default::default()
        },
    ] {
        let (sizes, _, end) = chunks(store.range_stream(request.clone()));
        assert_eq!(sizes, [0]);
        assert_eq!(end.count, store.range(&request).unwrap().count);
    }
}

#[test]
fn chunks_keep_their_revision() {
    let mut member = Member::new();
    for n in 0..100 {
        member.writer.put(&put(n, n), &mut NoLeases).unwrap();
        member.finish();
    }
    let whole = member.store.range(&everything()).unwrap();
    let mut stream = member.store.range_stream(everything());
    let mut kvs = stream.next().unwrap().unwrap().kvs;
    let gone = pb::DeleteRangeRequest {
        key: b"k".to_vec().into(),
        range_end: b"l".to_vec().into(),
        ..Default::default()
    };
    member.writer.delete_range(&gone, &mut NoLeases).unwrap();
    member.finish();
    kvs.extend(stream.next().unwrap().unwrap().kvs);
    assert_eq!(kvs, whole.kvs[..30]);
    // A compaction past it ends the stream.
    member.writer.compact(member.writer.revision()).unwrap();
    member.finish();
    assert!(matches!(stream.next(), Some(Err(MvccError::Compacted))));
    assert!(stream.next().is_none());
}

#[test]
fn large_pairs_make_small_chunks() {
    let mut member = Member::new();
    for n in 0..40 {
        let request = pb::PutRequest {
            value: vec![1; 400_000].into(),
            ..put(n, n)
        };
        member.writer.put(&request, &mut NoLeases).unwrap();
        member.finish();
    }
    let (sizes, kvs, _) = chunks(member.store.range_stream(everything()));
    // 4 MB are over twice 1.5 MiB: halved; 2 MB are between half and twice: kept.
    assert_eq!(sizes, [10, 5, 5, 5, 5, 5, 5]);
    assert_eq!(kvs.len(), 40);
}

#[test]
fn a_snapshot_replaces_everything() {
    let mut member = Member::new();
    for n in 0..20 {
        member.writer.put(&put(n, n), &mut NoLeases).unwrap();
        member.finish();
    }
    let reader = member.store.clone();
    // Another member that is ahead, has compacted half way, and has a key on a lease.
    let mut ahead = Member::new();
    ahead.lessor.leases.entry(7).or_default();
    for n in 0..50 {
        let request = pb::PutRequest {
            lease: if n == 49 { 7 } else { 0 },
            ..put(n % 5, n)
        };
        ahead.writer.put(&request, &mut ahead.lessor).unwrap();
        ahead.finish();
    }
    ahead.writer.compact(20).unwrap();
    ahead.finish();
    ahead.committer.commit().unwrap();
    let mut image = Vec::new();
    let mut keep = |chunk: &[u8]| {
        image.extend_from_slice(chunk);
        Ok(())
    };
    ahead.backend.view().write_image(&mut keep).unwrap();
    let disk = world::sim::SimDisk::new();
    disk.install_file(std::path::Path::new("/received"), &image).unwrap();
    let path = std::path::Path::new("/received");
    let (backend, _committer) = backend::Backend::open(&disk.dyn_disk(), path, common::options()).unwrap();
    let mut attached = Vec::new();
    member
        .writer
        .restore(backend, &mut |lease, key| attached.push((lease.0, key)))
        .unwrap();
    assert_eq!(attached, [(7, name(4))]);
    assert_eq!(reader.revision(), 51);
    assert_eq!(reader.compact_revision(), 20);
    let want = ahead.store.range(&everything()).unwrap();
    let got = reader.range(&everything()).unwrap();
    assert_eq!((got.kvs, got.count, got.revision), (want.kvs, 5, 51));
    assert_eq!(reader.hash_kv(0).unwrap(), ahead.store.hash_kv(0).unwrap());
    let mut job = member.writer.resume_compaction().unwrap();
    assert_eq!(job.revision(), 20);
    while job.step().unwrap() == Step::More {}
    assert!(member.writer.resume_compaction().is_none());
    // It goes on from there.
    let answer = member.writer.put(&put(90, 1), &mut NoLeases).unwrap();
    member.index = 51;
    member.finish();
    assert_eq!(answer.header.unwrap().revision, 52);
    assert_eq!(reader.revision(), 52);
}
