//! The checks between reading the settings and listening: data directory, certificates, initial cluster, and what this version
//! can't do yet.
//!
//! Makes nothing but the certificates of `--auto-tls` and `--peer-auto-tls`. Their order and words are those of etcd's own start, since the first failure is
//! what a user sees.

use super::cluster::InitialCluster;
use super::listeners::{self, Tls};
use super::{Config, Exit, flags, load};
use crate::log::{self, Level, error_field, field};
use compat::duration::GoDuration;
use compat::{errno, strconv, url};
use std::net::UdpSocket;
use std::path::Path;

/// Everything the server needs to begin.
pub struct Prepared {
    /// The settings, with the defaults that depend on others filled in.
    pub config: Config,
    /// There is a log already: the initial cluster is history.
    pub member_initialized: bool,
    /// The members a new cluster begins with; empty when there is a log already.
    pub initial_cluster: InitialCluster,
    /// How TLS is spoken.
    pub tls: Tls,
}

/// Why a start is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Under etcd's heading "discovery failed", which it uses for all that goes wrong before it serves.
    #[error("{0}")]
    Start(String),
    /// Under "listener failed": what etcd finds out only when it serves.
    #[error("{0}")]
    Listener(String),
    /// A setting whose feature does not exist here yet.
    #[error("--{flag}={value} is not supported by this version yet{advice}")]
    NotYet {
        /// The flag.
        flag: &'static str,
        /// What was asked for.
        value: String,
        /// What to do instead, if there is something.
        advice: &'static str,
    },
}

impl Refusal {
    /// Says it in the log, as etcd would.
    pub fn report(&self) -> Exit {
        let heading = match self {
            Refusal::Start(_) => "discovery failed",
            Refusal::Listener(_) => "listener failed",
            Refusal::NotYet { .. } => "refusing a setting this version can't honour",
        };
        log::current().log(Level::Fatal, heading, &[error_field(self)]);
        Exit::REFUSED
    }
}

pub(super) fn start<T>(error: impl ToString) -> Result<T, Refusal> {
    Err(Refusal::Start(error.to_string()))
}

/// Fills in what depends on the machine, looks at the data directory and checks the rest.
///
/// # Errors
/// `Exit` after the reason was logged.
pub fn prepare(mut config: Config) -> Result<Prepared, Exit> {
    fill_in(&mut config);
    let directory = config.data_dir_path();
    let kind = identify(&directory)?;
    if kind == "empty" {
        log::info(
            "Initialize and start etcd server",
            &[log::display("data-dir", &directory.display()), field("dir-type", kind)],
        );
    } else {
        log::info(
            "server has already been initialized",
            &[log::display("data-dir", &directory.display()), field("dir-type", kind)],
        );
    }
    listeners::check(&config)
        .and_then(|tls| {
            let member_initialized = has_log(&config.wal_dir_path());
            let initial_cluster = if member_initialized {
                InitialCluster::default()
            } else {
                initial_cluster(&config)?
            };
            check_retention(&config)?;
            if config.max_learners < 0 {
                return start("membership: too many learner members in cluster");
            }
            check_supported(&config)?;
            Ok(Prepared {
                member_initialized,
                initial_cluster,
                tls,
                config: config.clone(),
            })
        })
        .map_err(|refusal| refusal.report())
}

/// The defaults that follow from other settings and from the machine.
fn fill_in(config: &mut Config) {
    let usual = Config::new();
    let host = default_host();
    let listens_everywhere = |urls: &[url::Url]| urls.first().and_then(url::Url::host_port).filter(|(host, _)| host == "0.0.0.0");
    let mut used = false;
    if let Some(host) = &host {
        let advertised = [
            (
                &config.listen_peer_urls,
                &mut config.initial_advertise_peer_urls,
                &usual.initial_advertise_peer_urls,
            ),
            (
                &config.listen_client_urls,
                &mut config.advertise_client_urls,
                &usual.advertise_client_urls,
            ),
        ];
        for (listening, advertised, usual) in advertised {
            if let Some((_, port)) = listens_everywhere(listening).filter(|_| advertised == usual)
                && let Ok(url) = url::parse(&format!("{}://{host}:{port}", listening[0].scheme))
            {
                *advertised = vec![url];
                used = true;
            }
        }
    }
    if config.name != usual.name && config.initial_cluster == usual.initial_cluster {
        config.initial_cluster = load::cluster_of_one(&config.name, &config.initial_advertise_peer_urls);
    }
    if let Some(host) = host.filter(|_| used) {
        log::info("detected default host for advertise", &[field("host", host)]);
    }
    if config.data_dir.is_empty() {
        config.data_dir = format!("{}.etcd", config.name);
        log::warn("'data-dir' was empty; using default", &[field("data-dir", &config.data_dir)]);
    }
}

/// The address this machine has on its default route. Connecting a datagram socket sends nothing; it only chooses the address.
fn default_host() -> Option<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then(|| address.to_string())
}

