//! `.snap` files: raft snapshots whose data is the membership as 3.5 and 3.6 want it, and the database images received beside them.
//!
//! 3.7 starts from the log's snapshot records and never reads these files; 3.5 and 3.6 start from nothing else. So each disk snapshot
//! writes one, before its record goes into the log: a record never lacks its file.

use std::path::{Path, PathBuf};

use api::pb::raftpb::{self, SnapshotMetadata};
use api::pb::{snappb, walpb};
use bytes::Bytes;
use prost::Message;
use world::{DynDisk, OpenMode};

use crate::SnapError;
use crate::error::At;
use crate::names::parse_hex16;

/// Permission bits before the umask, as etcd gives them.
pub(crate) const MODE: u32 = 0o666;

/// The name of a snapshot file: term first, then index (the log has it the other way round).
pub fn file_name(term: u64, index: u64) -> String {
    format!("{term:016x}-{index:016x}.snap")
}

/// Term and index of a snapshot file's name.
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (term, index) = name.strip_suffix(".snap")?.split_once('-')?;
    Some((parse_hex16(term)?, parse_hex16(index)?))
}

/// Encodes a snapshot file, every scalar written.
pub fn encode(snapshot: &raftpb::Snapshot) -> Vec<u8> {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let mut conf_state = metadata.conf_state.unwrap_or_default();
    conf_state.auto_leave.get_or_insert(false);
    let all = raftpb::Snapshot {
        data: snapshot.data.clone(),
        metadata: Some(SnapshotMetadata {
            conf_state: Some(conf_state),
            index: Some(metadata.index.unwrap_or(0)),
            term: Some(metadata.term.unwrap_or(0)),
        }),
    };
    let data = Bytes::from(all.encode_to_vec());
    let envelope = snappb::Snapshot {
        crc: Some(crc32c::crc32c(&data)),
        data: Some(data),
    };
    envelope.encode_to_vec()
}

/// Writes a snapshot file, syncs it and its name. An empty snapshot (index 0) is not written.
///
/// # Errors
/// What the disk says; then the file is removed again.
pub fn save(disk: &DynDisk, dir: &Path, snapshot: &raftpb::Snapshot) -> Result<(), SnapError> {
    let metadata = snapshot.metadata.as_ref();
    let index = metadata.and_then(|metadata| metadata.index).unwrap_or(0);
    let term = metadata.and_then(|metadata| metadata.term).unwrap_or(0);
    if index == 0 {
        return Ok(());
    }
    let path = dir.join(file_name(term, index));
    let write = || {
        let file = disk.open(&path, OpenMode::CreateIfMissing(MODE)).at_snap("create", &path)?;
        file.set_len(0).at_snap("empty", &path)?;
        file.write_at(&encode(snapshot), 0).at_snap("write to", &path)?;
        file.sync_data().at_snap("sync", &path)?;
        disk.sync_dir(dir).at_snap("sync", dir)
    };
    let written = write();
    if written.is_err() {
        // Half a file would be set aside as broken at the next start; if it cannot be removed, it is.
        let _ = disk.remove_file(&path);
    }
    written
}

/// Reads a snapshot file.
///
/// # Errors
/// `Disk`, or what is wrong with the content.
pub fn read(disk: &DynDisk, path: &Path) -> Result<raftpb::Snapshot, SnapError> {
    let file = disk.open(path, OpenMode::Read).at_snap("open", path)?;
    let len = usize::try_from(file.len().at_snap("measure", path)?).unwrap_or(usize::MAX);
    let mut content = vec![0; len];
    file.read_exact_at(&mut content, 0).at_snap("read", path)?;
    decode(content.into(), path)
}

/// Decodes a snapshot file's content; the path is for the message.
///
/// # Errors
/// `Empty`, `CrcMismatch`, `Undecodable`.
pub fn decode(content: Bytes, path: &Path) -> Result<raftpb::Snapshot, SnapError> {
    let undecodable = |error: prost::DecodeError| SnapError::Undecodable {
        detail: error.to_string(),
        path: path.to_owned(),
    };
    let empty = || SnapError::Empty { path: path.to_owned() };
    let envelope = snappb::Snapshot::decode(content).map_err(undecodable)?;
    let expected = envelope.crc.filter(|crc| *crc != 0).ok_or_else(empty)?;
    let data = envelope.data.filter(|data| !data.is_empty()).ok_or_else(empty)?;
    let computed = crc32c::crc32c(&data);
    if computed != expected {
        return Err(SnapError::CrcMismatch {
            expected,
            computed,
            path: path.to_owned(),
        });
    }
    raftpb::Snapshot::decode(data).map_err(undecodable)
}

