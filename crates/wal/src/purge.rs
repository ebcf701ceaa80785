//! Removes old segments.

use std::path::Path;

use world::{DynDisk, OpenMode};

use crate::WalError;
use crate::error::At;
use crate::names::segments;

/// Removes the oldest segments beyond `keep` (0: keeps all), up to the first that somebody holds locked; gives their names. What a
/// restart needs is protected by the locks that the open log holds (`Wal::release_locks_to`).
///
/// # Errors
/// What the disk says.
pub fn purge(disk: &DynDisk, dir: &Path, keep: usize) -> Result<Vec<String>, WalError> {
    let names = segments(disk, dir)?;
    let mut removed = Vec::new();
    if keep == 0 {
        return Ok(removed);
    }
    for name in &names[..names.len().saturating_sub(keep)] {
        let path = dir.join(name.to_string());
        let file = disk.open(&path, OpenMode::ReadWrite).at("open", &path)?;
        if !file.try_lock_ofd().at("lock", &path)? {
            break;
        }
        disk.remove_file(&path).at("remove", &path)?;
        // One by one: a power cut that kept the removal of a later one only would leave a hole, and a log with a hole does not open.
        disk.sync_dir(dir).at("sync", dir)?;
        removed.push(name.to_string());
    }
    Ok(removed)
}