/// What the data directory holds: `member` or `empty`, in etcd's words.
fn identify(directory: &Path) -> Result<&'static str, Exit> {
    let refuse = |message: &str, error: String| {
        log::current().log(
            Level::Fatal,
            message,
            &[log::display("dir", &directory.display()), error_field(&error)],
        );
        Exit::REFUSED
    };
    let failed = |operation, error: &std::io::Error| refuse("failed to list data directory", errno::at_path(operation, directory, error));
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => return Err(failed("readdirent", &std::io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok("empty"),
        Err(error) => return Err(failed("open", &error)),
        Ok(_) => {}
    }
    let (mut member, mut proxy) = (false, false);
    for entry in std::fs::read_dir(directory).map_err(|error| failed("open", &error))? {
        let name = entry.map_err(|error| failed("readdirent", &error))?.file_name();
        match name.to_str() {
            Some("member") => member = true,
            Some("proxy") => proxy = true,
            _ => log::warn(
                "found invalid file under data directory",
                &[
                    log::display("filename", &name.display()),
                    log::display("data-dir", &directory.display()),
                ],
            ),
        }
    }
    match (member, proxy) {
        (true, true) => Err(refuse(
            "invalid datadir; both member and proxy directories exist",
            "ambiguous".to_owned(),
        )),
        (false, true) => Err(refuse(
            "v2 http proxy has already been deprecated in 3.6",
            "dir-type proxy".to_owned(),
        )),
        (true, false) => Ok("member"),
        (false, false) => Ok("empty"),
    }
}

/// Whether there is a log: any segment file.
fn has_log(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|extension| extension == "wal"))
    })
}

fn initial_cluster(config: &Config) -> Result<InitialCluster, Refusal> {
    let cluster = InitialCluster::parse(&config.initial_cluster)
        .map_err(|error| Refusal::Start(format!("error setting up initial cluster: {error}")))?;
    if !config.discovery_endpoints.is_empty() || !config.discovery_srv.is_empty() {
        return Ok(cluster); // refused below
    }
    cluster.check(config).map_err(Refusal::Start)?;
    Ok(cluster)
}

/// `--auto-compaction-retention`: a count of hours or revisions, or a duration.
fn check_retention(config: &Config) -> Result<(), Refusal> {
    let text = if config.auto_compaction_retention.is_empty() {
        "0"
    } else {
        &config.auto_compaction_retention
    };
    let off = match strconv::parse_int(text, 10, 64) {
        Ok(count) if count >= 0 => count == 0,
        _ => {
            let parsed = GoDuration::parse(text);
            parsed.map_err(|error| Refusal::Start(format!("error parsing CompactionRetention: {error}")))? == GoDuration::default()
        }
    };
    if off {
        return Ok(());
    }
    Err(Refusal::NotYet {
        flag: "auto-compaction-retention",
        value: text.to_owned(),
        advice: "; compact with `etcdctl compaction` meanwhile",
    })
}

/// Refuses settings whose feature is not there yet, so that nobody believes they work.
fn check_supported(config: &Config) -> Result<(), Refusal> {
    let mut config = config.clone();
    let mut usual = Config::new();
    for flag in flags::all().filter(|flag| flag.planned) {
        let value = flag.text(&mut config);
        if value != flag.text(&mut usual) && flag.name != "auto-compaction-retention" {
            return Err(Refusal::NotYet {
                flag: flag.name,
                value,
                advice: "",
            });
        }
    }
    match config.feature_gates.first_missing() {
        Some(gate) => Err(Refusal::NotYet {
            flag: "feature-gates",
            value: format!("{gate}=true"),
            advice: "",
        }),
        None => Ok(()),
    }
}

/// `--auth-token`, which etcd looks at once the member has its data: simple, none, or jwt.
///
/// # Errors
/// `Refusal`, for options that can't be used and for jwt, which does not exist here yet.
pub fn check_auth_token(config: &Config) -> Result<(), Refusal> {
    const METHODS: &[&str] = &[
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "EdDSA",
    ];
    const INVALID: &str = "auth: invalid auth options";
    let mut parts = config.auth_token.split(',');
    let kind = parts.next().unwrap_or_default();
    let mut options = std::collections::BTreeMap::new();
    for part in parts {
        let (name, value) = part.split_once('=').filter(|(_, value)| !value.contains('=')).unwrap_or(("", ""));
        if name.is_empty() || options.insert(name, value).is_some() {
            return start(INVALID);
        }
    }
    match kind {
        "simple" | "" => Ok(()),
        "jwt" => {
            let keys: Vec<&&str> = ["pub-key", "priv-key"].iter().filter_map(|key| options.get(key)).collect();
            if !options.get("sign-method").is_some_and(|method| METHODS.contains(method)) {
                start(INVALID)
            } else if keys.is_empty() {
                start("auth: missing key data")
            } else if keys.iter().any(|file| std::fs::read(file).is_err()) {
                start(INVALID)
            } else {
                Err(Refusal::NotYet {
                    flag: "auth-token",
                    value: config.auth_token.clone(),
                    advice: "; use simple",
                })
            }
        }
        _ => start(INVALID),
    }
}
