//! The real disk, clock and chance, by way of the operating system. Linux semantics (OFD locks, fdatasync).
#![allow(unsafe_code)] // memory maps; each use says why it holds

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Clock, DirEntry, Disk, DiskFile, Map, OpenMode, Rng};

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk {
    no_sync: bool,
}

impl OsDisk {
    /// A disk whose syncs do nothing: `--unsafe-no-fsync`. What it "made durable" is lost with the power.
    pub fn without_sync() -> OsDisk {
        OsDisk { no_sync: true }
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateIfMissing(bits) => {
                options.write(true).create(true).truncate(false).mode(bits);
            }
            OpenMode::CreateNew(bits) => {
                options.write(true).create_new(true).mode(bits);
            }
        }
        Ok(Box::new(OsFile {
            file: options.open(path)?,
            path: path.to_owned(),
            no_sync: self.no_sync,
        }))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(mode).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.no_sync {
            return Ok(());
        }
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of etcd's; it is shown as well as it can be and matches nothing.
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: entry.file_type()?.is_dir(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }
}

struct OsFile {
    file: File,
    path: PathBuf,
    no_sync: bool,
}

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.no_sync {
            return Ok(());
        }
        self.file.sync_data()
    }

    fn try_lock_ofd(&self) -> io::Result<bool> {
        // rustix has only the process-wide kind of fcntl lock; Go etcd takes the per-description one, and so must we.
        let lock = libc::flock {
            l_type: libc::F_WRLCK as _,
            l_whence: libc::SEEK_SET as _,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        // SAFETY: the descriptor is open for the length of the call and `lock` is a valid `struct flock` that fcntl only reads.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        }
    }

    fn try_flock(&self, exclusive: bool) -> io::Result<bool> {
        use rustix::fs::{FlockOperation, flock};
        let operation = if exclusive {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        match flock(&self.file, operation) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn map(&self, len: usize) -> io::Result<Arc<dyn Map>> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};
        assert!(len > 0, "an empty map");
        // SAFETY: a new shared read-only mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &self.file, 0)? };
        // SAFETY: exactly the range just mapped. Advice changes no content; bbolt gives the same one.
        unsafe { madvise(address, len, Advice::Random)? };
        Ok(Arc::new(OsMap {
            address: address.cast(),
            len,
        }))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

struct OsMap {
    address: *const u8,
    len: usize,
}

// SAFETY: the mapping is read-only through this type and lives until drop; sharing an address between threads is sound.
unsafe impl Send for OsMap {}
// SAFETY: as above.
unsafe impl Sync for OsMap {}

impl Map for OsMap {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> &[u8] {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "range {offset}+{len} beyond the map of {}",
            self.len
        );
        // SAFETY: inside the mapping (asserted). That the file reaches this far and nobody writes there is the caller's promise, see `Map::slice`.
        unsafe { std::slice::from_raw_parts(self.address.add(offset), len) }
    }

    fn advise_sequential(&self, sequential: bool) {
        use rustix::mm::{Advice, madvise};
        let advice = if sequential { Advice::Sequential } else { Advice::Random };
        // SAFETY: exactly our mapping; advice changes no content. A refusal costs speed only.
        let _ = unsafe { madvise(self.address.cast_mut().cast(), self.len, advice) };
    }
}

impl Drop for OsMap {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` made, unmapped once; slices borrow from self and are gone by now.
        let result = unsafe { rustix::mm::munmap(self.address.cast_mut().cast(), self.len) };
        debug_assert!(result.is_ok());
    }
}

/// The monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct OsClock(Instant);

impl Default for OsClock {
    fn default() -> Self {
        OsClock(Instant::now())
    }
}

impl Clock for OsClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// SplitMix64 from a seed: chance for timeouts and ids, not for secrets.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// Seeded by the operating system.
    pub fn from_os() -> SplitMix {
        use std::hash::{BuildHasher, RandomState};
        SplitMix(RandomState::new().hash_one(std::process::id()))
    }
}

impl Rng for SplitMix {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Seconds that the wall clock of this machine's time zone is ahead of UTC at a moment, given in seconds since 1970.
pub fn local_offset_seconds(unix_seconds: i64) -> i32 {
    let time = unix_seconds as libc::time_t;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r is the thread-safe form, and all-zero is a valid `tm`.
    let parts = unsafe {
        libc::localtime_r(&time, parts.as_mut_ptr());
        parts.assume_init()
    };
    i32::try_from(parts.tm_gmtoff).unwrap_or(0)
}
