//! From changed nodes to page images: small nodes are merged, big ones split, pages allocated, bytes laid out.
//!
//! Thresholds are bbolt's. Goes from the leaves up, so that a parent knows its children's pages; all new pages of one parent's
//! children are allocated together and laid out in key order, which makes runs that one call writes. Nothing is written here.

use crate::PageError;
use crate::PageFault;
use crate::freelist::{Freelist, Run};
use crate::page::{BRANCH, BucketHeader, ELEMENT, HEADER, Header, LEAF, MAX_DEPTH, PageId};
use crate::tree::{Body, BranchEntry, Child, LeafEntry, NodeId, Tree};

/// A page that is split keeps at least this many keys in each part.
const MIN_KEYS: usize = 2;

/// Page images that lie in `out` and belong to contiguous pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub run: Run,
    /// Where in `out` the first one begins.
    pub at: usize,
}

/// The pages a transaction takes, and what is to be written to them.
pub(crate) struct Spill<'w> {
    pub freelist: &'w mut Freelist,
    pub page_size: usize,
    /// The high-water mark, raised when no free run has room.
    pub mark: PageId,
    /// Takes the lowest pages there are, but for those in this run, instead of the longest runs: for reclaim.
    pub lowest: Option<Run>,
    /// What is left of the free run at hand.
    rest: Option<Run>,
    /// All pages taken.
    pub taken: Vec<Run>,
    pub segments: Vec<Segment>,
    pub out: Vec<u8>,
    old_mark: PageId,
    /// What the mark fell over.
    cut: Vec<Run>,
}

impl<'w> Spill<'w> {
    pub fn new(freelist: &'w mut Freelist, page_size: usize, mark: PageId, mut out: Vec<u8>) -> Spill<'w> {
        out.clear();
        Spill {
            freelist,
            page_size,
            mark,
            lowest: None,
            rest: None,
            taken: Vec::new(),
            segments: Vec::new(),
            out,
            old_mark: mark,
            cut: Vec::new(),
        }
    }

    /// Gives back what was taken: nothing of it was written.
    pub fn undo(&mut self) {
        self.give_back_rest();
        // Pages taken by raising the mark were nobody's before, unless the mark had been lowered below them.
        let lowest_mark = self.cut.iter().map(|run| run.start).min().unwrap_or(self.old_mark);
        for run in self.taken.drain(..).filter(|run| run.start < lowest_mark) {
            self.freelist.give(run);
        }
        self.cut.drain(..).for_each(|run| self.freelist.give(run));
        self.mark = self.old_mark;
    }

    pub fn give_back_rest(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.freelist.give(rest);
        }
    }

    /// Lets the mark fall over the free pages below it.
    pub fn lower_mark(&mut self) {
        while let Some(run) = self.freelist.take_tail(self.mark) {
            self.mark = run.start;
            self.cut.push(run);
        }
    }

    /// The image that `place` gave last, of this many pages.
    pub fn last_image(&mut self, pages: usize) -> &mut [u8] {
        let at = self.out.len() - pages * self.page_size;
        &mut self.out[at..]
    }

    /// Takes `need` contiguous pages; `want` are needed in all before long.
    fn allocate(&mut self, need: u64, want: u64) -> PageId {
        let start = self.allocate_free(need, want).unwrap_or_else(|| {
            self.mark += need;
            self.mark - need
        });
        self.taken.push(Run { start, len: need });
        start
    }

    fn allocate_free(&mut self, need: u64, want: u64) -> Option<PageId> {
        if let Some(avoid) = self.lowest {
            return self.freelist.take_lowest(need, self.mark, avoid).map(|run| run.start);
        }
        let run = match self.rest.take() {
            Some(rest) if rest.len >= need => rest,
            rest => {
                let run = self.freelist.take(need, want.max(need));
                rest.into_iter().for_each(|rest| self.freelist.give(rest));
                run?
            }
        };
        if run.len > need {
            self.rest = Some(Run {
                start: run.start + need,
                len: run.len - need,
            });
        }
        Some(run.start)
    }

