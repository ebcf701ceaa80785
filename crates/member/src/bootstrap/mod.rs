//! Opens a data directory, or makes a new one, and builds the member's machines on it.
//!
//! The steps and refusals are those of `data-dir.md` 4.1 and `peer-protocol.md` 8.2. Where Go would start and lose acknowledged writes, or
//! hang, this refuses with advice.

mod config;
mod create;
mod database;
mod force;
mod initial;
mod replay;
mod v2;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::pb::etcdserverpb::Metadata;
use api::pb::walpb;
use api::{ClusterId, MemberId, RaftIndex, Term};
use prost::Message;
use wal::{SnapError, Wal, WalError, snap};
use world::DynDisk;

use crate::alarms::Alarms;
use crate::apply::{Applier, Compaction, Parts};
use crate::cluster::{Cluster, LoadError, Member};
use crate::database::{DatabaseFile, Unfit};
use crate::duties::{Duties, DutiesConfig};
use crate::lessor::{LeaseWriter, Lessor, LessorConfig};
use crate::propose::RequestIds;
use crate::quota::Quota;
use crate::replicate::Start;
use crate::stats::Progress;
use database::Database;

pub use config::{Config, RaftLog};
pub use initial::ExistingCluster;

/// Folders of a member: only its own user may look inside.
const DIR_MODE: u32 = 0o700;

/// Everything a member consists of, ready to be given to its threads.
pub struct Opened {
    pub member_id: MemberId,
    pub cluster_id: ClusterId,
    /// What the replicator is made of.
    pub start: Start,
    /// Members whom the transport has to know before the log names any: those of the cluster that this new member begins or joins.
    /// Empty at every later start.
    pub initial_peers: Vec<Member>,
    /// How many members the committed log gives; 0 for one who joins. One alone need not wait for others before it campaigns.
    pub members_at_commit: usize,
    pub applier: Applier,
    pub duties: Duties,
    pub wal: Wal,
    pub committer: backend::Committer,
    pub backend: backend::Backend,
    pub store: mvcc::Store,
    pub lessor: Lessor,
    pub cluster: Cluster,
    pub alarms: Alarms,
    pub quota: Quota,
    pub ids: Arc<RequestIds>,
    pub progress: Arc<Progress>,
    /// A compaction that the last life of this member did not finish.
    pub unfinished_compaction: Option<Compaction>,
    /// What was found and mended on the way, for the log of the shell.
    pub notes: Vec<Note>,
}

