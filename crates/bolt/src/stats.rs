//! Counts of a bucket's pages, keys and bytes.

use crate::page::{BUCKET_FLAG, MAX_DEPTH, NodeRef};
use crate::read::Bucket;
use crate::version::{Root, Version};
use crate::{PageError, PageFault};

/// As bbolt's `BucketStats`, with nested buckets counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketStats {
    pub branch_pages: u64,
    pub branch_overflow_pages: u64,
    pub leaf_pages: u64,
    pub leaf_overflow_pages: u64,
    pub keys: u64,
    pub depth: u64,
    pub branch_alloc_bytes: u64,
    pub branch_inuse_bytes: u64,
    pub leaf_alloc_bytes: u64,
    pub leaf_inuse_bytes: u64,
    pub buckets: u64,
    pub inline_buckets: u64,
    pub inline_inuse_bytes: u64,
}

impl BucketStats {
    fn add(&mut self, other: &BucketStats) {
        self.branch_pages += other.branch_pages;
        self.branch_overflow_pages += other.branch_overflow_pages;
        self.leaf_pages += other.leaf_pages;
        self.leaf_overflow_pages += other.leaf_overflow_pages;
        self.keys += other.keys;
        self.depth = self.depth.max(other.depth);
        self.branch_alloc_bytes += other.branch_alloc_bytes;
        self.branch_inuse_bytes += other.branch_inuse_bytes;
        self.leaf_alloc_bytes += other.leaf_alloc_bytes;
        self.leaf_inuse_bytes += other.leaf_inuse_bytes;
        self.buckets += other.buckets;
        self.inline_buckets += other.inline_buckets;
        self.inline_inuse_bytes += other.inline_inuse_bytes;
    }
}

pub(crate) fn of(bucket: &Bucket<'_>) -> Result<BucketStats, PageError> {
    let mut count = Count {
        version: bucket.version,
        pages_left: bucket.version.meta.mark,
    };
    count.bucket(bucket.root, 0)
}

struct Count<'v> {
    version: &'v Version,
    /// A sound tree has no more pages than the file; what has more runs in a circle.
    pages_left: u64,
}

impl Count<'_> {
    fn bucket(&mut self, root: Root<'_>, nesting: usize) -> Result<BucketStats, PageError> {
        let mut stats = BucketStats {
            buckets: 1,
            ..BucketStats::default()
        };
        let mut nested = BucketStats::default();
        match root {
            Root::Inline(node) => {
                stats.inline_buckets = 1;
                stats.keys = node.count as u64;
                stats.inline_inuse_bytes = self.used(&node)?;
                stats.depth = 1;
            }
            Root::Page(id) => {
                if nesting >= MAX_DEPTH {
                    return Err(self.version.circle(id, MAX_DEPTH as u64));
                }
                self.page(id, 0, nesting, &mut stats, &mut nested)?;
            }
        }
        let page_size = self.version.handle.page_size as u64;
        stats.branch_alloc_bytes = (stats.branch_pages + stats.branch_overflow_pages) * page_size;
        stats.leaf_alloc_bytes = (stats.leaf_pages + stats.leaf_overflow_pages) * page_size;
        stats.depth += nested.depth;
        stats.add(&nested);
        Ok(stats)
    }

    fn page(&mut self, id: u64, depth: usize, nesting: usize, stats: &mut BucketStats, nested: &mut BucketStats) -> Result<(), PageError> {
        if depth >= MAX_DEPTH || self.pages_left == 0 {
            return Err(self.version.circle(id, self.version.meta.mark));
        }
        self.pages_left -= 1;
        let node = self.version.node(id)?;
        let used = self.used(&node)?;
        let overflow = (node.bytes().len() / self.version.handle.page_size - 1) as u64;
        stats.depth = stats.depth.max(depth as u64 + 1);
        if !node.is_leaf {
            stats.branch_pages += 1;
            stats.branch_overflow_pages += overflow;
            stats.branch_inuse_bytes += used;
            return (0..node.count).try_for_each(|index| self.page(node.child(index), depth + 1, nesting, stats, nested));
        }
        stats.leaf_pages += 1;
        stats.leaf_overflow_pages += overflow;
        stats.leaf_inuse_bytes += used;
        stats.keys += node.count as u64;
        for index in (0..node.count).filter(|index| node.leaf_flags(*index) & BUCKET_FLAG != 0) {
            let leaf = node.leaf(index).ok_or_else(|| self.version.element_fault(&node, index))?;
            let (root, _) = self.version.bucket_root(id, leaf.value)?;
            nested.add(&self.bucket(root, nesting + 1)?);
        }
        Ok(())
    }

    /// Bytes from the page's beginning to the end of its last element.
    fn used(&self, node: &NodeRef<'_>) -> Result<u64, PageError> {
        let Some(last) = node.count.checked_sub(1) else {
            return Ok(crate::page::HEADER as u64);
        };
        let sizes = match node.is_leaf {
            true => node.leaf(last).map(|leaf| leaf.key.len() + leaf.value.len()),
            false => node.key(last).map(<[u8]>::len),
        };
        match sizes {
            Some(bytes) => Ok((node.key_offset(last) + bytes) as u64),
            None => Err(self.version.fault(
                node.id,
                PageFault::Element {
                    index: last,
                    count: node.count,
                },
            )),
        }
    }
}
