//! The one write transaction: its changes are seen by itself alone until `commit`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::db::Writer;
use crate::page::{BUCKET_FLAG, BUCKET_HEADER, BucketHeader};
use crate::tree::{Child, NodeId, Tree};
use crate::version::Version;
use crate::{Db, MAX_KEY_BYTES, MAX_VALUE_BYTES, PageFault, TxError};

/// How full pages are made unless told otherwise.
const DEFAULT_FILL: f32 = 0.5;

/// The bucket of the top-level buckets.
pub(crate) const ROOT: usize = 0;

/// An opened bucket of one [`WriteTx`]. Of no use in another, or after the bucket was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketId(usize);

/// What a commit did.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitStats {
    pub txid: u64,
    /// Data pages written, overflow pages included.
    pub pages_written: u64,
    /// Calls of write for data pages.
    pub writes: u64,
    /// Pages given up by this commit.
    pub pages_freed: u64,
}

pub(crate) struct OpenBucket {
    pub root: Child,
    pub sequence: u64,
    pub fill: f32,
    /// The rightmost leaf, once something was put there: the way for keys that only grow.
    tail: Option<NodeId>,
    /// Nested buckets opened in this transaction.
    pub children: BTreeMap<Vec<u8>, usize>,
    /// Something in it, not in nested ones, is to be written.
    pub dirty: bool,
    deleted: bool,
}

impl OpenBucket {
    fn new(root: Child, sequence: u64) -> OpenBucket {
        OpenBucket {
            root,
            sequence,
            fill: DEFAULT_FILL,
            tail: None,
            children: BTreeMap::new(),
            dirty: false,
            deleted: false,
        }
    }
}

/// The write transaction. Dropping it is a rollback.
pub struct WriteTx<'db> {
    pub(crate) db: &'db Db,
    pub(crate) writer: MutexGuard<'db, Writer>,
    pub(crate) tree: Tree,
    pub(crate) buckets: Vec<OpenBucket>,
    path: Vec<(NodeId, usize)>,
}

