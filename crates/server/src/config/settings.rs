//! The settings of a server as flags, variables and the configuration file give them, each under its flag's name.
//!
//! `Config::new()` is built from the list in `flags`, so that a default stands in one place only. Zeros that mean "the usual"
//! stay zeros here; the methods give what they mean. Never reads flags or files, and checks nothing: `validate` does.

use super::feature_gates::FeatureGates;
use super::flags;
use compat::duration::GoDuration;
use compat::url::Url;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of one server. `new` gives the defaults of the flags; `default` gives nothing but empty values.
#[derive(Clone, Debug, Default)]
pub struct Config {
    // member
    /// Longest time before the database commits; 0 means 100ms.
    pub backend_batch_interval: GoDuration,
    /// Most operations before the database commits; 0 means 10000.
    pub backend_batch_limit: i64,
    /// How free pages are kept in memory: array or map. Accepted, without effect here.
    pub backend_bbolt_freelist_type: String,
    /// Where the data lives; empty means NAME.etcd.
    pub data_dir: String,
    /// Milliseconds without a leader before a member stands for election.
    pub election_timeout: u64,
    /// Serve the JSON gateway.
    pub enable_grpc_gateway: bool,
    /// Features to switch, as NAME=true or NAME=false, comma-separated:
    pub feature_gates: FeatureGates,
    /// Time between pings to idle clients; 0 turns them off.
    pub grpc_keepalive_interval: GoDuration,
    /// Shortest time between pings a client may leave.
    pub grpc_keepalive_min_time: GoDuration,
    /// Longest wait for the answer to a ping; 0 turns the limit off.
    pub grpc_keepalive_timeout: GoDuration,
    /// Milliseconds between heartbeats.
    pub heartbeat_interval: u64,
    /// Shorten the first election timeout after start-up.
    pub initial_election_tick_advance: bool,
    /// Where to serve HTTP only; listen-client-urls then serve gRPC only.
    pub listen_client_http_urls: Vec<Url>,
    /// Where to serve clients, comma-separated.
    pub listen_client_urls: Vec<Url>,
    /// Where to serve peers, comma-separated.
    pub listen_peer_urls: Vec<Url>,
    /// Most open streams of one client connection.
    pub max_concurrent_streams: u32,
    /// Most bytes of a request.
    pub max_request_bytes: u64,
    /// Most snapshot files kept; 0 means all. Deprecated, to be removed in v3.8.
    pub max_snapshots: u64,
    /// Most operations of a transaction.
    pub max_txn_ops: u64,
    /// Most log files kept; 0 means all.
    pub max_wals: u64,
    /// Keep all memory from being swapped out.
    pub memory_mlock: bool,
    /// Name of this member.
    pub name: String,
    /// Size at which the database takes no more writes; 0 means 2 GiB, negative turns it off.
    pub quota_backend_bytes: i64,
    /// Longest read from a peer connection; at least 5s.
    pub raft_read_timeout: GoDuration,
    /// Longest write to a peer connection; at least 5s.
    pub raft_write_timeout: GoDuration,
    /// Applied entries between snapshots.
    pub snapshot_count: u64,
    /// Set SO_REUSEADDR on listeners.
    pub socket_reuse_address: bool,
    /// Set SO_REUSEPORT on listeners.
    pub socket_reuse_port: bool,
    /// Where the log lives; empty means below data-dir.
    pub wal_dir: String,
    // clustering
    /// Client URLs this member tells the others and its clients.
    pub advertise_client_urls: Vec<Url>,
    /// What auto-compaction-retention counts: periodic (hours or a duration) or revision.
    pub auto_compaction_mode: String,
    /// How much history automatic compaction keeps; 0 turns it off.
    pub auto_compaction_retention: String,
    /// Certificate authority of the discovery service.
    pub discovery_cacert: String,
    /// Certificate shown to the discovery service.
    pub discovery_cert: String,
    /// Longest time to connect to the discovery service.
    pub discovery_dial_timeout: GoDuration,
    /// Members of the discovery service, comma-separated.
    pub discovery_endpoints: BTreeSet<String>,
    /// What to do when discovery fails; only exit is left.
    pub discovery_fallback: String,
    /// Trust any certificate of the discovery service.
    pub discovery_insecure_skip_tls_verify: bool,
    /// Speak to the discovery service without TLS.
    pub discovery_insecure_transport: bool,
    /// Time between keep-alive probes to the discovery service.
    pub discovery_keepalive_time: GoDuration,
    /// Longest wait for the answer to such a probe.
    pub discovery_keepalive_timeout: GoDuration,
    /// Key of discovery-cert.
    pub discovery_key: String,
    /// Password for the discovery service.
    pub discovery_password: String,
    /// Longest time of a request to the discovery service.
    pub discovery_request_timeout: GoDuration,
    /// Domain whose SRV records name the members.
    pub discovery_srv: String,
    /// Suffix of the SRV record names.
    pub discovery_srv_name: String,
    /// Token of this cluster at the discovery service.
    pub discovery_token: String,
    /// User for the discovery service.
    pub discovery_user: String,
    /// Peer URLs this member tells the others.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// Members a new cluster begins with, as NAME=URL, comma-separated.
    pub initial_cluster: String,
    /// new for a new cluster, existing to join one.
    pub initial_cluster_state: String,
    /// Token that keeps clusters with equal members apart.
    pub initial_cluster_token: String,
    /// Ask before standing for election, so that a member that comes back does not disturb.
    pub pre_vote: bool,
    /// Refuse changes of members that would lose the quorum.
    pub strict_reconfig_check: bool,
    /// Accepted and ignored. Deprecated, to be removed in v3.8.
    pub v2_deprecation: Vec<String>,
    // security
    /// Serve clients with a certificate made at start-up.
    pub auto_tls: bool,
    /// Certificate of the client listeners.
    pub cert_file: String,
    /// Suites of TLS 1.2 that listeners accept, comma-separated; empty means all supported ones.
    pub cipher_suites: Vec<String>,
    /// Names of which a client certificate must hold one, comma-separated.
    pub client_cert_allowed_hostname: Vec<String>,
    /// Ask clients for a certificate.
    pub client_cert_auth: bool,
    /// Certificate this member shows as a client; empty means cert-file.
    pub client_cert_file: String,
    /// File of revoked client certificates.
    pub client_crl_file: String,
    /// Key of client-cert-file.
    pub client_key_file: String,
    /// Origins that browsers may call from, comma-separated; * means all.
    pub cors: BTreeSet<String>,
    /// Host names that plain HTTP requests may ask for, comma-separated; * means all.
    pub host_whitelist: BTreeSet<String>,
    /// Key of cert-file.
    pub key_file: String,
    /// Serve peers with a certificate made at start-up.
    pub peer_auto_tls: bool,
    /// Common names of which a peer certificate must hold one.
    pub peer_cert_allowed_cn: Vec<String>,
    /// Names of which a peer certificate must hold one.
    pub peer_cert_allowed_hostname: Vec<String>,
    /// Certificate of the peer listeners.
    pub peer_cert_file: String,
    /// Ask peers for a certificate.
    pub peer_client_cert_auth: bool,
    /// Certificate this member shows to peers; empty means peer-cert-file.
    pub peer_client_cert_file: String,
    /// Key of peer-client-cert-file.
    pub peer_client_key_file: String,
    /// File of revoked peer certificates.
    pub peer_crl_file: String,
    /// Key of peer-cert-file.
    pub peer_key_file: String,
    /// Certificate authorities of peers.
    pub peer_trusted_ca_file: String,
    /// Years that certificates made at start-up are valid.
    pub self_signed_cert_validity: u64,
    /// Highest version of TLS: TLS1.2 or TLS1.3; empty means the highest known.
    pub tls_max_version: String,
    /// Lowest version of TLS: TLS1.2 or TLS1.3.
    pub tls_min_version: String,
    /// Certificate authorities of clients.
    pub trusted_ca_file: String,
    // auth
    /// How tokens are made: simple, or jwt with its options.
    pub auth_token: String,
    /// Seconds a simple token lives after its last use.
    pub auth_token_ttl: u64,
    /// Cost of hashing passwords, 4 to 31.
    pub bcrypt_cost: u64,
    // profiling & monitoring
    /// Serve profiles under /debug/pprof/.
    pub enable_pprof: bool,
    /// Where to serve metrics and health pages besides, comma-separated.
    pub listen_metrics_urls: Vec<Url>,
    /// Detail of the metrics: basic or extensive.
    pub metrics: String,
    // logging
    /// Rotate the log file.
    pub enable_log_rotation: bool,
    /// Form of log lines: json or console.
    pub log_format: String,
    /// Least level that is logged: debug, info, warn, error, panic or fatal.
    pub log_level: String,
    /// Where log lines go: default, stderr, stdout or files, comma-separated.
    pub log_outputs: BTreeSet<String>,
    /// How log files are rotated.
    pub log_rotation_config_json: String,
    /// Only zap is left.
    pub logger: String,
    /// A request that takes longer is logged.
    pub warning_unary_request_duration: GoDuration,
    // distributed tracing
    /// Where spans are sent.
    pub distributed_tracing_address: String,
    /// Name of this instance in spans.
    pub distributed_tracing_instance_id: String,
    /// How many of a million requests are traced.
    pub distributed_tracing_sampling_rate: i64,
    /// Name of the service in spans.
    pub distributed_tracing_service_name: String,
    /// Send spans by OpenTelemetry.
    pub enable_distributed_tracing: bool,
    // features
    /// Defragment at start-up if at least this many megabytes would be freed; 0 turns it off.
    pub bootstrap_defrag_threshold_megabytes: u64,
    /// Time between checks of hashes at compaction among members.
    pub compact_hash_check_time: GoDuration,
    /// Most revisions removed by one step of a compaction; 0 means 1000.
    pub compaction_batch_limit: i64,
    /// Pause between steps of a compaction; 0 means 10ms.
    pub compaction_sleep_interval: GoDuration,
    /// Time between checks of the whole data among members; 0 turns them off.
    pub corrupt_check_time: GoDuration,
    /// Time between checks of a downgrade in progress; 0 turns them off.
    pub downgrade_check_time: GoDuration,
    /// Most learners in the cluster.
    pub max_learners: i64,
    /// Do not compare the names in peer certificates with addresses.
    pub peer_skip_client_san_verification: bool,
    /// Log entries kept for slow followers after a snapshot.
    pub snapshot_catchup_entries: u64,
    /// A request whose apply takes longer is logged.
    pub warning_apply_duration: GoDuration,
    /// Time between progress notifications of watches; 0 means 10m.
    pub watch_progress_notify_interval: GoDuration,
    // unsafe
    /// Make a one-member cluster of this data directory.
    pub force_new_cluster: bool,
    /// Do not wait for the disk. A power cut then loses data.
    pub unsafe_no_fsync: bool,
    // config
    /// Configuration file in YAML; all other flags and variables are then ignored.
    pub config_file: String,
    /// Print the version and exit.
    pub print_version: bool,

