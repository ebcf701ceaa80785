//! Opens a data directory, or makes a new one, and builds the member's machines on it.
//!
//! The steps and refusals are those of `data-dir.md` 4.1 and `peer-protocol.md` 8.2. Where Go would start and lose acknowledged writes, or
//! hang, this refuses with advice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::{ClusterId, MemberId};
use world::DynDisk;

use crate::alarms::Alarms;
use crate::apply::{Applier, Compaction};
use crate::cluster::Cluster;
use crate::duties::Duties;
use crate::lessor::Lessor;
use crate::propose::RequestIds;
use crate::quota::Quota;
use crate::replicate::Replicator;
use crate::stats::Progress;

/// What a member is told at its start. Durations and counts as in the flags of the same names.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// `None`: `member/wal` below the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Advertised peer URLs, as Go prints them.
    pub peer_urls: Vec<String>,
    /// Advertised client URLs.
    pub client_urls: Vec<String>,
    /// `--initial-cluster`: name and one peer URL each, in the order given.
    pub initial_cluster: Vec<(String, String)>,
    pub initial_cluster_token: String,
    /// `--initial-cluster-state existing`.
    pub join_existing: bool,
    /// `--force-new-cluster`.
    pub force_new_cluster: bool,
    /// `--heartbeat-interval`.
    pub tick: Duration,
    /// `--election-timeout` in ticks.
    pub election_ticks: u32,
    pub snapshot_count: u64,
    pub max_snapshots: usize,
    pub max_wals: usize,
    pub quota_backend_bytes: i64,
    pub backend_batch_limit: usize,
    pub compaction_batch_limit: usize,
    pub max_learners: usize,
    /// Gate `LeaseCheckpoint`.
    pub lease_checkpoint: bool,
    /// Gate `LeaseCheckpointPersist`.
    pub lease_checkpoint_persist: bool,
}

impl Config {
    /// The defaults of the flags, for a member alone under this name, directory and peer URL.
    pub fn single(name: &str, data_dir: PathBuf, peer_url: &str, client_url: &str) -> Config {
        Config {
            name: name.into(),
            data_dir,
            wal_dir: None,
            peer_urls: vec![peer_url.into()],
            client_urls: vec![client_url.into()],
            initial_cluster: vec![(name.into(), peer_url.into())],
            initial_cluster_token: "etcd-cluster".into(),
            join_existing: false,
            force_new_cluster: false,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            snapshot_count: crate::limits::SNAPSHOT_COUNT,
            max_snapshots: crate::limits::MAX_SNAPSHOTS,
            max_wals: crate::limits::MAX_WALS,
            quota_backend_bytes: 0,
            backend_batch_limit: 10_000,
            compaction_batch_limit: 1_000,
            max_learners: crate::limits::MAX_LEARNERS,
            lease_checkpoint: false,
            lease_checkpoint_persist: false,
        }
    }

    pub fn member_dir(&self) -> PathBuf {
        self.data_dir.join("member")
    }

    pub fn snap_dir(&self) -> PathBuf {
        self.member_dir().join("snap")
    }

    pub fn wal_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.member_dir().join("wal"))
    }

    pub fn db_path(&self) -> PathBuf {
        self.snap_dir().join("db")
    }

    /// 5 s and two elections: how long a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election()
    }

    pub fn election(&self) -> Duration {
        self.tick * self.election_ticks
    }
}

/// Everything a member consists of, ready to be given to its threads.
pub struct Opened {
    pub member_id: MemberId,
    pub cluster_id: ClusterId,
    pub replicator: Replicator,
    pub applier: Applier,
    pub duties: Duties,
    // The log itself joins here when its crate has its shape.
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
    /// A log directory was made: this member is new.
    Created,
    /// The torn end of the log was cut off.
    LogRepaired { file: PathBuf, at: u64 },
    /// A database received from a leader took the place of the old one.
    DatabaseSwapped { index: u64 },
    /// A leftover was deleted.
    Swept(PathBuf),
    /// A log without a database: everything is applied again from the log.
    DatabaseMissing,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {error}")]
    Disk { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Backend(#[from] backend::BackendError),
    #[error("{0}")]
    Store(#[from] mvcc::MvccError),
    #[error("{0}")]
    Replicate(#[from] crate::replicate::StartError),
    /// The database file is locked by another process: try again, as Go does for ever.
    #[error("{0}: the database file is locked by another process")]
    DatabaseLocked(PathBuf),
    /// The start is refused; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Opens or creates the member of `config`. `unix_ms` is the wall clock (for request ids only), `now` the time since the process began.
///
/// # Errors
/// `OpenError`: nothing was started. A database that another process holds is left alone.
pub fn open(disk: &DynDisk, config: &Config, now: Duration, unix_ms: u64) -> Result<Opened, OpenError> {
    let _ = (disk, config, now, unix_ms);
    unimplemented!()
}
