//! Databases that real etcd left behind: hashes, versions and the small buckets read as recorded.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use api::RaftIndex;
use api::pb::raftpb::ConfState;
use backend::schema::{self, StorageVersion, StoredMember};
use backend::{Backend, Bucket, Options, ReadView};
use serde_json::Value;
use world::sim::SimDisk;

const FIXTURES: [&str; 4] = ["3.5.33-clean", "3.7.1-clean", "3.7.1-alarm-nospace", "3.7.1-restored-bump"];

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/fixtures/data-dirs")
        .join(name)
}

/// The file `member/snap/db` of a recorded data directory.
fn db(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(data(&format!("{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("member/snap/db") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("{name} has no db")
}

fn expected(name: &str) -> Value {
    let text = std::fs::read(data(&format!("{name}.expect.json"))).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["at_rest"]["db"].clone()
}

fn open(name: &str, read_only: bool) -> Backend {
    let disk = SimDisk::new();
    disk.install_file(Path::new("/db"), &db(name)).unwrap();
    let options = Options {
        read_only,
        initial_map: 1 << 20,
        verify: true,
        ..Options::default()
    };
    Backend::open(&disk.dyn_disk(), Path::new("/db"), options).unwrap().0
}

fn entries(view: &ReadView, bucket: Bucket) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    view.scan(bucket, &[], &[], &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[test]
fn hashes() {
    for name in FIXTURES {
        let want = expected(name);
        for read_only in [true, false] {
            let backend = open(name, read_only);
            let view = backend.view();
            assert_eq!(u64::from(view.hash().unwrap()), want["crc32c_db_hash_36_37"], "{name}");
            assert_eq!(backend.size(), want["size_high_water"].as_u64().unwrap(), "{name}");
            assert_eq!(
                backend.consistent_index(),
                RaftIndex(want["meta"]["consistent_index"].as_u64().unwrap())
            );
            for bucket in Bucket::ALL {
                let count = entries(&view, bucket).len() as u64;
                assert_eq!(count, want["bucket_key_counts"][bucket.title()], "{name} {bucket:?}");
            }
        }
    }
}

#[test]
fn small_buckets() {
    for name in FIXTURES {
        let want = expected(name);
        let view = open(name, true).view();
        for (key, value) in entries(&view, Bucket::Members) {
            let member = StoredMember::decode(&key, &value).unwrap();
            assert_eq!(member.encode(), value);
            assert_eq!(schema::decode_member_id(Bucket::Members, &key).unwrap().0, member.id);
            assert_eq!(schema::member_key(member.id.into()), key);
            assert_eq!(want["members"][std::str::from_utf8(&key).unwrap()]["id"], member.id);
        }
        for (key, value) in entries(&view, Bucket::Lease) {
            let lease = schema::decode_lease(&key, &value).unwrap();
            assert_eq!(schema::decode_lease_key(&key).unwrap().0, lease.id);
            assert_eq!(schema::lease_key(lease.id.into()), key);
            assert_eq!(schema::encode_lease(&lease), value);
        }
        assert_eq!(schema::read_leases(&view).unwrap().len() as u64, want["bucket_key_counts"]["lease"]);
        for (key, value) in entries(&view, Bucket::Alarm) {
            assert!(value.is_empty());
            assert_eq!(schema::alarm_key(&schema::decode_alarm_key(&key).unwrap()), key);
        }
        let version = schema::check(&view).unwrap();
        let recorded = want["meta"].get("storageVersion").map(|v| v.as_str().unwrap().parse().unwrap());
        assert_eq!(version, Some(recorded.unwrap_or(StorageVersion::V3_5)), "{name}");
        let state = ConfState {
            voters: vec![9670281527894873006],
            ..ConfState::default()
        };
        let stored = view.get(Bucket::Meta, schema::CONF_STATE).unwrap().unwrap();
        assert_eq!(schema::conf_state_json(&state), stored, "{name}");
        assert_eq!(want["meta"]["confState"], std::str::from_utf8(&stored).unwrap());
    }
}

#[test]
fn versions() {
    assert_eq!("3.6.0".parse(), Ok(StorageVersion::V3_6));
    assert_eq!("3.6".parse::<StorageVersion>(), Err(()));
    assert_eq!(StorageVersion::V3_7.to_string(), "3.7.0");
    let mut batch = backend::Batch::new();
    let (v5, v6, v7) = (StorageVersion::V3_5, StorageVersion::V3_6, StorageVersion::V3_7);
    assert_eq!(schema::set_storage_version(&mut batch, Some(v6), v6), Ok(false));
    assert_eq!(schema::set_storage_version(&mut batch, Some(v6), v5), Ok(true));
    assert_eq!(schema::set_storage_version(&mut batch, Some(v6), v7), Ok(true));
    assert_eq!(
        schema::set_storage_version(&mut batch, None, v7),
        Err(schema::VersionError::Unknown)
    );
    assert_eq!(batch.operations(), 2);
}

#[test]
fn a_version_from_the_future_is_refused() {
    let backend = open("3.7.1-clean", false);
    let mut batch = backend::Batch::new();
    batch.put(Bucket::Meta, schema::STORAGE_VERSION, "3.8.0");
    backend.append(batch);
    let error = schema::check(&backend.view()).unwrap_err().to_string();
    assert_eq!(error, "cannot use the database: version \"3.8.0\" is not supported");
}

#[test]
fn images_open_again() {
    let disk = SimDisk::new();
    disk.install_file(Path::new("/db"), &db("3.7.1-clean")).unwrap();
    let options = Options {
        initial_map: 1 << 20,
        ..Options::default()
    };
    let (backend, mut committer) = Backend::open(&disk.dyn_disk(), Path::new("/db"), options.clone()).unwrap();
    let mut batch = backend::Batch::new();
    batch.put(Bucket::Cluster, "k", "v");
    backend.append(batch);
    committer.commit().unwrap();
    let view = backend.view();
    let mut image = Vec::new();
    view.write_image(&mut |chunk| {
        image.extend_from_slice(chunk);
        Ok(())
    })
    .unwrap();
    assert_eq!(image.len() as u64, view.image_size());
    assert_eq!(image.len() as u64, backend.size());
    let copy = SimDisk::new();
    copy.install_file(Path::new("/db"), &image).unwrap();
    let (again, _) = Backend::open(&copy.dyn_disk(), Path::new("/db"), options).unwrap();
    assert_eq!(again.view().hash().unwrap(), view.hash().unwrap());
    assert_eq!(again.view().get(Bucket::Cluster, b"k").unwrap().unwrap(), "v");
}
