//! Copies a database into a new file without its free pages.

use std::path::Path;

use world::DynDisk;

use crate::page::MAX_DEPTH;
use crate::{Bucket, BucketId, CommitError, Db, OpenError, Options, PageError, ReadTx, TxError, WriteTx};

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Source(#[from] PageError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Put(#[from] TxError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// There is something in the way.
    #[error("{} exists already", .0.display())]
    Exists(std::path::PathBuf),
}

/// Copies all buckets of `source` into a new file at `path`, with pages filled to `fill` (etcd: 0.9), committing every
/// `tx_keys` keys (etcd: 10 000). The copy is durable on return.
///
/// # Errors
/// A file half written may be left at `path`.
pub fn compact_into(source: &ReadTx, disk: &DynDisk, path: &Path, fill: f32, tx_keys: usize) -> Result<(), CompactError> {
    match disk.exists(path) {
        Ok(false) => {}
        Ok(true) => return Err(CompactError::Exists(path.to_owned())),
        Err(source) => {
            let (path, action) = (path.to_owned(), "look for");
            return Err(OpenError::Disk { path, action, source }.into());
        }
    }
    let options = Options {
        page_size: Some(source.page_size()),
        initial_map: usize::try_from(source.size()).unwrap_or(0),
        ..Options::default()
    };
    let db = Db::open(disk, path, options)?;
    let mut copy = Copy {
        db: &db,
        tx: Some(db.begin_write()),
        fill,
        keys_left: tx_keys.max(1),
        tx_keys: tx_keys.max(1),
        names: Vec::new(),
    };
    source.advise_sequential(true);
    let copied = copy.bucket(&source.root());
    source.advise_sequential(false);
    copied?;
    if let Some(tx) = copy.tx.take() {
        tx.commit()?;
    }
    Ok(())
}

struct Copy<'d, 's> {
    db: &'d Db,
    tx: Option<WriteTx<'d>>,
    fill: f32,
    tx_keys: usize,
    keys_left: usize,
    /// The path of the bucket at hand.
    names: Vec<&'s [u8]>,
}

impl<'d, 's> Copy<'d, 's> {
    fn tx(&mut self) -> &mut WriteTx<'d> {
        // `commit` is the only one to take it, and puts the next one in its place.
        let db = self.db;
        self.tx.get_or_insert_with(|| db.begin_write())
    }

    fn bucket(&mut self, source: &Bucket<'s>) -> Result<(), CompactError> {
        if self.names.len() >= MAX_DEPTH {
            return Err(source.version.circle(source.root_page(), MAX_DEPTH as u64).into());
        }
        let mut to = self.open()?;
        if let Some(to) = to {
            self.tx().set_sequence(to, source.sequence());
        }
        let mut cursor = source.cursor();
        while let Some((key, value)) = cursor.next()? {
            if cursor.at_bucket() {
                let nested = source.bucket(key)?;
                self.names.push(key);
                let names = self.names.clone();
                self.tx().create_bucket(&names)?;
                if let Some(nested) = nested {
                    self.bucket(&nested)?;
                }
                self.names.pop();
                // Commits while in there have made the handle of this bucket stale.
                to = self.open()?;
            } else if let Some(bucket) = to {
                self.tx().put(bucket, key, value)?;
            }
            self.keys_left -= 1;
            if self.keys_left == 0 {
                self.commit()?;
                to = self.open()?;
            }
        }
        Ok(())
    }

    /// The bucket at hand in the current transaction; `None` for the root, which holds nothing but buckets.
    fn open(&mut self) -> Result<Option<BucketId>, CompactError> {
        let (names, fill) = (self.names.clone(), self.fill);
        if names.is_empty() {
            return Ok(None);
        }
        let tx = self.tx();
        let bucket = tx.bucket(&names)?;
        bucket.into_iter().for_each(|bucket| tx.set_fill_percent(bucket, fill));
        Ok(bucket)
    }

    fn commit(&mut self) -> Result<(), CompactError> {
        self.keys_left = self.tx_keys;
        if let Some(tx) = self.tx.take() {
            tx.commit()?;
        }
        Ok(())
    }
}
