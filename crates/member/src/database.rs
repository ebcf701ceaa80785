//! The database file of a member: where it is, how it is opened, whether this version may work on it, and the change to a received one.
//!
//! Used at a start and when a leader's snapshot takes the place of everything. Never reads keys or leases.

use std::io;
use std::path::{Path, PathBuf};

use backend::{Backend, BackendError, Bucket, Committer, Options, ReadView, schema};
use wal::snap;
use world::DynDisk;

use crate::cluster::{State, Version};

/// The file `member/snap/db`.
#[derive(Clone)]
pub struct DatabaseFile {
    pub disk: DynDisk,
    /// The folder `member/snap`.
    pub snap_dir: PathBuf,
    pub options: Options,
}

impl DatabaseFile {
    pub fn path(&self) -> PathBuf {
        self.snap_dir.join("db")
    }

    /// The database received with the snapshot of this index, until it takes the other's place.
    pub fn received(&self, index: u64) -> PathBuf {
        snap::database_path(&self.snap_dir, index)
    }

    /// Opens the database, or makes an empty one.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub fn open(&self) -> Result<(Backend, Committer), BackendError> {
        Backend::open(&self.disk, &self.path(), self.options.clone())
    }

    /// Puts the received database of this index in the place of the other. Durable when it returns; a handle to the other one goes on
    /// with a file that has no name any more.
    ///
    /// # Errors
    /// From the disk. The directory opens whatever of it was done.
    pub fn take_received(&self, index: u64) -> io::Result<()> {
        self.disk.rename(&self.received(index), &self.path())?;
        self.disk.sync_dir(&self.snap_dir)
    }
}

/// Why this version must not work on a database.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("{0}")]
    Refused(String),
}

/// Whether this version may work on a database with this membership; the path is for the message.
///
/// # Errors
/// `Unfit`, with advice.
pub fn check(view: &ReadView, state: &State, path: &Path) -> Result<(), Unfit> {
    let own = Version::server_minor();
    schema::check(view)?;
    if let Some(version) = state.version.filter(|version| version.whole_minor() > own) {
        return Err(Unfit::Refused(format!(
            "{}: cluster version {version} is not supported by this server ({}): start the version of etcd that wrote it, or downgrade the \
             cluster first",
            path.display(),
            api::SERVER_VERSION
        )));
    }
    let enabled = view.get(Bucket::Auth, schema::AUTH_ENABLED)?;
    if enabled.is_some_and(|flag| flag.first() == Some(&1)) {
        return Err(Unfit::Refused(format!(
            "{}: authentication is enabled, which this version does not check yet: it would serve everything to everybody. Disable it \
             with the etcd that wrote the directory (etcdctl auth disable), or stay with that etcd",
            path.display()
        )));
    }
    Ok(())
}
