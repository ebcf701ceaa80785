//! Opening the database: the lock, the buckets, where it stands.

use std::path::Path;

use bolt::{Db, Verify};

use crate::{BackendError, Bucket, RevisionKey, Shared, schema};

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// For tools: takes a shared lock and never writes; a missing bucket is an error when it is read.
    pub read_only: bool,
    /// Bytes of address space reserved for the map (etcd: 10 GiB, or the quota and a tenth).
    pub initial_map: usize,
    /// Operations after which [`crate::Backend::should_commit`] says yes (`--backend-batch-limit`).
    pub batch_limit: usize,
    /// Page size of a new file; `None` takes that of the disk.
    pub page_size: Option<usize>,
    /// Walks the whole file at open even where it is not needed.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_only: false,
            initial_map: 10 << 30,
            batch_limit: 10_000,
            page_size: None,
            verify: false,
        }
    }
}

pub(crate) fn open(disk: &world::DynDisk, path: &Path, options: Options) -> Result<Shared, BackendError> {
    let bolt_options = bolt::Options {
        read_only: options.read_only,
        page_size: options.page_size,
        // Go etcd writes its files without the list of free pages, and so do we: it is found again at open.
        freelist_sync: false,
        initial_map: options.initial_map,
        verify: if options.verify { Verify::Always } else { Verify::AsNeeded },
    };
    let db = Db::open(disk, path, bolt_options)?;
    if !options.read_only {
        create_buckets(&db)?;
    }
    let base = db.begin_read();
    let newest = newest_revision(&base)?;
    let applied = schema::read_applied(&base)?;
    drop(base);
    Ok(Shared::new(db, newest, applied, options.batch_limit.max(1)))
}

/// Makes the buckets that are not there yet, all in one commit.
fn create_buckets(db: &Db) -> Result<(), BackendError> {
    let base = db.begin_read();
    let mut missing = Vec::new();
    for bucket in Bucket::ALL {
        if base.bucket(bucket.name())?.is_none() {
            missing.push(bucket);
        }
    }
    drop(base);
    if missing.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin_write();
    for bucket in missing {
        tx.create_bucket(&[bucket.name()])?;
    }
    tx.commit()?;
    Ok(())
}

/// The newest key of bucket `key`. Keys of another form (a damaged or foreign file) are left for mvcc to report.
fn newest_revision(base: &bolt::ReadTx) -> Result<Option<RevisionKey>, BackendError> {
    let Some(bucket) = base.bucket(Bucket::Key.name())? else {
        return Ok(None);
    };
    Ok(bucket.cursor().last()?.and_then(|(key, _)| RevisionKey::parse(key)))
}
