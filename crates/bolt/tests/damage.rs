//! Damaged and foreign files: each is refused, reported or read, and nothing panics or runs for ever.

mod common;

use std::io::Read;
use std::path::Path;

use bolt::{Bucket, Db, Options, PageError, Verify};
use common::PATH;
use flate2::read::GzDecoder;
use world::Rng;
use world::os::SplitMix;
use world::sim::SimDisk;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/fixtures/bolt")
        .join(format!("{name}.db.gz"));
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads all that can be reached, up to a limit that no sound file comes near.
fn scan(bucket: &Bucket<'_>, left: &mut u32, depth: u32) -> Result<(), PageError> {
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
                scan(&nested, left, depth + 1)?;
            }
        } else {
            bucket.get(&key)?;
        }
        element = cursor.next()?;
    }
    let mut back = bucket.cursor();
    let mut element = back.last()?;
    while element.is_some() && *left > 0 {
        *left -= 1;
        element = back.prev()?;
    }
    bucket.cursor().seek(b"key-00100").map(|_| ())
}

/// Writes where the file may be damaged.
fn write(db: &Db) {
    for round in 0..3u8 {
        let mut tx = db.begin_write();
        for name in [&b"alpha"[..], b"beta", b"new"] {
            let Ok(bucket) = tx.create_bucket_if_missing(&[name]) else {
                continue;
            };
            for n in 0..40u32 {
                let key = format!("key-{:05}", n * 9);
                let _ = if (n + u32::from(round)).is_multiple_of(3) {
                    tx.delete(bucket, key.as_bytes()).map(|_| ())
                } else {
                    tx.put(bucket, key.as_bytes(), &[round; 60])
                };
                let _ = tx.get(bucket, key.as_bytes());
            }
        }
        if round == 1 {
            let _ = tx.delete_bucket(&[b"beta"]);
        }
        let _ = tx.commit();
    }
    for _ in 0..3 {
        let _ = db.reclaim(20);
    }
}

/// Does everything with a file.
fn try_all(bytes: &[u8]) {
    let disk = SimDisk::new();
    disk.install_file(Path::new(PATH), bytes).unwrap();
    let disk = disk.dyn_disk();
    for (read_only, verify) in [(true, Verify::AsNeeded), (true, Verify::Always), (false, Verify::AsNeeded)] {
        let options = Options {
            read_only,
            verify,
            ..Options::default()
        };
        let db = match Db::open(&disk, Path::new(PATH), options) {
            Ok(db) => db,
            Err(error) => {
                assert!(error.to_string().contains(PATH), "{error}");
                continue;
            }
        };
        let tx = db.begin_read();
        let report = tx.check();
        report.faults.iter().for_each(|fault| assert!(!fault.to_string().is_empty()));
        let scanned = scan(&tx.root(), &mut 100_000, 0);
        if let Err(error) = &scanned {
            assert!(error.to_string().contains(PATH), "{error}");
            assert!(
                verify == Verify::AsNeeded && !report.is_clean(),
                "{error}, and the check says nothing"
            );
        }
        let _ = tx.root().stats();
        if !read_only {
            write(&db);
            let _ = scan(&db.begin_read().root(), &mut 100_000, 0);
        }
    }
}

/// Makes a damaged meta valid again, so that what it says is believed.
fn seal(bytes: &mut [u8], page_size: usize) {
    for page in [0, page_size] {
        let body = &bytes[page + 16..page + 72];
        let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        bytes[page + 72..page + 80].copy_from_slice(&sum.to_le_bytes());
    }
}

const SOURCES: [(&str, usize); 5] = [
    ("basic-1024", 1024),
    ("basic-4096", 4096),
    ("nofreelistsync-4096", 4096),
    ("nested-inline-sequence", 4096),
    ("after-rollback", 4096),
];

#[test]
fn flipped_bits() {
    let mut random = SplitMix(7);
    for (name, page_size) in SOURCES {
        let sound = fixture(name);
        for _ in 0..250 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random.next_u64() % 4 {
                let page = random.next_u64() as usize % (bytes.len() / page_size);
                // Headers and elements are at a page's beginning; damage there is the kind that leads astray.
                let span = if random.next_u64().is_multiple_of(4) { page_size } else { 160 };
                let at = page * page_size + random.next_u64() as usize % span;
                bytes[at] ^= 1 << (random.next_u64() % 8);
            }
            try_all(&bytes);
        }
    }
}

#[test]
fn believed_metas() {
    let mut random = SplitMix(8);
    for (name, page_size) in SOURCES {
        let sound = fixture(name);
        for _ in 0..120 {
            let mut bytes = sound.clone();
            for page in [0, page_size] {
                let field = page + 16 + 8 + random.next_u64() as usize % 48;
                bytes[field] = match random.next_u64() % 3 {
                    0 => 0xFF,
                    1 => 0,
                    _ => random.next_u64() as u8,
                };
            }
            seal(&mut bytes, page_size);
            try_all(&bytes);
        }
    }
}

#[test]
fn truncated_at_any_length() {
    for (name, _) in SOURCES {
        let sound = fixture(name);
        let lengths = (0..sound.len()).step_by(1777).chain([1, 15, 16, 79, 80, 512, 4095, 4097, 8191]);
        for len in lengths {
            try_all(&sound[..len.min(sound.len())]);
        }
    }
}

/// Pages in each other's places, several times, or pointing at themselves: circles and shared children.
#[test]
fn pages_astray() {
    let mut random = SplitMix(9);
    for (name, page_size) in SOURCES.into_iter().chain([("deep-1024", 1024)]) {
        let sound = fixture(name);
        let pages = (sound.len() / page_size).min(900) as u64;
        for _ in 0..80 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random.next_u64() % 5 {
                let (from, to) = (random.next_u64() % pages, 2 + random.next_u64() % (pages - 2));
                let (from_at, to_at) = (from as usize * page_size, to as usize * page_size);
                bytes.copy_within(from_at..from_at + page_size, to_at);
                // With the right number on it, nothing tells that the page is not its own.
                bytes[to_at..to_at + 8].copy_from_slice(&to.to_le_bytes());
            }
            try_all(&bytes);
        }
    }
}

/// Every branch points at itself with all its children.
#[test]
fn circles() {
    for (name, page_size) in SOURCES.into_iter().chain([("deep-1024", 1024)]) {
        let sound = fixture(name);
        for target in 0..3u64 {
            let mut bytes = sound.clone();
            for page in 2..bytes.len() / page_size {
                let at = page * page_size;
                let (id, flags) = (u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()), bytes[at + 8]);
                if flags != 1 || id != page as u64 {
                    continue;
                }
                let count = usize::from(u16::from_le_bytes([bytes[at + 10], bytes[at + 11]])).min((page_size - 16) / 16);
                for element in 0..count {
                    let child = at + 16 + element * 16 + 8;
                    let to = match target {
                        0 => page as u64,
                        1 => u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap()),
                        _ => 2 + (page as u64 * 7 + element as u64) % (bytes.len() / page_size) as u64,
                    };
                    bytes[child..child + 8].copy_from_slice(&to.to_le_bytes());
                }
            }
            try_all(&bytes);
        }
    }
}

#[test]
fn foreign_files() {
    let mut random = SplitMix(10);
    let texts: [&[u8]; 4] = [b"", b"hello", b"SQLite format 3\0", &[0xFF; 100_000]];
    texts.into_iter().filter(|text| !text.is_empty()).for_each(try_all);
    for len in [100, 4096, 8192, 16384, 50_000] {
        let noise: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
        try_all(&noise);
    }
}
