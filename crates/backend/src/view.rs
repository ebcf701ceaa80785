//! The database at one moment: the file as of a commit, and what was handed over since.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use api::{RaftIndex, Term};
use bytes::Bytes;

use crate::pending::{Epoch, Prefix};
use crate::schema;
use crate::{BackendError, Bucket, RevisionKey};

/// Called with a key and its value; `Break` ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What the committer publishes: replaced as a whole when an epoch is sealed and when it is in the file.
pub(crate) struct State {
    pub base: bolt::ReadTx,
    /// What stands in `base` as consistent index and term.
    pub base_applied: Option<(RaftIndex, Term)>,
    /// The epoch that a commit is writing at this moment.
    pub sealed: Option<Prefix>,
    pub active: Arc<Epoch>,
}

/// The database at one moment. Cheap to take and to clone, needs no lock. It keeps the pages it reaches from being used
/// again, so it should not live longer than the answer it is for.
#[derive(Clone)]
pub struct ReadView {
    state: Arc<State>,
    active: Prefix,
}

/// A value as it is found: in the map of the file, or in a batch.
#[derive(Clone, Copy, Debug)]
pub enum Value<'v> {
    Stored(&'v [u8]),
    Pending(&'v Bytes),
}

impl Value<'_> {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Value::Stored(bytes) => bytes,
            Value::Pending(bytes) => bytes,
        }
    }

    /// Bytes that outlive the view: a batch's are shared, the file's are copied.
    pub fn to_bytes(self) -> Bytes {
        match self {
            Value::Stored(bytes) => Bytes::copy_from_slice(bytes),
            Value::Pending(bytes) => bytes.clone(),
        }
    }
}

impl ReadView {
    pub(crate) fn new(state: Arc<State>) -> ReadView {
        // The state first, its length after: appends to a newer epoch that happen in between are simply not seen.
        let epoch = state.active.clone();
        let end = epoch.end();
        ReadView {
            state,
            active: Prefix { epoch, end },
        }
    }

    /// The batches not in the file, newest first.
    fn pending(&self) -> impl DoubleEndedIterator<Item = &Prefix> {
        self.state.sealed.iter().chain(std::iter::once(&self.active)).rev()
    }

