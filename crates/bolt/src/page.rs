//! The bytes of a page: header, elements, checked on the way in and laid out on the way out.
//!
//! Knows nothing of files or trees. An element that points outside its page gives `None`, and the caller knows which page to
//! name. Integers are little endian, as on every machine that etcd's files come from.

/// A page's number; its first byte is at this times the page size.
pub(crate) type PageId = u64;

/// Bytes of a page header, and of an element in either kind of page.
pub(crate) const HEADER: usize = 16;
pub(crate) const ELEMENT: usize = 16;
/// Bytes of a bucket's header in its parent's leaf: root page and sequence.
pub(crate) const BUCKET_HEADER: usize = 16;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;

/// The flag of a leaf element that is a bucket.
pub(crate) const BUCKET_FLAG: u32 = 0x01;

/// A valid tree of 2^32 pages with two children a page is half as deep; whatever is deeper runs in a circle.
pub(crate) const MAX_DEPTH: usize = 64;

pub(crate) const MIN_PAGE_SIZE: usize = 1024;
pub(crate) const MAX_PAGE_SIZE: usize = 65536;

pub(crate) fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

/// The first 16 bytes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub id: PageId,
    pub flags: u16,
    pub count: u16,
    /// Further pages that belong to this one.
    pub overflow: u32,
}

impl Header {
    /// # Panics
    /// If `data` is shorter than a header.
    pub fn decode(data: &[u8]) -> Header {
        Header {
            id: u64_at(data, 0),
            flags: u16_at(data, 8),
            count: u16_at(data, 10),
            overflow: u32_at(data, 12),
        }
    }

    pub fn encode(&self, out: &mut [u8]) {
        out[0..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.to_le_bytes());
        out[10..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..16].copy_from_slice(&self.overflow.to_le_bytes());
    }

    /// bbolt's word for the kind of page.
    pub fn kind(flags: u16) -> String {
        match flags {
            BRANCH => "branch".to_owned(),
            LEAF => "leaf".to_owned(),
            META => "meta".to_owned(),
            FREELIST => "freelist".to_owned(),
            other => format!("unknown<{other:02x}>"),
        }
    }
}

/// An element of a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    pub flags: u32,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl Leaf<'_> {
    pub fn is_bucket(&self) -> bool {
        self.flags & BUCKET_FLAG != 0
    }
}

/// A branch or leaf as it lies in the file, or in its parent's leaf if it is an inline bucket.
#[derive(Clone, Copy)]
pub(crate) struct NodeRef<'a> {
    /// The page with all its overflow pages.
    data: &'a [u8],
    /// The page it is on; an inline bucket's is the one of the leaf it lies in.
    pub id: PageId,
    pub count: usize,
    pub is_leaf: bool,
}

impl<'a> NodeRef<'a> {
    /// Takes what the header says for true as far as the elements fit the bytes; `None` if not.
    pub fn new(data: &'a [u8], id: PageId) -> Option<NodeRef<'a>> {
        if data.len() < HEADER {
            return None;
        }
        let header = Header::decode(data);
        let count = usize::from(header.count);
        let is_leaf = match header.flags {
            LEAF => true,
            BRANCH => false,
            _ => return None,
        };
        (HEADER + count * ELEMENT <= data.len()).then_some(NodeRef { data, id, count, is_leaf })
    }

    /// The bytes it takes up, element headers included.
    pub fn bytes(&self) -> &'a [u8] {
        self.data
    }

    #[inline]
    fn element(&self, index: usize) -> (&'a [u8], usize) {
        assert!(index < self.count, "element {index} of {}", self.count);
        let at = HEADER + index * ELEMENT;
        (&self.data[at..at + ELEMENT], at)
    }

    #[inline]
    pub fn key(&self, index: usize) -> Option<&'a [u8]> {
        let (element, at) = self.element(index);
        let first = if self.is_leaf { 4 } else { 0 };
        let start = at + u32_at(element, first) as usize;
        self.data.get(start..start + u32_at(element, first + 4) as usize)
    }

    #[inline]
    pub fn leaf(&self, index: usize) -> Option<Leaf<'a>> {
        debug_assert!(self.is_leaf);
        let (element, at) = self.element(index);
        let start = at + u32_at(element, 4) as usize;
        let middle = start + u32_at(element, 8) as usize;
        let end = middle + u32_at(element, 12) as usize;
        Some(Leaf {
            flags: u32_at(element, 0),
            key: self.data.get(start..middle)?,
            value: self.data.get(middle..end)?,
        })
    }

    /// The flags of a leaf element, without a look at its key.
    pub fn leaf_flags(&self, index: usize) -> u32 {
        u32_at(self.element(index).0, 0)
    }

    /// Where an element's key begins, from the start of the page.
    pub fn key_offset(&self, index: usize) -> usize {
        let (element, at) = self.element(index);
        at + u32_at(element, if self.is_leaf { 4 } else { 0 }) as usize
    }

    #[inline]
    pub fn child(&self, index: usize) -> PageId {
        debug_assert!(!self.is_leaf);
        u64_at(self.element(index).0, 8)
    }

    /// The first element with a key not below `key`, and whether it is equal. `Err` names an element outside the page.
    #[inline]
    pub fn lower_bound(&self, key: &[u8]) -> Result<(usize, bool), usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).ok_or(middle)?.cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok((middle, true)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok((low, false))
    }

    /// The child of a branch under which `key` belongs: the last one whose key is not above it, else the first.
    #[inline]
    pub fn child_for(&self, key: &[u8]) -> Result<usize, usize> {
        let (index, exact) = self.lower_bound(key)?;
        Ok(if exact { index } else { index.saturating_sub(1) })
    }
}

/// A bucket's header as its parent's leaf holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketHeader {
    /// 0 = the bucket is one leaf that follows in the same value.
    pub root: PageId,
    pub sequence: u64,
}

impl BucketHeader {
    pub fn decode(value: &[u8]) -> Option<BucketHeader> {
        (value.len() >= BUCKET_HEADER).then(|| BucketHeader {
            root: u64_at(value, 0),
            sequence: u64_at(value, 8),
        })
    }

    pub fn encode(&self) -> [u8; BUCKET_HEADER] {
        let mut out = [0; BUCKET_HEADER];
        out[..8].copy_from_slice(&self.root.to_le_bytes());
        out[8..].copy_from_slice(&self.sequence.to_le_bytes());
        out
    }
}
