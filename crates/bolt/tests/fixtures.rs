//! Files made by bbolt 1.5.0 are read as bbolt reads them: content, page counts, free pages, the check's words, or the error.
//!
//! `tests/data/fixtures/bolt/<name>.db.gz` with `<name>.expect.json.gz`.

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};

use bolt::{Bucket, BucketStats, Db, Options, Verify};
use common::{Entry, assert_same, read_all, reclaim_all};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use world::DynDisk;
use world::sim::SimDisk;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/fixtures/bolt")
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every fixture: name, file, what is expected.
fn all() -> Vec<(String, Vec<u8>, Value)> {
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".db.gz") else { continue };
        let expect = unpack(&folder().join(format!("{name}.expect.json.gz")));
        fixtures.push((name.to_owned(), unpack(&path), serde_json::from_slice(&expect).unwrap()));
    }
    assert!(fixtures.len() >= 31, "{} fixtures", fixtures.len());
    fixtures
}

fn install(bytes: &[u8]) -> (SimDisk, DynDisk) {
    let disk = SimDisk::new();
    disk.install_file(Path::new("/db"), bytes).unwrap();
    let dynamic = disk.dyn_disk();
    (disk, dynamic)
}

fn open(disk: &DynDisk, read_only: bool, freelist_sync: bool) -> Result<Db, bolt::OpenError> {
    let options = Options {
        read_only,
        freelist_sync,
        ..Options::default()
    };
    Db::open(disk, Path::new("/db"), options)
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let used = group.iter().filter(|c| **c != b'=').count();
        let bits = group
            .iter()
            .fold(0u32, |bits, c| bits << 6 | if *c == b'=' { 0 } else { u32::from(digit(*c)) });
        out.extend(&bits.to_be_bytes()[1..used]);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as the expectation writes it.
fn is_key(text: &Value, key: &[u8]) -> bool {
    let text = text.as_str().unwrap();
    match text.strip_prefix("#sha256:") {
        Some(_) => text == format!("#sha256:{}:{}", key.len(), hex(&Sha256::digest(key))),
        None => base64(text) == key,
    }
}

fn compare_stats(name: &str, stats: &BucketStats, expect: &Value) {
    let found = [
        ("BranchAlloc", stats.branch_alloc_bytes),
        ("BranchInuse", stats.branch_inuse_bytes),
        ("BranchOverflowN", stats.branch_overflow_pages),
        ("BranchPageN", stats.branch_pages),
        ("BucketN", stats.buckets),
        ("Depth", stats.depth),
        ("InlineBucketInuse", stats.inline_inuse_bytes),
        ("InlineBucketN", stats.inline_buckets),
        ("KeyN", stats.keys),
        ("LeafAlloc", stats.leaf_alloc_bytes),
        ("LeafInuse", stats.leaf_inuse_bytes),
        ("LeafOverflowN", stats.leaf_overflow_pages),
        ("LeafPageN", stats.leaf_pages),
    ];
    assert_eq!(found.len(), expect.as_object().unwrap().len());
    for (field, value) in found {
        assert_eq!(Some(value), expect[field].as_u64(), "{name}: {field}");
    }
}

fn compare_buckets(name: &str, bucket: &Bucket<'_>, expect: Option<&Value>) {
    let expected = expect.map_or(&[][..], |list| list.as_array().unwrap());
    let names = bucket.buckets().unwrap();
    assert_eq!(names.len(), expected.len(), "{name}: buckets");
    for (bucket_name, expect) in names.into_iter().zip(expected) {
        assert!(is_key(&expect["name"], bucket_name), "{name}: {bucket_name:?}");
        compare_bucket(name, &bucket.bucket(bucket_name).unwrap().unwrap(), expect);
    }
}

fn compare_bucket(name: &str, bucket: &Bucket<'_>, expect: &Value) {
    assert_eq!(Some(bucket.root_page()), expect["root_pgid"].as_u64(), "{name}");
    assert_eq!(Some(bucket.sequence()), expect["sequence"].as_u64(), "{name}");
    compare_stats(name, &bucket.stats().unwrap(), &expect["stats"]);
    let mut digest = Sha256::new();
    let mut keys = expect.get("keys").map(|keys| keys.as_array().unwrap().iter());
    let (mut count, mut last) = (0, None);
    let mut cursor = bucket.cursor();
    while let Some((key, value)) = cursor.next().unwrap() {
        if count == 0 {
            assert!(is_key(&expect["first_key"], key), "{name}: first key");
        }
        count += 1;
        last = Some(key);
        digest.update((key.len() as u32).to_le_bytes());
        digest.update(key);
        if cursor.at_bucket() {
            digest.update(u32::MAX.to_le_bytes());
            continue;
        }
        digest.update((value.len() as u32).to_le_bytes());
        digest.update(value);
        if let Some(listed) = keys.as_mut().and_then(Iterator::next) {
            assert!(is_key(&listed[0], key), "{name}: {key:?}");
            assert_eq!(Some(value.len() as u64), listed[1].as_u64());
            assert_eq!(Some(hex(&Sha256::digest(value)).as_str()), listed[2].as_str());
        }
    }
    assert!(keys.is_none_or(|mut rest| rest.next().is_none()), "{name}: keys are missing");
    assert_eq!(Some(count), expect["elements"].as_u64(), "{name}");
    assert_eq!(Some(hex(&digest.finalize()).as_str()), expect["digest"].as_str(), "{name}");
    last.inspect(|last| assert!(is_key(&expect["last_key"], last), "{name}: last key"));
    compare_buckets(name, bucket, expect.get("buckets"));
}

/// Where Go panics, its text follows this.
fn without_panic(text: &str) -> &str {
    text.strip_prefix("panic: assertion failed: ").unwrap_or(text)
}

#[test]
fn read_as_bbolt_reads_them() {
    for (name, bytes, expect) in all() {
        for read_only in [true, false] {
            let (_, disk) = install(&bytes);
            let db = match (open(&disk, read_only, false), expect.get("open_error")) {
                (Ok(db), None) => db,
                (Err(error), Some(expected)) => {
                    assert!(error.to_string().starts_with(expected.as_str().unwrap()), "{name}: {error}");
                    assert!(error.to_string().contains("/db"), "{error}");
                    continue;
                }
                (result, expected) => panic!("{name}: {:?} where {expected:?} is expected", result.err()),
            };
            let tx = db.begin_read();
            assert_eq!(Some(tx.txid()), expect["txid"].as_u64(), "{name}");
            assert_eq!(Some(tx.size()), expect["size"].as_u64(), "{name}");
            assert_eq!(Some(tx.page_size() as u64), expect["page_size"].as_u64(), "{name}");
            compare_check(&name, &tx.check(), &expect);
            if !read_only {
                let free = expect["free_page_count"].as_u64().unwrap();
                assert_eq!(db.free_bytes(), free * tx.page_size() as u64, "{name}");
            }
            match expect.get("buckets") {
                Some(buckets) => compare_buckets(&name, &tx.root(), Some(buckets)),
                None => assert!(tx.buckets().is_err() || tx.root().stats().is_err(), "{name} can be read"),
            }
        }
    }
}

fn compare_check(name: &str, report: &bolt::CheckReport, expect: &Value) {
    let found: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = expect["check"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    // Go's check dies of some faults; what it says of the others, in order, must be said here too.
    let dies = expected.iter().any(|text| text.contains("panic") || text.contains("runtime error"));
    for (index, text) in expected.iter().filter(|text| !text.contains("runtime error")).enumerate() {
        assert!(
            found.get(index).is_some_and(|found| found.contains(without_panic(text))),
            "{name}: {text} not in {found:?}"
        );
    }
    assert!(dies || found.len() == expected.len(), "{name}: {found:?}");
    assert_eq!(Some(report.free.len() as u64), expect["free_page_count"].as_u64(), "{name}");
    let mut digest = Sha256::new();
    report.free.iter().for_each(|id| digest.update(id.to_le_bytes()));
    assert_eq!(
        Some(hex(&digest.finalize()).as_str()),
        expect["free_ids_sha256_u64le"].as_str(),
        "{name}"
    );
    if !dies {
        let pages = &expect["pages"];
        let of = |kind: &str| pages["by_type"][kind].as_u64().unwrap_or(0);
        let (counts, fresh) = (report.pages, name.starts_with("fresh"));
        assert_eq!((counts.branch, counts.leaf), (of("branch"), of("leaf")), "{name}");
        assert_eq!(counts.freelist, of("freelist"), "{name} {fresh}");
        assert_eq!(Some(counts.overflow), pages["overflow_pages"].as_u64(), "{name}");
    }
}

/// Every sound fixture can be written to, with and without a stored list, and keeps its content.
#[test]
fn written_to_and_still_sound() {
    for (name, bytes, expect) in all() {
        if expect.get("check").is_none_or(|check| check != &Value::Array(Vec::new())) {
            continue;
        }
        for freelist_sync in [false, true] {
            let (_, disk) = install(&bytes);
            let db = open(&disk, false, freelist_sync).unwrap();
            let mut model = read_all(&db.begin_read());
            for round in 0..3u8 {
                let mut tx = db.begin_write();
                let bucket = tx.create_bucket_if_missing(&[b"added"]).unwrap();
                let added = model.entries.entry(b"added".to_vec()).or_insert(Entry::Bucket(Default::default()));
                let Entry::Bucket(added) = added else {
                    panic!("{name} has a key of this name")
                };
                for n in 0..300u16 {
                    let (key, value) = ([&n.to_be_bytes()[..], b"key"].concat(), vec![round; 100]);
                    tx.put(bucket, &key, &value).unwrap();
                    added.entries.insert(key, Entry::Value(value));
                }
                tx.commit().unwrap();
                assert_same(&db, &model);
            }
            drop(db);
            let options = Options {
                verify: Verify::Always,
                freelist_sync: !freelist_sync,
                ..Options::default()
            };
            let db = Db::open(&disk, Path::new("/db"), options).unwrap();
            reclaim_all(&db, 50);
            assert_same(&db, &model);
        }
    }
}

/// Compaction keeps the content and leaves no free pages worth a word.
#[test]
fn compacted() {
    for (name, bytes, expect) in all() {
        if expect.get("check").is_none_or(|check| check != &Value::Array(Vec::new())) {
            continue;
        }
        let (_, disk) = install(&bytes);
        let db = open(&disk, true, false).unwrap();
        let source = db.begin_read();
        bolt::compact_into(&source, &disk, Path::new("/copy"), 0.9, 100).unwrap();
        let options = Options {
            read_only: true,
            verify: Verify::Always,
            ..Options::default()
        };
        let copy = Db::open(&disk, Path::new("/copy"), options).unwrap();
        let copied = copy.begin_read();
        assert!(copied.check().is_clean(), "{name}");
        assert!(read_all(&copied) == read_all(&source), "{name}");
        assert!(
            copied.size() <= source.size() + 64 * source.page_size() as u64,
            "{name}: {} of {}",
            copied.size(),
            source.size()
        );
        assert!(bolt::compact_into(&source, &disk, Path::new("/copy"), 0.9, 100).is_err());
    }
}

/// The image of a file opens as a file and holds the same.
#[test]
fn images() {
    for (name, bytes, expect) in all() {
        if expect.get("open_error").is_some() {
            continue;
        }
        let (_, disk) = install(&bytes);
        let db = open(&disk, true, false).unwrap();
        let source = db.begin_read();
        let mut image = Vec::new();
        source
            .write_image(&mut |piece| {
                image.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(image.len() as u64, source.size(), "{name}");
        let pages = 2 * source.page_size()..image.len();
        assert!(image[pages.clone()] == bytes[pages], "{name}");
        let (_, disk) = install(&image);
        let copy = open(&disk, true, false).unwrap();
        assert_eq!(copy.begin_read().txid(), source.txid(), "{name}");
        if expect["check"] == Value::Array(Vec::new()) {
            assert!(copy.begin_read().check().is_clean());
        }
    }
}
