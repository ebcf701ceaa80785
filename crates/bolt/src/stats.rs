//! Counts of a bucket's pages, keys and bytes.

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
