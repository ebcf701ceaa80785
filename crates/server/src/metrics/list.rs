//! The one list of metrics: field, kind, labels, buckets, name and help text. A test holds it against the contract.
//!
//! What only peers, discovery and proxies count is not here yet, but for what Go shows at zero from the start.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::grpc::Grpc;
use super::kept::{BySuccess, Clients, RequestType, Requests};
use super::process;
use super::sample::{Collect, Metric};
use super::value::{Counter, Family, Gauge, Histogram};

/// Bounds that grow by a factor of two from `first`, as Go's `ExponentialBuckets`.
const fn doubling<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut i = 1;
    while i < N {
        bounds[i] = bounds[i - 1] * 2.0;
        i += 1;
    }
    bounds
}

static FROM_100US: [f64; 20] = doubling(0.0001);
static FROM_1MS: [f64; 14] = doubling(0.001);
static LEASE_TTL: [f64; 24] = doubling(1.0);
static PAUSE_MS: [f64; 13] = doubling(1.0);
static COMPACTION_MS: [f64; 14] = doubling(100.0);
static INDEX_PAUSE_MS: [f64; 14] = doubling(0.5);
static DEFRAG: [f64; 13] = doubling(0.1);
static SNAPSHOT: [f64; 17] = doubling(0.01);
static HASH: [f64; 15] = doubling(0.01);
static SNAP_DB: [f64; 10] = doubling(0.1);
static ROUND_TRIP: [f64; 16] = doubling(0.0001);

/// The type of a metric.
macro_rules! kind {
    (counter) => { Counter };
    (gauge) => { Gauge };
    (histogram(& $bounds:ident)) => { Histogram };
    (counter(&[$($label:literal),*])) => { Family<Counter> };
    (gauge(&[$($label:literal),*])) => { Family<Gauge> };
    (histogram(&[$($label:literal),*], & $bounds:ident)) => { Family<Histogram> };
}

/// A new metric.
macro_rules! make {
    (counter) => { Counter::default() };
    (gauge) => { Gauge::default() };
    (histogram(& $bounds:ident)) => { Histogram::new(&$bounds) };
    (counter(&[$($label:literal),*])) => { Family::new(&[$($label),*], &[], |_| Counter::default()) };
    (gauge(&[$($label:literal),*])) => { Family::new(&[$($label),*], &[], |_| Gauge::default()) };
    (histogram(&[$($label:literal),*], & $bounds:ident)) => { Family::new(&[$($label),*], &$bounds, Histogram::new) };
}

/// Sets gauges to what is true now, before they are shown.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

