//! A member from start to stop: opens its data directory, starts its threads, serves, and ends in order.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compat::url::Url;
use member::bootstrap::{self, ExistingCluster, OpenError, Opened};
use member::propose::Waiters;
use member::replicate::Replicator;
use peer::Transport;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use world::os::{OsClock, OsDisk};
use world::{Clock, DynDisk};

use crate::config::startup::{self, Prepared, Refusal};
use crate::config::{self, Config};
use crate::grpc::Services;
use crate::host;
use crate::http::{Access, Doors, Http, Options};
use crate::leadership::{self, Leadership};
use crate::log::{self, field};
use crate::metrics::Metrics;
use crate::node::{Limits, Node};
use crate::pages::MemberPages;
use crate::peers::{Dialler, NodeMember, PeerPages, Peers, join};
use crate::serve::{Door, Listener, Workers};
use crate::threads::{self, Machines, Queues, Settings, Threads};
use crate::traffic::{self, MemberHost, PeerDoor};
use crate::versions;

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Listen(String),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Join(#[from] join::JoinError),
    #[error("{0}")]
    Peers(String),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// How long connections may take to end after SIGTERM.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long a member goes on after its removal from the cluster.
const REMOVED_GRACE: Duration = Duration::from_secs(1);

/// Runs a member until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(prepared: &Prepared) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(prepared))
}

async fn serve(prepared: &Prepared) -> Result<(), RunError> {
    let config = &prepared.config;
    let tls = &prepared.tls.clients;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let clock = OsClock::default();
    let disk: DynDisk = if config.unsafe_no_fsync {
        Arc::new(OsDisk::without_sync())
    } else {
        Arc::new(OsDisk::default())
    };

    // Sockets first: a second member on the same addresses must not touch a data directory.
    let peer_listeners = listeners(&config.listen_peer_urls)?;
    let client = listeners(&config.listen_client_urls)?;
    let http_only = listeners(&config.listen_client_http_urls)?;
    let metrics_only = listeners(&config.listen_metrics_urls)?;

    log::info("starting an etcd server", &config::describe(prepared));
    let (tls_of_peers, trust) = prepared.tls.dialling.clone();
    let peers = Peers::new(Dialler::new(tls_of_peers, trust));
    let existing = if prepared.member_initialized {
        None
    } else {
        join::ask(config, &prepared.initial_cluster, &peers).await?
    };
    let opened = open(&disk, prepared, existing, &clock)?;
    startup::check_auth_token(config)?;
    host::raise_file_limit();
    let most_connections = host::connection_limit().unwrap_or_else(|limit| {
        log::fatal(
            "file descriptor limit of etcd process is too low; please set higher",
            &[field("limit", limit), field("recommended-limit", host::RESERVED_FILES)],
        )
    });
    let metrics = Metrics::new(config.metrics == "extensive");
    let traffic = traffic::runtime()?;
    let (node, threads, transport) = start(opened, config, disk, clock, metrics.clone(), peers, &traffic)?;
    let (stop, shutdown) = watch::channel(false);
    let peer_door = PeerDoor {
        transport: transport.clone(),
        pages: Arc::new(PeerPages::new(Arc::new(NodeMember::new(node.clone())))),
        tls: prepared.tls.peers.clone(),
        check_holder: !config.peer_skip_client_san_verification,
    };
    for (url, listener) in peer_listeners {
        traffic.spawn(traffic::listen(peer_door.clone(), url, listener, shutdown.clone()));
    }
    tokio::spawn(leadership::watch_for_loss(node.clone(), config.election()));
    tokio::spawn(versions::monitor(node.clone()));
    let told_to_stop = tokio::select! {
        () = threads.ready() => false,
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = node.removed.notified() => true,
    };
    if told_to_stop {
        threads.stop();
        transport.stop();
        return Ok(());
    }
    log::info("ready to serve client requests", &[]);

    let workers = Workers::start(std::thread::available_parallelism().map_or(2, usize::from), shutdown)?;
    let services = Services::new(node.clone());
    let pages = Arc::new(MemberPages::new(node.clone()));
    let http = Http::new(services.clone(), pages, metrics, http_options(config));
    let door = Door {
        services,
        http,
        doors: Doors::Client,
        grpc: true,
        pages: config.listen_client_http_urls.is_empty(),
        tls: None,
        config: Arc::new(transport_config(config)),
    };
    for (url, listener) in client {
        log::info(
            "serving client traffic",
            &[
                field("traffic", if url.is_secure() { "grpc+https" } else { "grpc+http" }),
                field("address", url.address()),
            ],
        );
        let door = Door {
            tls: tls.clone().filter(|_| url.is_secure()),
            ..door.clone()
        };
        tokio::spawn(workers.clone().listen(listener, door, most_connections));
    }
    for (url, listener) in http_only {
        let door = Door {
            tls: tls.clone().filter(|_| url.is_secure()),
            grpc: false,
            pages: true,
            ..door.clone()
        };
        tokio::spawn(workers.clone().listen(listener, door, most_connections));
    }
    for (url, listener) in metrics_only {
        log::info("serving metrics", &[field("address", url.to_string())]);
        let door = Door {
            tls: tls.clone().filter(|_| url.is_secure()),
            doors: Doors::Metrics,
            grpc: false,
            pages: true,
            ..door.clone()
        };
        tokio::spawn(workers.clone().listen(listener, door, most_connections));
    }
    if let Err(error) = host::notify_ready() {
        log::warn("failed to notify systemd for readiness", &[log::error_field(&error)]);
    }

    let name = tokio::select! {
        _ = terminate.recv() => "terminated",
        _ = interrupt.recv() => "interrupt",
        () = node.removed.notified() => "removed",
    };
    if name == "removed" {
        // The others may still want to hear that this member has applied its own removal.
        tokio::time::sleep(REMOVED_GRACE).await;
    } else {
        log::info("received signal; shutting down", &[field("signal", name)]);
        // While clients are still served, so that they hardly notice.
        node.hand_leadership_over().await;
    }
    let _ = stop.send(true);
    workers.drained(DRAIN_LIMIT).await;
    threads.stop();
    transport.stop();
    log::info("closed etcd server", &[field("name", &config.name)]);
    Ok(())
}

