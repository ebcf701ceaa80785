//! Walks every page that the tree reaches, once, and reports what bbolt refuses: for `check`, and for opening a file whose list
//! of free pages is not stored.

use crate::check::{Fault, Hex, PageCounts, Stack, page_fault};
use crate::page::{BRANCH, BUCKET_FLAG, Header, LEAF, MAX_DEPTH, NodeRef, PageId};
use crate::version::{Root, Version};

/// A set of page numbers below a mark, one bit each.
pub(crate) struct PageSet(Vec<u64>);

impl PageSet {
    pub fn new(mark: PageId) -> PageSet {
        PageSet(vec![0; usize::try_from(mark.div_ceil(64)).expect("a page set of a mapped file")])
    }

    /// Whether it was there already.
    pub fn insert(&mut self, id: PageId) -> bool {
        let (word, bit) = (&mut self.0[(id / 64) as usize], 1 << (id % 64));
        let was = *word & bit != 0;
        *word |= bit;
        was
    }

    pub fn contains(&self, id: PageId) -> bool {
        self.0.get((id / 64) as usize).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    /// The runs of pages from `from` to below `to` that are not in the set: first page and length.
    pub fn gaps(&self, from: PageId, to: PageId) -> impl Iterator<Item = (PageId, u64)> {
        let mut at = from;
        std::iter::from_fn(move || {
            while at < to && self.contains(at) {
                at = self.next(at, to, false);
            }
            let start = at;
            at = self.next(at, to, true);
            (start < to).then(|| (start, at - start))
        })
    }

    /// The first page from `at` on that is in the set (`inside`), or that is not; `to` if there is none.
    fn next(&self, mut at: PageId, to: PageId, inside: bool) -> PageId {
        while at < to {
            let word = self.0[(at / 64) as usize];
            let word = (if inside { word } else { !word }) >> (at % 64);
            if word != 0 {
                return (at + u64::from(word.trailing_zeros())).min(to);
            }
            at = (at / 64 + 1) * 64;
        }
        to
    }
}

/// What the receiver of a fault wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Going,
    Stop,
}

/// One walk. Never enters a page twice, so it ends on any file.
pub(crate) struct Walk<'v, F: FnMut(Fault) -> Keep> {
    version: &'v Version,
    freed: Option<&'v PageSet>,
    report: F,
    reached: PageSet,
    counts: PageCounts,
    /// Nested buckets still to be walked. A list, not recursion: how deep buckets are nested is the file's choice.
    buckets: Vec<Root<'v>>,
    stack: Vec<PageId>,
    stopped: bool,
}

