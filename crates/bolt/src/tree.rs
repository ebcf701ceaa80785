//! The changed part of the trees in a write transaction: nodes in memory above pages in the file.
//!
//! A node is made from its page when something under it changes; everything not touched stays a page number. Keys and values
//! are never copied one by one: an entry says where its bytes lie, in the map or in the transaction's arena. Never allocates
//! pages and never writes: `spill` does.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::freelist::Run;
use crate::page::{BUCKET_FLAG, ELEMENT, HEADER, MAX_DEPTH, NodeRef, PageId};
use crate::version::{Root, Version};
use crate::{PageError, PageFault};

/// An index into [`Tree::nodes`].
pub(crate) type NodeId = usize;

/// Where bytes lie: an offset in the file, or with this bit set in the arena.
const IN_ARENA: u64 = 1 << 63;

/// A leaf with more entries than this is split in memory when one is put into its midst: moving them costs too much.
const CROWDED: usize = 2048;

/// A key with its value right behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeafEntry {
    pub at: u64,
    pub key_len: u32,
    pub value_len: u32,
    pub flags: u32,
}

impl LeafEntry {
    pub fn is_bucket(&self) -> bool {
        self.flags & BUCKET_FLAG != 0
    }

    pub fn value_at(&self) -> u64 {
        self.at + u64::from(self.key_len)
    }

