//! Creating and opening logs, and the repair of a torn end.

use std::path::{Path, PathBuf};

use api::pb::raftpb::{Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use world::{DiskFile, DynDisk, OpenMode};

use crate::codec::Encoder;
use crate::error::At;
use crate::names::{SegmentName, choose, exists, segments};
use crate::records::Records;
use crate::replay::Replay;
use crate::segment::{DIR_MODE, SEGMENT_MODE, lock};
use crate::writer::{Segment, Tail, Wal};
use crate::{Options, WalError};

/// A log opened for appending, and all it held after the start snapshot.
pub struct Opened {
    pub wal: Wal,
    pub metadata: Bytes,
    pub hard_state: HardState,
    /// Those with an index above the start's, without gap.
    pub entries: Vec<Entry>,
    /// Whether the start snapshot has a record.
    pub start_found: bool,
    /// Set if the end of the last segment was torn and has been cut off.
    pub repaired: Option<Repair>,
}

/// What the repair of a torn end did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The segment, which was cut at `offset`.
    pub file: PathBuf,
    pub offset: u64,
    /// How many bytes were cut off, not counting zeros at the end. More than one torn write's worth means lost records.
    pub lost_bytes: u64,
    /// The copy made before.
    pub broken: PathBuf,
    /// What was wrong at `offset`.
    pub reason: String,
}

impl Wal {
    /// Makes a new log in a folder that holds none. It comes into being whole or not at all: it is written under `{dir}.tmp`.
    /// The folder's parent must be there.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the disk says.
    pub fn create(disk: &DynDisk, dir: &Path, metadata: &[u8]) -> Result<Wal, WalError> {
        Wal::create_with(disk, dir, metadata, Options::default())
    }

    /// As [`Wal::create`], with settings for tests.
    ///
    /// # Errors
    /// As [`Wal::create`].
    pub fn create_with(disk: &DynDisk, dir: &Path, metadata: &[u8], options: Options) -> Result<Wal, WalError> {
        if exists(disk, dir)? {
            return Err(WalError::AlreadyExists { dir: dir.to_owned() });
        }
        let tmp = with_suffix(dir, ".tmp");
        if disk.exists(&tmp).at("look for", &tmp)? {
            disk.remove_dir_all(&tmp).at("remove", &tmp)?;
        }
        disk.create_dir_all(&tmp, DIR_MODE).at("create", &tmp)?;
        let name = SegmentName { sequence: 0, index: 0 };
        let path = tmp.join(name.to_string());
        let file = disk.open(&path, OpenMode::CreateNew(SEGMENT_MODE)).at("create", &path)?;
        lock(&*file, &path)?;
        file.set_len(options.segment_bytes).at("extend", &path)?;
        let mut encoder = Encoder::new(0);
        encoder.crc();
        encoder.metadata(metadata);
        encoder.snapshot(&walpb::Snapshot::default());
        file.write_at(encoder.bytes(), 0).at("write to", &path)?;
        file.sync_data().at("sync", &path)?;
        disk.sync_dir(&tmp).at("sync", &tmp)?;
        // Not a log, so nothing of value: what an earlier attempt left.
        if disk.exists(dir).at("look for", dir)? {
            disk.remove_dir_all(dir).at("remove", dir)?;
        }
        disk.rename(&tmp, dir).at("rename to", dir)?;
        sync_parent(disk, dir)?;
        let written_to = encoder.bytes().len() as u64;
        let tail = Tail {
            hard_state: HardState::default(),
            last_index: 0,
            crc: encoder.running_crc(),
            written_to,
            filled_to: written_to,
        };
        let metadata = Bytes::copy_from_slice(metadata);
        Ok(Wal::assemble(disk, dir, options, metadata, vec![Segment { name, file }], tail))
    }

    /// Opens a log to go on writing behind a snapshot: locks the segments from there on, reads them, and makes the end clean. If a power
    /// cut tore the end of the last segment, that segment is copied to `.broken` and cut at the last good record, once.
    ///
    /// # Errors
    /// `Locked` if another process has it, damage that is not a torn end, and what the disk says.
    pub fn open(disk: &DynDisk, dir: &Path, start: &walpb::Snapshot) -> Result<Opened, WalError> {
        Wal::open_with(disk, dir, start, Options::default())
    }