macro_rules! list {
    ($($field:ident: $kind:ident $(($($argument:tt)*))? = $name:literal, $help:literal;)*) => {
        /// The metrics of one process.
        pub struct Metrics {
            $(#[doc = $help] pub $field: kind!($kind $(($($argument)*))?),)*
            /// What the gRPC side counts, by method.
            pub grpc: Grpc,
            requests: Requests,
            ranges: BySuccess,
            clients: Clients,
            refresh: RwLock<Vec<Refresh>>,
        }

        impl Metrics {
            fn make(extensive: bool) -> Metrics {
                Metrics {
                    $($field: make!($kind $(($($argument)*))?),)*
                    grpc: Grpc::new(extensive),
                    requests: Requests::default(),
                    ranges: BySuccess::default(),
                    clients: Clients::default(),
                    refresh: RwLock::default(),
                }
            }

            /// Gives every metric with labels a value.
            #[cfg(test)]
            pub(super) fn touch_all(&self) {
                $(self.$field.touch();)*
                self.grpc.touch();
            }

            fn own(&self) -> Vec<Metric> {
                vec![$(self.$field.metric($name, $help)),*]
            }
        }
    };
}

list! {
    cluster_version: gauge(&["cluster_version"]) = "etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version";
    debugging_auth_revision: gauge = "etcd_debugging_auth_revision", "The current revision of auth store.";
    debugging_disk_backend_commit_rebalance_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_disk_backend_commit_rebalance_duration_seconds", "The latency distributions of commit.rebalance called by bboltdb backend.";
    debugging_disk_backend_commit_spill_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_disk_backend_commit_spill_duration_seconds", "The latency distributions of commit.spill called by bboltdb backend.";
    debugging_disk_backend_commit_write_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_disk_backend_commit_write_duration_seconds", "The latency distributions of commit.write called by bboltdb backend.";
    debugging_lease_granted_total: counter = "etcd_debugging_lease_granted_total", "The total number of granted leases.";
    debugging_lease_renewed_total: counter = "etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader.";
    debugging_lease_revoked_total: counter = "etcd_debugging_lease_revoked_total", "The total number of revoked leases.";
    debugging_lease_ttl_total: histogram(&LEASE_TTL) = "etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.";
    debugging_mvcc_compact_revision: gauge = "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.";
    debugging_mvcc_current_revision: gauge = "etcd_debugging_mvcc_current_revision", "The current revision of store.";
    debugging_mvcc_db_compaction_keys_total: counter = "etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted.";
    debugging_mvcc_db_compaction_last: gauge = "etcd_debugging_mvcc_db_compaction_last", "The unix time of the last db compaction. Resets to 0 on start.";
    debugging_mvcc_db_compaction_pause_duration_milliseconds: histogram(&PAUSE_MS) = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", "Bucketed histogram of db compaction pause duration.";
    debugging_mvcc_db_compaction_total_duration_milliseconds: histogram(&COMPACTION_MS) = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "Bucketed histogram of db compaction total duration.";
    debugging_mvcc_events_total: counter = "etcd_debugging_mvcc_events_total", "Total number of events sent by this member.";
    debugging_mvcc_index_compaction_pause_duration_milliseconds: histogram(&INDEX_PAUSE_MS) = "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds", "Bucketed histogram of index compaction pause duration.";
    debugging_mvcc_keys_total: gauge = "etcd_debugging_mvcc_keys_total", "Total number of keys.";
    debugging_mvcc_pending_events_total: gauge = "etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent.";
    debugging_mvcc_slow_watcher_total: gauge = "etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.";
    debugging_mvcc_total_put_size_in_bytes: gauge = "etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member.";
    debugging_mvcc_watch_stream_total: gauge = "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.";
    debugging_mvcc_watcher_total: gauge = "etcd_debugging_mvcc_watcher_total", "Total number of watchers.";
    debugging_server_alarms: gauge(&["server_id", "alarm_type"]) = "etcd_debugging_server_alarms", "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm";
    debugging_server_lease_expired_total: counter = "etcd_debugging_server_lease_expired_total", "The total number of expired leases.";
    debugging_server_watch_send_loop_control_stream_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds", "The total duration in seconds of running through the send loop control stream response.";
    debugging_server_watch_send_loop_progress_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_server_watch_send_loop_progress_duration_seconds", "The total duration in seconds of running through the progress loop control stream response.";
    debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds: histogram(&FROM_1MS) = "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds", "The average duration in seconds of running through the send loop watch stream response, per event.";
    debugging_server_watch_send_loop_watch_stream_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds", "The total duration in seconds of running through the send loop watch stream response all events.";
    debugging_snap_save_marshalling_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_snap_save_marshalling_duration_seconds", "The marshalling cost distributions of save called by snapshot.";
    debugging_snap_save_total_duration_seconds: histogram(&FROM_1MS) = "etcd_debugging_snap_save_total_duration_seconds", "The total latency distributions of save called by snapshot.";
    debugging_store_expires_total: counter = "etcd_debugging_store_expires_total", "Total number of expired keys.";
    debugging_store_watch_requests_total: counter = "etcd_debugging_store_watch_requests_total", "Total number of incoming watch requests (new or reestablished).";
    debugging_store_watchers: gauge = "etcd_debugging_store_watchers", "Count of currently active watchers.";
    disk_backend_commit_duration_seconds: histogram(&FROM_1MS) = "etcd_disk_backend_commit_duration_seconds", "The latency distributions of commit called by backend.";
    disk_backend_defrag_duration_seconds: histogram(&DEFRAG) = "etcd_disk_backend_defrag_duration_seconds", "The latency distribution of backend defragmentation.";
    disk_backend_snapshot_duration_seconds: histogram(&SNAPSHOT) = "etcd_disk_backend_snapshot_duration_seconds", "The latency distribution of backend snapshots.";
    disk_defrag_inflight: gauge = "etcd_disk_defrag_inflight", "Whether or not defrag is active on the member. 1 means active, 0 means not.";
    disk_wal_fsync_duration_seconds: histogram(&FROM_1MS) = "etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.";
    disk_wal_write_bytes_total: gauge = "etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.";
    disk_wal_write_duration_seconds: histogram(&FROM_1MS) = "etcd_disk_wal_write_duration_seconds", "The latency distributions of write called by WAL.";
    grpc_proxy_cache_hits_total: gauge = "etcd_grpc_proxy_cache_hits_total", "Total number of cache hits";
    grpc_proxy_cache_keys_total: gauge = "etcd_grpc_proxy_cache_keys_total", "Total number of keys/ranges cached";
    grpc_proxy_cache_misses_total: gauge = "etcd_grpc_proxy_cache_misses_total", "Total number of cache misses";
    grpc_proxy_events_coalescing_total: counter = "etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing";
    grpc_proxy_watchers_coalescing_total: gauge = "etcd_grpc_proxy_watchers_coalescing_total", "Total number of current watchers coalescing";
    mvcc_db_open_read_transactions: gauge = "etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions";
    mvcc_db_total_size_in_bytes: gauge = "etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.";
    mvcc_db_total_size_in_use_in_bytes: gauge = "etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.";
    mvcc_delete_total: counter = "etcd_mvcc_delete_total", "Total number of deletes seen by this member.";
    mvcc_hash_duration_seconds: histogram(&HASH) = "etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation.";
    mvcc_hash_rev_duration_seconds: histogram(&HASH) = "etcd_mvcc_hash_rev_duration_seconds", "The latency distribution of storage hash by revision operation.";
    mvcc_put_total: counter = "etcd_mvcc_put_total", "Total number of puts seen by this member.";
    mvcc_range_total: counter = "etcd_mvcc_range_total", "Total number of ranges seen by this member.";
    mvcc_txn_total: counter = "etcd_mvcc_txn_total", "Total number of txns seen by this member.";
    network_active_peers: gauge(&["Local", "Remote"]) = "etcd_network_active_peers", "The current number of active peer connections.";
    network_client_grpc_received_bytes_total: counter = "etcd_network_client_grpc_received_bytes_total", "The total number of bytes received from grpc clients.";
    network_client_grpc_sent_bytes_total: counter = "etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.";
    network_disconnected_peers_total: counter(&["Local", "Remote"]) = "etcd_network_disconnected_peers_total", "The total number of disconnected peers.";
    network_known_peers: gauge(&["Local", "Remote"]) = "etcd_network_known_peers", "The current number of known peers.";
    network_peer_received_bytes_total: counter(&["From"]) = "etcd_network_peer_received_bytes_total", "The total number of bytes received from peers.";
    network_peer_received_failures_total: counter(&["From"]) = "etcd_network_peer_received_failures_total", "The total number of receive failures from peers.";
    network_peer_round_trip_time_seconds: histogram(&["To"], &ROUND_TRIP) = "etcd_network_peer_round_trip_time_seconds", "Round-Trip-Time histogram between peers";
    network_peer_sent_bytes_total: counter(&["To"]) = "etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.";
    network_peer_sent_failures_total: counter(&["To"]) = "etcd_network_peer_sent_failures_total", "The total number of send failures from peers.";
    network_server_stream_failures_total: counter(&["Type", "API"]) = "etcd_network_server_stream_failures_total", "The total number of stream failures from the local server.";
    network_snapshot_receive_failures: counter(&["From"]) = "etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures";
    network_snapshot_receive_inflights_total: gauge(&["From"]) = "etcd_network_snapshot_receive_inflights_total", "Total number of inflight snapshot receives";
    network_snapshot_receive_success: counter(&["From"]) = "etcd_network_snapshot_receive_success", "Total number of successful snapshot receives";
    network_snapshot_receive_total_duration_seconds: histogram(&["From"], &SNAP_DB) = "etcd_network_snapshot_receive_total_duration_seconds", "Total latency distributions of v3 snapshot receives";
    network_snapshot_send_failures: counter(&["To"]) = "etcd_network_snapshot_send_failures", "Total number of snapshot send failures";
    network_snapshot_send_inflights_total: gauge(&["To"]) = "etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends";
    network_snapshot_send_success: counter(&["To"]) = "etcd_network_snapshot_send_success", "Total number of successful snapshot sends";
    network_snapshot_send_total_duration_seconds: histogram(&["To"], &SNAP_DB) = "etcd_network_snapshot_send_total_duration_seconds", "Total latency distributions of v3 snapshot sends";
    server_apply_duration_seconds: histogram(&["version", "op", "success"], &FROM_100US) = "etcd_server_apply_duration_seconds", "The latency distributions of v2 apply called by backend.";
    server_client_requests_total: counter(&["type", "client_api_version"]) = "etcd_server_client_requests_total", "The total number of client requests per client version.";
    server_feature_enabled: gauge(&["name", "stage"]) = "etcd_server_feature_enabled", "Whether or not a feature is enabled. 1 is enabled, 0 is not.";
    server_go_version: gauge(&["server_go_version"]) = "etcd_server_go_version", "Which Go version server is running with. 1 for 'server_go_version' label with current version.";
    server_has_leader: gauge = "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.";
    server_health_failures: counter = "etcd_server_health_failures", "The total number of failed health checks";
    server_health_success: counter = "etcd_server_health_success", "The total number of successful health checks";
    server_healthcheck: gauge(&["type", "name"]) = "etcd_server_healthcheck", "The result of each kind of healthcheck.";
    server_healthchecks_total: counter(&["type", "name", "status"]) = "etcd_server_healthchecks_total", "The total number of each kind of healthcheck.";
    server_heartbeat_send_failures_total: counter = "etcd_server_heartbeat_send_failures_total", "The total number of leader heartbeat send failures (likely overloaded from slow disk).";
    server_id: gauge(&["server_id"]) = "etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.";
    server_is_leader: gauge = "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.";
    server_is_learner: gauge = "etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.";
    server_leader_changes_seen_total: counter = "etcd_server_leader_changes_seen_total", "The number of leader changes seen.";
    server_learner_promote_failures: counter(&["Reason"]) = "etcd_server_learner_promote_failures", "The total number of failed learner promotions (likely learner not ready) while this member is leader.";
    server_learner_promote_successes: counter = "etcd_server_learner_promote_successes", "The total number of successful learner promotions while this member is leader.";
    server_proposals_applied_total: gauge = "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.";
    server_proposals_committed_total: gauge = "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.";
    server_proposals_failed_total: counter = "etcd_server_proposals_failed_total", "The total number of failed proposals seen.";
    server_proposals_pending: gauge = "etcd_server_proposals_pending", "The current number of pending proposals to commit.";
    server_quota_backend_bytes: gauge = "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.";
    server_range_duration_seconds: histogram(&["success"], &FROM_100US) = "etcd_server_range_duration_seconds", "The latency distributions of txn.Range";
    server_read_indexes_failed_total: counter = "etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.";
    server_request_duration_seconds: histogram(&["type", "success"], &FROM_1MS) = "etcd_server_request_duration_seconds", "Response latency distribution in seconds for each type.";
    server_slow_apply_total: counter = "etcd_server_slow_apply_total", "The total number of slow apply requests (likely overloaded from slow disk).";
    server_slow_read_indexes_total: counter = "etcd_server_slow_read_indexes_total", "The total number of pending read indexes not in sync with leader's or timed out read index requests.";
    server_snapshot_apply_in_progress_total: gauge = "etcd_server_snapshot_apply_in_progress_total", "1 if the server is applying the incoming snapshot. 0 if none.";
    server_version: gauge(&["server_version"]) = "etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.";
    snap_db_fsync_duration_seconds: histogram(&FROM_1MS) = "etcd_snap_db_fsync_duration_seconds", "The latency distributions of fsyncing .snap.db file";
    snap_db_save_total_duration_seconds: histogram(&SNAP_DB) = "etcd_snap_db_save_total_duration_seconds", "The total latency distributions of v3 snapshot save";
    snap_fsync_duration_seconds: histogram(&FROM_1MS) = "etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.";
    os_fd_limit: gauge = "os_fd_limit", "The file descriptor limit.";
    os_fd_used: gauge = "os_fd_used", "The number of used file descriptors.";
    promhttp_metric_handler_requests_in_flight: gauge = "promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served.";
    promhttp_metric_handler_requests_total: counter(&["code"]) = "promhttp_metric_handler_requests_total", "Total number of scrapes by HTTP status code.";
}

impl Metrics {
    /// `extensive`: `--metrics=extensive`, which adds the histogram of gRPC handling times.
    pub fn new(extensive: bool) -> Arc<Metrics> {
        let metrics = Metrics::make(extensive);
        for code in ["200", "500", "503"] {
            metrics.promhttp_metric_handler_requests_total.with(&[code]);
        }
        Arc::new(metrics)
    }

    /// A request was answered, or refused.
    pub fn request_took(&self, kind: RequestType, succeeded: bool, took: Duration) {
        let family = &self.server_request_duration_seconds;
        self.requests.of(family, kind, succeeded).observe_duration(took);
    }

    /// A range was read, or refused.
    pub fn range_took(&self, succeeded: bool, took: Duration) {
        let family = &self.server_range_duration_seconds;
        self.ranges.of(family, succeeded).observe_duration(took);
    }

    /// A client that speaks this version has made a call.
    pub fn client_request(&self, version: Option<&str>, stream: bool) {
        self.clients.count(&self.server_client_requests_total, version, stream);
    }

    /// Has a function called before the metrics are shown, to set gauges that nobody sets as they change.
    pub fn before_scrape(&self, refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.refresh.write().push(Box::new(refresh));
    }

    /// Every metric that has a value, by name.
    pub fn collect(&self) -> Vec<Metric> {
        for refresh in self.refresh.read().iter() {
            refresh(self);
        }
        let mut all = Vec::new();
        process::collect(self, &mut all);
        all.extend(self.own());
        all.extend(self.grpc.metrics());
        all.retain(|metric| !metric.samples.is_empty());
        all.sort_by(|a, b| a.name.cmp(b.name));
        all
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