impl<'v, F: FnMut(Fault) -> Keep> Walk<'v, F> {
    pub fn new(version: &'v Version, freed: Option<&'v PageSet>, report: F) -> Walk<'v, F> {
        let mut reached = PageSet::new(version.meta.mark.max(2));
        reached.insert(0);
        reached.insert(1);
        Walk {
            version,
            freed,
            report,
            reached,
            counts: PageCounts::default(),
            buckets: Vec::new(),
            stack: Vec::new(),
            stopped: false,
        }
    }

    /// Counts the pages of a stored free list as reached.
    pub fn mark_freelist(&mut self, id: PageId) {
        if let Ok((header, _)) = self.version.raw(id) {
            (id..=id + u64::from(header.overflow)).for_each(|id| {
                self.reached.insert(id);
            });
            self.counts.freelist += 1;
            self.counts.overflow += u64::from(header.overflow);
        }
    }

    /// Walks all buckets from the root down.
    pub fn tree(&mut self) {
        self.buckets.push(Root::Page(self.version.meta.root));
        while let Some(root) = self.buckets.pop() {
            match root {
                Root::Page(id) => {
                    self.page(id, None, None);
                    debug_assert!(self.stack.is_empty());
                }
                Root::Inline(node) => {
                    self.leaf(&node, None, None);
                }
            }
            if self.stopped {
                return;
            }
        }
    }

    /// What was reached, the counts, and whether the walk came to its end.
    pub fn finish(self) -> (PageSet, PageCounts, bool) {
        (self.reached, self.counts, !self.stopped)
    }

    fn fault(&mut self, fault: Fault) {
        if !self.stopped && (self.report)(fault) == Keep::Stop {
            self.stopped = true;
        }
    }

    fn stack_to(&self, page: PageId) -> Stack {
        Stack(self.stack.iter().copied().chain([page]).collect())
    }

    /// Walks a page and what is under it. Its keys must lie in `min..max`. Returns the highest key found.
    fn page(&mut self, id: PageId, min: Option<&'v [u8]>, max: Option<&'v [u8]>) -> Option<&'v [u8]> {
        if self.stopped {
            return None;
        }
        let (header, data) = match self.version.raw(id) {
            Ok(page) => page,
            Err(error) => {
                self.fault(page_fault(&error, &self.stack_to(id).0));
                return None;
            }
        };
        if !self.reach(id, &header) {
            return None;
        }
        let Some(node) = NodeRef::new(data, id) else {
            let error = self.version.node(id).err();
            match error {
                Some(error) if header.flags == BRANCH || header.flags == LEAF => self.fault(page_fault(&error, &self.stack_to(id).0)),
                _ => self.fault(Fault::UnexpectedType {
                    page: id,
                    flags: header.flags,
                }),
            }
            return None;
        };
        if self.stack.len() >= MAX_DEPTH {
            let error = self.version.circle(id, MAX_DEPTH as u64);
            self.fault(page_fault(&error, &self.stack_to(id).0));
            return None;
        }
        self.stack.push(id);
        let highest = if node.is_leaf {
            self.leaf(&node, min, max)
        } else {
            self.branch(&node, min, max)
        };
        self.stack.pop();
        highest
    }

    /// Notes that a page was reached; false if it is not to be entered.
    fn reach(&mut self, id: PageId, header: &Header) -> bool {
        let mut twice = false;
        for page in id..=id + u64::from(header.overflow) {
            if self.reached.insert(page) {
                twice = true;
                let stack = self.stack_to(id);
                self.fault(Fault::MultipleReferences { page, stack });
            }
        }
        self.counts.overflow += u64::from(header.overflow);
        match header.flags {
            BRANCH => self.counts.branch += 1,
            LEAF => self.counts.leaf += 1,
            _ => {}
        }
        if self.freed.is_some_and(|freed| freed.contains(id)) {
            self.fault(Fault::ReachableFreed { page: id });
        } else if header.flags != BRANCH && header.flags != LEAF {
            let (kind, stack) = (Header::kind(header.flags), self.stack_to(id));
            self.fault(Fault::InvalidType { page: id, kind, stack });
        }
        !twice && !self.stopped
    }

    fn branch(&mut self, node: &NodeRef<'v>, min: Option<&'v [u8]>, max: Option<&'v [u8]>) -> Option<&'v [u8]> {
        if node.count == 0 {
            let error = self.version.element_fault(node, 0);
            self.fault(page_fault(&error, &self.stack));
        }
        let mut highest = min;
        let mut found = None;
        for index in 0..node.count {
            let Some(key) = node.key(index) else {
                let error = self.version.element_fault(node, index);
                self.fault(page_fault(&error, &self.stack));
                return found;
            };
            self.order(node.child(index), "branch", index, key, highest, max);
            let next = if index + 1 < node.count { node.key(index + 1) } else { max };
            found = self.page(node.child(index), Some(key), next);
            if self.stopped {
                return None;
            }
            highest = found;
        }
        found
    }

    fn leaf(&mut self, node: &NodeRef<'v>, min: Option<&'v [u8]>, max: Option<&'v [u8]>) -> Option<&'v [u8]> {
        let mut previous = min;
        for index in 0..node.count {
            let Some(leaf) = node.leaf(index) else {
                let error = self.version.element_fault(node, index);
                self.fault(page_fault(&error, &self.stack));
                return None;
            };
            if leaf.key.is_empty() {
                self.fault(Fault::EmptyKey { page: node.id, index });
            }
            self.order(node.id, "leaf", index, leaf.key, previous, max);
            if leaf.flags & BUCKET_FLAG != 0 {
                match self.version.bucket_root(node.id, leaf.value) {
                    Ok((root, _)) => self.buckets.push(root),
                    Err(error) => self.fault(page_fault(&error, &self.stack)),
                }
            }
            if self.stopped {
                return None;
            }
            previous = Some(leaf.key);
        }
        if node.count > 0 { previous } else { None }
    }

    #[inline]
    fn order(&mut self, page: PageId, kind: &'static str, index: usize, key: &[u8], previous: Option<&[u8]>, max: Option<&[u8]>) {
        let sound = match previous {
            Some(previous) if index == 0 => previous <= key,
            Some(previous) => previous < key,
            None => true,
        };
        if !sound || max.is_some_and(|max| key >= max) {
            self.disorder(page, kind, index, key, previous, max);
        }
    }

    #[cold]
    fn disorder(&mut self, page: PageId, kind: &'static str, index: usize, key: &[u8], previous: Option<&[u8]>, max: Option<&[u8]>) {
        let stack = || Stack(self.stack.clone());
        let hex = |bytes: &[u8]| Hex(bytes.to_vec());
        let mut faults = Vec::new();
        if let Some(previous) = previous {
            if index == 0 && previous > key {
                let (key, ancestor) = (hex(key), hex(previous));
                let stack = stack();
                faults.push(Fault::FirstKeyTooLow {
                    page,
                    kind,
                    key,
                    ancestor,
                    stack,
                });
            } else if index > 0 && previous >= key {
                let found = if previous == key { '=' } else { '<' };
                let (key, previous, stack) = (hex(key), hex(previous), stack());
                faults.push(Fault::KeyOrder {
                    page,
                    kind,
                    index,
                    key,
                    found,
                    previous,
                    stack,
                });
            }
        }
        if let Some(next) = max.filter(|max| key >= *max) {
            let (key, next, stack) = (hex(key), hex(next), stack());
            faults.push(Fault::KeyTooHigh {
                page,
                kind,
                index,
                key,
                next,
                stack,
            });
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
    }
}