/// Something worth a line in the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A log was made: this member is new.
    Created,
    /// The torn end of the log was cut off.
    LogRepaired(wal::Repair),
    /// A database received from a leader took the place of the old one.
    DatabaseSwapped { index: u64 },
    /// A leftover was deleted.
    Swept(PathBuf),
    /// A log without a database: everything is applied again from the log.
    DatabaseMissing,
    /// A voter according to the v2 store of 3.5 that was a learner in the database: corrected.
    PromotedVoter(MemberId),
    /// `--force-new-cluster`: so many uncommitted entries were dropped, and so many membership changes written.
    ForcedNewCluster { dropped: usize, changed: usize },
    /// So many keys name a lease that is not there. Go only logs them, too.
    KeysWithoutLease(usize),
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Snap(#[from] SnapError),
    #[error(transparent)]
    Backend(#[from] backend::BackendError),
    #[error(transparent)]
    Membership(#[from] LoadError),
    #[error(transparent)]
    Store(#[from] mvcc::MvccError),
    #[error(transparent)]
    Replicate(#[from] crate::replicate::StartError),
    /// The database file is locked by another process: try again, as Go does for ever.
    #[error("{}: the database file is locked by another process", .0.display())]
    DatabaseLocked(PathBuf),
    /// The start is refused; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
}

impl From<Unfit> for OpenError {
    fn from(unfit: Unfit) -> OpenError {
        match unfit {
            Unfit::Backend(error) => error.into(),
            Unfit::Refused(text) => OpenError::Refused(text),
        }
    }
}

fn refuse<T>(text: impl Into<String>) -> Result<T, OpenError> {
    Err(OpenError::Refused(text.into()))
}

/// Opens or creates the member of `config`. `unix_ms` is the wall clock (for request ids only), `now` the time since the process began, by the clock
/// that all later calls are told.
///
/// # Errors
/// `OpenError`: nothing was started. A database that another process holds is left alone.
pub fn open(disk: &DynDisk, config: &Config, now: Duration, unix_ms: u64) -> Result<Opened, OpenError> {
    let mut notes = Vec::new();
    prepare_folders(disk, config, &mut notes)?;
    let had_log = wal::exists(disk, &config.wal_dir())?;
    let snapshot = if had_log {
        newest_snapshot(disk, config)?
    } else {
        walpb::Snapshot::default()
    };
    let mut database = database::open(disk, config, had_log, &snapshot, &mut notes)?;
    let mut initial_peers = Vec::new();
    if !had_log {
        sync_folders(disk, config)?;
        initial_peers = create::log(disk, config, &database)?;
        notes.push(Note::Created);
    }
    let mut log = Wal::open_with(disk, &config.wal_dir(), &snapshot, config.wal_options)?;
    notes.extend(log.repaired.take().map(Note::LogRepaired));
    let metadata = Metadata::decode(log.metadata.clone()).map_err(|e| OpenError::Refused(format!("the log's metadata: {e}")))?;
    let member_id = MemberId(metadata.node_id.unwrap_or(0));
    let cluster_id = ClusterId(metadata.cluster_id.unwrap_or(0));
    create::finish(config, &mut log, member_id, cluster_id, &database)?;
    replay::check_complete(config, &log, &snapshot, &database)?;
    v2::reconcile(disk, config, &log.entries, &snapshot, &mut database, &mut notes)?;
    if config.force_new_cluster && had_log {
        force::new_cluster(config, &mut log, &database, member_id, &mut notes)?;
    }
    let members_at_commit = replay::check(config, &log, &database, member_id)?.members.len();
    let ids = Arc::new(RequestIds::new(member_id, unix_ms));
    let start = Start {
        member: member_id,
        hard_state: log.hard_state,
        entries: log.entries,
        snapshot: (RaftIndex(snapshot.index.unwrap_or(0)), Term(snapshot.term.unwrap_or(0))),
        // As of the consistent index: changes up to it are not made again, those behind it are (`data-dir.md` 4.1).
        conf_state: database.state.conf_state(),
        tick: config.tick,
        election_ticks: config.election_ticks,
        pre_vote: config.pre_vote,
        catch_up_entries: config.catch_up_entries,
        ids: ids.clone(),
        // Members that start at the same moment draw differently.
        seed: unix_ms ^ member_id.0,
        logger: config.raft_log.0.clone(),
    };
    let cluster = Cluster::new(cluster_id, member_id, database.state.clone());
    let known = Known {
        file: database::file(disk, config),
        start,
        cluster,
        initial_peers,
        members_at_commit,
    };
    assemble(config, now, database, log.wal, known, ids, notes)
}

/// What the log and the database tell of the cluster.
struct Known {
    file: DatabaseFile,
    start: Start,
    cluster: Cluster,
    initial_peers: Vec<Member>,
    members_at_commit: usize,
}

/// Builds the machines on what was found.
fn assemble(
    config: &Config,
    now: Duration,
    mut database: Database,
    wal: Wal,
    known: Known,
    ids: Arc<RequestIds>,
    mut notes: Vec<Note>,
) -> Result<Opened, OpenError> {
    let cluster = known.cluster;
    let progress = Arc::new(Progress::default());
    let lessor = Lessor::new(LessorConfig {
        min_ttl_seconds: LessorConfig::min_ttl(config.election_ticks, config.tick),
        checkpoints: config.lease_checkpoint,
        revoke_retry: config.request_timeout(),
    });
    let mut leases = LeaseWriter::new(lessor.clone());
    let (store, mut writer) = database.open_store(config, &mut leases, &mut notes)?;
    let unfinished_compaction = writer.resume_compaction().map(|job| Compaction {
        job,
        answer_when_done: None,
    });
    let alarms = database.alarms()?;
    let quota = Quota::new(config.quota_backend_bytes);
    let applier = Applier::new(Parts {
        writer,
        backend: database.backend.clone(),
        file: known.file,
        leases,
        cluster: cluster.clone(),
        alarms: alarms.clone(),
        quota,
        ids: ids.clone(),
        progress: progress.clone(),
        consistent_index: database.backend.consistent_index(),
        snapshot: known.start.snapshot,
        snapshot_count: config.snapshot_count,
        max_learners: config.max_learners,
        lease_checkpoint_persist: config.lease_checkpoint_persist,
        retry: config.request_timeout(),
        started: now,
    });
    let duties = DutiesConfig {
        name: config.name.clone(),
        client_urls: config.client_urls.clone(),
        retry: config.request_timeout(),
        election: config.election(),
        started: now,
    };
    Ok(Opened {
        member_id: cluster.local_id(),
        cluster_id: cluster.cluster_id(),
        start: known.start,
        initial_peers: known.initial_peers,
        members_at_commit: known.members_at_commit,
        applier,
        duties: Duties::new(duties, cluster.clone(), lessor.clone(), ids.clone(), progress.clone()),
        wal,
        committer: database.committer,
        backend: database.backend,
        store,
        lessor,
        cluster,
        alarms,
        quota,
        ids,
        progress,
        unfinished_compaction,
        notes,
    })
}

/// Whether this member has been started before: then `--initial-*` mean nothing any more, and nobody needs to be asked about a running
/// cluster.
///
/// # Errors
/// What the disk says.
pub fn has_log(disk: &DynDisk, config: &Config) -> Result<bool, OpenError> {
    Ok(wal::exists(disk, &config.wal_dir())?)
}

fn prepare_folders(disk: &DynDisk, config: &Config, notes: &mut Vec<Note>) -> Result<(), OpenError> {
    let at = |path: PathBuf| move |error| OpenError::Disk { path, error };
    if let Some(proxy) = Some(config.data_dir.join("proxy")).filter(|path| disk.exists(path).unwrap_or(false))
        && disk.exists(&config.member_dir()).map_err(at(config.member_dir()))?
    {
        return refuse(format!(
            "invalid datadir: both member and proxy directory exist. {} is what the v2 proxy of etcd 3.5 left: remove it",
            proxy.display()
        ));
    }
    let snap_dir = config.snap_dir();
    make_folder(disk, &snap_dir)?;
    if let Some(parent) = config.wal_dir().parent() {
        make_folder(disk, parent)?;
    }
    let leftovers = snap::remove_leftovers(disk, &snap_dir)?;
    notes.extend(leftovers.into_iter().map(|name| Note::Swept(snap_dir.join(name))));
    Ok(())
}

/// Makes a folder and those above it that are missing. Each new name survives a power cut: what is acknowledged later stands below it.
fn make_folder(disk: &DynDisk, path: &Path) -> Result<(), OpenError> {
    let at = |error| OpenError::Disk {
        path: path.to_path_buf(),
        error,
    };
    if path == Path::new("") || disk.exists(path).map_err(at)? {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folder(disk, parent)?;
    disk.create_dir(path, DIR_MODE).map_err(at)?;
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    disk.sync_dir(parent).map_err(at)
}

/// Makes the names of all folders durable before anything is written below them: an earlier first start that was killed may have made
/// them and not come to that.
fn sync_folders(disk: &DynDisk, config: &Config) -> Result<(), OpenError> {
    let wal_dir = config.wal_dir();
    for folder in [config.snap_dir(), wal_dir.clone()] {
        for parent in folder.ancestors().skip(1) {
            let path = if parent == Path::new("") { Path::new(".") } else { parent };
            let synced = disk.sync_dir(path);
            // Those above were there before etcd, as a rule, and need not be readable.
            if parent.starts_with(&config.data_dir) || Some(parent) == config.data_dir.parent() || Some(parent) == wal_dir.parent() {
                synced.map_err(|error| OpenError::Disk {
                    path: path.to_path_buf(),
                    error,
                })?;
            }
        }
    }
    Ok(())
}

/// The newest disk snapshot that the log records and its hard state commits; index 0 if there is none.
fn newest_snapshot(disk: &DynDisk, config: &Config) -> Result<walpb::Snapshot, OpenError> {
    let valid = wal::valid_snapshots(disk, &config.wal_dir())?;
    Ok(valid.into_iter().max_by_key(|record| record.index.unwrap_or(0)).unwrap_or_default())
}
