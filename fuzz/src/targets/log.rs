//! What `wal` reads: segments, `.snap` files, the v2 store in them; and the requests in entries.

use std::path::Path;

use api::pb::raftpb::{Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use prost::Message;
use wal::{LogBatch, Wal, WalError, snap, v2store};
use world::Disk;
use world::sim::SimDisk;

use super::Play;
use crate::corpus;

const DIR: &str = "/member/wal";
const DIRECTORIES: [&str; 4] = ["3.5.33-killed", "3.6.14-snaps", "3.7.1-clean", "3.7.1-snaps"];

fn options() -> wal::Options {
    wal::Options { segment_bytes: 1 << 20 }
}

/// Every way to read a log; a log that opens takes an entry, and shows it when it is read again.
fn read(segments: &[Vec<u8>]) {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR), 0o700).expect("a folder");
    for (number, bytes) in segments.iter().enumerate() {
        let name = format!("{number:016x}-{:016x}.wal", number * 100);
        disk.install_file(&Path::new(DIR).join(name), bytes).expect("a file");
    }
    let (disk, dir) = (disk.dyn_disk(), Path::new(DIR));
    let valid = wal::valid_snapshots(&disk, dir).unwrap_or_default();
    for start in valid.into_iter().rev().take(2).chain([walpb::Snapshot::default()]) {
        if let Err(error) = wal::read(&disk, dir, &start) {
            named(&error);
        }
        let opened = match Wal::open_with(&disk, dir, &start, options()) {
            Ok(opened) => opened,
            Err(error) => {
                named(&error);
                continue;
            }
        };
        let mut log = opened.wal;
        let index = log.last_index() + 1;
        let entry = Entry {
            r#type: Some(0),
            term: Some(9),
            index: Some(index),
            data: Some(Bytes::from_static(b"ours")),
        };
        let state = HardState {
            commit: Some(index),
            ..opened.hard_state
        };
        let batch = LogBatch {
            entries: std::slice::from_ref(&entry),
            hard_state: Some(&state),
        };
        log.append(&batch).expect("a log that opens takes an entry");
        log.sync().expect("a sound disk");
        drop(log);
        let again = wal::read(&disk, dir, &start).expect("a log that opened is sound");
        assert_eq!(again.entries.last(), Some(&entry), "the entry is there");
        return;
    }
}

fn named(error: &WalError) {
    let text = error.to_string();
    assert!(text.contains(".wal") || text.contains(DIR), "an error that names no file: {text}");
}

pub fn bytes() -> Play {
    let seeds = corpus::files(&DIRECTORIES, "wal");
    Box::new(move |chance| {
        let bytes = chance.damaged(&seeds, &[&[0; 8], &[0xff; 8], &[0, 0, 0, 0, 0, 0, 0, 0x87]]);
        if chance.one_in(4) {
            let next = chance.pick(&seeds).clone();
            return read(&[bytes, next]);
        }
        read(&[bytes]);
    })
}

/// A record of a segment, apart.
#[derive(Clone)]
struct Part {
    kind: i64,
    data: Option<Bytes>,
}

/// Takes a sound segment apart.
fn parts(bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let field = u64::from_le_bytes(*head);
        let (len, pad) = ((field & ((1 << 56) - 1)) as usize, (field >> 56 & 7) as usize);
        if len == 0 || after.len() < len + pad {
            break;
        }
        let record = walpb::Record::decode(&after[..len]).expect("a record");
        parts.push(Part {
            kind: record.r#type.unwrap_or(0),
            data: record.data,
        });
        rest = &after[len + pad..];
    }
    parts
}

