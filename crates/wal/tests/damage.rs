//! Truncated, flipped, zeroed, shuffled and foreign files: a clear error that names the file, or the documented repair. Never a panic,
//! never a hang, never an entry that was not written.

#[path = "common/history.rs"]
mod history;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::pb::raftpb::{ConfState, Entry, Snapshot, SnapshotMetadata};
use api::pb::walpb;
use bytes::Bytes;
use history::{DIR, Model, Run, Step};
use proptest::prelude::*;
use wal::v2store::{self, Member, Membership};
use wal::{LogBatch, SnapError, Wal, WalError, snap};
use world::os::SplitMix;
use world::sim::SimDisk;
use world::{Disk, Rng};

const SEGMENT_BYTES: u64 = 4096;

type Files = BTreeMap<String, Vec<u8>>;

/// A log of several segments, and the entries in it.
fn good_log() -> (Files, Vec<Entry>) {
    let disk = SimDisk::new();
    let mut run = Run::new(&disk, Model::new(SEGMENT_BYTES));
    run.start().unwrap();
    for round in 0..24u8 {
        let size = [30, 700, 100, 1200][usize::from(round % 4)];
        run.step(&Step::Append {
            entries: 1 + round % 3,
            back: 0,
            size,
            zeros: round % 5 == 0,
            state: true,
        })
        .unwrap();
        if round == 10 || round == 17 {
            run.step(&Step::Snapshot).unwrap();
        }
    }
    run.step(&Step::Sync).unwrap();
    let mut entries = Vec::new();
    for record in &run.model.records {
        if let history::Wrote::Entry(entry) = record {
            entries.push(entry.clone());
        }
    }
    let names = wal::segments(&disk.dyn_disk(), Path::new(DIR)).unwrap();
    assert!(names.len() >= 4);
    let content = |name: &wal::SegmentName| (name.to_string(), disk.read_file(&Path::new(DIR).join(name.to_string())).unwrap());
    (names.iter().map(content).collect(), entries)
}

struct Chance(SplitMix);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n.max(1) as u64) as usize
    }
}

fn damage(files: &mut Files, chance: &mut Chance) -> String {
    let names: Vec<String> = files.keys().cloned().collect();
    // Most damage in the last segment, where repair is allowed.
    let pick = if chance.below(2) == 0 {
        names.len() - 1
    } else {
        chance.below(names.len())
    };
    let name = names[pick].clone();
    let other = files[&names[chance.below(names.len())]].clone();
    let content = files.get_mut(&name).unwrap();
    let used = content.iter().rposition(|b| *b != 0).unwrap_or(0) + 1;
    let at = chance.below(used);
    let most = [4, 64, 600, 2000][chance.below(4)];
    let len = 1 + chance.below(most);
    let end = (at + len).min(content.len());
    match chance.below(9) {
        0 => content.truncate(at),
        1 | 2 => {
            for _ in 0..1 + chance.below(3) {
                let at = chance.below(used);
                content[at] ^= 1 << chance.below(8);
            }
        }
        3 => content[at..end].fill(0),
        4 => content[at..end].fill_with(|| chance.0.next_u64() as u8),
        5 => {
            let (from, whole) = (chance.below(other.len()), end - at);
            let part = &other[from..(from + whole).min(other.len())];
            content[at..at + part.len()].copy_from_slice(part);
        }
        6 => {
            content.drain(at..end);
        }
        7 => {
            let _ = files.remove(&name);
        }
        _ => {
            let _ = files.insert(name.clone(), other);
        }
    }
    format!("{name} at {at}")
}

fn install(files: &Files) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR), 0o700).unwrap();
    for (name, content) in files {
        disk.install_file(&Path::new(DIR).join(name), content).unwrap();
    }
    disk
}

fn names_a_file(error: &WalError, at: &str) {
    let text = error.to_string();
    assert!(text.contains(".wal'") || text.contains(DIR), "{at}: {text}");
}

