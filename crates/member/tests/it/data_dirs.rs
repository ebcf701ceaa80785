//! Data directories that real etcd left (3.5.33, 3.6.14, 3.7.1; stopped, killed, damaged): opened and compared with what Go showed on
//! them, or refused. A selection lies in tests/data; all that were recorded are in the shared folder, and are taken from there when
//! it is at hand.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::LeaseId;
use api::pb::etcdserverpb as pb;
use member::bootstrap::Config;
use serde_json::{Value, json};
use world::DynDisk;
use world::os::OsDisk;

use crate::json::{data, value};
use crate::node::Node;

/// What is refused, and a part of the text. Go starts on some of these and then hangs or has lost acknowledged writes.
const REFUSED: &[(&str, &str)] = &[
    ("auth", "authentication is enabled"),
    ("db-both-metas-bad", "checksum"),
    ("db-truncated", "file size too small"),
    ("snapdb-missing", "failed to recover v3 backend from snapshot"),
    ("snaps-db-missing", "failed to recover v3 backend from snapshot"),
    ("wal-crc-last-entry", "crc mismatch"),
    ("wal-crc-middle", "crc mismatch"),
    ("wal-middle-segment-missing", "crc mismatch"),
    ("wal-dir-missing", "there is no log"),
    ("wal-file-missing", "there is no log"),
    ("wal-length-garbage", "acknowledged entries are lost"),
    ("wal-length-zero-middle", "acknowledged entries are lost"),
    ("wal-torn-cut-entry", "acknowledged entries are lost"),
    ("wal-torn-sector-zero", "acknowledged entries are lost"),
    ("wal-zero-tail", "acknowledged entries are lost"),
];

pub fn disk() -> DynDisk {
    Arc::new(OsDisk::without_sync())
}

/// All recorded directories, where they are at hand.
fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("QUORATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = folder.join("fixtures/data-dirs");
    folder.is_dir().then_some(folder)
}

fn fixture(name: &str, kind: &str) -> PathBuf {
    let selected = data(&format!("data-dirs/{name}.{kind}"));
    match shared() {
        Some(folder) if !selected.exists() => folder.join(format!("{name}.{kind}")),
        _ => selected,
    }
}

/// Whether a recorded directory is at hand; says so where it is not.
pub fn is_at_hand(name: &str) -> bool {
    let there = fixture(name, "tar.gz").exists();
    if !there {
        eprintln!("{name} is not tested: it lies in the shared folder, which is absent. Set QUORATE_SHARED.");
    }
    there
}

/// Unpacks a directory. The zeros at the end of a log stay holes.
pub fn unpack(name: &str, to: &Path) -> PathBuf {
    let packed = File::open(fixture(name, "tar.gz")).expect("a fixture");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = to.join(entry.path().expect("a path"));
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(&path).expect("a folder");
            continue;
        }
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        let mut file = File::create(&path).expect("a file");
        let mut block = vec![0; 64 << 10];
        loop {
            let n = entry.read(&mut block).expect("content");
            if n == 0 {
                break;
            }
            if block[..n].iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(n as i64)).expect("seeks");
            } else {
                file.write_all(&block[..n]).expect("writes");
            }
        }
        let len = file.stream_position().expect("a position");
        file.set_len(len).expect("cuts");
    }
    to.join(name)
}

pub fn expectation(name: &str) -> Value {
    let text = fs::read(fixture(name, "expect.json")).expect("an expectation");
    serde_json::from_slice(&text).expect("JSON")
}

fn config(dir: PathBuf, expect: &Value) -> Config {
    let mut config = Config::single("m0", dir, "http://127.0.0.1:14002", "http://127.0.0.1:14001");
    let flags: Vec<&str> = expect["server_flags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let flag = |name: &str| {
        let at = flags.iter().position(|flag| *flag == name)?;
        flags.get(at + 1).copied()
    };
    if let Some(name) = flag("--name") {
        config.name = name.into();
    }
    if let Some(url) = flag("--advertise-client-urls") {
        config.client_urls = vec![url.into()];
    }
    if flags.is_empty()
        && let Some(member) = expect["go_start"]
            .as_object()
            .and_then(|all| all.values().next())
            .map(|go| &go["members"][0])
    {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        config.name = text(&member["name"]).unwrap_or(config.name);
        config.client_urls = text(&member["clientURLs"][0]).map_or(config.client_urls, |url| vec![url]);
    }
    if let Some(count) = flag("--snapshot-count") {
        config.snapshot_count = count.parse().expect("a number");
    }
    config
}

fn check(name: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = unpack(name, dir.path());
    let expect = expectation(name);
    let (version, kind) = name.split_once('-').expect("version and kind");
    let config = config(path, &expect);
    let started = Node::start(&disk(), &config, 1_800_000_000_000);
    if let Some((_, text)) = REFUSED.iter().find(|(refused, _)| *refused == kind) {
        let error = started.err().unwrap_or_else(|| panic!("{name} was not refused"));
        assert!(error.contains(text), "{name}: {error}");
        return;
    }
    let mut node = started.unwrap_or_else(|error| panic!("{name}: {error}"));
    let go = expect["go_start"].get("3.7.1").unwrap_or(&expect["go_start"][version]);
    assert_eq!(go["starts"], true, "{name}: does Go start on it?");
    // The storage version is looked at every 4 s.
    for _ in 0..50 {
        node.tick().expect("goes on");
    }
    compare(name, &node, go);
    if expect["go_start"].get("3.7.1").is_some() {
        let state = node.parts.cluster.state();
        assert_eq!(
            json!(state.version.expect("agreed").to_string()),
            go["version_endpoint"]["etcdcluster"],
            "{name}"
        );
        assert_eq!(
            json!(state.storage_version.expect("known").to_string()),
            go["version_endpoint"]["storage"],
            "{name}"
        );
    }
    node.stop().expect("stops");
    let again = Node::start(&disk(), &config, 1_900_000_000_000).unwrap_or_else(|error| panic!("{name}, second start: {error}"));
    check_hash(name, &again, go);
}