    /// Room for `pages` page images, zeroed, for pages newly taken.
    pub fn place(&mut self, bytes: usize, want: u64) -> (PageId, &mut [u8]) {
        let pages = bytes.div_ceil(self.page_size);
        let start = self.allocate(pages as u64, want);
        let at = self.out.len();
        self.out.resize(at + pages * self.page_size, 0);
        let run = Run { start, len: pages as u64 };
        match self.segments.last_mut() {
            Some(last) if last.run.start + last.run.len == start => last.run.len += run.len,
            _ => self.segments.push(Segment { run, at }),
        }
        (start, &mut self.out[at..])
    }
}

/// Merges and collapses.
impl Tree {
    /// Merges the nodes under a root that have become too small, and lowers the tree if its root has one child left. Returns
    /// the root.
    pub fn rebalance(&mut self, mut root: NodeId, fill: f32) -> Result<NodeId, PageError> {
        let threshold = (self.base.handle.page_size as f32 * fill) as usize / 2;
        self.rebalance_under(root, threshold)?;
        for _ in 0..MAX_DEPTH {
            match &self.nodes[root].body {
                Body::Branch(entries) if entries.is_empty() => {
                    self.nodes[root].body = Body::Leaf(Vec::new());
                    return Ok(root);
                }
                Body::Branch(entries) if entries.len() == 1 => {
                    let child = self.child_node(root, 0)?;
                    self.discard(root);
                    root = child;
                }
                _ => return Ok(root),
            }
        }
        Err(self.base.circle(0, MAX_DEPTH as u64))
    }

    fn rebalance_under(&mut self, id: NodeId, threshold: usize) -> Result<(), PageError> {
        let Body::Branch(entries) = &self.nodes[id].body else {
            return Ok(());
        };
        let changed: Vec<NodeId> = entries
            .iter()
            .filter_map(|entry| match entry.child {
                Child::Node(node) => Some(node),
                Child::Page(_) => None,
            })
            .collect();
        for child in changed {
            self.rebalance_under(child, threshold)?;
        }
        self.drop_empty_children(id);
        let mut index = 0;
        while let Some((child, siblings)) = self.child_at(id, index) {
            let too_small = |node: &crate::tree::Node| {
                let least = if matches!(node.body, Body::Leaf(_)) { 1 } else { 2 };
                node.shrunk && (node.body.len() <= least || node.body.size() <= threshold)
            };
            match child {
                Child::Node(child) if siblings > 1 && too_small(&self.nodes[child]) => {
                    let left = index.saturating_sub(1);
                    self.merge(id, left)?;
                    index = left;
                }
                _ => index += 1,
            }
        }
        Ok(())
    }

    fn child_at(&self, id: NodeId, index: usize) -> Option<(Child, usize)> {
        match &self.nodes[id].body {
            Body::Branch(entries) => entries.get(index).map(|entry| (entry.child, entries.len())),
            Body::Leaf(_) => None,
        }
    }

    fn drop_empty_children(&mut self, id: NodeId) {
        let Body::Branch(mut entries) = std::mem::replace(&mut self.nodes[id].body, Body::Leaf(Vec::new())) else {
            unreachable!("only branches have children")
        };
        let before = entries.len();
        entries.retain(|entry| match entry.child {
            Child::Node(node) if self.nodes[node].body.len() == 0 => {
                self.discard(node);
                false
            }
            _ => true,
        });
        self.nodes[id].shrunk |= entries.len() < before;
        self.nodes[id].body = Body::Branch(entries);
    }

    /// Moves all of child `left + 1` into child `left`.
    fn merge(&mut self, parent: NodeId, left: usize) -> Result<(), PageError> {
        let into = self.child_node(parent, left)?;
        let from = self.child_node(parent, left + 1)?;
        let page = self.nodes[from].page.map_or(0, |run| run.start);
        let moved = self.discard(from);
        match (&mut self.nodes[into].body, moved) {
            (Body::Leaf(into), Body::Leaf(from)) => into.extend(from),
            (Body::Branch(into), Body::Branch(from)) => into.extend(from),
            _ => {
                return Err(self
                    .base
                    .fault(page, PageFault::Other("a branch and a leaf are siblings".to_owned())));
            }
        }
        if let Body::Branch(entries) = &mut self.nodes[parent].body {
            entries.remove(left + 1);
        }
        self.nodes[into].shrunk = true;
        self.nodes[parent].shrunk = true;
        Ok(())
    }
}

