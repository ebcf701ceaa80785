//! Power cuts: which of the unsynced changes have happened.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::{FileNode, FileOp};
use super::names::{Dir, NameChange, Node};
use super::{SECTOR, SimDisk, State};
use crate::Rng;
use crate::os::SplitMix;

/// A change that no sync has covered, as a power cut asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file (where it was created), or the folder.
    pub path: PathBuf,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes were written. [`Fate::Sectors`] keeps a part.
    Write { offset: u64, len: u64 },
    /// A write beyond the end made the file longer; asked before that write. If it is lost and the write kept, the file still
    /// reaches to the end of what was kept.
    Grow { to: u64 },
    /// `set_len`.
    SetLen { to: u64 },
    /// A file or folder got this name in the folder.
    Create { name: String },
    /// A name went.
    Remove { name: String },
    /// A name changed inside the folder, or (from the other folder's side not asked again) between two folders.
    Rename { from: Option<String>, to: Option<String> },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Kept,
    /// Of a write, the 512-byte sectors (counted from the first one it touches) whose flag is set; missing flags mean lost.
    /// For any other change the same as `Lost`.
    Sectors(Vec<bool>),
}

impl SimDisk {
    /// The disk after a power cut at this moment, chance deciding what became of each unsynced change. The seed also chooses
    /// how: all lost, all kept, a prefix of the changes, or each for itself with torn writes.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut rng = SplitMix(seed);
        let total = self.unsynced().len() as u64;
        let style = rng.next_u64() % 8;
        let prefix = rng.next_u64() % (total + 1);
        let mut asked = 0;
        self.crash_with(&mut |unsynced| {
            asked += 1;
            match style {
                0 => Fate::Lost,
                1 => Fate::Kept,
                2 | 3 if asked <= prefix => Fate::Kept,
                2 | 3 if asked == prefix + 1 => tear(unsynced, &mut rng),
                2 | 3 => Fate::Lost,
                4 if coin(&mut rng) => Fate::Lost,
                4 => Fate::Kept,
                _ => match rng.next_u64() % 3 {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    _ => tear(unsynced, &mut rng),
                },
            }
        })
    }

    /// The disk after a power cut at this moment, `choose` deciding. It is asked about each unsynced change once, in an order
    /// that depends on nothing but the calls made so far. This disk is left as it is.
    ///
    /// # Panics
    /// If the system gives no memory for the copy.
    #[must_use]
    pub fn crash_with(&self, choose: &mut dyn FnMut(&Unsynced) -> Fate) -> SimDisk {
        let state = self.state.lock();
        let mut cut = Cut {
            choose,
            renames: HashMap::new(),
            files: HashMap::new(),
            used: 0,
        };
        let root = cut.dir(&state.root, Path::new("/"));
        let after = State {
            root,
            page_size: state.page_size,
            life: 0,
            next_id: state.next_id,
            calls: 0,
            reads: 0,
            faults: BTreeMap::new(),
            read_faults: BTreeMap::new(),
            off: false,
            used: cut.used,
            capacity: None,
        };
        SimDisk {
            state: Arc::new(Mutex::new(after)),
            life: 0,
        }
    }

    /// The disk after a power cut that kept nothing but what was synced.
    #[must_use]
    pub fn crash_losing_all(&self) -> SimDisk {
        self.crash_with(&mut |_| Fate::Lost)
    }

    /// All that a power cut now would ask about, in that order, if every name change were kept.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let mut all = Vec::new();
        let _ = self.crash_with(&mut |unsynced| {
            all.push(unsynced.clone());
            Fate::Kept
        });
        all
    }
}

fn coin(rng: &mut SplitMix) -> bool {
    rng.next_u64().is_multiple_of(2)
}

/// A part of a write: a prefix of its sectors, or any of them.
fn tear(unsynced: &Unsynced, rng: &mut SplitMix) -> Fate {
    let Change::Write { offset, len } = unsynced.change else {
        return if coin(rng) { Fate::Lost } else { Fate::Kept };
    };
    let sectors = (offset + len).div_ceil(SECTOR) - offset / SECTOR;
    if coin(rng) {
        let kept = rng.next_u64() % (sectors + 1);
        Fate::Sectors((0..sectors).map(|sector| sector < kept).collect())
    } else {
        Fate::Sectors((0..sectors).map(|_| coin(rng)).collect())
    }
}

struct Cut<'c> {
    choose: &'c mut dyn FnMut(&Unsynced) -> Fate,
    /// Renames between folders that were asked about on their first side.
    renames: HashMap<u64, bool>,
    /// A file with two names (the old and the new one of a half-lost rename) stays one file.
    files: HashMap<u64, Arc<FileNode>>,
    used: u64,
}

impl Cut<'_> {
    fn ask(&mut self, path: &Path, change: Change) -> Fate {
        (self.choose)(&Unsynced {
            path: path.to_owned(),
            change,
        })
    }

    fn dir(&mut self, dir: &Dir, path: &Path) -> Dir {
        let (mut names, pending) = dir.history();
        for op in pending {
            let kept = match &op.change {
                NameChange::Link(name, _) => self.ask(path, Change::Create { name: name.clone() }) == Fate::Kept,
                NameChange::Unlink(name) => self.ask(path, Change::Remove { name: name.clone() }) == Fate::Kept,
                NameChange::Rename(from, to, _) => self.rename(op.id, path, Some(from), Some(to)),
                NameChange::RenameAway(from, _) => self.rename(op.id, path, Some(from), None),
                NameChange::RenameHere(to, _, _) => self.rename(op.id, path, None, Some(to)),
            };
            if kept {
                op.change.apply(&mut names);
            }
        }
        let after = Dir::new(dir.id);
        for (name, node) in names {
            let node = match node {
                Node::Dir(inner) => Node::Dir(self.dir(&inner, &path.join(&name))),
                Node::File(file) => Node::File(self.file(&file)),
            };
            after.install(&name, node);
        }
        after
    }

    fn rename(&mut self, id: u64, path: &Path, from: Option<&String>, to: Option<&String>) -> bool {
        if let Some(kept) = self.renames.get(&id) {
            return *kept;
        }
        let change = Change::Rename {
            from: from.cloned(),
            to: to.cloned(),
        };
        let kept = self.ask(path, change) == Fate::Kept;
        self.renames.insert(id, kept);
        kept
    }

    fn file(&mut self, file: &FileNode) -> Arc<FileNode> {
        if let Some(copy) = self.files.get(&file.id) {
            return copy.clone();
        }
        let copy = file.durable().expect("memory for the copy of a file");
        let path = file.path();
        for op in file.unsynced() {
            let (change, first) = match &op {
                FileOp::Write { offset, new, .. } => {
                    let (offset, len) = (*offset, new.len());
                    (Change::Write { offset, len }, offset / SECTOR)
                }
                FileOp::Grow { to, .. } => (Change::Grow { to: *to }, 0),
                FileOp::SetLen { to, .. } => (Change::SetLen { to: *to }, 0),
            };
            match self.ask(&path, change) {
                Fate::Lost => {}
                Fate::Kept => copy.redo(&op, &mut |_| true),
                Fate::Sectors(flags) if matches!(op, FileOp::Write { .. }) => copy.redo(&op, &mut |sector| {
                    usize::try_from(sector - first).is_ok_and(|i| flags.get(i).copied().unwrap_or(false))
                }),
                Fate::Sectors(_) => {}
            }
        }
        self.used += copy.len();
        let copy = Arc::new(copy);
        self.files.insert(file.id, copy.clone());
        copy
    }
}
