//! What `bolt`, `backend`, `mvcc` and `member` read: pages, and the values in etcd's buckets.

use std::path::{Path, PathBuf};

use bolt::{Bucket, Db, Options, PageError};
use member::bootstrap::Config;
use world::sim::SimDisk;
use world::{Disk, DynDisk};

use super::Play;
use crate::corpus;
use crate::mutate::Chance;

#[path = "../../../crates/member/tests/it/node.rs"]
#[allow(dead_code)] // The member's own tests use the rest.
mod node;

const PATH: &str = "/data/member/snap/db";

/// Reads all that can be reached, up to a limit that no sound file comes near.
fn walk(bucket: &Bucket<'_>, left: &mut u32, depth: u32) -> Result<(), PageError> {
    let mut cursor = bucket.cursor();
    let mut element = cursor.first()?;
    while let Some((key, _)) = element {
        let key = key.to_vec();
        *left = left.saturating_sub(1);
        if *left == 0 {
            return Ok(());
        }
        if cursor.at_bucket() && depth < 20 {
            if let Some(nested) = bucket.bucket(&key)? {
                walk(&nested, left, depth + 1)?;
            }
        } else {
            bucket.get(&key)?;
        }
        element = cursor.next()?;
    }
    Ok(())
}

/// Makes damaged metas valid again, so that what they say is believed.
fn seal(bytes: &mut [u8], page_size: usize) {
    for page in [0, page_size] {
        let Some(meta) = bytes.get_mut(page + 16..page + 80) else { return };
        let sum = meta[..56].iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        meta[56..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Damages some pages where it leads astray: heads and elements.
fn damage_pages(bytes: &mut [u8], page_size: usize, chance: &mut Chance<'_>) {
    let pages = bytes.len() / page_size;
    for _ in 0..=chance.below(5) {
        let page = chance.below(pages) * page_size;
        let span = if chance.one_in(4) { page_size } else { 96 };
        let at = page + chance.below(span);
        match chance.below(4) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = *chance.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => {
                let number = (chance.below(pages + 2) as u64).to_le_bytes();
                let at = page + chance.below(span / 8) * 8;
                bytes[at..at + 8].copy_from_slice(&number);
            }
            _ => {
                let from = chance.below(pages) * page_size;
                bytes.copy_within(from..from + page_size, page);
                bytes[page..page + 8].copy_from_slice(&((page / page_size) as u64).to_le_bytes());
            }
        }
    }
}

fn write(db: &Db, chance: &mut Chance<'_>) {
    for round in 0..2u8 {
        let mut tx = db.begin_write();
        for name in [&b"alpha"[..], b"beta", b"new"] {
            let Ok(bucket) = tx.create_bucket_if_missing(&[name]) else {
                continue;
            };
            for _ in 0..10 {
                let key = format!("key-{:05}", chance.below(400));
                let _ = if chance.one_in(3) {
                    tx.delete(bucket, key.as_bytes()).map(|_| ())
                } else {
                    tx.put(bucket, key.as_bytes(), &[round; 60])
                };
            }
        }
        let _ = tx.commit();
    }
    let _ = db.reclaim(20);
}

pub fn pages() -> Play {
    const SOURCES: [(&str, usize); 6] = [
        ("basic-1024", 1024),
        ("basic-4096", 4096),
        ("nofreelistsync-4096", 4096),
        ("nested-inline-sequence", 4096),
        ("after-rollback", 4096),
        ("deep-1024", 1024),
    ];
    let seeds: Vec<(Vec<u8>, usize)> = SOURCES
        .iter()
        .map(|(name, page_size)| (corpus::unpacked(&format!("fixtures/bolt/{name}.db.gz")), *page_size))
        .collect();
    Box::new(move |chance| {
        let (mut bytes, page_size) = chance.pick(&seeds).clone();
        if chance.one_in(6) {
            chance.damage(&mut bytes, &[]);
        } else {
            damage_pages(&mut bytes, page_size, chance);
        }
        if chance.one_in(2) {
            seal(&mut bytes, page_size);
        }
        let disk = SimDisk::new();
        disk.install_file(Path::new(PATH), &bytes).expect("a file");
        let db = match Db::open(&disk.dyn_disk(), Path::new(PATH), Options::default()) {
            Ok(db) => db,
            Err(error) => return assert!(error.to_string().contains(PATH), "{error}"),
        };
        let tx = db.begin_read();
        let report = tx.check();
        let walked = walk(&tx.root(), &mut 100_000, 0);
        if let Err(error) = walked {
            assert!(error.to_string().contains(PATH), "{error}");
            assert!(!report.is_clean(), "{error}, and the check says nothing");
        }
        let _ = tx.root().stats();
        drop(tx);
        write(&db, chance);
        let _ = walk(&db.begin_read().root(), &mut 100_000, 0);
    })
}

const BUCKETS: [&[u8]; 10] = [
    b"key",
    b"meta",
    b"lease",
    b"alarm",
    b"cluster",
    b"members",
    b"members_removed",
    b"auth",
    b"authUsers",
    b"authRoles",
];

/// Damages keys and values of etcd's buckets, in a file that stays sound.
fn damage_values(disk: &DynDisk, chance: &mut Chance<'_>) {
    let Ok(db) = Db::open(disk, Path::new(PATH), Options::default()) else {
        return;
    };
    let mut pairs = Vec::new();
    for name in BUCKETS {
        let tx = db.begin_read();
        let Ok(Some(bucket)) = tx.bucket(name) else { continue };
        let mut cursor = bucket.cursor();
        let mut element = cursor.first().expect("a sound file");
        while let Some((key, value)) = element {
            pairs.push((name, key.to_vec(), value.to_vec()));
            element = cursor.next().expect("a sound file");
        }
    }
    // Small buckets as often as the large one.
    let name = pairs[chance.below(pairs.len())].0;
    let name = if chance.one_in(3) { name } else { *chance.pick(&BUCKETS) };
    let chosen: Vec<_> = pairs.iter().filter(|(bucket, _, _)| *bucket == name).collect();
    let mut tx = db.begin_write();
    let Ok(bucket) = tx.create_bucket_if_missing(&[name]) else { return };
    for _ in 0..=chance.below(3) {
        let (mut key, mut value) = match chosen.get(chance.below(chosen.len())) {
            Some((_, key, value)) => (key.clone(), value.clone()),
            None => (chance.bytes(8), chance.bytes(20)),
        };
        match chance.below(4) {
            0 => drop(tx.delete(bucket, &key)),
            1 => {
                chance.damage(&mut key, &[b"t"]);
                let _ = tx.put(bucket, &key, &value);
            }
            _ => {
                chance.damage(&mut value, &[b"null", b"{}", b"3.5.0"]);
                let _ = tx.put(bucket, &key, &value);
            }
        }
    }
    if chance.one_in(20) {
        let _ = tx.delete_bucket(&[*chance.pick(&BUCKETS)]);
    }
    tx.commit().expect("a sound disk");
}

pub fn values() -> Play {
    let seeds: Vec<_> = [
        "3.5.33-snaps",
        "3.6.14-clean",
        "3.7.1-clean",
        "3.7.1-alarm-nospace",
        "3.7.1-downgrade-enabled",
    ]
    .iter()
    .map(|name| corpus::directory(name))
    .collect();
    Box::new(move |chance| {
        let files = chance.pick(&seeds);
        let disk = SimDisk::new();
        for (path, bytes) in files {
            let path = Path::new("/data").join(path);
            disk.create_dir_all(path.parent().expect("a parent"), 0o700).expect("a folder");
            disk.install_file(&path, bytes).expect("a file");
        }
        let disk = disk.dyn_disk();
        damage_values(&disk, chance);
        let mut config = Config::single("m0", PathBuf::from("/data"), "http://127.0.0.1:14002", "http://127.0.0.1:14001");
        config.wal_options.segment_bytes = 1 << 20;
        let Ok(mut member) = node::Node::start(&disk, &config, 1_800_000_000_000) else {
            return;
        };
        let everything = api::pb::etcdserverpb::RangeRequest {
            key: bytes::Bytes::from_static(b"\0"),
            range_end: bytes::Bytes::from_static(b"\0"),
            ..Default::default()
        };
        let _ = member.parts.store.range(&everything).map(|found| found.into_message());
        let _ = member.parts.store.hash_kv(0);
        for _ in 0..3 {
            if member.tick().is_err() {
                return;
            }
        }
        let _ = member.stop();
    })
}