fn listeners(urls: &[Url]) -> Result<Vec<(Url, Listener)>, RunError> {
    urls.iter()
        .map(|url| Ok((url.clone(), bind(url).map_err(|error| listen_error(url, &error))?)))
        .collect()
}

/// In Go's words: `listen tcp 127.0.0.1:2379: bind: address already in use`.
fn listen_error(url: &Url, error: &io::Error) -> RunError {
    let network = if url.is_unix() { "unix" } else { "tcp" };
    RunError::Listen(compat::errno::listen(network, &url.address(), error))
}

fn bind(url: &Url) -> io::Result<Listener> {
    if url.is_unix() {
        let path = url.address();
        // What a killed process left behind; a living one holds the data directory's locks.
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        return Ok(Listener::Unix(listener));
    }
    let listener = std::net::TcpListener::bind(url.address())?;
    listener.set_nonblocking(true)?;
    Ok(Listener::Tcp(listener))
}

/// Opens the data directory; waits, as etcd does, while another process holds the database.
fn open(disk: &DynDisk, prepared: &Prepared, existing: Option<ExistingCluster>, clock: &OsClock) -> Result<Opened, OpenError> {
    const POLL: Duration = Duration::from_millis(50);
    const NOTICE: Duration = Duration::from_secs(10);
    let unix_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let mut noticed = false;
    let config = member_config(prepared, existing);
    loop {
        match bootstrap::open(disk, &config, clock.now(), unix_ms) {
            Err(OpenError::DatabaseLocked(path)) => {
                if !noticed && clock.now() > NOTICE {
                    noticed = true;
                    log::info(
                        "db file is flocked by another process, or taking too long",
                        &[field("path", path.display().to_string())],
                    );
                }
                std::thread::sleep(POLL);
            }
            other => return other,
        }
    }
}

fn member_config(prepared: &Prepared, existing: Option<ExistingCluster>) -> bootstrap::Config {
    let config = &prepared.config;
    let members = prepared.initial_cluster.members().iter();
    let initial_cluster = members
        .flat_map(|(name, urls)| urls.iter().map(|url| (name.clone(), url.to_string())))
        .collect();
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect();
    bootstrap::Config {
        name: config.name.clone(),
        data_dir: config.data_dir_path(),
        wal_dir: (!config.wal_dir.is_empty()).then(|| config.wal_dir_path()),
        peer_urls: texts(&config.initial_advertise_peer_urls),
        client_urls: texts(&config.advertise_client_urls),
        initial_cluster,
        initial_cluster_token: config.initial_cluster_token.clone(),
        join_existing: config.initial_cluster_state == "existing",
        existing,
        force_new_cluster: config.force_new_cluster,
        tick: config.heartbeat(),
        election_ticks: config.election_ticks() as u32,
        pre_vote: config.pre_vote,
        catch_up_entries: config.catchup_entries(),
        raft_log: bootstrap::RaftLog(Arc::new(log::RaftLines)),
        snapshot_count: config.entries_per_snapshot(),
        max_snapshots: config.max_snapshots as usize,
        max_wals: config.max_wals as usize,
        quota_backend_bytes: config.quota_backend_bytes,
        backend_batch_limit: config.batch_limit(),
        compaction_batch_limit: config.compaction_batch(),
        max_learners: config.max_learners as usize,
        max_request_bytes: config.max_request_bytes as usize,
        wal_options: wal::Options::default(),
        lease_checkpoint: config.feature_gates.is_on("LeaseCheckpoint"),
        lease_checkpoint_persist: config.feature_gates.is_on("LeaseCheckpointPersist"),
    }
}

