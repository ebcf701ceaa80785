//! The database at a start: which file it is, whether this version may open it, what it holds.

use std::path::Path;

use api::pb::walpb;
use backend::{Backend, Batch, Bucket, Committer, Options, schema};
use mvcc::{LeaseSink, Store, StoreOptions, Writer};
use world::{DynDisk, OpenMode};

use super::{Config, Note, OpenError, refuse};
use crate::alarms::Alarms;
use crate::cluster::{self, State, store as cluster_store};
use crate::database::{self, DatabaseFile};
use crate::lessor::LeaseWriter;

/// Address space that etcd reserves for the map when no quota is set, in bytes.
const INITIAL_MAP_BYTES: usize = 10 << 30;

/// An open database and the membership in it.
pub(super) struct Database {
    pub backend: Backend,
    pub committer: Committer,
    pub state: State,
    /// What this start changes; handed over once the store has read the file, for which nothing may be on its way into it.
    pending: Batch,
}

/// Opens the database, after a received one has taken its place if the log says so.
pub(super) fn open(
    disk: &DynDisk,
    config: &Config,
    had_log: bool,
    snapshot: &walpb::Snapshot,
    notes: &mut Vec<Note>,
) -> Result<Database, OpenError> {
    let file = file(disk, config);
    let path = file.path();
    let was_there = holds_bytes(disk, &path)?;
    let wanted = snapshot.index.unwrap_or(0);
    let received = file.received(wanted);
    if !was_there && wanted > 0 && !exists(disk, &received)? {
        // Not even an empty file is made: the directory stays as it was found.
        return refuse(missing_for_snapshot(&path, &received, wanted));
    }
    if !was_there && had_log {
        notes.push(Note::DatabaseMissing);
    }
    let mut opened = open_file(&file)?;
    if opened.0.consistent_index().0 < wanted {
        let held = opened.0.consistent_index().0;
        if !exists(disk, &received)? {
            return refuse(format!(
                "{} ends at raft index {held}, {}",
                path.display(),
                missing_for_snapshot(&path, &received, wanted)
            ));
        }
        drop(opened);
        let at = |error| OpenError::Disk {
            path: received.clone(),
            error,
        };
        file.take_received(wanted).map_err(at)?;
        notes.push(Note::DatabaseSwapped { index: wanted });
        opened = open_file(&file)?;
        let held = opened.0.consistent_index().0;
        if held < wanted {
            return refuse(format!(
                "the received database {} holds the effects of entries up to index {held} only, but the log continues behind {wanted}: \
                 restore this member from a snapshot, or remove it from the cluster and add it again",
                path.display()
            ));
        }
    }
    let (backend, committer) = opened;
    let state = cluster::load(&backend.view())?;
    database::check(&backend.view(), &state, &path)?;
    let mut database = Database {
        backend,
        committer,
        state,
        pending: Batch::new(),
    };
    database.begin_auth()?;
    Ok(database)
}

fn missing_for_snapshot(db: &Path, received: &Path, index: u64) -> String {
    format!(
        "failed to recover v3 backend from snapshot: the log begins behind the disk snapshot at index {index}, and neither {} nor {} \
         holds its content. Bring one of them back, restore a snapshot into a new data directory, or remove this member from its \
         cluster and add it again",
        db.display(),
        received.display()
    )
}

fn exists(disk: &DynDisk, path: &Path) -> Result<bool, OpenError> {
    disk.exists(path).map_err(|error| OpenError::Disk {
        path: path.to_path_buf(),
        error,
    })
}

/// A file of 0 bytes is what a crash leaves of a database that was never written.
fn holds_bytes(disk: &DynDisk, path: &Path) -> Result<bool, OpenError> {
    if !exists(disk, path)? {
        return Ok(false);
    }
    let file = disk.open(path, OpenMode::Read);
    let len = file.and_then(|file| file.len()).map_err(|error| OpenError::Disk {
        path: path.to_path_buf(),
        error,
    })?;
    Ok(len > 0)
}

/// Where the database of a member is, and how it is opened.
pub(super) fn file(disk: &DynDisk, config: &Config) -> DatabaseFile {
    let initial_map = match usize::try_from(config.quota_backend_bytes) {
        Ok(quota) if quota > 0 => quota + quota / 10,
        _ => INITIAL_MAP_BYTES,
    };
    DatabaseFile {
        disk: disk.clone(),
        snap_dir: config.snap_dir(),
        options: Options {
            initial_map,
            batch_limit: config.backend_batch_limit,
            ..Options::default()
        },
    }
}

fn open_file(file: &DatabaseFile) -> Result<(Backend, Committer), OpenError> {
    match file.open() {
        Ok(opened) => Ok(opened),
        Err(error) if error.is_locked() => Err(OpenError::DatabaseLocked(file.path())),
        Err(error) => Err(error.into()),
    }
}

impl Database {
    /// Every database of etcd says from the first start on at which revision its users and roles are.
    fn begin_auth(&mut self) -> Result<(), OpenError> {
        if self.backend.view().get(Bucket::Auth, schema::AUTH_REVISION)?.is_none() {
            self.pending.put(Bucket::Auth, schema::AUTH_REVISION, schema::encode_u64(1));
        }
        Ok(())
    }

    /// Corrects a member in memory and, with the next commit, in the file.
    pub fn put_member(&mut self, member: cluster::Member) {
        cluster_store::put_member(&mut self.pending, &member);
        self.state.members.insert(member.id, member);
    }

    /// Reads the leases, then the keys, and attaches these to those.
    pub fn open_store(&mut self, config: &Config, leases: &mut LeaseWriter, notes: &mut Vec<Note>) -> Result<(Store, Writer), OpenError> {
        let mut skipped = 0;
        for lease in schema::read_leases(&self.backend.view())? {
            leases.restore(lease);
        }
        let options = StoreOptions {
            compaction_batch: config.compaction_batch_limit,
            max_request_bytes: config.max_request_bytes,
        };
        let opened = Store::open(self.backend.clone(), options, &mut |lease, key| {
            skipped += usize::from(!leases.exists(lease));
            leases.attach(lease, &key);
        })?;
        self.backend.append(std::mem::take(&mut self.pending));
        if skipped > 0 {
            notes.push(Note::KeysWithoutLease(skipped));
        }
        Ok(opened)
    }

    /// The alarms that were raised.
    pub fn alarms(&self) -> Result<Alarms, OpenError> {
        let alarms = Alarms::new();
        alarms.replace(&schema::read_alarms(&self.backend.view())?);
        Ok(alarms)
    }
}
