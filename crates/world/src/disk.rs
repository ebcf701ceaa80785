//! The door to the disk: what a storage crate may do to files, and what each call promises about a power cut.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened. Permissions apply when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    ReadWrite,
    /// Created with these permission bits if absent; reads and writes.
    CreateIfMissing(u32),
    /// Must not exist; created with these permission bits.
    CreateNew(u32),
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last path element.
    pub name: String,
    pub is_dir: bool,
}

/// A file system. Names (create, rename, remove) survive a power cut only after `sync_dir` of their folder.
pub trait Disk: Send + Sync + 'static {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Makes one folder with these permission bits; fails if it exists or the parent is missing.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The size of a page of memory here: what a new database takes as its page size.
    fn page_size(&self) -> usize;

    /// Makes a folder and its missing parents, all with these permission bits.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        if self.exists(path)? {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|p| *p != Path::new("")) {
            self.create_dir_all(parent, mode)?;
        }
        self.create_dir(path, mode)
    }
}

/// An open file. All positions are bytes from its start. Not one of the writing calls is durable before a sync.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at most `buf.len()` bytes; 0 means end of file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf`, growing the file if need be.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Takes the whole-file write lock that Go etcd takes on WAL segments (open file description lock); false if another holds it.
    fn try_lock_ofd(&self) -> io::Result<bool>;
    /// Takes the whole-file lock that bbolt takes (`flock`), shared or exclusive; false if another holds it.
    fn try_flock(&self, exclusive: bool) -> io::Result<bool>;
    /// Maps `len` bytes from the start of the file for reading. `len` may reach beyond the end of the file: those bytes become
    /// readable once the file has grown over them, and touching them before is a bug of the caller (on a real disk: SIGBUS).
    /// What is written to the file later shows in the map.
    fn map(&self, len: usize) -> io::Result<Arc<dyn Map>>;
    /// The path it was opened under, for messages.
    fn path(&self) -> &Path;

    /// Fills `buf` or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}

/// A read-only view of a file's bytes that stays where it is until dropped.
pub trait Map: Send + Sync + 'static {
    /// The mapped length in bytes, as asked for in [`DiskFile::map`].
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `len` bytes from `offset`. The caller answers for it that the file is at least that long and that nobody writes to this
    /// range while the slice lives (copy-on-write stores never write to pages that a reader can reach).
    ///
    /// # Panics
    /// If the range lies beyond the map.
    fn slice(&self, offset: usize, len: usize) -> &[u8];
    /// Asks the system to read ahead (a scan from front to back) or not (random access).
    fn advise_sequential(&self, sequential: bool);
}