/// Entries with data can only be those written: their checksum holds. (One without may be a hard state whose type byte was flipped,
/// which no checksum covers.)
fn only_written(entries: &[Entry], written: &[Entry], at: &str) {
    for entry in entries.iter().filter(|entry| entry.data.is_some()) {
        assert!(written.contains(entry), "{at}: {entry:?}");
    }
}

fn check_damaged(files: &Files, written: &[Entry], at: &str) -> bool {
    let disk = install(files);
    let (dyn_disk, dir) = (disk.dyn_disk(), Path::new(DIR));
    let valid = wal::valid_snapshots(&dyn_disk, dir);
    let start = match &valid {
        Ok(valid) => valid.last().cloned().unwrap_or_default(),
        Err(error) => {
            names_a_file(error, at);
            walpb::Snapshot::default()
        }
    };
    match wal::read(&dyn_disk, dir, &start) {
        Ok(outcome) => only_written(&outcome.entries, written, at),
        Err(error) => names_a_file(&error, at),
    }
    let options = wal::Options {
        segment_bytes: SEGMENT_BYTES,
    };
    let mut opened = match Wal::open_with(&dyn_disk, dir, &start, options) {
        Ok(opened) => opened,
        Err(error) => {
            names_a_file(&error, at);
            return false;
        }
    };
    only_written(&opened.entries, written, at);
    let entry = Entry {
        r#type: Some(0),
        term: Some(99),
        index: Some(start.index() + opened.entries.len() as u64 + 1),
        data: Some(Bytes::from_static(b"after the damage")),
    };
    let batch = LogBatch {
        entries: std::slice::from_ref(&entry),
        hard_state: None,
    };
    opened.wal.append(&batch).unwrap();
    opened.wal.sync().unwrap();
    drop(opened);
    let again = wal::read(&disk.crash_losing_all().dyn_disk(), dir, &start).unwrap();
    assert_eq!(again.end.torn, None, "{at}");
    assert_eq!(again.entries.last(), Some(&entry), "{at}");
    true
}

#[test]
fn damaged_logs_are_refused_or_repaired() {
    let (good, written) = good_log();
    assert!(check_damaged(&good, &written, "undamaged"));
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..4000 {
        let mut chance = Chance(SplitMix(seed));
        let mut files = good.clone();
        let mut at = format!("seed {seed}");
        for _ in 0..1 + chance.below(2) {
            if !files.is_empty() {
                at = format!("{at}, {}", damage(&mut files, &mut chance));
            }
        }
        println!("{at}");
        if check_damaged(&files, &written, &at) {
            opened += 1;
        } else {
            refused += 1;
        }
    }
    assert!(opened > 500 && refused > 500, "{opened} opened, {refused} refused");
}

/// Every length the last segment can be cut to.
#[test]
fn a_log_cut_anywhere_opens_with_a_prefix() {
    let (good, written) = good_log();
    let last = good.keys().next_back().unwrap().clone();
    for len in 0..good[&last].len() {
        let mut files = good.clone();
        files.get_mut(&last).unwrap().truncate(len);
        assert!(check_damaged(&files, &written, &format!("cut to {len}")), "cut to {len}");
    }
}

#[test]
fn foreign_files_are_refused() {
    let noise: Vec<u8> = {
        let mut rng = SplitMix(5);
        (0..9000).map(|_| rng.next_u64() as u8).collect()
    };
    let text = b"{\"Root\":{\"Path\":\"/\"}} and more text than one would think".repeat(100);
    for content in [
        noise.clone(),
        text.clone(),
        vec![0xff; 5000],
        vec![1, 0, 0, 0, 0, 0, 0, 0, 8],
        vec![0; 3],
    ] {
        let name = "0000000000000000-0000000000000000.wal".to_owned();
        let disk = install(&Files::from([(name.clone(), content)]));
        let (dyn_disk, dir) = (disk.dyn_disk(), Path::new(DIR));
        match wal::read(&dyn_disk, dir, &walpb::Snapshot::default()) {
            Ok(outcome) => assert!(outcome.entries.is_empty() && outcome.end.torn.is_some() && outcome.end.offset == 0),
            Err(error) => names_a_file(&error, "foreign"),
        }
        let path = Path::new("/x.snap");
        disk.install_file(path, &noise).unwrap();
        let error = snap::read(&dyn_disk, path).unwrap_err();
        assert!(error.to_string().contains("/x.snap"), "{error}");
    }
    // What is no segment by its name is no concern.
    let (good, written) = good_log();
    let mut files = good;
    for odd in [
        "zz.txt",
        "5.tmp",
        "0.tmp",
        "1-2.wal",
        "0000000000000000-0000000000000000.wal.broken",
    ] {
        files.insert(odd.to_owned(), noise.clone());
    }
    assert!(check_damaged(&files, &written, "odd names"));
}

