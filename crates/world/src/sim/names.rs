//! Folders: what the process sees, what is durable, and the changes between the two.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::FileNode;
use crate::DirEntry;

#[derive(Clone)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(Dir),
}

/// A change of one folder that no `sync_dir` has covered.
#[derive(Clone)]
pub(super) struct NameOp {
    /// Shared by the two halves of a rename between folders: both happen or neither.
    pub(super) id: u64,
    pub(super) change: NameChange,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Link(String, Node),
    Unlink(String),
    /// Inside one folder, in one step.
    Rename(String, String, Node),
    /// The two halves of a rename between folders; each names the other folder, which is synced with it.
    RenameAway(String, Dir),
    RenameHere(String, Node, Dir),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            NameChange::Link(name, node) | NameChange::RenameHere(name, node, _) => {
                names.insert(name.clone(), node.clone());
            }
            NameChange::Unlink(name) | NameChange::RenameAway(name, _) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), node.clone());
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct Dir {
    pub(super) id: u64,
    inner: Arc<Mutex<DirInner>>,
}

#[derive(Default)]
struct DirInner {
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<NameOp>,
    /// A sync failed: later ones do nothing.
    broken: bool,
}

impl Dir {
    pub(super) fn new(id: u64) -> Dir {
        Dir { id, inner: Arc::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.inner.lock().live.get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<DirEntry> {
        let inner = self.inner.lock();
        let entry = |(name, node): (&String, &Node)| DirEntry {
            name: name.clone(),
            is_dir: matches!(node, Node::Dir(_)),
        };
        inner.live.iter().map(entry).collect()
    }

    fn record(&self, id: u64, change: NameChange) {
        let mut inner = self.inner.lock();
        change.apply(&mut inner.live);
        inner.pending.push(NameOp { id, change });
    }

    pub(super) fn link(&self, op: u64, name: &str, node: Node) {
        self.record(op, NameChange::Link(name.to_owned(), node));
    }

    pub(super) fn unlink(&self, op: u64, name: &str) {
        self.record(op, NameChange::Unlink(name.to_owned()));
    }

    /// Unlinks everything below, each as a change of its own: a power cut may catch a recursive removal half done.
    pub(super) fn unlink_all(&self, next_id: &mut dyn FnMut() -> u64) {
        let live = self.inner.lock().live.clone();
        for (name, node) in live {
            if let Node::Dir(dir) = node {
                dir.unlink_all(next_id);
            }
            self.unlink(next_id(), &name);
        }
    }

    pub(super) fn sync(&self) {
        if !self.inner.lock().broken {
            self.sync_to(u64::MAX);
        }
    }

    pub(super) fn break_sync(&self) {
        self.inner.lock().broken = true;
    }

    /// Makes the changes up to this id durable, with the other halves of renames among them.
    fn sync_to(&self, id: u64) {
        let mut others = Vec::new();
        {
            let mut inner = self.inner.lock();
            let count = inner.pending.iter().take_while(|op| op.id <= id).count();
            let done: Vec<NameOp> = inner.pending.drain(..count).collect();
            for op in done {
                op.change.apply(&mut inner.durable);
                if let NameChange::RenameAway(_, other) | NameChange::RenameHere(_, _, other) = op.change {
                    others.push((op.id, other));
                }
            }
        }
        for (id, other) in others {
            other.sync_to(id);
        }
    }

    pub(super) fn install(&self, name: &str, node: Node) {
        let mut inner = self.inner.lock();
        inner.live.insert(name.to_owned(), node.clone());
        inner.durable.insert(name.to_owned(), node);
    }

    pub(super) fn install_dir(&self, name: &str, id: u64) -> io::Result<Dir> {
        match self.get(name) {
            Some(Node::Dir(dir)) => {
                self.install(name, Node::Dir(dir.clone()));
                Ok(dir)
            }
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => {
                let dir = Dir::new(id);
                self.install(name, Node::Dir(dir.clone()));
                Ok(dir)
            }
        }
    }

    /// What a power cut has to choose from: the durable names and the changes since, oldest first.
    pub(super) fn history(&self) -> (BTreeMap<String, Node>, Vec<NameOp>) {
        let inner = self.inner.lock();
        (inner.durable.clone(), inner.pending.clone())
    }

    fn live_nodes(&self) -> Vec<Node> {
        self.inner.lock().live.values().cloned().collect()
    }
}

/// Renames, in one step even between folders.
pub(super) fn rename(op: u64, from_dir: &Dir, from: &str, to_dir: &Dir, to: &str, node: Node) {
    if from_dir.id == to_dir.id {
        from_dir.record(op, NameChange::Rename(from.to_owned(), to.to_owned(), node));
    } else {
        from_dir.record(op, NameChange::RenameAway(from.to_owned(), to_dir.clone()));
        to_dir.record(op, NameChange::RenameHere(to.to_owned(), node, from_dir.clone()));
    }
}

/// Calls `see` for every file below a folder as the process sees it.
pub(super) fn each_file(dir: &Dir, see: &mut dyn FnMut(&FileNode)) {
    for node in dir.live_nodes() {
        match node {
            Node::File(file) => see(&file),
            Node::Dir(dir) => each_file(&dir, see),
        }
    }
}

fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(parts)
}

/// The folders of a path and its last part.
pub(super) fn split(path: &Path) -> io::Result<(Vec<&str>, &str)> {
    let mut parts = parts(path)?;
    let name = parts.pop().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((parts, name))
}

fn walk(root: &Dir, parts: &[&str]) -> io::Result<Node> {
    let mut node = Node::Dir(root.clone());
    for part in parts {
        let Node::Dir(dir) = node else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        node = dir.get(part).ok_or(io::ErrorKind::NotFound)?;
    }
    Ok(node)
}

pub(super) fn lookup(root: &Dir, path: &Path) -> io::Result<Node> {
    walk(root, &parts(path)?)
}

pub(super) fn dir(root: &Dir, path: &Path) -> io::Result<Dir> {
    match lookup(root, path)? {
        Node::Dir(dir) => Ok(dir),
        Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
    }
}

pub(super) fn file(root: &Dir, path: &Path) -> io::Result<Arc<FileNode>> {
    match lookup(root, path)? {
        Node::File(file) => Ok(file),
        Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
    }
}

/// The folder that holds a path's last part.
pub(super) fn parent<'p>(root: &Dir, path: &'p Path) -> io::Result<(Dir, &'p str)> {
    let (parents, name) = split(path)?;
    match walk(root, &parents)? {
        Node::Dir(dir) => Ok((dir, name)),
        Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
    }
}
