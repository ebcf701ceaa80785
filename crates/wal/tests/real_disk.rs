//! The log on the disk of this machine: locks between processes' handles, permissions, a segment prepared on another thread.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use api::pb::raftpb::{ConfState, Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use wal::{LogBatch, Options, PrepareJob, Prepared, Wal, WalError};
use world::DynDisk;
use world::os::OsDisk;

const OPTIONS: Options = Options { segment_bytes: 200_000 };

fn entry(index: u64) -> Entry {
    Entry {
        r#type: Some(0),
        term: Some(1),
        index: Some(index),
        data: Some(Bytes::from(vec![index as u8 | 1; 5000])),
    }
}

fn append(log: &mut Wal, index: u64) {
    let state = HardState {
        term: Some(1),
        vote: Some(1),
        commit: Some(index),
    };
    let batch = LogBatch {
        entries: &[entry(index)],
        hard_state: Some(&state),
    };
    log.append(&batch).unwrap();
    log.sync().unwrap();
    assert!(!log.needs_sync());
}

#[test]
fn a_log_lives_on_a_real_disk() {
    let temp = tempfile::tempdir().unwrap();
    let disk: DynDisk = Arc::new(OsDisk::default());
    // A slash at the end is how people give --wal-dir.
    let dir = temp.path().join("wal/");
    let mut log = Wal::create_with(&disk, &dir, b"metadata", OPTIONS).unwrap();
    assert!(matches!(
        Wal::create_with(&disk, &dir, b"metadata", OPTIONS),
        Err(WalError::AlreadyExists { .. })
    ));
    let start = walpb::Snapshot::default();
    assert!(matches!(Wal::open_with(&disk, &dir, &start, OPTIONS), Err(WalError::Locked { .. })));
    for index in 1..=150 {
        append(&mut log, index);
        if let Some(job) = log.segment_to_prepare() {
            let disk = disk.clone();
            log.prepared(std::thread::spawn(move || job.run(&disk)).join().unwrap());
        }
    }
    let names = wal::segments(&disk, &dir).unwrap();
    assert_eq!(names.len(), 4, "{names:?}");
    for (place, mode) in [(dir.clone(), 0o700), (dir.join(names[0].to_string()), 0o600)] {
        assert_eq!(std::fs::metadata(place).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(std::fs::metadata(dir.join(names[3].to_string())).unwrap().len(), 200_000);

    let snapshot = walpb::Snapshot {
        index: Some(100),
        term: Some(1),
        conf_state: Some(ConfState::default()),
    };
    assert!(wal::purge(&disk, &dir, 1).unwrap().is_empty(), "locked");
    log.save_snapshot(&snapshot).unwrap();
    log.release_locks_to(100);
    assert_eq!(wal::purge(&disk, &dir, 1).unwrap(), [names[0].to_string(), names[1].to_string()]);
    log.close().unwrap();
    let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    assert_eq!(wal::valid_snapshots(&disk, &dir).unwrap().len(), 1);
    let opened = Wal::open_with(&disk, &dir, &snapshot, OPTIONS).unwrap();
    assert_eq!(opened.entries, (101..=150).map(entry).collect::<Vec<_>>());
    assert_eq!((opened.hard_state.commit, opened.repaired), (Some(150), None));
}

#[test]
fn jobs_may_go_to_other_threads() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Wal>();
    is_send::<PrepareJob>();
    is_send::<Prepared>();
}