fn membership() -> Membership {
    Membership {
        members: vec![
            Member {
                id: 0x8633_bdd0_7432_13ae,
                peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
                is_learner: false,
                name: "m<0>&\"\\".to_owned(),
                client_urls: vec!["http://127.0.0.1:2379".to_owned(), "unix://x\u{2028}y".to_owned()],
            },
            Member {
                id: 0xab,
                peer_urls: Vec::new(),
                is_learner: true,
                ..Member::default()
            },
        ],
        removed: vec![3, 4],
        cluster_version: Some("3.7.0".to_owned()),
    }
}

fn snapshot(index: u64) -> Snapshot {
    Snapshot {
        data: Some(v2store::encode(&membership()).into()),
        metadata: Some(SnapshotMetadata {
            conf_state: Some(ConfState {
                voters: vec![1, 2],
                ..ConfState::default()
            }),
            index: Some(index),
            term: Some(2),
        }),
    }
}

#[test]
fn damaged_snapshot_files_are_refused() {
    let path = PathBuf::from("/member/snap/0000000000000002-0000000000000007.snap");
    let good = snap::encode(&snapshot(7));
    let decoded = snap::decode(good.clone().into(), &path).unwrap();
    assert_eq!(decoded.data, snapshot(7).data);
    let refused = |content: Vec<u8>, at: &str| {
        let error = snap::decode(content.into(), &path).expect_err(at);
        assert!(error.to_string().contains("0000000000000007.snap"), "{at}: {error}");
    };
    for len in 0..good.len() {
        refused(good[..len].to_vec(), &format!("cut to {len}"));
    }
    for at in 0..good.len() {
        let mut content = good.clone();
        content[at] ^= 1 << (at % 8);
        refused(content, &format!("flipped at {at}"));
    }
    for seed in 0..500 {
        let mut rng = SplitMix(seed);
        let len = rng.next_u64() % 300;
        refused((0..len).map(|_| rng.next_u64() as u8).collect(), &format!("noise {seed}"));
    }
}

#[test]
fn snapshot_files_are_saved_loaded_and_purged() {
    let disk = SimDisk::new();
    let dir = Path::new("/member/snap");
    disk.create_dir_all(dir, 0o700).unwrap();
    for parent in ["/", "/member"] {
        disk.sync_dir(Path::new(parent)).unwrap();
    }
    let dyn_disk = disk.dyn_disk();
    for index in [0, 7, 9, 20, 300] {
        snap::save(&dyn_disk, dir, &snapshot(index)).unwrap();
    }
    let disk = disk.crash_losing_all(); // saved is durable
    let dyn_disk = disk.dyn_disk();
    assert_eq!(disk.list(dir).unwrap().len(), 4, "index 0 is not written");
    let record = |index| walpb::Snapshot {
        index: Some(index),
        term: Some(2),
        conf_state: None,
    };
    let loaded = snap::load_newest(&dyn_disk, dir, &[record(7), record(20)]).unwrap();
    assert_eq!(loaded.snapshot.metadata.unwrap().index, Some(20));
    for index in [5, 9, 10, 11] {
        disk.install_file(&snap::database_path(dir, index), b"image").unwrap();
    }
    disk.install_file(&dir.join("db"), b"x").unwrap();
    disk.install_file(&dir.join("db.tmp.123"), b"x").unwrap();
    disk.install_file(&dir.join("tmp777"), b"x").unwrap();
    assert_eq!(snap::remove_leftovers(&dyn_disk, dir).unwrap(), ["db.tmp.123", "tmp777"]);
    assert!(snap::find_database(&dyn_disk, dir, 10).is_ok());
    assert!(matches!(snap::find_database(&dyn_disk, dir, 6), Err(SnapError::NoDatabase { .. })));
    assert_eq!(
        snap::remove_databases_below(&dyn_disk, dir, 9).unwrap(),
        ["0000000000000005.snap.db"]
    );
    assert!(snap::purge(&dyn_disk, dir, 0).unwrap().is_empty());
    let removed = snap::purge(&dyn_disk, dir, 2).unwrap();
    assert_eq!(
        removed,
        [snap::file_name(2, 7), snap::file_name(2, 9), "0000000000000009.snap.db".to_owned()]
    );
    assert!(disk.exists(&dir.join("db")).unwrap());
}

