//! The flags of one member and of its place in a cluster.

use super::Bind::*;
use super::{Flag, flag, removed};

pub(super) const MEMBER: &[Flag] = &[
    flag(
        "backend-batch-interval",
        Duration(|c| &mut c.backend_batch_interval),
        "0s",
        "Longest time before the database commits; 0 means 100ms.",
    ),
    flag(
        "backend-batch-limit",
        Int(|c| &mut c.backend_batch_limit),
        "0",
        "Most operations before the database commits; 0 means 10000.",
    ),
    flag(
        "backend-bbolt-freelist-type",
        Text(|c| &mut c.backend_bbolt_freelist_type),
        "",
        "How free pages are kept in memory: array or map. Accepted, without effect here.",
    ),
    flag(
        "data-dir",
        Text(|c| &mut c.data_dir),
        "",
        "Where the data lives; empty means NAME.etcd.",
    ),
    flag(
        "election-timeout",
        Uint(|c| &mut c.election_timeout),
        "1000",
        "Milliseconds without a leader before a member stands for election.",
    ),
    flag(
        "enable-grpc-gateway",
        Bool(|c| &mut c.enable_grpc_gateway),
        "true",
        "Serve the JSON gateway.",
    ),
    flag(
        "feature-gates",
        Gates(|c| &mut c.feature_gates),
        "",
        "Features to switch, as NAME=true or NAME=false, comma-separated:",
    ),
    flag(
        "grpc-keepalive-interval",
        Duration(|c| &mut c.grpc_keepalive_interval),
        "2h0m0s",
        "Time between pings to idle clients; 0 turns them off.",
    ),
    flag(
        "grpc-keepalive-min-time",
        Duration(|c| &mut c.grpc_keepalive_min_time),
        "5s",
        "Shortest time between pings a client may leave.",
    ),
    flag(
        "grpc-keepalive-timeout",
        Duration(|c| &mut c.grpc_keepalive_timeout),
        "20s",
        "Longest wait for the answer to a ping; 0 turns the limit off.",
    ),
    flag(
        "heartbeat-interval",
        Uint(|c| &mut c.heartbeat_interval),
        "100",
        "Milliseconds between heartbeats.",
    ),
    flag(
        "initial-election-tick-advance",
        Bool(|c| &mut c.initial_election_tick_advance),
        "true",
        "Shorten the first election timeout after start-up.",
    ),
    flag(
        "listen-client-http-urls",
        Urls(|c| &mut c.listen_client_http_urls),
        "",
        "Where to serve HTTP only; listen-client-urls then serve gRPC only.",
    ),
    flag(
        "listen-client-urls",
        Urls(|c| &mut c.listen_client_urls),
        "http://localhost:2379",
        "Where to serve clients, comma-separated.",
    ),
    flag(
        "listen-peer-urls",
        Urls(|c| &mut c.listen_peer_urls),
        "http://localhost:2380",
        "Where to serve peers, comma-separated.",
    ),
    flag(
        "max-concurrent-streams",
        Uint32(|c| &mut c.max_concurrent_streams),
        "4294967295",
        "Most open streams of one client connection.",
    ),
    flag(
        "max-request-bytes",
        Uint(|c| &mut c.max_request_bytes),
        "1572864",
        "Most bytes of a request.",
    ),
    flag(
        "max-snapshots",
        Uint(|c| &mut c.max_snapshots),
        "5",
        "Most snapshot files kept; 0 means all. Deprecated, to be removed in v3.8.",
    ),
    flag(
        "max-txn-ops",
        Uint(|c| &mut c.max_txn_ops),
        "128",
        "Most operations of a transaction.",
    ),
    flag("max-wals", Uint(|c| &mut c.max_wals), "5", "Most log files kept; 0 means all."),
    flag(
        "memory-mlock",
        Bool(|c| &mut c.memory_mlock),
        "false",
        "Keep all memory from being swapped out.",
    )
    .planned(),
    flag("name", Text(|c| &mut c.name), "default", "Name of this member."),
    flag(
        "quota-backend-bytes",
        Int64(|c| &mut c.quota_backend_bytes),
        "0",
        "Size at which the database takes no more writes; 0 means 2 GiB, negative turns it off.",
    ),
    flag(
        "raft-read-timeout",
        Duration(|c| &mut c.raft_read_timeout),
        "5s",
        "Longest read from a peer connection; at least 5s.",
    )
    .no_yaml(),
    flag(
        "raft-write-timeout",
        Duration(|c| &mut c.raft_write_timeout),
        "5s",
        "Longest write to a peer connection; at least 5s.",
    )
    .no_yaml(),
    flag(
        "snapshot-count",
        Uint64(|c| &mut c.snapshot_count),
        "10000",
        "Applied entries between snapshots.",
    ),
    flag(
        "socket-reuse-address",
        Bool(|c| &mut c.socket_reuse_address),
        "false",
        "Set SO_REUSEADDR on listeners.",
    )
    .yaml("socket-options.reuse-address"),
    flag(
        "socket-reuse-port",
        Bool(|c| &mut c.socket_reuse_port),
        "false",
        "Set SO_REUSEPORT on listeners.",
    )
    .yaml("socket-options.reuse-port")
    .planned(),
    flag(
        "wal-dir",
        Text(|c| &mut c.wal_dir),
        "",
        "Where the log lives; empty means below data-dir.",
    ),
];