/// A snapshot found, and what was set aside on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub snapshot: raftpb::Snapshot,
    pub path: PathBuf,
    /// The files renamed to `.broken`, with the reason.
    pub broken: Vec<(PathBuf, String)>,
}

/// The newest snapshot file that decodes and whose term and index are among the valid snapshot records of the log. Files passed on the
/// way that do not decode are renamed `.broken`.
///
/// # Errors
/// `NoSnapshot` if there is none, and what the disk says.
pub fn load_newest(disk: &DynDisk, dir: &Path, valid: &[walpb::Snapshot]) -> Result<Loaded, SnapError> {
    let mut broken = Vec::new();
    for name in names_ending(disk, dir, ".snap")?.into_iter().rev() {
        let path = dir.join(&name);
        let snapshot = match read(disk, &path) {
            Ok(snapshot) => snapshot,
            Err(error @ SnapError::Disk { .. }) => return Err(error),
            Err(error) => {
                let aside = dir.join(format!("{name}.broken"));
                disk.rename(&path, &aside).at_snap("set aside", &path)?;
                broken.push((aside, error.to_string()));
                continue;
            }
        };
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let place = (metadata.term.unwrap_or(0), metadata.index.unwrap_or(0));
        let is_valid = |record: &walpb::Snapshot| (record.term.unwrap_or(0), record.index.unwrap_or(0)) == place;
        if valid.iter().any(is_valid) {
            return Ok(Loaded { snapshot, path, broken });
        }
    }
    Err(SnapError::NoSnapshot { dir: dir.to_owned() })
}

/// Removes the oldest `.snap` files beyond `keep`, and the oldest `.snap.db` beyond `keep` (0: keeps all); gives their names.
///
/// # Errors
/// What the disk says.
pub fn purge(disk: &DynDisk, dir: &Path, keep: usize) -> Result<Vec<String>, SnapError> {
    let mut removed = Vec::new();
    if keep == 0 {
        return Ok(removed);
    }
    for suffix in [".snap", ".snap.db"] {
        let mut names = names_ending(disk, dir, suffix)?;
        names.truncate(names.len().saturating_sub(keep));
        for name in names {
            remove(disk, dir, name, &mut removed)?;
        }
    }
    Ok(removed)
}

/// Where the database image received with the snapshot of this index is kept until it takes the database's place.
pub fn database_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:016x}.snap.db"))
}

/// The database image received with the snapshot of this index.
///
/// # Errors
/// `NoDatabase` if it is not there, and what the disk says.
pub fn find_database(disk: &DynDisk, dir: &Path, index: u64) -> Result<PathBuf, SnapError> {
    let path = database_path(dir, index);
    if disk.exists(&path).at_snap("look for", &path)? {
        Ok(path)
    } else {
        Err(SnapError::NoDatabase { path })
    }
}

/// Removes the received database images older than this disk snapshot; gives their names.
///
/// # Errors
/// What the disk says.
pub fn remove_databases_below(disk: &DynDisk, dir: &Path, index: u64) -> Result<Vec<String>, SnapError> {
    let mut removed = Vec::new();
    for name in names_ending(disk, dir, ".snap.db")? {
        if name
            .strip_suffix(".snap.db")
            .and_then(parse_hex16)
            .is_some_and(|theirs| theirs < index)
        {
            remove(disk, dir, name, &mut removed)?;
        }
    }
    Ok(removed)
}

/// Removes what a stopped process may have left half done: images being received (`tmp*`) and defragmentation output (`db.tmp*`).
///
/// # Errors
/// What the disk says.
pub fn remove_leftovers(disk: &DynDisk, dir: &Path) -> Result<Vec<String>, SnapError> {
    let mut removed = Vec::new();
    for entry in disk.list(dir).at_snap("list", dir)? {
        if !entry.is_dir && (entry.name.starts_with("tmp") || entry.name.starts_with("db.tmp")) {
            remove(disk, dir, entry.name, &mut removed)?;
        }
    }
    Ok(removed)
}

fn remove(disk: &DynDisk, dir: &Path, name: String, removed: &mut Vec<String>) -> Result<(), SnapError> {
    let path = dir.join(&name);
    disk.remove_file(&path).at_snap("remove", &path)?;
    removed.push(name);
    Ok(())
}

fn names_ending(disk: &DynDisk, dir: &Path, suffix: &str) -> Result<Vec<String>, SnapError> {
    let entries = disk.list(dir).at_snap("list", dir)?;
    let files = entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name);
    Ok(files.filter(|name| name.ends_with(suffix)).collect())
}
