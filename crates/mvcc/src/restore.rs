//! Start: the index, the revision and the leases of keys from one pass over bucket `key`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use api::{LeaseId, Revision};
use backend::{Backend, BackendError, Bucket, ReadView, RevisionKey, schema};
use bytes::Bytes;

use crate::MvccError;
use crate::hash::Hashes;
use crate::index::{KeyIndex, Stored};
use crate::kv::Kv;
use crate::store::{Core, NEVER};

/// The revision of a store that nothing was ever written to.
const FIRST_REVISION: i64 = 1;

/// What a start finds.
pub(crate) struct Restored {
    pub core: Arc<Core>,
    /// The newest compaction asked for, as bucket `meta` has it.
    pub scheduled: Option<i64>,
    pub unfinished: Option<Unfinished>,
}

/// A compaction that was asked for and not finished.
pub(crate) struct Unfinished {
    pub to: i64,
    /// The compact revision before it.
    pub previous: i64,
}

/// Reads a database. `attach` hears of every live key that has a lease, in no particular order.
pub(crate) fn restore(backend: Backend, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<Restored, MvccError> {
    let view = backend.view();
    let scheduled = compact_revision(&view, schema::SCHEDULED_COMPACT)?;
    let finished = compact_revision(&view, schema::FINISHED_COMPACT)?;
    let index = KeyIndex::new();
    let newest = Entries::new(&view)?.read_into(&index, attach)?;

    let previous = finished.unwrap_or(-1);
    let unfinished = scheduled.filter(|to| *to > previous).map(|to| Unfinished { to, previous });
    let compacted = unfinished.as_ref().map_or(previous, |u| u.to);
    // A compaction can be newer than the newest pair: a restore with a revision bump sets only the former.
    let revision = newest.unwrap_or(FIRST_REVISION).max(previous).max(scheduled.unwrap_or(0));
    let core = Core {
        // The index below is of this very file.
        backend: backend.pinned(),
        index,
        revision: AtomicI64::new(revision),
        compacted: AtomicI64::new(compacted),
        finished: AtomicI64::new(finished.unwrap_or(NEVER)),
        put_bytes: AtomicU64::new(0),
        hashes: Hashes::default(),
    };
    Ok(Restored {
        core: Arc::new(core),
        scheduled,
        unfinished,
    })
}

/// A revision of bucket `meta`.
fn compact_revision(view: &ReadView, name: &'static [u8]) -> Result<Option<i64>, MvccError> {
    let Some(value) = view.get(Bucket::Meta, name)? else {
        return Ok(None);
    };
    match Revision::from_key(&value) {
        Some((revision, _)) if is_possible(revision) => Ok(Some(revision.main)),
        _ => Err(MvccError::Backend(BackendError::Schema {
            bucket: Bucket::Meta.title(),
            key: name.escape_ascii().to_string(),
            problem: "not a revision".into(),
        })),
    }
}

/// The entries of bucket `key` as the index wants them, taking note of the newest revision and of leases on the way.
struct Entries<'v> {
    entries: backend::Entries<'v>,
    newest: Option<Revision>,
    /// The lease of each live key that has one. Most have none, so only those are kept.
    leases: HashMap<&'v [u8], i64>,
    error: Option<MvccError>,
}

impl<'v> Entries<'v> {
    fn new(view: &'v ReadView) -> Result<Entries<'v>, MvccError> {
        Ok(Entries {
            entries: view.keys()?.entries()?,
            newest: None,
            leases: HashMap::new(),
            error: None,
        })
    }

    fn read_into(mut self, index: &KeyIndex, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<Option<i64>, MvccError> {
        index.restore(&mut self);
        if let Some(error) = self.error {
            return Err(error);
        }
        for (key, lease) in self.leases {
            attach(LeaseId(lease), Bytes::copy_from_slice(key));
        }
        Ok(self.newest.map(|newest| newest.main))
    }

    fn entry(&mut self, key: &'v [u8], value: &'v [u8]) -> Result<(&'v [u8], Revision, Stored), MvccError> {
        let at = RevisionKey::parse(key)
            .filter(|at| is_possible(at.revision) && self.newest.is_none_or(|newest| at.revision > newest))
            .ok_or_else(|| MvccError::NotARevision(key.to_vec()))?;
        let kv = Kv::parse(value).map_err(|_| MvccError::MalformedAt(at))?;
        if !at.tombstone && !is_plausible(&kv, at.revision.main) {
            return Err(MvccError::MalformedAt(at));
        }
        self.newest = Some(at.revision);
        if kv.lease != 0 && !at.tombstone {
            self.leases.insert(kv.key, kv.lease);
        } else if !self.leases.is_empty() {
            self.leases.remove(kv.key);
        }
        let stored = if at.tombstone {
            Stored::Tombstone
        } else {
            Stored::Put {
                created: kv.create_revision,
                version: kv.version,
            }
        };
        Ok((kv.key, at.revision, stored))
    }
}

/// No revision is negative, none comes near the end of numbers, and no transaction makes 2^32 changes.
fn is_possible(revision: Revision) -> bool {
    (0..i64::MAX / 2).contains(&revision.main) && u32::try_from(revision.sub).is_ok()
}

/// A key was made at this revision or before, and has not changed more often than anything can.
fn is_plausible(kv: &Kv<'_>, main: i64) -> bool {
    (0..=main).contains(&kv.create_revision) && (0..i64::MAX / 2).contains(&kv.version)
}

impl<'v> Iterator for Entries<'v> {
    type Item = (&'v [u8], Revision, Stored);

    fn next(&mut self) -> Option<Self::Item> {
        let read = match self.entries.next()? {
            Ok((key, value)) => self.entry(key, value),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(entry) => Some(entry),
            Err(error) => {
                // The index gets what came before; the caller throws it away.
                self.error = Some(error);
                None
            }
        }
    }
}