/// Puts records together again, under good checksums.
fn join(parts: &[Part]) -> Vec<u8> {
    const CRC: i64 = 4;
    let (mut out, mut crc) = (Vec::new(), 0);
    for part in parts {
        if let Some(data) = &part.data
            && part.kind != CRC
        {
            crc = crc32c::crc32c_append(crc, data);
        }
        let record = walpb::Record {
            r#type: Some(part.kind),
            crc: Some(crc),
            data: part.data.clone(),
        };
        let record = record.encode_to_vec();
        let pad = record.len().next_multiple_of(8) - record.len();
        let field = record.len() as u64 | if pad == 0 { 0 } else { (0x80 | pad as u64) << 56 };
        out.extend_from_slice(&field.to_le_bytes());
        out.extend_from_slice(&record);
        out.resize(out.len() + pad, 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

pub fn records() -> Play {
    let seeds: Vec<Vec<Part>> = corpus::files(&DIRECTORIES, "wal").iter().map(|bytes| parts(bytes)).collect();
    read(&[join(&seeds[0])]);
    Box::new(move |chance| {
        // A head and a stretch of records, so that damage is not far from anything.
        let all = chance.pick(&seeds).clone();
        let from = chance.below(all.len());
        let most = chance.below(30);
        let mut parts: Vec<Part> = all.iter().take(4).chain(all.iter().skip(from).take(most)).cloned().collect();
        for _ in 0..=chance.below(4) {
            let at = chance.below(parts.len());
            let from = chance.below(parts.len());
            match chance.below(6) {
                0 => drop(parts.remove(at)),
                1 => parts.swap(at, from),
                2 => parts.insert(at, all[chance.below(all.len())].clone()),
                3 => parts[at].kind = chance.below(9) as i64 - 1,
                _ => {
                    let mut data = parts[at].data.clone().unwrap_or_default().to_vec();
                    chance.damage(&mut data, &[]);
                    parts[at].data = (!data.is_empty() || chance.one_in(2)).then(|| data.into());
                }
            }
            if parts.is_empty() {
                break;
            }
        }
        read(&[join(&parts)]);
    })
}

pub fn snap() -> Play {
    let seeds = corpus::files(&["3.5.33-snaps", "3.6.14-snaps", "3.7.1-snaps"], "snap");
    Box::new(move |chance| {
        let bytes = chance.damaged(&seeds, &[]);
        if let Ok(snapshot) = snap::decode(bytes.into(), Path::new("/x.snap")) {
            open_snapshot(&snapshot);
        }
        // The same damage where the checksum does not see it.
        let sound = snap::decode(chance.pick(&seeds).clone().into(), Path::new("/x.snap")).expect("a sound seed");
        let mut bytes = sound.encode_to_vec();
        chance.damage(&mut bytes, &[]);
        let Ok(damaged) = api::pb::raftpb::Snapshot::decode(&bytes[..]) else {
            return;
        };
        let file = snap::encode(&damaged);
        if let Ok(snapshot) = snap::decode(file.into(), Path::new("/x.snap")) {
            open_snapshot(&snapshot);
        }
    })
}

fn open_snapshot(snapshot: &api::pb::raftpb::Snapshot) {
    if let Some(data) = &snapshot.data {
        let _ = v2store::decode(data);
    }
}

pub fn v2store() -> Play {
    let data = |bytes: Vec<u8>| {
        let snapshot = snap::decode(bytes.into(), Path::new("/x.snap")).expect("a sound seed");
        snapshot.data.expect("a store").to_vec()
    };
    let seeds: Vec<Vec<u8>> = corpus::files(&["3.5.33-snaps", "3.6.14-snaps", "3.7.1-snaps"], "snap")
        .into_iter()
        .map(data)
        .collect();
    Box::new(move |chance| {
        let words: [&[u8]; 8] = [b"null", b"{}", b"[]", b"\"", b"\\u0000", b"\\ud800", b"-1", b"\"Children\":{"];
        let bytes = chance.damaged(&seeds, &words);
        if let Ok(membership) = v2store::decode(&bytes) {
            let again = v2store::decode(&v2store::encode(&membership)).expect("what we write we read");
            assert_eq!(again, membership);
        }
    })
}

pub fn request() -> Play {
    let mut seeds = Vec::new();
    for bytes in corpus::files(&DIRECTORIES, "wal") {
        let entries = parts(&bytes).into_iter().filter(|part| part.kind == wal::kind::ENTRY);
        let entries = entries.filter_map(|part| Entry::decode(part.data?).ok());
        seeds.extend(
            entries
                .filter(|entry| entry.r#type.unwrap_or(0) == 0)
                .filter_map(|entry| entry.data)
                .map(|data| data.to_vec()),
        );
    }
    assert!(seeds.len() > 100);
    Box::new(move |chance| {
        let bytes = Bytes::from(chance.damaged(&seeds, &[b"/0/members/", b"/0/version", b"PUT", b"SYNC"]));
        if let Err(error) = member::request::decode(bytes.clone()) {
            assert!(!error.to_string().is_empty());
        }
        // The same bytes as what a client sends.
        if let Ok(put) = api::pb::etcdserverpb::PutRequest::decode(bytes.clone()) {
            let _ = mvcc::check::put(&put);
        }
        if let Ok(range) = api::pb::etcdserverpb::RangeRequest::decode(bytes.clone()) {
            let _ = mvcc::check::range(&range);
        }
        if let Ok(txn) = api::pb::etcdserverpb::TxnRequest::decode(bytes) {
            let _ = mvcc::check::txn(&txn, 128);
        }
    })
}
