//! One committed state: a meta, the map its pages are read from, and the checks on the way to a page.

use std::path::PathBuf;
use std::sync::Arc;

use world::{DiskFile, Map};

use crate::meta::Meta;
use crate::page::{BRANCH, BucketHeader, HEADER, Header, LEAF, NodeRef, PageId};
use crate::{PageError, PageFault};

/// The open file, shared by the database and all its readers.
pub(crate) struct FileHandle {
    pub file: Box<dyn DiskFile>,
    pub path: PathBuf,
    pub page_size: usize,
}

/// What a reader holds. While it lives, no page that its tree reaches is written to or cut off.
pub(crate) struct Version {
    pub meta: Meta,
    pub map: Arc<dyn Map>,
    pub handle: Arc<FileHandle>,
}

/// Where a bucket's tree begins.
#[derive(Clone, Copy)]
pub(crate) enum Root<'a> {
    Page(PageId),
    Inline(NodeRef<'a>),
}

impl Version {
    #[cold]
    pub fn fault(&self, page: PageId, fault: PageFault) -> PageError {
        PageError::new(&self.handle.path, page, fault)
    }

    #[cold]
    pub fn element_fault(&self, node: &NodeRef<'_>, index: usize) -> PageError {
        self.fault(node.id, PageFault::Element { index, count: node.count })
    }

    #[cold]
    pub fn circle(&self, page: PageId, limit: u64) -> PageError {
        self.fault(page, PageFault::Circle { limit })
    }

    /// The header of a page below the mark and all its bytes, overflow pages included, whatever kind it is.
    #[inline]
    pub fn raw(&self, id: PageId) -> Result<(Header, &[u8]), PageError> {
        let mark = self.meta.mark;
        if id < 2 || id >= mark {
            return Err(self.fault(id, PageFault::OutOfBounds { mark }));
        }
        let page_size = self.handle.page_size;
        // The mark was checked against the map when this version was made, so nothing here overflows.
        let offset = id as usize * page_size;
        let first = self.map.slice(offset, page_size);
        let header = Header::decode(&first[..HEADER]);
        if header.id != id {
            return Err(self.fault(
                id,
                PageFault::WrongId {
                    expected: id,
                    found: header.id,
                },
            ));
        }
        if header.overflow == 0 {
            return Ok((header, first));
        }
        let overflow = header.overflow;
        if u64::from(overflow) >= mark - id {
            return Err(self.fault(id, PageFault::Overflow { overflow, mark }));
        }
        Ok((header, self.map.slice(offset, (overflow as usize + 1) * page_size)))
    }

    /// A branch or leaf page.
    #[inline]
    pub fn node(&self, id: PageId) -> Result<NodeRef<'_>, PageError> {
        let (header, data) = self.raw(id)?;
        NodeRef::new(data, id).ok_or_else(|| self.node_fault(id, &header))
    }

    #[cold]
    fn node_fault(&self, id: PageId, header: &Header) -> PageError {
        let count = usize::from(header.count);
        self.fault(
            id,
            match header.flags {
                BRANCH | LEAF => PageFault::Element {
                    index: count.saturating_sub(1),
                    count,
                },
                flags => PageFault::InvalidType { flags },
            },
        )
    }

    /// Reads a bucket's value in leaf page `page`.
    pub fn bucket_root<'a>(&self, page: PageId, value: &'a [u8]) -> Result<(Root<'a>, u64), PageError> {
        let header = BucketHeader::decode(value).ok_or_else(|| self.fault(page, PageFault::BucketHeader { len: value.len() }))?;
        if header.root != 0 {
            return Ok((Root::Page(header.root), header.sequence));
        }
        let node = NodeRef::new(&value[crate::page::BUCKET_HEADER..], page)
            .filter(|node| node.is_leaf)
            .ok_or_else(|| self.fault(page, PageFault::Other("an inline bucket is not a leaf".to_owned())))?;
        Ok((Root::Inline(node), header.sequence))
    }
}
