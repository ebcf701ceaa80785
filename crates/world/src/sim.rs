//! A disk in memory that keeps exactly the promises of [`Disk`] and no more: names are durable after `sync_dir`, bytes after
//! `sync_data`, and a power cut may keep, lose or tear anything else.
//!
//! Every change since the last sync is remembered. [`SimDisk::crash`] gives the disk as it may look after a power cut at this
//! moment: any subset of the unsynced changes has happened, writes torn at 512-byte sectors. The disk crashed is left as it was,
//! so that one moment can be crashed in many ways. [`SimDisk::fault_at`] makes the Nth changing call fail, or cuts the power in
//! the middle of it. All chance comes from the seed given; the same calls give the same disk.
//!
//! Never knows what the bytes mean. Stricter than most real file systems: what holds here holds on ext4 and on XFS.
//! Not in the product: only tests and the simulator turn the feature `sim` on.

mod crash;
mod file;
mod names;
mod region;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub use crash::{Change, Fate, Unsynced};

use crate::{DirEntry, Disk, DiskFile, DynDisk, OpenMode};
use file::{FileNode, SimFile};
use names::{Dir, Node};

/// The unit in which a write is torn.
pub const SECTOR: u64 = 512;

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this `errno`. A failed write has written its first half, in whole sectors; a failed sync has made nothing durable, and
    /// later syncs of that file or folder succeed without making anything durable, as Linux does after a write-back error.
    Errno(i32),
    /// The power goes: the call's change may or may not have happened, a sync has not, and every later call fails.
    PowerCut,
    /// The process is killed: the call's change has happened, a sync has not, and every later call through this handle fails.
    /// [`SimDisk::kill`] gives the handle for the next process.
    Kill,
}

/// What a power cut looks like to the process.
pub const EIO: i32 = 5;
/// No space left on device.
pub const ENOSPC: i32 = 28;

/// A handle on a simulated disk. Clones share the disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Which life of the machine's process this handle belongs to; see [`SimDisk::kill`].
    life: u64,
}

struct State {
    root: Dir,
    page_size: usize,
    life: u64,
    next_id: u64,
    calls: u64,
    reads: u64,
    faults: BTreeMap<u64, Fault>,
    read_faults: BTreeMap<u64, i32>,
    off: bool,
    used: u64,
    capacity: Option<u64>,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// How a changing call is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Go,
    /// Do the half of it and report this error.
    Fail(i32),
    /// Do it, but nobody is left to be told.
    Cut,
}