/// 3.5 does not say at which revision it hashed.
fn check_hash(name: &str, node: &Node, go: &Value) {
    let mut hash = hash(node);
    if go["hashkv"].get("hash_revision").is_none() {
        hash.as_object_mut().expect("an object").remove("hash_revision");
    }
    assert_eq!(hash, go["hashkv"], "{name}");
}

fn hash(node: &Node) -> Value {
    let hash = node.parts.store.hash_kv(0).expect("a hash");
    let answer = pb::HashKvResponse {
        header: None,
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        hash_revision: hash.revision,
    };
    value("HashKVResponse", &answer)
}

fn compare(name: &str, node: &Node, go: &Value) {
    let parts = &node.parts;
    assert_eq!(json!(parts.cluster_id.to_string()), go["cluster_id_hex"], "{name}");
    assert_eq!(json!(parts.member_id.to_string()), go["member_id_hex"], "{name}");
    assert_eq!(json!(parts.progress.term().0), go["raft_term_now"], "{name}: one election");
    assert_eq!(json!(parts.store.revision()), go["current_revision"], "{name}");
    check_hash(name, node, go);
    let members: Vec<Value> = parts.cluster.members().iter().map(|m| value("Member", &m.to_pb())).collect();
    assert_eq!(json!(members), go["members"], "{name}");
    let alarms = parts.alarms.list(pb::AlarmType::None);
    let alarms: Vec<Value> = alarms.iter().map(|alarm| value("AlarmMember", alarm)).collect();
    assert_eq!(json!(alarms), go["alarms"], "{name}");
    let mut expected = go["leases"].clone();
    for lease in expected.as_array_mut().into_iter().flatten() {
        // Go hands them out in the order of a map: both are sorted as text.
        if let Some(keys) = lease.get_mut("keys").and_then(Value::as_array_mut) {
            keys.sort_by_key(Value::to_string);
        }
    }
    assert_eq!(leases(node), expected, "{name}");
    let everything = pb::RangeRequest {
        key: bytes::Bytes::from_static(b"\0"),
        range_end: bytes::Bytes::from_static(b"\0"),
        ..Default::default()
    };
    let found = parts
        .store
        .range(&everything)
        .and_then(|found| found.into_message())
        .expect("a range");
    assert_eq!(json!(found.count), go["key_count"], "{name}");
    if let Some(expected) = go.get("kvs").and_then(Value::as_array) {
        assert_eq!(found.kvs.len(), expected.len(), "{name}");
        for (kv, expected) in found.kvs.iter().zip(expected) {
            let mut got = value("mvccpb.KeyValue", kv);
            if let Some(digest) = expected["value"].as_str().filter(|text| text.starts_with("#sha256:")) {
                assert_eq!(digest.split(':').nth(1), Some(kv.value.len().to_string().as_str()), "{name}");
                got["value"] = expected["value"].clone();
            }
            assert_eq!(&got, expected, "{name}");
        }
    }
}

fn leases(node: &Node) -> Value {
    let mut ids: Vec<LeaseId> = node.parts.lessor.leases();
    ids.sort_unstable();
    let all = ids.into_iter().map(|id| {
        let info = node.parts.lessor.lookup(id, node.now, true).expect("a lease");
        let answer = pb::LeaseTimeToLiveResponse {
            id: id.0,
            granted_ttl: info.granted_ttl,
            keys: info.keys,
            ..Default::default()
        };
        let mut answer = value("LeaseTimeToLiveResponse", &answer);
        if let Some(keys) = answer.get_mut("keys").and_then(Value::as_array_mut) {
            keys.sort_by_key(Value::to_string);
        }
        answer
    });
    json!(all.collect::<Vec<_>>())
}

/// The names of all directories of single members that are at hand.
fn names() -> BTreeSet<String> {
    if shared().is_none() {
        eprintln!("the shared folder is absent: only the selection in tests/data is tested. Set QUORATE_SHARED.");
    }
    std::iter::once(data("data-dirs"))
        .chain(shared())
        .flat_map(|folder| fs::read_dir(folder).expect("fixtures"))
        .filter_map(|entry| {
            let file = entry.expect("an entry").file_name();
            file.to_str()?.strip_suffix(".tar.gz").map(str::to_owned)
        })
        .filter(|name| !name.contains("-set-"))
        .collect()
}

fn check_all(wanted: impl Fn(&str) -> bool) {
    let names: Vec<String> = names().into_iter().filter(|name| wanted(name)).collect();
    assert!(!names.is_empty());
    for name in names {
        check(&name);
    }
}

fn is_damaged(name: &str) -> bool {
    name.contains("-wal-") || name.contains("-db-")
}

#[test]
fn directories_of_3_5() {
    check_all(|name| name.starts_with("3.5.") && !is_damaged(name));
}

#[test]
fn directories_of_3_6() {
    check_all(|name| name.starts_with("3.6.") && !is_damaged(name));
}

#[test]
fn directories_of_3_7() {
    check_all(|name| name.starts_with("3.7.") && !is_damaged(name));
}

#[test]
fn damaged_logs() {
    check_all(|name| name.contains("-wal-"));
}

#[test]
fn damaged_databases() {
    check_all(|name| name.contains("-db-"));
}
