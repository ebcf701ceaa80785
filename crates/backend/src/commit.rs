//! The committer: whole batches into one transaction of the file, and a new base for the views.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::RaftIndex;
use bolt::WriteTx;
use bytes::Bytes;
use world::fail;

use crate::pending::{Epoch, Prefix};
use crate::{BackendError, Bucket, Shared, Slot, schema};

/// How full the pages of bucket `key` are made: its keys only grow, so little room is kept.
const KEY_FILL: f32 = 0.9;

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Operations written; 0 if there was nothing.
    pub operations: usize,
    /// The consistent index in the file after it.
    pub consistent_index: RaftIndex,
}

/// Writes what was handed over. One exists; the shell gives it a thread and calls [`Committer::commit`] each 100 ms if
/// [`crate::Backend::pending_ops`] is not 0, when [`crate::Backend::should_commit`] says so, and when somebody needs everything in the file.
pub struct Committer {
    /// Looked at anew for each commit: a database from a leader may have taken the place of the one before.
    slot: Slot,
    failed: bool,
    /// Epochs that are in the file. Held until no view has them any more, so that it is this thread that frees their
    /// thousands of values, and never a reader or apply when it lets go of its view.
    written: Vec<Arc<Epoch>>,
}

impl Committer {
    pub(crate) fn new(slot: Slot) -> Committer {
        Committer {
            slot,
            failed: false,
            written: Vec::new(),
        }
    }

    /// Writes all batches handed over so far in one transaction. After `Ok` they survive a power cut. Writes nothing if there are none.
    ///
    /// # Errors
    /// Every error is final: what the file holds is known only after it is opened again, so the process must end.
    pub fn commit(&mut self) -> Result<Committed, BackendError> {
        if self.failed {
            return Err(BackendError::Poisoned);
        }
        let shared = self.slot.load_full();
        let operations = match shared.seal() {
            None => 0,
            Some(sealed) => {
                // Taken back only when everything went well.
                self.failed = true;
                write(&shared, &sealed)?;
                shared.publish(sealed.end.applied);
                self.failed = false;
                self.written.retain(|epoch| Arc::strong_count(epoch) > 1);
                self.written.push(sealed.epoch);
                sealed.end.operations
            }
        };
        Ok(Committed {
            operations,
            consistent_index: shared.committed_index(),
        })
    }

    /// One small step of giving space back: moves at most `max_pages` pages from the file's end into free ones and cuts the file.
    /// To be called between commits until it says `done`.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn reclaim(&mut self, max_pages: usize) -> Result<bolt::Reclaimed, BackendError> {
        if self.failed {
            return Err(BackendError::Poisoned);
        }
        self.failed = true;
        let shared = self.slot.load_full();
        let reclaimed = shared.db.reclaim(max_pages)?;
        // A new base at once: the old one holds on to the very pages that were moved.
        shared.rebase();
        self.failed = false;
        Ok(reclaimed)
    }
}

fn write(shared: &Shared, sealed: &Prefix) -> Result<(), BackendError> {
    fail::point("beforeStartDBTxn");
    let mut tx = shared.db.begin_write();
    fail::point("afterStartDBTxn");
    write_small(&mut tx, sealed)?;
    write_revisions(&mut tx, sealed)?;
    fail::point("commitBeforePreCommitHook");
    write_applied(&mut tx, sealed)?;
    fail::point("commitAfterPreCommitHook");
    fail::point("beforeCommit");
    tx.commit()?;
    fail::point("afterCommit");
    Ok(())
}

fn bucket_of(tx: &mut WriteTx<'_>, bucket: Bucket) -> Result<bolt::BucketId, BackendError> {
    let id = tx.bucket(&[bucket.name()])?;
    id.ok_or(BackendError::MissingBucket(bucket.title()))
}

/// The changes of the small buckets, of each key only the newest.
fn write_small(tx: &mut WriteTx<'_>, sealed: &Prefix) -> Result<(), BackendError> {
    let mut newest: BTreeMap<(Bucket, &Bytes), Option<&Bytes>> = BTreeMap::new();
    for op in sealed.small() {
        newest.insert((op.bucket, &op.key), op.value.as_ref());
    }
    let mut current = None;
    for ((bucket, key), value) in newest {
        let id = match current {
            Some((b, id)) if b == bucket => id,
            _ => bucket_of(tx, bucket)?,
        };
        current = Some((bucket, id));
        match value {
            Some(value) => tx.put(id, key, value)?,
            None => {
                tx.delete(id, key)?;
            }
        }
    }
    Ok(())
}

fn write_revisions(tx: &mut WriteTx<'_>, sealed: &Prefix) -> Result<(), BackendError> {
    if sealed.end.puts == 0 && sealed.end.deletes == 0 {
        return Ok(());
    }
    let id = bucket_of(tx, Bucket::Key)?;
    tx.set_fill_percent(id, KEY_FILL);
    for put in sealed.puts() {
        put.key.with_bytes(|key| tx.put(id, key, &put.value))?;
    }
    // After the puts: a revision deleted in the same epoch was put before, never after.
    for key in sealed.deletes().flatten() {
        key.with_bytes(|key| tx.delete(id, key))?;
    }
    Ok(())
}

fn write_applied(tx: &mut WriteTx<'_>, sealed: &Prefix) -> Result<(), BackendError> {
    let Some((index, term)) = sealed.end.applied else { return Ok(()) };
    let meta = bucket_of(tx, Bucket::Meta)?;
    tx.put(meta, schema::CONSISTENT_INDEX, &index.0.to_be_bytes())?;
    if term.0 > 0 {
        tx.put(meta, schema::TERM, &term.0.to_be_bytes())?;
    }
    Ok(())
}
