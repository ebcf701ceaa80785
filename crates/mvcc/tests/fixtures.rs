//! Databases that real etcd left behind: the same keys, revisions, leases and hashes as Go finds in them.

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use api::pb::etcdserverpb::{RangeRequest, RangeResponse};
use backend::Backend;
use common::{DB, data, options};
use mvcc::{Step, Store, StoreOptions, Writer};
use serde_json::Value;
use world::sim::SimDisk;

struct Fixture {
    store: Store,
    writer: Writer,
    attached: BTreeMap<String, i64>,
    want: Value,
}

fn fixture(name: &str) -> Fixture {
    let file = std::fs::File::open(data(&format!("fixtures/data-dirs/{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let disk = SimDisk::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("member/snap/db") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            disk.install_file(Path::new(DB), &bytes).unwrap();
        }
    }
    let (backend, _committer) = Backend::open(&disk.dyn_disk(), Path::new(DB), options()).unwrap();
    let mut attached = BTreeMap::new();
    let (store, writer) = Store::open(backend, StoreOptions::default(), &mut |lease, key| {
        attached.insert(base64(&key), lease.0);
    })
    .unwrap();
    let text = std::fs::read(data(&format!("fixtures/data-dirs/{name}.expect.json"))).unwrap();
    Fixture {
        store,
        writer,
        attached,
        want: serde_json::from_slice(&text).unwrap(),
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let request = RangeRequest {
        key: bytes.to_vec().into(),
        ..RangeRequest::default()
    };
    let message = compat::protojson::message("etcdserverpb.RangeRequest").unwrap();
    let bytes = prost::Message::encode_to_vec(&request);
    compat::protojson::encode(message, &bytes, compat::protojson::Escape::Plain, &mut out).unwrap();
    serde_json::from_slice::<Value>(&out).unwrap()["key"]
        .as_str()
        .unwrap_or("")
        .to_owned()
}

fn everything() -> RangeRequest {
    RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..RangeRequest::default()
    }
}

fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

/// Nothing in the log after these databases changes a key, so Go shows at its start what is in them.
#[test]
fn keys_and_hashes() {
    for name in ["3.5.33-clean", "3.7.1-clean", "3.7.1-alarm-nospace", "3.7.1-restored-bump"] {
        let mut fixture = fixture(name);
        let version = name.split('-').next().unwrap();
        let go = fixture.want["go_start"][version].clone();
        if let Some(job) = fixture.writer.resume_compaction() {
            assert_eq!(name, "3.7.1-restored-bump");
            // As `etcdutl hashkv` answers, which never runs it.
            let hash = fixture.store.hash_kv(0).unwrap();
            let etcdutl = &fixture.want["at_rest"]["etcdutl_hashkv_of_db"];
            assert_eq!(u64::from(hash.hash), etcdutl["hash"]);
            assert_eq!(hash.compact_revision, etcdutl["compactRevision"].as_i64().unwrap());
            let mut job = job;
            while job.step().unwrap() == Step::More {}
            // It was interrupted, in a way: its hash says nothing.
            assert!(fixture.store.compaction_hashes().is_empty());
        }
        let store = &fixture.store;
        assert_eq!(store.revision(), go["current_revision"].as_i64().unwrap(), "{name}");
        let hash = store.hash_kv(0).unwrap();
        assert_eq!(u64::from(hash.hash), go["hashkv"]["hash"], "{name}");
        assert_eq!(hash.compact_revision, number(&go["hashkv"]["compact_revision"]), "{name}");
        let answer: RangeResponse = store.range(&everything()).unwrap().into_message().unwrap();
        assert_eq!(answer.count, go["key_count"].as_i64().unwrap(), "{name}");
        let want = go["kvs"].as_array().unwrap();
        assert_eq!(answer.kvs.len(), want.len());
        let mut leases = BTreeMap::new();
        for (kv, want) in answer.kvs.iter().zip(want) {
            assert_eq!(base64(&kv.key), want["key"].as_str().unwrap());
            assert_eq!(kv.create_revision, number(&want["create_revision"]));
            assert_eq!(kv.mod_revision, number(&want["mod_revision"]));
            assert_eq!(kv.version, number(&want["version"]));
            assert_eq!(kv.lease, number(&want["lease"]));
            if kv.lease != 0 {
                leases.insert(base64(&kv.key), kv.lease);
            }
            match want["value"].as_str() {
                Some(long) if long.starts_with('#') => {}
                value => assert_eq!(base64(&kv.value), value.unwrap_or("")),
            }
        }
        assert_eq!(fixture.attached, leases, "{name}");
    }
}