    /// The flags that were set, on the command line or by a variable; empty when the configuration file was used.
    pub(super) set: BTreeSet<&'static str>,
}

/// What 0 means where 0 is not a value.
mod zero {
    use std::time::Duration;

    pub(super) const BATCH_INTERVAL: Duration = Duration::from_millis(100);
    pub(super) const BATCH_LIMIT: usize = 10_000;
    pub(super) const QUOTA_BYTES: u64 = 2 << 30;
    pub(super) const SNAPSHOT_COUNT: u64 = 10_000;
    pub(super) const SNAPSHOT_CATCHUP_ENTRIES: u64 = 5_000;
    pub(super) const COMPACTION_BATCH: usize = 1_000;
    pub(super) const COMPACTION_SLEEP: Duration = Duration::from_millis(10);
    pub(super) const WATCH_PROGRESS: Duration = Duration::from_secs(600);
}

impl Config {
    /// Every setting at its default.
    pub fn new() -> Self {
        let mut config = Config::default();
        for flag in flags::all() {
            flag.reset(&mut config);
        }
        config
    }

    /// Where the data lives: `--data-dir`, or `NAME.etcd`.
    pub fn data_dir_path(&self) -> PathBuf {
        if self.data_dir.is_empty() {
            PathBuf::from(format!("{}.etcd", self.name))
        } else {
            PathBuf::from(&self.data_dir)
        }
    }