#[test]
fn a_snapshot_that_cannot_be_saved_leaves_no_file() {
    for call in 1..=5 {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/snap"), 0o700).unwrap();
        disk.fault_at(disk.calls() + call, world::sim::Fault::Errno(world::sim::EIO));
        let error = snap::save(&disk.dyn_disk(), Path::new("/snap"), &snapshot(7)).unwrap_err();
        assert!(error.to_string().contains("/snap"), "{error}");
        assert!(disk.list(Path::new("/snap")).unwrap().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memberships_survive_the_v2_store(
        ids in prop::collection::btree_set(any::<u64>(), 0..40),
        removed in prop::collection::btree_set(any::<u64>(), 0..40),
        names in prop::collection::vec(any::<String>(), 3),
        version in prop::option::of("[0-9]\\.[0-9]\\.0"),
    ) {
        let mut by_text: Vec<u64> = ids.into_iter().collect();
        by_text.sort_by_key(|id| format!("{id:x}"));
        let mut removed: Vec<u64> = removed.into_iter().collect();
        removed.sort_by_key(|id| format!("{id:x}"));
        let members = by_text.into_iter().map(|id| Member {
            id,
            peer_urls: names[..(id % 3) as usize].to_vec(),
            is_learner: id % 5 == 0,
            // A member that never published has neither name nor client URLs.
            name: if id % 2 == 0 { names[2].clone() } else { String::new() },
            client_urls: if id % 2 == 0 { names.clone() } else { Vec::new() },
        }).collect();
        let membership = Membership { members, removed, cluster_version: version };
        prop_assert_eq!(v2store::decode(&v2store::encode(&membership)).unwrap(), membership);
    }

    #[test]
    fn damaged_v2_stores_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut json = v2store::encode(&membership());
        let at = at.index(2600); // beyond are nulls
        if cut {
            json.truncate(at);
        } else {
            json[at] = byte;
        }
        let _ = v2store::decode(&json);
    }

    #[test]
    fn noise_is_no_log(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let name = "0000000000000000-0000000000000000.wal".to_owned();
        check_damaged(&Files::from([(name, noise)]), &[], "noise");
    }
}

/// More writes than the store remembers: the list of events is a ring.
#[test]
fn the_v2_history_wraps_around() {
    let membership = Membership {
        removed: (1..=1003).collect(),
        ..Membership::default()
    };
    let json: serde_json::Value = serde_json::from_slice(&v2store::encode(&membership)).unwrap();
    let history = &json["WatcherHub"]["EventHistory"];
    let events = history["Queue"]["Events"].as_array().unwrap();
    assert_eq!(events.len(), 1000);
    assert_eq!(events[2]["node"]["createdIndex"], 1003);
    assert_eq!(events[3]["node"]["createdIndex"], 4);
    assert_eq!((&history["Queue"]["Front"], &history["Queue"]["Back"]), (&3.into(), &3.into()));
    assert_eq!((&history["StartIndex"], &history["LastIndex"]), (&4.into(), &1003.into()));
}