    fn bucket(&self, bucket: Bucket) -> Result<bolt::Bucket<'_>, BackendError> {
        let found = self.state.base.bucket(bucket.name())?;
        found.ok_or(BackendError::MissingBucket(bucket.title()))
    }

    /// The newest log entry whose effects this view shows, and its term; `None` in a new database.
    pub fn applied(&self) -> Option<(RaftIndex, Term)> {
        self.pending().find_map(|p: &Prefix| p.end.applied).or(self.state.base_applied)
    }

    /// A value of a small bucket or, by its 17 or 18 bytes, of bucket `key`.
    ///
    /// Small buckets are looked through from the newest change back: meant for start-up, tools and rare requests.
    pub fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        match bucket {
            Bucket::Key => match RevisionKey::parse(key) {
                Some(key) => self.get_revision(key),
                None => Ok(self.bucket(bucket)?.get(key)?.map(Bytes::copy_from_slice)),
            },
            _ => {
                if let Some(value) = self.find_small(bucket, key) {
                    return Ok(value);
                }
                Ok(self.bucket(bucket)?.get(key)?.map(Bytes::copy_from_slice))
            }
        }
    }

    fn find_small(&self, bucket: Bucket, key: &[u8]) -> Option<Option<Bytes>> {
        for prefix in self.pending() {
            if let Some((index, term)) = prefix.end.applied.filter(|_| bucket == Bucket::Meta) {
                match key {
                    schema::CONSISTENT_INDEX => return Some(Some(schema::encode_u64(index.0))),
                    schema::TERM if term.0 > 0 => return Some(Some(schema::encode_u64(term.0))),
                    _ => {}
                }
            }
            if let Some(value) = prefix.find_small(bucket, key) {
                return Some(value.cloned());
            }
        }
        None
    }

    /// A value of bucket `key`.
    pub fn get_revision(&self, key: RevisionKey) -> Result<Option<Bytes>, BackendError> {
        Ok(self.keys()?.get(key)?.map(Value::to_bytes))
    }

    /// For many reads of bucket `key`: finds the bucket once.
    pub fn keys(&self) -> Result<KeyReader<'_>, BackendError> {
        Ok(KeyReader {
            view: self,
            bucket: self.bucket(Bucket::Key)?,
        })
    }

    /// Visits the entries with `from <= key` and (unless `to` is empty) `key < to`, in key order.
    pub fn scan(&self, bucket: Bucket, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), BackendError> {
        if bucket == Bucket::Key {
            self.scan_keys(from, to, visit)
        } else {
            self.scan_small(bucket, from, to, visit)
        }
    }

    fn scan_keys(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), BackendError> {
        let deletes = self.pending().any(|p| p.end.deletes > 0);
        let mut cursor = self.bucket(Bucket::Key)?.cursor();
        let mut element = cursor.seek(from)?;
        while let Some((key, value)) = element {
            if !to.is_empty() && key >= to {
                return Ok(());
            }
            let gone = deletes && RevisionKey::parse(key).is_some_and(|k| self.deleted(k));
            if !gone && visit(key, value).is_break() {
                return Ok(());
            }
            element = cursor.next()?;
        }
        // Every pending revision is newer than all in the file: that is asserted when a batch is appended.
        // A key that is no revision (an empty one, most often) may come before all of them.
        let first = RevisionKey::parse(from).unwrap_or_default();
        for put in self.pending().rev().flat_map(|p| p.puts_from(first)) {
            let flow = put.key.with_bytes(|key| {
                if key < from || (deletes && self.deleted(put.key)) {
                    return Some(ControlFlow::Continue(()));
                }
                if !to.is_empty() && key >= to {
                    return None;
                }
                Some(visit(key, &put.value))
            });
            if !matches!(flow, Some(ControlFlow::Continue(()))) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn deleted(&self, key: RevisionKey) -> bool {
        self.pending().any(|p| p.deleted(key))
    }

    fn scan_small(&self, bucket: Bucket, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), BackendError> {
        let inside = |key: &[u8]| key >= from && (to.is_empty() || key < to);
        let overlay = self.overlay(bucket);
        let mut overlay = overlay.iter().filter(|(key, _)| inside(key)).peekable();
        let mut cursor = self.bucket(bucket)?.cursor();
        let mut element = cursor.seek(from)?.filter(|(key, _)| inside(key));
        loop {
            // The smaller key goes first; on equal ones the change hides what the file has.
            let newer = match (&element, overlay.peek()) {
                (None, None) => return Ok(()),
                (Some((stored, _)), Some((changed, _))) => changed.as_ref() <= *stored,
                (stored, _) => stored.is_none(),
            };
            let flow = if newer {
                let Some((key, value)) = overlay.next() else { return Ok(()) };
                if element.is_some_and(|(stored, _)| stored == key.as_ref()) {
                    element = cursor.next()?.filter(|(key, _)| inside(key));
                }
                match value {
                    Some(value) => visit(key, value),
                    None => ControlFlow::Continue(()),
                }
            } else {
                let Some((key, value)) = element else { return Ok(()) };
                element = cursor.next()?.filter(|(key, _)| inside(key));
                visit(key, value)
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// What the batches say about a small bucket, the newest change of each key.
    fn overlay(&self, bucket: Bucket) -> BTreeMap<Bytes, Option<Bytes>> {
        let mut overlay = BTreeMap::new();
        for prefix in self.pending().rev() {
            for op in prefix.small().filter(|op| op.bucket == bucket) {
                overlay.insert(op.key.clone(), op.value.clone());
            }
            if let Some((index, term)) = prefix.end.applied.filter(|_| bucket == Bucket::Meta) {
                let index = schema::encode_u64(index.0);
                overlay.insert(Bytes::from_static(schema::CONSISTENT_INDEX), Some(index));
                if term.0 > 0 {
                    overlay.insert(Bytes::from_static(schema::TERM), Some(schema::encode_u64(term.0)));
                }
            }
        }
        overlay
    }

    /// The hash of `Maintenance.Hash` (CRC-32C over all buckets but what differs from member to member). Go takes it after a
    /// commit; here the batches not in the file count as if they were.
    pub fn hash(&self) -> Result<u32, BackendError> {
        let mut hash = 0;
        for name in self.state.base.buckets()? {
            hash = crc32c::crc32c_append(hash, name);
            let mut add = |key: &[u8], value: &[u8]| {
                if name != Bucket::Meta.name() || !schema::is_local(key) {
                    hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
                }
                ControlFlow::Continue(())
            };
            match Bucket::from_name(name) {
                Some(bucket) => self.scan(bucket, &[], &[], &mut add)?,
                // `test`, and whatever else somebody put there: never changed by us.
                None => {
                    let mut cursor = match self.state.base.bucket(name)? {
                        Some(bucket) => bucket.cursor(),
                        None => continue,
                    };
                    let mut element = cursor.first()?;
                    while let Some((key, value)) = element {
                        let _ = add(key, value);
                        element = cursor.next()?;
                    }
                }
            }
        }
        Ok(hash)
    }

    /// Length of the image that [`ReadView::write_image`] writes, in bytes.
    pub fn image_size(&self) -> u64 {
        self.state.base.size()
    }

    /// Writes the database file as of the commit below this view. Batches not in the file are left out: commit first.
    pub fn write_image(&self, chunk: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), BackendError> {
        self.state.base.write_image(chunk).map_err(BackendError::Image)
    }

    /// The same without the batches that are not in the file: what [`ReadView::write_image`] writes.
    #[must_use]
    pub fn committed(&self) -> ReadView {
        ReadView::new(Arc::new(State {
            base: self.state.base.clone(),
            base_applied: self.state.base_applied,
            sealed: None,
            active: Arc::default(),
        }))
    }

    /// The committed state below this view, for tools that walk it.
    pub fn base(&self) -> &bolt::ReadTx {
        &self.state.base
    }
}

/// Reads bucket `key` of one view.
#[derive(Clone, Copy)]
pub struct KeyReader<'v> {
    view: &'v ReadView,
    bucket: bolt::Bucket<'v>,
}

impl<'v> KeyReader<'v> {
    pub fn get(&self, key: RevisionKey) -> Result<Option<Value<'v>>, BackendError> {
        if let Some(found) = self.find_pending(key) {
            return Ok(found);
        }
        let value = key.with_bytes(|bytes| self.bucket.get(bytes))?;
        Ok(value.map(Value::Stored))
    }

    /// What the batches say of a revision: nothing, that it is gone, or its value.
    fn find_pending(&self, key: RevisionKey) -> Option<Option<Value<'v>>> {
        let view = self.view;
        for prefix in view.pending() {
            if let Some(value) = prefix.find(key) {
                return Some((!view.deleted(key)).then_some(Value::Pending(value)));
            }
        }
        view.deleted(key).then_some(None)
    }

    /// For many reads in ascending order.
    pub fn ascending(self) -> AscendingReader<'v> {
        AscendingReader {
            keys: self,
            cursor: self.bucket.cursor(),
            last: None,
        }
    }

    /// All entries, for a start.
    ///
    /// # Panics
    /// If there are batches that are not in the file.
    pub fn entries(self) -> Result<Entries<'v>, BackendError> {
        let pending = self.view.pending().any(|p| p.end.operations > 0);
        assert!(!pending, "reads a database for a start while it is written to");
        Ok(Entries {
            cursor: self.bucket.cursor(),
            started: false,
        })
    }
}