    /// As [`Wal::open`], with settings for tests.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn open_with(disk: &DynDisk, dir: &Path, start: &walpb::Snapshot, options: Options) -> Result<Opened, WalError> {
        let names = choose(segments(disk, dir)?, start.index.unwrap_or(0), dir)?;
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let path = dir.join(name.to_string());
            let file = disk.open(&path, OpenMode::ReadWrite).at("open", &path)?;
            lock(&*file, &path)?;
            files.push((name, file));
        }
        // A killed process may have left a name or a record that was never synced. What is read here counts as kept, so it must be.
        disk.sync_dir(dir).at("sync", dir)?;
        sync_parent(disk, dir)?;

        let mut records = Records::over(files)?;
        let mut replay = Replay::new(start);
        let torn = replay.run(&mut records)?;
        let ((_, written_to), crc) = (records.position(), records.crc());
        let files = records.into_files();
        let segments: Vec<Segment> = files.into_iter().map(|(name, file)| Segment { name, file }).collect();
        let last = segments.last().expect("at least one was chosen");
        let path = dir.join(last.name.to_string());
        let repaired = match torn {
            None => None,
            Some(reason) => Some(repair(disk, dir, &*last.file, &path, written_to, reason)?),
        };
        clean_end(&*last.file, &path, written_to, options)?;

        let metadata = replay.metadata.unwrap_or_default();
        let tail = Tail {
            hard_state: replay.hard_state,
            last_index: replay.last_index.max(start.index.unwrap_or(0)),
            crc,
            written_to,
            filled_to: written_to,
        };
        Ok(Opened {
            wal: Wal::assemble(disk, dir, options, metadata.clone(), segments, tail),
            metadata,
            hard_state: replay.hard_state,
            entries: replay.entries,
            start_found: replay.start_found,
            repaired,
        })
    }
}

/// Cuts off whatever stands behind the last record and makes it durable that there are zeros: a later torn write is known by them, and
/// old bytes must not come back behind new ones.
fn clean_end(file: &dyn DiskFile, path: &Path, end: u64, options: Options) -> Result<(), WalError> {
    file.set_len(end).at("cut", path)?;
    if end < options.segment_bytes {
        file.set_len(options.segment_bytes).at("extend", path)?;
    }
    file.sync_data().at("sync", path)
}

/// Copies the segment to `.broken`. The caller then cuts it.
fn repair(disk: &DynDisk, dir: &Path, file: &dyn DiskFile, path: &Path, end: u64, reason: String) -> Result<Repair, WalError> {
    let broken = with_suffix(path, ".broken");
    let copy = disk.open(&broken, OpenMode::CreateIfMissing(SEGMENT_MODE)).at("create", &broken)?;
    copy.set_len(0).at("empty", &broken)?;
    let len = file.len().at("measure", path)?;
    let mut chunk = vec![0; 1 << 20];
    let (mut at, mut used) = (0, end);
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(chunk.len());
        let part = &mut chunk[..count];
        file.read_exact_at(part, at).at("read", path)?;
        // Runs of zeros stay holes: a segment is mostly that.
        if let Some(last) = part.iter().rposition(|b| *b != 0) {
            copy.write_at(part, at).at("write to", &broken)?;
            used = used.max(at + last as u64 + 1);
        }
        at += count as u64;
    }
    copy.set_len(len).at("extend", &broken)?;
    copy.sync_data().at("sync", &broken)?;
    disk.sync_dir(dir).at("sync", dir)?;
    Ok(Repair {
        file: path.to_owned(),
        offset: end,
        lost_bytes: used - end,
        broken,
        reason,
    })
}

/// The name beside it; a slash at the end of the path does not count.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn sync_parent(disk: &DynDisk, dir: &Path) -> Result<(), WalError> {
    match dir.parent() {
        Some(parent) if parent != Path::new("") => disk.sync_dir(parent).at("sync", parent),
        _ => disk.sync_dir(Path::new(".")).at("sync", Path::new(".")),
    }
}