    pub fn bytes(&self) -> usize {
        self.key_len as usize + self.value_len as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Page(PageId),
    Node(NodeId),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchEntry {
    pub at: u64,
    pub key_len: u32,
    pub child: Child,
}

pub(crate) enum Body {
    Leaf(Vec<LeafEntry>),
    Branch(Vec<BranchEntry>),
}

impl Body {
    pub fn len(&self) -> usize {
        match self {
            Body::Leaf(entries) => entries.len(),
            Body::Branch(entries) => entries.len(),
        }
    }

    /// Bytes as a page, header included.
    pub fn size(&self) -> usize {
        HEADER
            + match self {
                Body::Leaf(entries) => entries.iter().map(|entry| ELEMENT + entry.bytes()).sum::<usize>(),
                Body::Branch(entries) => entries.iter().map(|entry| ELEMENT + entry.key_len as usize).sum(),
            }
    }
}

pub(crate) struct Node {
    pub body: Body,
    /// The pages it was made from, to be given up.
    pub page: Option<Run>,
    /// Something was taken out: it may be too small now.
    pub shrunk: bool,
}

pub(crate) struct Tree {
    pub base: Arc<Version>,
    pub nodes: Vec<Node>,
    pub arena: Vec<u8>,
    /// Pages that this transaction gives up.
    pub freed: Vec<Run>,
}

impl Tree {
    pub fn new(base: Arc<Version>, arena: Vec<u8>) -> Tree {
        debug_assert!(arena.is_empty());
        Tree {
            base,
            nodes: Vec::new(),
            arena,
            freed: Vec::new(),
        }
    }

    #[inline]
    pub fn bytes(&self, at: u64, len: usize) -> &[u8] {
        if at & IN_ARENA == 0 {
            return self.base.map.slice(at as usize, len);
        }
        let at = (at & !IN_ARENA) as usize;
        &self.arena[at..at + len]
    }

    pub fn leaf_key(&self, entry: &LeafEntry) -> &[u8] {
        self.bytes(entry.at, entry.key_len as usize)
    }

    pub fn leaf_value(&self, entry: &LeafEntry) -> &[u8] {
        self.bytes(entry.value_at(), entry.value_len as usize)
    }

    /// Keeps a key and its value for the length of the transaction.
    #[inline]
    pub fn keep(&mut self, key: &[u8], value: &[u8], flags: u32) -> LeafEntry {
        let at = self.arena.len() as u64 | IN_ARENA;
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        LeafEntry {
            at,
            key_len: key.len() as u32,
            value_len: value.len() as u32,
            flags,
        }
    }

    pub fn add_leaf(&mut self, entries: Vec<LeafEntry>) -> NodeId {
        self.add(Body::Leaf(entries), None)
    }

    pub fn add_branch(&mut self, entries: Vec<BranchEntry>) -> NodeId {
        self.add(Body::Branch(entries), None)
    }

    fn add(&mut self, body: Body, page: Option<Run>) -> NodeId {
        self.nodes.push(Node { body, page, shrunk: false });
        self.nodes.len() - 1
    }

    /// A node's copy of a page.
    pub fn load(&mut self, id: PageId) -> Result<NodeId, PageError> {
        let page_size = self.base.handle.page_size;
        let node = self.base.node(id)?;
        let run = Run {
            start: id,
            len: (node.bytes().len() / page_size) as u64,
        };
        let body = read_body(&self.base, &node, id * page_size as u64)?;
        Ok(self.add(body, Some(run)))
    }

    /// A node of an inline bucket, whose page image lies at `at`.
    pub fn load_inline(&mut self, page: PageId, at: u64, len: usize) -> Result<NodeId, PageError> {
        let data = self.bytes(at, len);
        let body = match NodeRef::new(data, page) {
            Some(node) if node.is_leaf => read_body(&self.base, &node, at)?,
            _ => return Err(self.base.fault(page, PageFault::Other("an inline bucket is not a leaf".to_owned()))),
        };
        Ok(self.add(body, None))
    }

    /// The node of a child, made from its page if need be.
    pub fn child_node(&mut self, parent: NodeId, index: usize) -> Result<NodeId, PageError> {
        let Body::Branch(entries) = &self.nodes[parent].body else {
            unreachable!("a leaf has no children")
        };
        match entries[index].child {
            Child::Node(node) => Ok(node),
            Child::Page(page) => {
                let node = self.load(page)?;
                if let Body::Branch(entries) = &mut self.nodes[parent].body {
                    entries[index].child = Child::Node(node);
                }
                Ok(node)
            }
        }
    }

    /// Where a key is in a leaf, or would be.
    fn place_in_leaf(&self, entries: &[LeafEntry], key: &[u8]) -> Result<usize, usize> {
        entries.binary_search_by(|entry| self.leaf_key(entry).cmp(key))
    }

    /// The child of a branch under which `key` belongs: the last one whose key is not above it, else the first.
    pub fn place_in_branch(&self, entries: &[BranchEntry], key: &[u8]) -> usize {
        let above = |entry: &BranchEntry| self.bytes(entry.at, entry.key_len as usize).cmp(key) != Ordering::Greater;
        entries.partition_point(above).saturating_sub(1)
    }

    /// Finds a key without making nodes. The page is for messages.
    pub fn find(&self, root: Child, key: &[u8]) -> Result<Option<(LeafEntry, PageId)>, PageError> {
        let mut at = root;
        for _ in 0..MAX_DEPTH {
            match at {
                Child::Page(page) => match self.find_in_page(page, key)? {
                    Step::Down(child) => at = Child::Page(child),
                    Step::Found(entry) => return Ok(entry.map(|entry| (entry, page))),
                },
                Child::Node(node) => match &self.nodes[node].body {
                    Body::Leaf(entries) => {
                        let found = self.place_in_leaf(entries, key).ok();
                        let page = self.nodes[node].page.map_or(0, |run| run.start);
                        return Ok(found.map(|index| (entries[index], page)));
                    }
                    Body::Branch(entries) => at = entries[self.place_in_branch(entries, key)].child,
                },
            }
        }
        Err(self.base.circle(0, MAX_DEPTH as u64))
    }

    fn find_in_page(&self, page: PageId, key: &[u8]) -> Result<Step, PageError> {
        let node = self.base.node(page)?;
        if !node.is_leaf {
            if node.count == 0 {
                return Err(self.base.element_fault(&node, 0));
            }
            let index = node.child_for(key).map_err(|index| self.base.element_fault(&node, index))?;
            return Ok(Step::Down(node.child(index)));
        }
        let (index, exact) = node.lower_bound(key).map_err(|index| self.base.element_fault(&node, index))?;
        if !exact {
            return Ok(Step::Found(None));
        }
        let offset = page * self.base.handle.page_size as u64;
        Ok(Step::Found(Some(read_leaf(&self.base, &node, index, offset)?)))
    }

    /// Makes nodes from the root down to the leaf where `key` belongs; notes them with the index taken in `path`, the leaf
    /// last. `root` becomes a node.
    pub fn path_to(&mut self, root: &mut Child, key: &[u8], path: &mut Vec<(NodeId, usize)>) -> Result<(), PageError> {
        path.clear();
        let mut at = self.root_node(root)?;
        for _ in 0..MAX_DEPTH {
            let index = match &self.nodes[at].body {
                Body::Leaf(_) => {
                    path.push((at, 0));
                    return Ok(());
                }
                Body::Branch(entries) => self.place_in_branch(entries, key),
            };
            path.push((at, index));
            at = self.child_node(at, index)?;
        }
        Err(self.base.circle(self.nodes[at].page.map_or(0, |run| run.start), MAX_DEPTH as u64))
    }

    /// The node of a root, made from its page if need be.
    pub fn root_node(&mut self, root: &mut Child) -> Result<NodeId, PageError> {
        match *root {
            Child::Node(node) => Ok(node),
            Child::Page(page) => {
                let node = self.load(page)?;
                *root = Child::Node(node);
                Ok(node)
            }
        }
    }

    /// Whether `key` is above all in this leaf, which is not empty.
    #[inline]
    pub fn is_beyond(&self, leaf: NodeId, key: &[u8]) -> bool {
        match &self.nodes[leaf].body {
            Body::Leaf(entries) => entries.last().is_some_and(|last| self.leaf_key(last) < key),
            Body::Branch(_) => false,
        }
    }

    #[inline]
    pub fn push(&mut self, leaf: NodeId, entry: LeafEntry) {
        if let Body::Leaf(entries) = &mut self.nodes[leaf].body {
            entries.push(entry);
        }
    }

    /// Puts an entry in place of the one with its key, or between its neighbours. `path` is from [`Tree::path_to`]. Returns
    /// the leaf if its place is at the end of the whole tree.
    pub fn insert(&mut self, root: &mut Child, path: &[(NodeId, usize)], entry: LeafEntry) -> Option<NodeId> {
        let (leaf, _) = *path.last().expect("a path ends at a leaf");
        let Body::Leaf(entries) = &self.nodes[leaf].body else {
            unreachable!("a path ends at a leaf")
        };
        let place = self.place_in_leaf(entries, self.leaf_key(&entry));
        let Body::Leaf(entries) = &mut self.nodes[leaf].body else {
            unreachable!("a path ends at a leaf")
        };
        match place {
            Ok(index) => entries[index] = entry,
            Err(index) => entries.insert(index, entry),
        }
        let at_end = place == Err(entries.len() - 1);
        if entries.len() > CROWDED && !at_end {
            self.split_crowded(root, path);
            return None;
        }
        let rightmost = path[..path.len() - 1]
            .iter()
            .all(|(node, index)| index + 1 == self.nodes[*node].body.len());
        (at_end && rightmost).then_some(leaf)
    }

    fn split_crowded(&mut self, root: &mut Child, path: &[(NodeId, usize)]) {
        let (leaf, _) = path[path.len() - 1];
        let Body::Leaf(entries) = &mut self.nodes[leaf].body else {
            unreachable!("a path ends at a leaf")
        };
        let right = entries.split_off(entries.len() / 2);
        let (first, middle) = (entries[0], right[0]);
        let right = self.add_leaf(right);
        let entry = |entry: LeafEntry, node| BranchEntry {
            at: entry.at,
            key_len: entry.key_len,
            child: Child::Node(node),
        };
        if path.len() == 1 {
            let both = vec![entry(first, leaf), entry(middle, right)];
            *root = Child::Node(self.add_branch(both));
            return;
        }
        let (parent, index) = path[path.len() - 2];
        if let Body::Branch(entries) = &mut self.nodes[parent].body {
            entries.insert(index + 1, entry(middle, right));
        }
    }

    /// Whether `key` names a bucket in the leaf at the end of `path`.
    pub fn is_bucket(&self, path: &[(NodeId, usize)], key: &[u8]) -> bool {
        match path.last().map(|(leaf, _)| &self.nodes[*leaf].body) {
            Some(Body::Leaf(entries)) => self.place_in_leaf(entries, key).is_ok_and(|index| entries[index].is_bucket()),
            _ => false,
        }
    }

    /// Takes an entry out of the leaf at the end of `path`; false if it is not there.
    pub fn remove(&mut self, path: &[(NodeId, usize)], key: &[u8]) -> bool {
        let (leaf, _) = *path.last().expect("a path ends at a leaf");
        let Body::Leaf(entries) = &self.nodes[leaf].body else {
            unreachable!("a path ends at a leaf")
        };
        let Ok(index) = self.place_in_leaf(entries, key) else {
            return false;
        };
        if let Body::Leaf(entries) = &mut self.nodes[leaf].body {
            entries.remove(index);
        }
        self.nodes[leaf].shrunk = true;
        true
    }

    /// Gives up a node and its pages; what was in it lives elsewhere now, or nowhere.
    pub fn discard(&mut self, node: NodeId) -> Body {
        let node = &mut self.nodes[node];
        self.freed.extend(node.page.take());
        std::mem::replace(&mut node.body, Body::Leaf(Vec::new()))
    }
}

/// The pages of whole trees.
impl Tree {
    /// Adds all pages of a bucket's tree to `out`, and those of the buckets nested in it but for the ones that `skip` names.
    pub fn collect_pages(&self, root: Child, skip: impl Fn(&[u8]) -> bool, out: &mut Vec<Run>) -> Result<(), PageError> {
        // The flag: this tree is the bucket's own, so `skip` speaks of the names in it.
        let mut work = vec![(root, true)];
        while let Some((at, own)) = work.pop() {
            if out.len() as u64 > self.base.meta.mark {
                return Err(self.base.circle(0, self.base.meta.mark));
            }
            match at {
                Child::Page(id) => {
                    let node = self.base.node(id)?;
                    let page_size = self.base.handle.page_size;
                    let len = (node.bytes().len() / page_size) as u64;
                    out.push(Run { start: id, len });
                    match read_body(&self.base, &node, id * page_size as u64)? {
                        Body::Branch(entries) => work.extend(entries.iter().map(|entry| (entry.child, own))),
                        Body::Leaf(entries) => self.collect_nested(&entries, own, &skip, &mut work)?,
                    }
                }
                Child::Node(id) => {
                    let node = &self.nodes[id];
                    out.extend(node.page);
                    match &node.body {
                        Body::Branch(entries) => work.extend(entries.iter().map(|entry| (entry.child, own))),
                        Body::Leaf(entries) => self.collect_nested(entries, own, &skip, &mut work)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn collect_nested(
        &self,
        entries: &[LeafEntry],
        own: bool,
        skip: &impl Fn(&[u8]) -> bool,
        work: &mut Vec<(Child, bool)>,
    ) -> Result<(), PageError> {
        for entry in entries.iter().filter(|entry| entry.is_bucket()) {
            if own && skip(self.leaf_key(entry)) {
                continue;
            }
            let (root, _) = self.base.bucket_root(0, self.leaf_value(entry))?;
            if let Root::Page(id) = root {
                work.push((Child::Page(id), false));
            }
        }
        Ok(())
    }
}

enum Step {
    Down(PageId),
    Found(Option<LeafEntry>),
}

fn read_leaf(base: &Version, node: &NodeRef<'_>, index: usize, offset: u64) -> Result<LeafEntry, PageError> {
    let leaf = node.leaf(index).ok_or_else(|| base.element_fault(node, index))?;
    Ok(LeafEntry {
        at: offset + node.key_offset(index) as u64,
        key_len: leaf.key.len() as u32,
        value_len: leaf.value.len() as u32,
        flags: leaf.flags,
    })
}

/// The entries of a page whose bytes begin at `offset`.
fn read_body(base: &Version, node: &NodeRef<'_>, offset: u64) -> Result<Body, PageError> {
    if node.is_leaf {
        let entries: Result<_, _> = (0..node.count).map(|index| read_leaf(base, node, index, offset)).collect();
        return Ok(Body::Leaf(entries?));
    }
    if node.count == 0 {
        return Err(base.element_fault(node, 0));
    }
    let entries: Result<_, _> = (0..node.count)
        .map(|index| {
            let key = node.key(index).ok_or_else(|| base.element_fault(node, index))?;
            Ok(BranchEntry {
                at: offset + node.key_offset(index) as u64,
                key_len: key.len() as u32,
                child: Child::Page(node.child(index)),
            })
        })
        .collect();
    Ok(Body::Branch(entries?))
}
