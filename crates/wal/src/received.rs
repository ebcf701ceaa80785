//! A database image on its way in from another member: under a name that the next start sweeps away until it is whole and durable.

use std::path::PathBuf;

use world::{DiskFile, DynDisk, OpenMode};

use crate::error::{At, SnapError};
use crate::snap::{MODE, database_path};

/// The file being written. Dropped before [`ReceivedDatabase::finish`], it is removed.
pub struct ReceivedDatabase {
    disk: DynDisk,
    dir: PathBuf,
    index: u64,
    temporary: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    len: u64,
}

impl ReceivedDatabase {
    /// Begins the image that belongs to the snapshot of this index. `number` tells images apart that are received at the same time.
    ///
    /// # Errors
    /// What the disk says.
    pub fn begin(disk: &DynDisk, dir: PathBuf, index: u64, number: u64) -> Result<ReceivedDatabase, SnapError> {
        let temporary = dir.join(format!("tmp{number}"));
        let file = disk.open(&temporary, OpenMode::CreateNew(MODE)).at_snap("create", &temporary)?;
        Ok(ReceivedDatabase {
            disk: disk.clone(),
            dir,
            index,
            temporary,
            file: Some(file),
            len: 0,
        })
    }

    /// Appends the next bytes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SnapError> {
        if let Some(file) = &self.file {
            file.write_at(chunk, self.len).at_snap("write to", &self.temporary)?;
        }
        self.len += chunk.len() as u64;
        Ok(())
    }

    /// The image is whole: makes it durable under the name by which [`crate::snap::find_database`] finds it, unless it is there already.
    /// Gives its size in bytes.
    ///
    /// # Errors
    /// What the disk says; then nothing is there.
    pub fn finish(mut self) -> Result<u64, SnapError> {
        let path = database_path(&self.dir, self.index);
        if self.disk.exists(&path).at_snap("look for", &path)? {
            return Ok(self.len);
        }
        if let Some(file) = &self.file {
            file.sync_data().at_snap("sync", &self.temporary)?;
        }
        self.disk.rename(&self.temporary, &path).at_snap("rename", &self.temporary)?;
        self.file = None;
        self.disk.sync_dir(&self.dir).at_snap("sync", &self.dir)?;
        Ok(self.len)
    }
}

impl Drop for ReceivedDatabase {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If this fails, the next start does it.
            let _ = self.disk.remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::snap::{find_database, remove_leftovers};

    #[test]
    fn only_a_whole_image_gets_its_name() {
        let disk = world::sim::SimDisk::new().dyn_disk();
        let dir = Path::new("snap");
        disk.create_dir(dir, 0o700).unwrap();
        let mut image = ReceivedDatabase::begin(&disk, dir.into(), 9, 1).unwrap();
        image.write(b"half").unwrap();
        drop(image);
        assert!(find_database(&disk, dir, 9).is_err());
        assert!(disk.list(dir).unwrap().is_empty());
        let mut image = ReceivedDatabase::begin(&disk, dir.into(), 9, 2).unwrap();
        image.write(b"who").unwrap();
        image.write(b"le").unwrap();
        assert_eq!(image.finish().unwrap(), 5);
        let path = find_database(&disk, dir, 9).unwrap();
        assert_eq!(disk.open(&path, OpenMode::Read).unwrap().len().unwrap(), 5);
        assert!(remove_leftovers(&disk, dir).unwrap().is_empty());
    }
}