/// Splits and page images.
impl Tree {
    /// Lays out all nodes under a root; returns the root's page.
    pub fn spill(&mut self, mut root: NodeId, fill: f32, to: &mut Spill<'_>) -> PageId {
        self.spill_children(root, fill, to);
        loop {
            let mut parts = Vec::new();
            self.spill_node(root, fill, 0, to, &mut parts);
            if let [
                BranchEntry {
                    child: Child::Page(page), ..
                },
            ] = parts[..]
            {
                return page;
            }
            root = self.add_branch(parts);
        }
    }

    fn spill_children(&mut self, id: NodeId, fill: f32, to: &mut Spill<'_>) {
        let Body::Branch(entries) = &mut self.nodes[id].body else {
            return;
        };
        let entries = std::mem::take(entries);
        for entry in &entries {
            if let Child::Node(child) = entry.child {
                self.spill_children(child, fill, to);
            }
        }
        let want: usize = entries
            .iter()
            .map(|entry| match entry.child {
                Child::Node(child) => self.nodes[child].body.size().div_ceil((to.page_size as f32 * fill) as usize),
                Child::Page(_) => 0,
            })
            .sum();
        let mut want = want as u64;
        let mut spilled = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.child {
                Child::Node(child) => want = self.spill_node(child, fill, want, to, &mut spilled),
                Child::Page(_) => spilled.push(entry),
            }
        }
        self.nodes[id].body = Body::Branch(spilled);
    }

    /// Splits one node, whose children are pages by now, into page images, and adds an entry for each to `parts`. Returns what
    /// is still wanted for its siblings.
    fn spill_node(&mut self, id: NodeId, fill: f32, mut want: u64, to: &mut Spill<'_>, parts: &mut Vec<BranchEntry>) -> u64 {
        match self.discard(id) {
            Body::Leaf(entries) => {
                let sizes = entries.iter().map(LeafEntry::bytes);
                for (from, until, bytes) in split(sizes, entries.len(), to.page_size, fill) {
                    let (page, image) = to.place(bytes, want);
                    let overflow = image.len() / self.base.handle.page_size - 1;
                    self.lay_out_leaf(&entries[from..until], page, overflow, image);
                    want = want.saturating_sub(overflow as u64 + 1);
                    let (at, key_len) = entries.get(from).map_or((0, 0), |entry| (entry.at, entry.key_len));
                    let child = Child::Page(page);
                    parts.push(BranchEntry { at, key_len, child });
                }
            }
            Body::Branch(entries) => {
                let sizes = entries.iter().map(|entry| entry.key_len as usize);
                for (from, until, bytes) in split(sizes, entries.len(), to.page_size, fill) {
                    let (page, image) = to.place(bytes, want);
                    let overflow = image.len() / self.base.handle.page_size - 1;
                    self.lay_out_branch(&entries[from..until], page, overflow, image);
                    want = want.saturating_sub(overflow as u64 + 1);
                    let child = Child::Page(page);
                    parts.push(BranchEntry { child, ..entries[from] });
                }
            }
        }
        want
    }

    fn lay_out_leaf(&self, entries: &[LeafEntry], page: PageId, overflow: usize, out: &mut [u8]) {
        header(page, LEAF, entries.len(), overflow).encode(out);
        let mut data = HEADER + entries.len() * ELEMENT;
        for (index, entry) in entries.iter().enumerate() {
            let at = HEADER + index * ELEMENT;
            out[at..at + 4].copy_from_slice(&entry.flags.to_le_bytes());
            out[at + 4..at + 8].copy_from_slice(&((data - at) as u32).to_le_bytes());
            out[at + 8..at + 12].copy_from_slice(&entry.key_len.to_le_bytes());
            out[at + 12..at + 16].copy_from_slice(&entry.value_len.to_le_bytes());
            out[data..data + entry.bytes()].copy_from_slice(self.bytes(entry.at, entry.bytes()));
            data += entry.bytes();
        }
    }

    fn lay_out_branch(&self, entries: &[BranchEntry], page: PageId, overflow: usize, out: &mut [u8]) {
        header(page, BRANCH, entries.len(), overflow).encode(out);
        let mut data = HEADER + entries.len() * ELEMENT;
        for (index, entry) in entries.iter().enumerate() {
            let Child::Page(child) = entry.child else {
                unreachable!("children are laid out before their parent")
            };
            let (at, len) = (HEADER + index * ELEMENT, entry.key_len as usize);
            out[at..at + 4].copy_from_slice(&((data - at) as u32).to_le_bytes());
            out[at + 4..at + 8].copy_from_slice(&entry.key_len.to_le_bytes());
            out[at + 8..at + 16].copy_from_slice(&child.to_le_bytes());
            out[data..data + len].copy_from_slice(self.bytes(entry.at, len));
            data += len;
        }
    }

    /// The value of a bucket that fits into its parent's leaf; `None` if it is to have pages of its own.
    pub fn inline_value(&self, root: NodeId, sequence: u64) -> Option<Vec<u8>> {
        let Body::Leaf(entries) = &self.nodes[root].body else {
            return None;
        };
        let size = self.nodes[root].body.size();
        if size > self.base.handle.page_size / 4 || entries.iter().any(LeafEntry::is_bucket) {
            return None;
        }
        let mut value = BucketHeader { root: 0, sequence }.encode().to_vec();
        let image = value.len();
        value.resize(image + size, 0);
        self.lay_out_leaf(entries, 0, 0, &mut value[image..]);
        Some(value)
    }
}