impl Verdict {
    /// For calls whose change is one step: with an error it has not happened.
    fn error(self) -> io::Result<()> {
        match self {
            Verdict::Go => Ok(()),
            Verdict::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
            Verdict::Cut => Err(io::Error::other("simulated disk: cut off in the middle of this call")),
        }
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk with pages of 4096 bytes.
    pub fn new() -> SimDisk {
        SimDisk::with_page_size(4096)
    }

    /// An empty disk that reports this page size.
    pub fn with_page_size(page_size: usize) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(State {
                root: Dir::new(0),
                page_size,
                life: 0,
                next_id: 0,
                calls: 0,
                reads: 0,
                faults: BTreeMap::new(),
                read_faults: BTreeMap::new(),
                off: false,
                used: 0,
                capacity: None,
            })),
            life: 0,
        }
    }

    /// The disk as the core takes it.
    pub fn dyn_disk(&self) -> DynDisk {
        Arc::new(self.clone())
    }

    /// How many changing calls there have been: creating opens, `create_dir`, `rename`, `remove_*`, `sync_*`, `write_at`,
    /// `set_len`. The first is number 1.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many calls of `read_at` there have been.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// Plans a fault for the changing call of this number ([`SimDisk::calls`] counts them from 1).
    pub fn fault_at(&self, call: u64, fault: Fault) {
        self.state.lock().faults.insert(call, fault);
    }

    /// Makes the `read_at` call of this number fail with this `errno`.
    pub fn fault_read_at(&self, read: u64, errno: i32) {
        self.state.lock().read_faults.insert(read, errno);
    }

    /// Drops all planned faults.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.read_faults.clear();
    }

    /// True once a planned power cut has happened (or [`SimDisk::power_off`]).
    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Cuts the power now: every later call fails. [`SimDisk::crash`] then gives the disk after the restart.
    pub fn power_off(&self) {
        self.state.lock().off = true;
    }

    /// Files may grow by this many bytes in sum, then calls fail with `ENOSPC`, a write after a part of it. `None`: no limit.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        let mut state = self.state.lock();
        state.capacity = free.map(|free| state.used + free);
    }

    /// Kills the process but not the machine: nothing is lost, locks go, handles of before fail. Maps stay readable.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        let mut state = self.state.lock();
        state.life += 1;
        names::each_file(&state.root, &mut |file| file.release_all_locks());
        SimDisk {
            state: self.state.clone(),
            life: state.life,
        }
    }

    /// Flips bits of a byte where it rests, as a failing medium does. No sync undoes it.
    ///
    /// # Panics
    /// If there is no such file or it is not that long.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) {
        let state = self.state.lock();
        names::file(&state.root, path).expect("a file to damage").rot(offset, mask);
    }

    /// The whole content of a file as the process sees it.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(names::file(&state.root, path)?.content())
    }

    /// Puts a file in place, content, name and parent folders durable at once, without counting as a call: for preparing a test.
    pub fn install_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut dir = state.root.clone();
        let (parents, name) = names::split(path)?;
        for part in parents {
            let id = state.id();
            dir = dir.install_dir(part, id)?;
        }
        let id = state.id();
        let node = Arc::new(FileNode::new(id, path.to_owned(), 0o600)?);
        node.install(content)?;
        dir.install(name, Node::File(node));
        state.used += content.len() as u64;
        Ok(())
    }

    /// Locks the state for a call that changes nothing.
    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.off {
            return Err(io::Error::other("simulated disk: the power is off"));
        }
        if state.life != self.life {
            return Err(io::Error::other("simulated disk: the process was killed"));
        }
        Ok(state)
    }

    /// Locks the state for a changing call, counts it and says how it goes on.
    fn change(&self) -> io::Result<(MutexGuard<'_, State>, Verdict)> {
        let mut state = self.look()?;
        state.calls += 1;
        let call = state.calls;
        let verdict = match state.faults.remove(&call) {
            None => Verdict::Go,
            Some(Fault::Errno(errno)) => Verdict::Fail(errno),
            Some(Fault::PowerCut) => {
                state.off = true;
                Verdict::Cut
            }
            Some(Fault::Kill) => {
                state.life += 1;
                Verdict::Cut
            }
        };
        Ok((state, verdict))
    }

    fn open_file(&self, node: Arc<FileNode>, path: &Path, writable: bool, id: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            disk: self.clone(),
            node,
            path: path.to_owned(),
            writable,
            id,
        })
    }

    fn create_file(&self, path: &Path, bits: u32, exclusive: bool) -> io::Result<Box<dyn DiskFile>> {
        let (mut state, verdict) = self.change()?;
        let handle = state.id();
        let (dir, name) = names::parent(&state.root, path)?;
        if let Some(node) = dir.get(name) {
            verdict.error()?;
            return match node {
                Node::File(_) if exclusive => Err(io::ErrorKind::AlreadyExists.into()),
                Node::File(file) => Ok(self.open_file(file, path, true, handle)),
                Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            };
        }
        if let Verdict::Fail(_) = verdict {
            verdict.error()?;
        }
        let id = state.id();
        let node = Arc::new(FileNode::new(id, path.to_owned(), bits)?);
        let op = state.id();
        dir.link(op, name, Node::File(node.clone()));
        verdict.error()?;
        Ok(self.open_file(node, path, true, handle))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let writable = match mode {
            OpenMode::Read => false,
            OpenMode::ReadWrite => true,
            OpenMode::CreateIfMissing(bits) => return self.create_file(path, bits, false),
            OpenMode::CreateNew(bits) => return self.create_file(path, bits, true),
        };
        let mut state = self.look()?;
        let node = names::file(&state.root, path)?;
        let id = state.id();
        Ok(self.open_file(node, path, writable, id))
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let (mut state, verdict) = self.change()?;
        let (dir, name) = names::parent(&state.root, path)?;
        if dir.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if verdict != Verdict::Cut {
            verdict.error()?;
        }
        let id = state.id();
        let op = state.id();
        dir.link(op, name, Node::Dir(Dir::new(id)));
        verdict.error()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, verdict) = self.change()?;
        let (from_dir, from_name) = names::parent(&state.root, from)?;
        let (to_dir, to_name) = names::parent(&state.root, to)?;
        let node = from_dir.get(from_name).ok_or(io::ErrorKind::NotFound)?;
        match (&node, to_dir.get(to_name)) {
            (_, None) => {}
            (Node::File(_), Some(Node::File(old))) => {
                if verdict == Verdict::Go {
                    state.used = state.used.saturating_sub(old.len());
                }
            }
            (Node::Dir(_), Some(Node::Dir(old))) if old.names().is_empty() => {}
            (Node::Dir(_), Some(Node::Dir(_))) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (_, Some(Node::Dir(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
        }
        if verdict != Verdict::Cut {
            verdict.error()?;
        }
        let op = state.id();
        names::rename(op, &from_dir, from_name, &to_dir, to_name, node);
        verdict.error()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (state, verdict) = self.change()?;
        let dir = names::dir(&state.root, path)?;
        match verdict {
            Verdict::Go => dir.sync(),
            Verdict::Fail(_) => dir.break_sync(),
            Verdict::Cut => {}
        }
        verdict.error()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.look()?;
        Ok(names::dir(&state.root, path)?.names())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (mut state, verdict) = self.change()?;
        let (dir, name) = names::parent(&state.root, path)?;
        let file = match dir.get(name) {
            Some(Node::File(file)) => file,
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if verdict != Verdict::Cut {
            verdict.error()?;
        }
        state.used = state.used.saturating_sub(file.len());
        let op = state.id();
        dir.unlink(op, name);
        verdict.error()
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let (mut state, verdict) = self.change()?;
        let (parent, name) = names::parent(&state.root, path)?;
        let dir = match parent.get(name) {
            Some(Node::Dir(dir)) => dir,
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if verdict != Verdict::Cut {
            verdict.error()?;
        }
        let mut freed = 0;
        names::each_file(&dir, &mut |file| freed += file.len());
        state.used = state.used.saturating_sub(freed);
        dir.unlink_all(&mut || state.id());
        let op = state.id();
        parent.unlink(op, name);
        verdict.error()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.look()?;
        match names::lookup(&state.root, path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn page_size(&self) -> usize {
        self.state.lock().page_size
    }
}
