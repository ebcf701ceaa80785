//! A committed state and its buckets.

use std::io;
use std::sync::Arc;

use crate::page::{Leaf, MAX_DEPTH, NodeRef};
use crate::version::{Root, Version};
use crate::{BucketStats, CheckReport, Cursor, PageError};

/// A committed state, unchanged for as long as this lives. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct ReadTx {
    pub(crate) version: Arc<Version>,
}

impl ReadTx {
    /// The top-level bucket of this name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_>>, PageError> {
        self.root().bucket(name)
    }

    /// The names of the top-level buckets, in order.
    pub fn buckets(&self) -> Result<Vec<&[u8]>, PageError> {
        self.root().buckets()
    }

    /// The bucket that holds the top-level buckets.
    pub fn root(&self) -> Bucket<'_> {
        let meta = &self.version.meta;
        Bucket {
            version: &self.version,
            root: Root::Page(meta.root),
            sequence: meta.root_sequence,
        }
    }

    /// Bytes up to the high-water mark of this state.
    pub fn size(&self) -> u64 {
        self.version.meta.mark * self.version.handle.page_size as u64
    }

    /// The number of the commit.
    pub fn txid(&self) -> u64 {
        self.version.meta.txid
    }

    /// The page size of the file, in bytes.
    pub fn page_size(&self) -> usize {
        self.version.handle.page_size
    }

    /// Tells the system that this state is about to be read from front to back (`true`) or here and there.
    pub fn advise_sequential(&self, sequential: bool) {
        self.version.map.advise_sequential(sequential);
    }

    /// Hands over the database image (data-dir contract 5.4) piece by piece, exactly [`ReadTx::size`] bytes.
    ///
    /// # Errors
    /// What `chunk` gave, or what reading the file gave.
    pub fn write_image(&self, chunk: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        crate::image::write(&self.version, chunk)
    }

    /// Walks all pages and reports every fault.
    pub fn check(&self) -> CheckReport {
        crate::check::check(&self.version)
    }
}

/// A bucket of a committed state.
#[derive(Clone, Copy)]
pub struct Bucket<'t> {
    pub(crate) version: &'t Version,
    pub(crate) root: Root<'t>,
    sequence: u64,
}

impl<'t> Bucket<'t> {
    /// The value of a key; `None` too if the key names a nested bucket.
    pub fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>, PageError> {
        Ok(self.find(key)?.filter(|(_, leaf)| !leaf.is_bucket()).map(|(_, leaf)| leaf.value))
    }

    /// The nested bucket of this name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'t>>, PageError> {
        match self.find(name)? {
            Some((node, leaf)) if leaf.is_bucket() => {
                let (root, sequence) = self.version.bucket_root(node.id, leaf.value)?;
                Ok(Some(Bucket {
                    version: self.version,
                    root,
                    sequence,
                }))
            }
            _ => Ok(None),
        }
    }

    /// The names of the buckets in this one, in order.
    pub fn buckets(&self) -> Result<Vec<&'t [u8]>, PageError> {
        let mut names = Vec::new();
        let mut cursor = self.cursor();
        while let Some((name, _)) = cursor.next()? {
            if cursor.at_bucket() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A cursor before the first element.
    pub fn cursor(&self) -> Cursor<'t> {
        Cursor::new(*self)
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Counts pages, keys and bytes as bbolt's `Bucket.Stats` does, nested buckets included.
    pub fn stats(&self) -> Result<BucketStats, PageError> {
        crate::stats::of(self)
    }

    /// The page of the tree's root; 0 for a bucket that lies in its parent's leaf.
    pub fn root_page(&self) -> u64 {
        match self.root {
            Root::Page(id) => id,
            Root::Inline(_) => 0,
        }
    }

    pub(crate) fn root_node(&self) -> Result<NodeRef<'t>, PageError> {
        match self.root {
            Root::Page(id) => self.version.node(id),
            Root::Inline(node) => Ok(node),
        }
    }

    fn find(&self, key: &[u8]) -> Result<Option<(NodeRef<'t>, Leaf<'t>)>, PageError> {
        let mut node = self.root_node()?;
        for _ in 0..MAX_DEPTH {
            if node.is_leaf {
                let found = node.lower_bound(key).map_err(|index| self.version.element_fault(&node, index))?;
                return match found {
                    (index, true) => match node.leaf(index) {
                        Some(leaf) => Ok(Some((node, leaf))),
                        None => Err(self.version.element_fault(&node, index)),
                    },
                    _ => Ok(None),
                };
            }
            if node.count == 0 {
                return Err(self.version.element_fault(&node, 0));
            }
            let index = node.child_for(key).map_err(|index| self.version.element_fault(&node, index))?;
            node = self.version.node(node.child(index))?;
        }
        Err(self.version.circle(node.id, MAX_DEPTH as u64))
    }
}