/// Makes the node and its threads. The transport talks with all members that are known before the log is gone through.
fn start(
    opened: Opened,
    config: &Config,
    disk: DynDisk,
    clock: OsClock,
    metrics: Arc<Metrics>,
    peers: Peers,
    traffic: &tokio::runtime::Handle,
) -> Result<(Arc<Node>, Threads, Transport), RunError> {
    let replicator = Replicator::new(opened.start, opened.progress.clone()).map_err(OpenError::from)?;
    for note in &opened.notes {
        log::info("opened the data directory", &[field("note", format!("{note:?}"))]);
    }
    let (local, cluster) = (opened.member_id.to_string(), opened.cluster_id.to_string());
    log::info(
        "starting etcd server",
        &[
            field("local-member-id", local),
            field("cluster-id", cluster),
            field("local-server-version", api::SERVER_VERSION),
        ],
    );
    let queues = Queues::new();
    let node = Arc::new(Node {
        member_id: opened.member_id,
        cluster_id: opened.cluster_id,
        store: opened.store,
        backend: opened.backend,
        lessor: opened.lessor,
        cluster: opened.cluster,
        alarms: opened.alarms,
        quota: opened.quota,
        ids: opened.ids,
        progress: opened.progress,
        clock,
        limits: Limits {
            max_request_bytes: config.max_request_bytes as usize,
            max_txn_ops: config.max_txn_ops as usize,
            request_timeout: config.request_timeout(),
            watch_progress_interval: config.watch_progress_interval(),
            election: config.election(),
            strict_reconfig: config.strict_reconfig_check,
            warning_unary: config.warning_unary_request_duration.to_std(),
        },
        metrics,
        peers,
        leadership: Leadership::default(),
        transport: OnceLock::new(),
        removed: Notify::new(),
        waiters: Waiters::new(),
        reads: Waiters::new(),
        next_read: AtomicU64::new(1),
        raising_alarm: AtomicBool::new(false),
        raft: queues.raft(),
        committer: queues.committer(),
    });
    let machines = Machines {
        replicator,
        applier: opened.applier,
        duties: opened.duties,
        wal: opened.wal,
        committer: opened.committer,
        unfinished_compaction: opened.unfinished_compaction,
    };
    let settings = Settings {
        disk,
        wal_dir: config.wal_dir_path(),
        snap_dir: config.snap_dir(),
        max_wals: config.max_wals as usize,
        max_snapshots: config.max_snapshots as usize,
        tick: config.heartbeat(),
        batch_interval: config.batch_interval(),
        compaction_pause: config.compaction_sleep(),
        warning_apply: config.warning_apply_duration.to_std(),
    };
    crate::gauges::register(&node.metrics, &node);
    let host = MemberHost {
        node: node.clone(),
        disk: settings.disk.clone(),
        snap_dir: settings.snap_dir.clone(),
    };
    let dialler = node.peers.dialler().clone();
    let transport =
        traffic::transport(&node, host, config, dialler, traffic.clone()).map_err(|error| RunError::Peers(error.to_string()))?;
    let known = opened.initial_peers.into_iter().chain(node.cluster.members());
    for member in known.filter(|member| member.id() != node.member_id) {
        let added = transport.add_peer(member.id(), &member.peer_urls);
        added.map_err(|error| RunError::Peers(error.to_string()))?;
    }
    let _ = node.transport.set(transport.clone());
    let threads = threads::start(node.clone(), machines, queues, settings);
    Ok((node, threads, transport))
}

fn http_options(config: &Config) -> Options {
    Options {
        gateway: config.enable_grpc_gateway,
        pprof: config.enable_pprof,
        trace_pages: config.log_level == "debug",
        access: Access {
            origins: config.cors.clone(),
            hosts: config.host_whitelist.clone(),
        },
        client_cert_auth: config.client_cert_auth,
        max_message_bytes: (config.max_request_bytes + api::limits::GRPC_OVERHEAD_BYTES) as usize,
    }
}

fn transport_config(config: &Config) -> http2::Config {
    let or_never = |time: Duration| {
        if time.is_zero() {
            Duration::from_secs(365 * 24 * 3600)
        } else {
            time
        }
    };
    http2::Config {
        max_receive_message_bytes: (config.max_request_bytes + api::limits::GRPC_OVERHEAD_BYTES) as usize,
        max_concurrent_streams: config.max_concurrent_streams,
        keepalive_interval: or_never(config.grpc_keepalive_interval.to_std()),
        keepalive_timeout: or_never(config.grpc_keepalive_timeout.to_std()),
        keepalive_min_interval: config.grpc_keepalive_min_time.to_std(),
        ..http2::Config::default()
    }
}