    /// The directory `member` in the data directory.
    pub fn member_dir(&self) -> PathBuf {
        self.data_dir_path().join("member")
    }

    /// Where the log lives: `--wal-dir`, or `member/wal` in the data directory.
    pub fn wal_dir_path(&self) -> PathBuf {
        if self.wal_dir.is_empty() {
            self.member_dir().join("wal")
        } else {
            PathBuf::from(&self.wal_dir)
        }
    }

    /// Where snapshots and the database live.
    pub fn snap_dir(&self) -> PathBuf {
        self.member_dir().join("snap")
    }

    /// Time between heartbeats: one tick.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval)
    }

    /// The election timeout.
    pub fn election(&self) -> Duration {
        Duration::from_millis(self.election_timeout)
    }

    /// The election timeout in ticks.
    pub fn election_ticks(&self) -> u64 {
        self.election_timeout / self.heartbeat_interval
    }

    /// How long a request may take before it is given up: 5 s and two election timeouts.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election()
    }

    /// Longest time before the database commits.
    pub fn batch_interval(&self) -> Duration {
        if self.backend_batch_interval.nanos() == 0 {
            zero::BATCH_INTERVAL
        } else {
            self.backend_batch_interval.to_std()
        }
    }

    /// Most operations before the database commits.
    pub fn batch_limit(&self) -> usize {
        or(self.backend_batch_limit, zero::BATCH_LIMIT)
    }

    /// Size in bytes at which the database takes no more writes; `None` when the quota is off.
    pub fn quota_bytes(&self) -> Option<u64> {
        match self.quota_backend_bytes {
            0 => Some(zero::QUOTA_BYTES),
            bytes => u64::try_from(bytes).ok(),
        }
    }

    /// Applied entries between snapshots.
    pub fn entries_per_snapshot(&self) -> u64 {
        if self.snapshot_count == 0 {
            zero::SNAPSHOT_COUNT
        } else {
            self.snapshot_count
        }
    }

    /// Log entries kept for slow followers after a snapshot.
    pub fn catchup_entries(&self) -> u64 {
        if self.snapshot_catchup_entries == 0 {
            zero::SNAPSHOT_CATCHUP_ENTRIES
        } else {
            self.snapshot_catchup_entries
        }
    }

    /// Most revisions removed by one step of a compaction.
    pub fn compaction_batch(&self) -> usize {
        or(self.compaction_batch_limit, zero::COMPACTION_BATCH)
    }

    /// Pause between steps of a compaction.
    pub fn compaction_sleep(&self) -> Duration {
        if self.compaction_sleep_interval.nanos() == 0 {
            zero::COMPACTION_SLEEP
        } else {
            self.compaction_sleep_interval.to_std()
        }
    }

    /// Time between progress notifications of watches.
    pub fn watch_progress_interval(&self) -> Duration {
        if self.watch_progress_notify_interval.nanos() == 0 {
            zero::WATCH_PROGRESS
        } else {
            self.watch_progress_notify_interval.to_std()
        }
    }

    /// Whether a flag was set, on the command line or by a variable.
    pub fn is_set(&self, flag: &str) -> bool {
        self.set.contains(flag)
    }
}

/// `value`, or `usual` where it is not positive.
fn or(value: i64, usual: usize) -> usize {
    usize::try_from(value).ok().filter(|value| *value != 0).unwrap_or(usual)
}