/// How far ahead a revision is looked for step by step before the way from the root is the shorter one.
const NEAR: i64 = 8;

/// Reads bucket `key` of one view, best in ascending order: what lies near the last answer is found from there.
pub struct AscendingReader<'v> {
    keys: KeyReader<'v>,
    cursor: bolt::Cursor<'v>,
    /// Where the cursor stands.
    last: Option<RevisionKey>,
}

impl<'v> AscendingReader<'v> {
    pub fn get(&mut self, key: RevisionKey) -> Result<Option<Value<'v>>, BackendError> {
        if let Some(found) = self.keys.find_pending(key) {
            return Ok(found);
        }
        let near = |last: RevisionKey| last < key && key.revision.main - last.revision.main <= NEAR;
        key.with_bytes(|bytes| {
            if self.last.is_some_and(near) {
                for _ in 0..NEAR {
                    let Some((stored, value)) = self.cursor.next()? else { break };
                    if stored >= bytes {
                        return Ok(self.answer(bytes, stored, value));
                    }
                }
            }
            match self.cursor.seek(bytes)? {
                Some((stored, value)) => Ok(self.answer(bytes, stored, value)),
                None => {
                    self.last = None;
                    Ok(None)
                }
            }
        })
    }

    /// The cursor has come to the first key that is not below the one asked for.
    fn answer(&mut self, key: &[u8], stored: &[u8], value: &'v [u8]) -> Option<Value<'v>> {
        self.last = RevisionKey::parse(stored);
        (stored == key).then_some(Value::Stored(value))
    }
}

/// The entries of bucket `key` in order, where they lie in the file.
pub struct Entries<'v> {
    cursor: bolt::Cursor<'v>,
    started: bool,
}

impl<'v> Iterator for Entries<'v> {
    type Item = Result<bolt::Element<'v>, BackendError>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = if self.started { self.cursor.next() } else { self.cursor.first() };
        self.started = true;
        element.map_err(BackendError::from).transpose()
    }
}
