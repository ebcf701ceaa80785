//! Whole log folders and snapshot files of real Go etcd: opened to go on writing, repaired where Go repairs, refused where Go refuses.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use api::pb::raftpb::{ConfState, Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use common::{Fixture, Unpacked, expectations, hex, num, recordings, sha256, unpack};
use serde_json::Value;
use wal::v2store::{self, Membership};
use wal::{LogBatch, SnapError, Wal, WalError, snap};
use world::Disk;

const DIR: &str = "/member/wal";

fn start_of(fixture: &Fixture) -> walpb::Snapshot {
    let valid = wal::valid_snapshots(&fixture.dyn_disk, Path::new(DIR)).unwrap();
    valid.last().cloned().unwrap_or_default()
}

/// Appends behind what was opened, and reads it again.
fn goes_on(fixture: &Fixture, start: &walpb::Snapshot, last_index: u64, term: u64, at: &str) {
    let opened = Wal::open(&fixture.dyn_disk, Path::new(DIR), start).unwrap();
    assert_eq!(opened.repaired, None, "{at}: repaired once and for all");
    let mut log = opened.wal;
    assert_eq!(log.last_index(), last_index, "{at}");
    let entry = Entry {
        r#type: Some(0),
        term: Some(term),
        index: Some(last_index + 1),
        data: Some(Bytes::from_static(b"ours")),
    };
    let state = HardState {
        commit: Some(last_index + 1),
        ..opened.hard_state
    };
    let batch = LogBatch {
        entries: std::slice::from_ref(&entry),
        hard_state: Some(&state),
    };
    log.append(&batch).unwrap();
    log.sync().unwrap();
    drop(log);
    // Even a power cut keeps it.
    let after = fixture.disk.crash_losing_all();
    let outcome = wal::read(&after.dyn_disk(), Path::new(DIR), start).unwrap();
    assert_eq!(outcome.end.torn, None, "{at}");
    assert_eq!(outcome.entries.last(), Some(&entry), "{at}");
    assert_eq!(outcome.hard_state, state, "{at}");
    assert_eq!(outcome.entries.len(), opened.entries.len() + 1, "{at}");
}

fn check_dir(name: &str, expected: &Value) {
    let fixture = unpack(name);
    let (disk, dir) = (&fixture.dyn_disk, Path::new(DIR));
    let wal = &expected["wal"];
    if name.ends_with("wal-file-missing") {
        assert!(!wal::exists(disk, dir).unwrap());
        return;
    }
    if name.contains("-wal-crc-") || name.ends_with("middle-segment-missing") {
        return refused(&fixture, name, expected);
    }
    let start = start_of(&fixture);
    let read = wal::read(disk, dir, &start).unwrap();
    assert!(read.start_found, "{name}");
    let torn = ["wal-torn", "length-garbage", "last-body-zero"]
        .iter()
        .any(|damage| name.contains(damage));
    assert_eq!(read.end.torn.is_some(), torn, "{name}: {:?}", read.end);
    let opened = Wal::open(disk, dir, &start).unwrap();
    assert_eq!(opened.repaired.is_some(), torn, "{name}");
    assert_eq!((&opened.entries, &opened.hard_state), (&read.entries, &read.hard_state), "{name}");
    assert!(opened.start_found && read.metadata.as_ref() == Some(&opened.metadata), "{name}");

    let state = &wal["last_hard_state"];
    let (term, vote, commit) = (num(&state["term"]), hex(&state["vote"]), num(&state["commit"]));
    assert_eq!(
        (opened.hard_state.term, opened.hard_state.vote, opened.hard_state.commit),
        (Some(term), Some(vote), Some(commit)),
        "{name}"
    );
    // The dumper counts the torn entry itself.
    let last_index = num(&wal["last_entry_in_file_order"]["index"]) - u64::from(name.contains("torn-sector"));
    assert_eq!(opened.wal.last_index(), last_index, "{name}");
    if let Some(offset) = wal["reading_ended"].get("offset") {
        assert_eq!(read.end.offset, num(offset), "{name}");
    }
    if let Some(repair) = &opened.repaired {
        assert_eq!(repair.offset, read.end.offset, "{name}");
        assert!(repair.broken.to_str().unwrap().ends_with(".wal.broken") && disk.exists(&repair.broken).unwrap());
        let lost_much = name.contains("length-garbage");
        assert_eq!(repair.lost_bytes > 10_000, lost_much, "{name}: {repair:?}");
    }
    drop(opened);
    goes_on(&fixture, &start, last_index, term, name);
}

