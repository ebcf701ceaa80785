//! Files: the bytes the process sees, and what it takes to go back to the durable ones.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::region::{RESERVED, Region};
use super::{SECTOR, SimDisk, Verdict};
use crate::{DiskFile, Map};

/// Bytes of a remembered write. Runs of zeros (segments filled ahead) are not stored.
#[derive(Clone)]
pub(super) enum Content {
    Zeros(u64),
    Bytes(Box<[u8]>),
}

impl Content {
    fn of(bytes: &[u8]) -> Content {
        if bytes.iter().all(|b| *b == 0) {
            Content::Zeros(bytes.len() as u64)
        } else {
            Content::Bytes(bytes.into())
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Content::Zeros(len) => *len,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A change of a file that no `sync_data` has covered, with what is needed to undo it.
#[derive(Clone)]
pub(super) enum FileOp {
    Write {
        offset: u64,
        new: Content,
        /// What was there; shorter than `new` where the file was.
        old: Content,
    },
    /// A write made the file longer; comes before that write.
    Grow { from: u64, to: u64 },
    SetLen {
        from: u64,
        to: u64,
        /// What was cut off.
        cut: Content,
    },
}

pub(super) struct FileNode {
    pub(super) id: u64,
    bytes: Region,
    len: AtomicU64,
    state: Mutex<FileState>,
}

struct FileState {
    /// Where it was created, for messages.
    path: PathBuf,
    mode: u32,
    /// No byte from here on was ever anything but zero.
    high: u64,
    unsynced: Vec<FileOp>,
    /// A sync failed: later ones do nothing.
    broken: bool,
    ofd: Option<u64>,
    flocks: BTreeMap<u64, bool>,
}

impl FileNode {
    pub(super) fn new(id: u64, path: PathBuf, mode: u32) -> io::Result<FileNode> {
        Ok(FileNode {
            id,
            bytes: Region::new()?,
            len: AtomicU64::new(0),
            state: Mutex::new(FileState {
                path,
                mode,
                high: 0,
                unsynced: Vec::new(),
                broken: false,
                ofd: None,
                flocks: BTreeMap::new(),
            }),
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.state.lock().path.clone()
    }

    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = vec![0; usize::try_from(self.len()).expect("length fits")];
        self.bytes.read(0, &mut content);
        content
    }

    pub(super) fn install(&self, content: &[u8]) -> io::Result<()> {
        self.check_end(content.len() as u64)?;
        let mut state = self.state.lock();
        self.put(&mut state, 0, &Content::of(content));
        Ok(())
    }

    pub(super) fn rot(&self, offset: u64, mask: u8) {
        assert!(offset < self.len(), "damage beyond the end of the file");
        let mut state = self.state.lock();
        let mut byte = [0];
        self.bytes.read(offset, &mut byte);
        self.bytes.write(offset, &[byte[0] ^ mask]);
        state.high = state.high.max(offset + 1);
    }

    pub(super) fn release_all_locks(&self) {
        let mut state = self.state.lock();
        state.ofd = None;
        state.flocks.clear();
    }

    /// The changes since the last sync, oldest first.
    pub(super) fn unsynced(&self) -> Vec<FileOp> {
        self.state.lock().unsynced.clone()
    }

    /// The same file as it was at its last sync, with nothing unsynced and no locks.
    pub(super) fn durable(&self) -> io::Result<FileNode> {
        let state = self.state.lock();
        let copy = FileNode::new(self.id, state.path.clone(), state.mode)?;
        copy.len.store(self.len(), Ordering::Release);
        let used = state.high.min(self.len());
        copy.bytes
            .write(0, self.bytes.slice(0, usize::try_from(used).expect("length fits")));
        {
            let mut copied = copy.state.lock();
            copied.high = used;
            for op in state.unsynced.iter().rev() {
                match op {
                    FileOp::Write { offset, old, .. } => copy.put(&mut copied, *offset, old),
                    FileOp::Grow { from, .. } => copy.resize(&mut copied, *from),
                    FileOp::SetLen { from, to, cut } => {
                        copy.resize(&mut copied, *from);
                        copy.put(&mut copied, *to, cut);
                    }
                }
            }
        }
        Ok(copy)
    }

    /// Does a remembered change again on a copy after a power cut; of a write, the sectors chosen.
    pub(super) fn redo(&self, op: &FileOp, keep_sector: &mut dyn FnMut(u64) -> bool) {
        let mut state = self.state.lock();
        match op {
            FileOp::Write { offset, new, .. } => {
                let end = offset + new.len();
                let mut at = *offset;
                while at < end {
                    let next = end.min((at / SECTOR + 1) * SECTOR);
                    if keep_sector(at / SECTOR) {
                        let part = match new {
                            Content::Zeros(_) => Content::Zeros(next - at),
                            Content::Bytes(bytes) => Content::of(&bytes[(at - offset) as usize..(next - offset) as usize]),
                        };
                        self.put(&mut state, at, &part);
                    }
                    at = next;
                }
            }
            FileOp::Grow { to, .. } => {
                if self.len() < *to {
                    self.resize(&mut state, *to);
                }
            }
            FileOp::SetLen { to, .. } => self.resize(&mut state, *to),
        }
    }

    /// Puts bytes in place, growing the file if need be.
    fn put(&self, state: &mut FileState, offset: u64, content: &Content) {
        let end = offset + content.len();
        match content {
            Content::Zeros(_) if offset >= state.high => {}
            Content::Zeros(_) => self.bytes.zero(offset, end.min(state.high) - offset),
            Content::Bytes(bytes) => {
                self.bytes.write(offset, bytes);
                state.high = state.high.max(end);
            }
        }
        self.len.fetch_max(end, Ordering::AcqRel);
    }

    fn resize(&self, state: &mut FileState, len: u64) {
        if len < state.high {
            self.bytes.zero(len, state.high - len);
            state.high = len;
        }
        self.len.store(len, Ordering::Release);
    }

    fn peek(&self, state: &FileState, from: u64, to: u64) -> Content {
        if from >= state.high {
            return Content::Zeros(to.saturating_sub(from));
        }
        let mut bytes = vec![0; (to - from) as usize];
        self.bytes.read(from, &mut bytes);
        Content::of(&bytes)
    }

    fn check_end(&self, end: u64) -> io::Result<()> {
        if end > RESERVED as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }

    fn write(&self, buf: &[u8], offset: u64) {
        if buf.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let (len, end) = (self.len(), offset + buf.len() as u64);
        if end > len {
            state.unsynced.push(FileOp::Grow { from: len, to: end });
        }
        let old = self.peek(&state, offset.min(len), end.min(len));
        let new = Content::of(buf);
        self.put(&mut state, offset, &new);
        state.unsynced.push(FileOp::Write { offset, new, old });
    }

    fn set_len(&self, to: u64) {
        let mut state = self.state.lock();
        let from = self.len();
        let cut = self.peek(&state, to.min(from), from);
        self.resize(&mut state, to);
        state.unsynced.push(FileOp::SetLen { from, to, cut });
    }

    fn sync(&self) {
        let mut state = self.state.lock();
        if !state.broken {
            state.unsynced.clear();
        }
    }
}

/// An open file: one open file description, to which its locks belong.
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) node: Arc<FileNode>,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
    pub(super) id: u64,
}

impl SimFile {
    fn must_be_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(9)) // EBADF, as Linux says
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.look()?;
        state.reads += 1;
        let read = state.reads;
        if let Some(errno) = state.read_faults.remove(&read) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let rest = self.node.len().saturating_sub(offset);
        let count = buf.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if count > 0 {
            self.node.bytes.read(offset, &mut buf[..count]);
        }
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.must_be_writable()?;
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.node.check_end(end)?;
        let (mut state, verdict) = self.disk.change()?;
        let len = self.node.len();
        let mut room = buf.len();
        if let Some(capacity) = state.capacity {
            let allowed = len + capacity.saturating_sub(state.used);
            if end > allowed {
                room = usize::try_from(allowed.saturating_sub(offset)).unwrap_or(usize::MAX);
            }
        }
        if let Verdict::Fail(_) = verdict {
            room = room.min(buf.len() / 2);
        }
        // Linux gives up between two pages, never in the middle of a sector.
        let stop = (offset + room as u64) / SECTOR * SECTOR;
        let part = if room == buf.len() {
            room
        } else {
            usize::try_from(stop.saturating_sub(offset)).unwrap_or(0)
        };
        self.node.write(&buf[..part], offset);
        state.used += self.node.len() - len;
        verdict.error()?;
        if part < buf.len() {
            return Err(io::Error::from_raw_os_error(super::ENOSPC));
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let _state = self.disk.look()?;
        Ok(self.node.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.must_be_writable()?;
        self.node.check_end(len)?;
        let (mut state, verdict) = self.disk.change()?;
        let from = self.node.len();
        if let Verdict::Fail(_) = verdict {
            return verdict.error();
        }
        if state
            .capacity
            .is_some_and(|capacity| state.used + len.saturating_sub(from) > capacity)
        {
            return Err(io::Error::from_raw_os_error(super::ENOSPC));
        }
        self.node.set_len(len);
        state.used = (state.used + len).saturating_sub(from);
        verdict.error()
    }

    fn sync_data(&self) -> io::Result<()> {
        let (_state, verdict) = self.disk.change()?;
        match verdict {
            Verdict::Go => self.node.sync(),
            Verdict::Fail(_) => self.node.state.lock().broken = true,
            Verdict::Cut => {}
        }
        verdict.error()
    }

    fn try_lock_ofd(&self) -> io::Result<bool> {
        self.must_be_writable()?;
        let _state = self.disk.look()?;
        let mut file = self.node.state.lock();
        match file.ofd {
            Some(holder) if holder != self.id => Ok(false),
            _ => {
                file.ofd = Some(self.id);
                Ok(true)
            }
        }
    }

    fn try_flock(&self, exclusive: bool) -> io::Result<bool> {
        let _state = self.disk.look()?;
        let mut file = self.node.state.lock();
        let conflict = file.flocks.iter().any(|(id, theirs)| *id != self.id && (exclusive || *theirs));
        if !conflict {
            file.flocks.insert(self.id, exclusive);
        }
        Ok(!conflict)
    }

    fn map(&self, len: usize) -> io::Result<Arc<dyn Map>> {
        assert!(len > 0, "an empty map");
        let _state = self.disk.look()?;
        self.node.check_end(len as u64)?;
        Ok(Arc::new(SimMap {
            node: self.node.clone(),
            len,
        }))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut file = self.node.state.lock();
        if file.ofd == Some(self.id) {
            file.ofd = None;
        }
        file.flocks.remove(&self.id);
    }
}

struct SimMap {
    node: Arc<FileNode>,
    len: usize,
}

impl Map for SimMap {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> &[u8] {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "range {offset}+{len} beyond the map of {}",
            self.len
        );
        // The last page of a file can be touched to its end; beyond it a real disk sends SIGBUS.
        let readable = self.node.len().next_multiple_of(4096);
        assert!(
            len == 0 || (offset + len) as u64 <= readable,
            "SIGBUS: range {offset}+{len} of a map of {} beyond the end of the file, {} bytes long",
            self.node.path().display(),
            self.node.len()
        );
        self.node.bytes.slice(offset, len)
    }

    fn advise_sequential(&self, _sequential: bool) {}
}
