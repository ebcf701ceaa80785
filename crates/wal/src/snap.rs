//! `.snap` files: raft snapshots whose data is the membership as 3.5 and 3.6 want it.

use std::path::{Path, PathBuf};

use api::pb::{raftpb, walpb};
use world::DynDisk;

use crate::SnapError;

/// Writes `{term:016x}-{index:016x}.snap` and syncs it. An empty snapshot (index 0) is not written.
pub fn save(_disk: &DynDisk, _dir: &Path, _snapshot: &raftpb::Snapshot) -> Result<(), SnapError> {
    unimplemented!()
}

/// Reads one file.
pub fn read(_disk: &DynDisk, _path: &Path) -> Result<raftpb::Snapshot, SnapError> {
    unimplemented!()
}

/// The newest file that decodes and whose term and index are among the valid snapshot records of the log. Files that do not decode
/// are renamed `.broken`.
pub fn load_newest(_disk: &DynDisk, _dir: &Path, _valid: &[walpb::Snapshot]) -> Result<raftpb::Snapshot, SnapError> {
    unimplemented!()
}

/// Removes the oldest `.snap` files beyond `keep`, and the oldest `.snap.db` beyond `keep`; gives their names.
pub fn purge(_disk: &DynDisk, _dir: &Path, _keep: usize) -> Result<Vec<String>, SnapError> {
    unimplemented!()
}

/// Removes the received database images older than this disk snapshot.
pub fn remove_databases_below(_disk: &DynDisk, _dir: &Path, _index: u64) -> Result<Vec<String>, SnapError> {
    unimplemented!()
}

/// The received database image of an index, if it is there.
pub fn database_path(_disk: &DynDisk, _dir: &Path, _index: u64) -> Result<PathBuf, SnapError> {
    unimplemented!()
}