fn refused(fixture: &Fixture, name: &str, expected: &Value) {
    let (disk, dir) = (&fixture.dyn_disk, Path::new(DIR));
    let wal = &expected["wal"];
    let before = fixture.disk.calls();
    let errors = [
        wal::valid_snapshots(disk, dir).unwrap_err(),
        wal::read(disk, dir, &walpb::Snapshot::default()).unwrap_err(),
        Wal::open(disk, dir, &walpb::Snapshot::default()).err().unwrap(),
    ];
    let place = format!(
        "in file '{}' at position: {}",
        wal["reading_ended"]["file"].as_str().unwrap(),
        wal["reading_ended"]["offset"]
    );
    for error in errors {
        assert!(matches!(error, WalError::CrcMismatch { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(
            text.starts_with(expected["error"].as_str().unwrap()) && text.contains(&place),
            "{name}: {text}"
        );
    }
    assert!(fixture.disk.calls() - before <= 2, "nothing but names was synced");
}

#[test]
fn folders_open_as_with_go() {
    let expectations = expectations();
    assert!(expectations.len() > 50);
    for (name, expected) in &expectations {
        check_dir(name, expected);
    }
}

fn conf_state(value: &Value) -> ConfState {
    let ids = |value: &Value| value.as_array().map_or_else(Vec::new, |list| list.iter().map(hex).collect());
    ConfState {
        voters: ids(&value["voters"]),
        learners: ids(&value["learners"]),
        voters_outgoing: ids(&value["voters_outgoing"]),
        learners_next: ids(&value["learners_next"]),
        auto_leave: value["auto_leave"].as_bool(),
    }
}

/// The order in which Go set the members: by the index of the write.
fn in_order_of_writing(mut membership: Membership, store: &Value) -> Membership {
    let index = |dir: &str, id: u64| num(&store["Root"]["Children"]["0"]["Children"][dir]["Children"][format!("{id:x}")]["CreatedIndex"]);
    membership.members.sort_by_key(|member| index("members", member.id));
    membership.removed.sort_by_key(|id| index("removed_members", *id));
    membership
}

/// By id, the parsed `raftAttributes` and `attributes`.
type Members = BTreeMap<u64, (Value, Value)>;

fn expected_membership(store: &Value) -> (Members, Vec<u64>, Option<String>) {
    let cluster = &store["Root"]["Children"]["0"]["Children"];
    let parsed = |node: &Value| {
        node["Value"]
            .as_str()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    };
    let ids = |dir: &Value| -> Vec<u64> {
        let children = dir["Children"].as_object();
        children.map_or_else(Vec::new, |map| map.keys().map(|id| u64::from_str_radix(id, 16).unwrap()).collect())
    };
    let member = |id: u64| {
        let node = &cluster["members"]["Children"][format!("{id:x}")]["Children"];
        (id, (parsed(&node["raftAttributes"]), parsed(&node["attributes"])))
    };
    let members = ids(&cluster["members"]).into_iter().map(member).collect();
    let version = cluster["version"]["Value"].as_str().map(str::to_owned);
    (members, ids(&cluster["removed_members"]), version)
}

#[test]
fn snapshot_files_are_read_and_written_as_with_go() {
    let mut files = 0;
    let mut unpacked = Unpacked::default();
    for recording in recordings("snap") {
        let fixture = unpacked.get(&recording.name);
        for line in &recording.lines {
            let at = format!("{} {}", recording.label, line["file"]);
            let name = line["file"].as_str().unwrap();
            let path = recording.member.join("snap").join(name);
            let content = fixture.disk.read_file(&path).unwrap();
            assert_eq!(content.len() as u64, num(&line["size"]), "{at}");
            let snapshot = snap::read(&fixture.dyn_disk, &path).unwrap_or_else(|error| panic!("{at}: {error}"));
            let metadata = snapshot.metadata.clone().unwrap();
            let (term, index) = (num(&line["term"]), num(&line["index"]));
            assert_eq!((metadata.term, metadata.index), (Some(term), Some(index)), "{at}");
            assert_eq!(snap::parse_name(name), Some((term, index)), "{at}");
            assert_eq!(snap::file_name(term, index), name, "{at}");
            let mut found = metadata.conf_state.unwrap();
            found.auto_leave.get_or_insert(false);
            assert_eq!(found, conf_state(&line["conf_state"]), "{at}");
            let data = snapshot.data.clone().unwrap();
            assert_eq!(data.len() as u64, num(&line["data_len"]), "{at}");
            assert_eq!(sha256(&data), line["data_sha256"].as_str().unwrap(), "{at}");
            if !recording.name.starts_with("3.7.") {
                assert!(snap::encode(&snapshot) == content, "{at}: encoded differently");
            }
            check_v2_store(&data, &line["v2_store"], &recording.name, &at);
            files += 1;
        }
    }
    assert!(files > 150, "{files} files");
}

fn check_v2_store(data: &[u8], store: &Value, name: &str, at: &str) {
    let membership = v2store::decode(data).unwrap_or_else(|error| panic!("{at}: {error}"));
    let (members, removed, version) = expected_membership(store);
    assert_eq!(membership.cluster_version, version, "{at}");
    assert_eq!(membership.removed, removed, "{at}");
    assert_eq!(membership.members.len(), members.len(), "{at}");
    for member in &membership.members {
        let (raft, attributes) = &members[&member.id];
        assert_eq!(serde_json::to_value(&member.peer_urls).unwrap(), raft["peerURLs"], "{at}");
        assert_eq!(member.is_learner, raft["isLearner"].as_bool().unwrap_or(false), "{at}");
        assert_eq!(member.name, attributes["name"].as_str().unwrap_or(""), "{at}");
        assert_eq!(
            member.client_urls.len(),
            attributes["clientURLs"].as_array().map_or(0, Vec::len),
            "{at}"
        );
    }
    // 3.5 writes the store it has lived with; 3.6 and 3.7 make a fresh one, as this does.
    let encoded = v2store::encode(&in_order_of_writing(membership.clone(), store));
    if !name.starts_with("3.5.") && !name.ends_with("downgrade-finished") {
        assert!(
            encoded == data,
            "{at}:\n{}\n{}",
            String::from_utf8_lossy(&encoded),
            String::from_utf8_lossy(data)
        );
    }
    assert_eq!(v2store::decode(&encoded).unwrap(), membership, "{at}");
}

#[test]
fn the_newest_usable_snapshot_is_loaded() {
    for (name, index, broken) in [
        ("3.6.14-snaps", 357, 0),
        ("3.7.1-snap-newest-missing", 306, 0),
        ("3.5.33-snap-newest-corrupt", 306, 1),
        ("3.6.14-snap-newest-corrupt", 306, 1),
    ] {
        let fixture = unpack(name);
        let valid = wal::valid_snapshots(&fixture.dyn_disk, Path::new(DIR)).unwrap();
        let dir = Path::new("/member/snap");
        let loaded = snap::load_newest(&fixture.dyn_disk, dir, &valid).unwrap();
        assert_eq!(loaded.snapshot.metadata.unwrap().index, Some(index), "{name}");
        assert_eq!(loaded.broken.len(), broken, "{name}");
        for (path, reason) in loaded.broken {
            assert!(path.to_str().unwrap().ends_with("0000000000000165.snap.broken"), "{name}");
            assert!(reason.contains("crc mismatch") && reason.contains(".snap"), "{name}: {reason}");
            assert!(fixture.disk.exists(&path).unwrap());
        }
        // A file without its record does not count, however new.
        let older = &valid[..3];
        let loaded = snap::load_newest(&fixture.dyn_disk, dir, older).unwrap();
        assert_eq!(loaded.snapshot.metadata.unwrap().index, older[2].index, "{name}");
    }
    let fixture = unpack("3.7.1-snap-all-missing");
    fixture.disk.create_dir_all(Path::new("/member/snap"), 0o700).unwrap();
    let valid = wal::valid_snapshots(&fixture.dyn_disk, Path::new(DIR)).unwrap();
    let error = snap::load_newest(&fixture.dyn_disk, Path::new("/member/snap"), &valid).unwrap_err();
    assert!(matches!(error, SnapError::NoSnapshot { .. }), "{error}");
}
