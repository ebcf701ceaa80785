//! The next segment, made ready before it is needed, on another thread's time.
//!
//! It is filled with zeros and synced under the name `0.tmp` or `1.tmp`. Records then overwrite blocks that exist already, so that
//! a sync has no metadata to write (`DEPENDENCIES.md` 5: 106 to 139 us against 180 to 206).

use std::path::{Path, PathBuf};

use world::{DiskFile, DynDisk, OpenMode};

use crate::WalError;
use crate::error::At;

/// Permission bits of segments.
pub(crate) const SEGMENT_MODE: u32 = 0o600;
/// Permission bits of the log's folder.
pub(crate) const DIR_MODE: u32 = 0o700;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Writes zeros over a range.
pub(crate) fn write_zeros(file: &dyn DiskFile, path: &Path, from: u64, to: u64) -> Result<(), WalError> {
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..len as usize], at).at("fill ahead", path)?;
        at += len;
    }
    Ok(())
}

pub(crate) fn tmp_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}.tmp"))
}

/// The work of making the next segment ready. Can be run on any thread, while the log goes on.
#[derive(Debug)]
pub struct PrepareJob {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// A segment made ready, to be handed to `Wal::prepared`.
pub struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    /// Up to where it is filled with zeros.
    pub(crate) filled: u64,
}

impl PrepareJob {
    /// Writes and syncs the file.
    ///
    /// # Errors
    /// What the disk says. The log can do without: it then makes the segment itself when it needs it.
    pub fn run(self, disk: &DynDisk) -> Result<Prepared, WalError> {
        let filled = self.write(disk);
        if filled.is_err() {
            // A disk that is full should not stay so because of this; if it cannot be removed, opening ignores it.
            let _ = disk.remove_file(&self.path);
        }
        filled
    }

    fn write(&self, disk: &DynDisk) -> Result<Prepared, WalError> {
        let file = open_empty(disk, &self.path)?;
        write_zeros(&*file, &self.path, 0, self.bytes)?;
        file.sync_data().at("sync", &self.path)?;
        Ok(Prepared {
            path: self.path.clone(),
            file,
            filled: self.bytes,
        })
    }
}

/// A segment of the full length made on the spot: sparse, for there is no time to fill it.
pub(crate) fn prepare_sparse(disk: &DynDisk, path: PathBuf, bytes: u64) -> Result<Prepared, WalError> {
    let file = open_empty(disk, &path)?;
    file.set_len(bytes).at("extend", &path)?;
    Ok(Prepared { path, file, filled: 0 })
}

/// Opens a file under a temporary name, whatever an earlier run left there.
fn open_empty(disk: &DynDisk, path: &Path) -> Result<Box<dyn DiskFile>, WalError> {
    let file = disk.open(path, OpenMode::CreateIfMissing(SEGMENT_MODE)).at("create", path)?;
    lock(&*file, path)?;
    file.set_len(0).at("empty", path)?;
    Ok(file)
}

/// Takes the lock that Go etcd takes on segments.
pub(crate) fn lock(file: &dyn DiskFile, path: &Path) -> Result<(), WalError> {
    if file.try_lock_ofd().at("lock", path)? {
        Ok(())
    } else {
        Err(WalError::Locked { path: path.to_owned() })
    }
}
