//! What a member is told at its start, and where its files are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ExistingCluster;

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
    /// `--initial-cluster`: name and one peer URL each, in the order given. The own ones have been compared with the advertised ones
    /// (for which names are resolved).
    pub initial_cluster: Vec<(String, String)>,
    pub initial_cluster_token: String,
    /// `--initial-cluster-state existing`.
    pub join_existing: bool,
    /// What running members of `--initial-cluster` said on `/members`, if any of them answered. Only looked at while there is no log
    /// ([`super::has_log`]): one who joins has its id from it, one who begins a cluster must not be in it.
    pub existing: Option<ExistingCluster>,
    /// `--force-new-cluster`.
    pub force_new_cluster: bool,
    /// `--heartbeat-interval`.
    pub tick: Duration,
    /// `--election-timeout` in ticks.
    pub election_ticks: u32,
    /// `--pre-vote`.
    pub pre_vote: bool,
    /// `--snapshot-catchup-entries`.
    pub catch_up_entries: u64,
    /// Where consensus says what it does.
    pub raft_log: RaftLog,
    pub snapshot_count: u64,
    pub max_snapshots: usize,
    pub max_wals: usize,
    pub quota_backend_bytes: i64,
    pub backend_batch_limit: usize,
    pub compaction_batch_limit: usize,
    /// `--max-request-bytes`.
    pub max_request_bytes: usize,
    pub max_learners: usize,
    /// Gate `LeaseCheckpoint`.
    pub lease_checkpoint: bool,
    /// Gate `LeaseCheckpointPersist`.
    pub lease_checkpoint_persist: bool,
    /// For tests: the size of the log's segments.
    pub wal_options: wal::Options,
}

/// Takes raft's log lines; the default drops them.
#[derive(Clone)]
pub struct RaftLog(pub Arc<dyn raft::Logger>);

impl Default for RaftLog {
    fn default() -> RaftLog {
        RaftLog(Arc::new(raft::logger::Silent))
    }
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RaftLog")
    }
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
            existing: None,
            force_new_cluster: false,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            pre_vote: true,
            catch_up_entries: crate::limits::CATCH_UP_ENTRIES,
            raft_log: RaftLog::default(),
            snapshot_count: crate::limits::SNAPSHOT_COUNT,
            max_snapshots: crate::limits::MAX_SNAPSHOTS,
            max_wals: crate::limits::MAX_WALS,
            quota_backend_bytes: 0,
            backend_batch_limit: 10_000,
            compaction_batch_limit: 1_000,
            max_request_bytes: api::limits::MAX_REQUEST_BYTES as usize,
            max_learners: crate::limits::MAX_LEARNERS,
            lease_checkpoint: false,
            lease_checkpoint_persist: false,
            wal_options: wal::Options::default(),
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