pub(super) const CLUSTERING: &[Flag] = &[
    flag(
        "advertise-client-urls",
        Urls(|c| &mut c.advertise_client_urls),
        "http://localhost:2379",
        "Client URLs this member tells the others and its clients.",
    ),
    flag(
        "auto-compaction-mode",
        Text(|c| &mut c.auto_compaction_mode),
        "periodic",
        "What auto-compaction-retention counts: periodic (hours or a duration) or revision.",
    ),
    flag(
        "auto-compaction-retention",
        Text(|c| &mut c.auto_compaction_retention),
        "0",
        "How much history automatic compaction keeps; 0 turns it off.",
    )
    .planned(),
    removed("discovery", "Removed with the second version of the API."),
    flag(
        "discovery-cacert",
        Text(|c| &mut c.discovery_cacert),
        "",
        "Certificate authority of the discovery service.",
    )
    .yaml("discovery-config.client.secure.cacert"),
    flag(
        "discovery-cert",
        Text(|c| &mut c.discovery_cert),
        "",
        "Certificate shown to the discovery service.",
    )
    .yaml("discovery-config.client.secure.cert"),
    flag(
        "discovery-dial-timeout",
        Duration(|c| &mut c.discovery_dial_timeout),
        "2s",
        "Longest time to connect to the discovery service.",
    )
    .yaml("discovery-config.client.dial-timeout"),
    flag(
        "discovery-endpoints",
        Set(|c| &mut c.discovery_endpoints),
        "",
        "Members of the discovery service, comma-separated.",
    )
    .yaml("discovery-config.client.endpoints")
    .planned(),
    flag(
        "discovery-fallback",
        Choice(&["exit", "proxy"], |c| &mut c.discovery_fallback),
        "exit",
        "What to do when discovery fails; only exit is left.",
    )
    .no_yaml(),
    flag(
        "discovery-insecure-skip-tls-verify",
        Bool(|c| &mut c.discovery_insecure_skip_tls_verify),
        "false",
        "Trust any certificate of the discovery service.",
    )
    .yaml("discovery-config.client.secure.insecure-skip-tls-verify"),
    flag(
        "discovery-insecure-transport",
        Bool(|c| &mut c.discovery_insecure_transport),
        "true",
        "Speak to the discovery service without TLS.",
    )
    .yaml("discovery-config.client.secure.insecure-transport"),
    flag(
        "discovery-keepalive-time",
        Duration(|c| &mut c.discovery_keepalive_time),
        "2s",
        "Time between keep-alive probes to the discovery service.",
    )
    .yaml("discovery-config.client.keepalive-time"),
    flag(
        "discovery-keepalive-timeout",
        Duration(|c| &mut c.discovery_keepalive_timeout),
        "6s",
        "Longest wait for the answer to such a probe.",
    )
    .yaml("discovery-config.client.keepalive-timeout"),
    flag("discovery-key", Text(|c| &mut c.discovery_key), "", "Key of discovery-cert.").yaml("discovery-config.client.secure.key"),
    flag(
        "discovery-password",
        Text(|c| &mut c.discovery_password),
        "",
        "Password for the discovery service.",
    )
    .yaml("discovery-config.client.auth.password"),
    removed("discovery-proxy", "Removed with the second version of the API."),
    flag(
        "discovery-request-timeout",
        Duration(|c| &mut c.discovery_request_timeout),
        "5s",
        "Longest time of a request to the discovery service.",
    )
    .yaml("discovery-config.client.request-timeout"),
    flag(
        "discovery-srv",
        Text(|c| &mut c.discovery_srv),
        "",
        "Domain whose SRV records name the members.",
    )
    .planned(),
    flag(
        "discovery-srv-name",
        Text(|c| &mut c.discovery_srv_name),
        "",
        "Suffix of the SRV record names.",
    ),
    flag(
        "discovery-token",
        Text(|c| &mut c.discovery_token),
        "",
        "Token of this cluster at the discovery service.",
    )
    .yaml("discovery-config.token")
    .planned(),
    flag(
        "discovery-user",
        Text(|c| &mut c.discovery_user),
        "",
        "User for the discovery service.",
    )
    .yaml("discovery-config.client.auth.username"),
    flag(
        "initial-advertise-peer-urls",
        Urls(|c| &mut c.initial_advertise_peer_urls),
        "http://localhost:2380",
        "Peer URLs this member tells the others.",
    ),
    flag(
        "initial-cluster",
        Text(|c| &mut c.initial_cluster),
        "default=http://localhost:2380",
        "Members a new cluster begins with, as NAME=URL, comma-separated.",
    ),
    flag(
        "initial-cluster-state",
        Choice(&["new", "existing"], |c| &mut c.initial_cluster_state),
        "new",
        "new for a new cluster, existing to join one.",
    ),
    flag(
        "initial-cluster-token",
        Text(|c| &mut c.initial_cluster_token),
        "etcd-cluster",
        "Token that keeps clusters with equal members apart.",
    ),
    flag(
        "pre-vote",
        Bool(|c| &mut c.pre_vote),
        "true",
        "Ask before standing for election, so that a member that comes back does not disturb.",
    ),
    flag(
        "strict-reconfig-check",
        Bool(|c| &mut c.strict_reconfig_check),
        "true",
        "Refuse changes of members that would lose the quorum.",
    ),
    flag(
        "v2-deprecation",
        Choices(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"], |c| {
            &mut c.v2_deprecation
        }),
        "",
        "Accepted and ignored. Deprecated, to be removed in v3.8.",
    )
    .yaml_ignored(),
];