fn header(id: PageId, flags: u16, count: usize, overflow: usize) -> Header {
    Header {
        id,
        flags,
        count: u16::try_from(count).expect("a page of at most 65535 elements"),
        overflow: u32::try_from(overflow).expect("a page of at most 2^32 pages"),
    }
}

/// Cuts the entries of a node into pages: ranges of entries with their size in bytes. bbolt's rule: while more than four are
/// left and they do not fit one page, a page is filled up to `fill` with at least two, and at least two are left over.
fn split(data: impl Iterator<Item = usize> + Clone, count: usize, page_size: usize, fill: f32) -> Vec<(usize, usize, usize)> {
    let threshold = (page_size as f32 * fill) as usize;
    let mut sizes = data.clone().map(|bytes| ELEMENT + bytes);
    let mut left: usize = HEADER + data.map(|bytes| ELEMENT + bytes).sum::<usize>();
    let mut parts = Vec::with_capacity(left / threshold.max(1) + 1);
    let mut from = 0;
    while count - from > 2 * MIN_KEYS && left >= page_size {
        let mut size = HEADER;
        let mut taken = 0;
        // The entry that no longer fits begins the next page, so sizes are looked at before they are taken.
        let mut ahead = sizes.clone();
        while taken + 1 < count - from - MIN_KEYS {
            let next = ahead.next().expect("as many sizes as entries");
            if taken >= MIN_KEYS && size + next > threshold {
                break;
            }
            size += next;
            taken += 1;
        }
        sizes.nth(taken - 1);
        parts.push((from, from + taken, size));
        from += taken;
        left -= size - HEADER;
    }
    parts.push((from, count, left));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_entries_stay_together_however_big() {
        assert_eq!(split([5000, 5000, 5000, 5000].into_iter(), 4, 4096, 0.5).len(), 1);
        assert_eq!(split([].into_iter(), 0, 4096, 0.5), vec![(0, 0, 16)]);
    }

    #[test]
    fn parts_follow_one_another_and_are_filled_as_told() {
        let sizes = vec![529; 1000];
        for (fill, per_page) in [(0.5, 3), (0.9, 6)] {
            let parts = split(sizes.iter().copied(), sizes.len(), 4096, fill);
            let mut at = 0;
            for (index, (from, until, bytes)) in parts.iter().enumerate() {
                assert_eq!(*from, at);
                assert_eq!(*bytes, 16 + (until - from) * (16 + 529));
                if index + 1 < parts.len() {
                    assert_eq!(until - from, per_page);
                }
                at = *until;
            }
            assert_eq!(at, 1000);
        }
    }

    #[test]
    fn at_least_two_keys_a_page() {
        for (from, until, _) in split(vec![3000; 9].into_iter(), 9, 4096, 0.5) {
            assert!(until - from >= 2);
        }
    }
}