impl<'db> WriteTx<'db> {
    pub(crate) fn new(db: &'db Db, mut writer: MutexGuard<'db, Writer>, base: Arc<Version>) -> WriteTx<'db> {
        let arena = std::mem::take(&mut writer.arena);
        let root = OpenBucket::new(Child::Page(base.meta.root), base.meta.root_sequence);
        WriteTx {
            db,
            writer,
            tree: Tree::new(base, arena),
            buckets: vec![root],
            path: Vec::new(),
        }
    }

    /// The number this commit will have.
    pub fn txid(&self) -> u64 {
        self.tree.base.meta.txid + 1
    }

    /// Finds a bucket: `&[name]`, or a path of names for a nested one.
    pub fn bucket(&mut self, path: &[&[u8]]) -> Result<Option<BucketId>, TxError> {
        Ok(self.open_path(path)?.map(BucketId))
    }

    /// Makes a bucket; all but the last name of the path must exist.
    pub fn create_bucket(&mut self, path: &[&[u8]]) -> Result<BucketId, TxError> {
        let (parent, name) = self.parent_of(path)?;
        if name.is_empty() {
            return Err(TxError::BucketNameRequired);
        }
        if name.len() > MAX_KEY_BYTES {
            return Err(TxError::KeyTooLarge);
        }
        if self.open_nested(parent, name)?.is_some() {
            return Err(TxError::BucketExists);
        }
        if self.tree.find(self.buckets[parent].root, name)?.is_some() {
            return Err(TxError::IncompatibleValue);
        }
        let header = BucketHeader { root: 0, sequence: 0 };
        // What is put now is written over when the new bucket itself is: it only holds the place.
        self.put_entry(parent, name, &header.encode(), BUCKET_FLAG)?;
        let root = Child::Node(self.tree.add_leaf(Vec::new()));
        let id = self.add_bucket(parent, name, OpenBucket::new(root, 0));
        self.buckets[id].dirty = true;
        Ok(BucketId(id))
    }

    pub fn create_bucket_if_missing(&mut self, path: &[&[u8]]) -> Result<BucketId, TxError> {
        match self.bucket(path)? {
            Some(bucket) => Ok(bucket),
            None => self.create_bucket(path),
        }
    }

    /// Deletes a bucket with all that is in it.
    pub fn delete_bucket(&mut self, path: &[&[u8]]) -> Result<(), TxError> {
        let (parent, name) = self.parent_of(path)?;
        let Some(bucket) = self.open_nested(parent, name)? else {
            return Err(match self.tree.find(self.buckets[parent].root, name)? {
                Some(_) => TxError::IncompatibleValue,
                None => TxError::BucketNotFound,
            });
        };
        self.discard_bucket(bucket)?;
        self.buckets[parent].children.remove(name);
        self.remove_entry(parent, name)?;
        Ok(())
    }

    /// Sets a key's value.
    pub fn put(&mut self, bucket: BucketId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        let at = self.checked(bucket);
        if key.is_empty() {
            return Err(TxError::KeyRequired);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(TxError::KeyTooLarge);
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(TxError::ValueTooLarge);
        }
        self.put_entry(at, key, value, 0)
    }

    /// Takes a key out; returns whether it was there.
    pub fn delete(&mut self, bucket: BucketId, key: &[u8]) -> Result<bool, TxError> {
        let at = self.checked(bucket);
        match self.tree.find(self.buckets[at].root, key)? {
            None => Ok(false),
            Some((entry, _)) if entry.is_bucket() => Err(TxError::IncompatibleValue),
            Some(_) => self.remove_entry(at, key),
        }
    }

    /// The value as this transaction sees it.
    pub fn get(&self, bucket: BucketId, key: &[u8]) -> Result<Option<&[u8]>, TxError> {
        let at = self.checked(bucket);
        let found = self.tree.find(self.buckets[at].root, key)?;
        Ok(found
            .filter(|(entry, _)| !entry.is_bucket())
            .map(|(entry, _)| self.tree.leaf_value(&entry)))
    }

    pub fn sequence(&self, bucket: BucketId) -> u64 {
        self.buckets[self.checked(bucket)].sequence
    }

    pub fn set_sequence(&mut self, bucket: BucketId, sequence: u64) {
        let at = self.checked(bucket);
        self.buckets[at].sequence = sequence;
        self.buckets[at].dirty = true;
    }

    /// How full pages are made when a node is split, 0.1 to 1.0; 0.5 unless told. Holds for this transaction.
    pub fn set_fill_percent(&mut self, bucket: BucketId, fill: f32) {
        let at = self.checked(bucket);
        self.buckets[at].fill = fill.clamp(0.1, 1.0);
    }

    /// Forgets the changes; the same as dropping it.
    pub fn rollback(self) {}

    fn checked(&self, bucket: BucketId) -> usize {
        assert!(!self.buckets[bucket.0].deleted, "a deleted bucket is used");
        bucket.0
    }

    fn parent_of<'p>(&mut self, path: &[&'p [u8]]) -> Result<(usize, &'p [u8]), TxError> {
        let Some((name, above)) = path.split_last() else {
            return Err(TxError::BucketNameRequired);
        };
        match self.open_path(above)? {
            Some(parent) => Ok((parent, name)),
            None => Err(TxError::BucketNotFound),
        }
    }

    fn add_bucket(&mut self, parent: usize, name: &[u8], bucket: OpenBucket) -> usize {
        self.buckets.push(bucket);
        let id = self.buckets.len() - 1;
        self.buckets[parent].children.insert(name.to_vec(), id);
        id
    }

    pub(crate) fn open_path(&mut self, path: &[&[u8]]) -> Result<Option<usize>, TxError> {
        let mut at = ROOT;
        for name in path {
            match self.open_nested(at, name)? {
                Some(nested) => at = nested,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn open_nested(&mut self, parent: usize, name: &[u8]) -> Result<Option<usize>, TxError> {
        if let Some(id) = self.buckets[parent].children.get(name) {
            return Ok(Some(*id));
        }
        let Some((entry, page)) = self.tree.find(self.buckets[parent].root, name)? else {
            return Ok(None);
        };
        if !entry.is_bucket() {
            return Ok(None);
        }
        let value = self.tree.leaf_value(&entry);
        let header = BucketHeader::decode(value).ok_or_else(|| {
            let fault = PageFault::BucketHeader { len: value.len() };
            self.tree.base.fault(page, fault)
        })?;
        let root = match header.root {
            0 => {
                let (at, len) = (entry.value_at() + BUCKET_HEADER as u64, value.len() - BUCKET_HEADER);
                Child::Node(self.tree.load_inline(page, at, len)?)
            }
            page => Child::Page(page),
        };
        Ok(Some(self.add_bucket(parent, name, OpenBucket::new(root, header.sequence))))
    }

    /// Puts an entry of either kind. The caller has checked key and value.
    pub(crate) fn put_entry(&mut self, at: usize, key: &[u8], value: &[u8], flags: u32) -> Result<(), TxError> {
        let bucket = &mut self.buckets[at];
        if let Some(tail) = bucket.tail.filter(|tail| self.tree.is_beyond(*tail, key)) {
            let entry = self.tree.keep(key, value, flags);
            self.tree.push(tail, entry);
            return Ok(());
        }
        self.tree.path_to(&mut bucket.root, key, &mut self.path)?;
        if flags & BUCKET_FLAG == 0 && self.tree.is_bucket(&self.path, key) {
            return Err(TxError::IncompatibleValue);
        }
        let entry = self.tree.keep(key, value, flags);
        if let Some(tail) = self.tree.insert(&mut bucket.root, &self.path, entry) {
            bucket.tail = Some(tail);
        } else if bucket.tail == self.path.last().map(|(leaf, _)| *leaf) {
            // It may have been split: its right half is the tail now.
            bucket.tail = None;
        }
        bucket.dirty = true;
        Ok(())
    }

    fn remove_entry(&mut self, at: usize, key: &[u8]) -> Result<bool, TxError> {
        let bucket = &mut self.buckets[at];
        self.tree.path_to(&mut bucket.root, key, &mut self.path)?;
        bucket.dirty = true;
        Ok(self.tree.remove(&self.path, key))
    }

    /// Gives up all pages of a bucket and of those nested in it. Looks first and changes after, for a page may be unreadable.
    fn discard_bucket(&mut self, at: usize) -> Result<(), TxError> {
        let mut doomed = vec![at];
        let mut pages = Vec::new();
        let mut next = 0;
        while let Some(bucket) = doomed.get(next).map(|id| &self.buckets[*id]) {
            // Those opened may have been changed; each is looked at by itself.
            self.tree
                .collect_pages(bucket.root, |name| bucket.children.contains_key(name), &mut pages)?;
            doomed.extend(bucket.children.values().copied());
            next += 1;
        }
        self.tree.freed.extend(pages);
        for bucket in doomed {
            self.buckets[bucket].deleted = true;
            self.buckets[bucket].dirty = false;
        }
        Ok(())
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        // Nothing was taken from the free list unless a commit had begun, and that gives back what it took.
        let mut arena = std::mem::take(&mut self.tree.arena);
        const KEEP_BYTES: usize = 64 << 20;
        if arena.capacity() <= KEEP_BYTES {
            arena.clear();
            self.writer.arena = arena;
        }
    }
}
