//! The settings as the line "starting an etcd server" shows them: what support asks for first.

use super::help::{ETCD_VERSION, arch};
use super::startup::Prepared;
use crate::log::{Field, display, field};
use compat::duration::GoDuration;
use compat::url::Url;

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

/// The fields of that line, in etcd's order.
pub fn describe(prepared: &Prepared) -> Vec<Field<'_>> {
    let Prepared {
        config,
        member_initialized,
        initial_cluster,
        ..
    } = prepared;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut fields = vec![
        field("etcd-version", ETCD_VERSION),
        field("git-sha", concat!("quorate-", env!("CARGO_PKG_VERSION"))),
        field("go-version", "none"),
        field("go-os", std::env::consts::OS),
        field("go-arch", arch()),
        field("max-cpu-set", processors),
        field("max-cpu-available", processors),
        field("member-initialized", *member_initialized),
        field("name", &config.name),
        display("data-dir", &config.data_dir_path().display()),
        field("wal-dir", &config.wal_dir),
        field("wal-dir-dedicated", &config.wal_dir),
        display("member-dir", &config.member_dir().display()),
        field("force-new-cluster", config.force_new_cluster),
        field("heartbeat-interval", config.heartbeat()),
        field("election-timeout", config.election()),
        field("initial-election-tick-advance", config.initial_election_tick_advance),
        field("snapshot-count", config.entries_per_snapshot()),
        field("max-wals", config.max_wals),
        field("max-snapshots", config.max_snapshots),
        field("snapshot-catchup-entries", config.snapshot_catchup_entries),
        field("initial-advertise-peer-urls", texts(&config.initial_advertise_peer_urls)),
        field("listen-peer-urls", texts(&config.listen_peer_urls)),
        field("advertise-client-urls", texts(&config.advertise_client_urls)),
        field("listen-client-urls", texts(&config.listen_client_urls)),
        field("listen-metrics-urls", texts(&config.listen_metrics_urls)),
        field("local-address", ""),
        field("cors", config.cors.iter().cloned().collect::<Vec<_>>()),
        field("host-whitelist", config.host_whitelist.iter().cloned().collect::<Vec<_>>()),
        display("initial-cluster", initial_cluster),
        field("initial-cluster-state", &config.initial_cluster_state),
        field("initial-cluster-token", &config.initial_cluster_token),
    ];
    fields.extend(limits(prepared));
    fields
}

fn limits(prepared: &Prepared) -> Vec<Field<'_>> {
    let config = &prepared.config;
    let quota = if config.quota_backend_bytes < 0 {
        -1
    } else {
        config.quota_bytes().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1)
    };
    vec![
        field("quota-backend-bytes", quota),
        field("max-request-bytes", config.max_request_bytes),
        field("max-concurrent-streams", config.max_concurrent_streams),
        field("pre-vote", config.pre_vote),
        display("feature-gates", &config.feature_gates),
        field("initial-corrupt-check", config.feature_gates.is_on("InitialCorruptCheck")),
        field("corrupt-check-time-interval", config.corrupt_check_time),
        field("compact-check-time-interval", config.compact_hash_check_time),
        field("auto-compaction-mode", &config.auto_compaction_mode),
        field("auto-compaction-retention", GoDuration::default()),
        field("auto-compaction-interval", GoDuration::default()),
        field("discovery-token", &config.discovery_token),
        field("discovery-endpoints", ""),
        field("downgrade-check-interval", config.downgrade_check_time),
        field("max-learners", config.max_learners),
        field("v2-deprecation", "write-only"),
    ]
}
