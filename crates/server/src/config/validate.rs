//! The checks of a configuration by itself: what can be said without looking at disk, network or certificates.
//!
//! The order is etcd's, because the first failure is the one that is reported, and so are the words.

use super::Config;
use crate::log::{self, Format, Level, Logger, Sinks, field};
use compat::duration::GoDuration;
use compat::strconv::quote;
use compat::url::{self, Url};

/// The longest election timeout, in milliseconds.
const MAX_ELECTION_MS: u64 = 50_000;
/// What `--name` is by default; a name that several members would share.
const DEFAULT_NAME: &str = "default";
/// Spans are counted by the million.
const MAX_SAMPLING_RATE: i64 = 1_000_000;

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// In etcd's words.
    #[error("{0}")]
    Setting(String),
    /// Listening somewhere else than usual without telling clients; reported a second time in words of its own.
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    AdvertiseClientUrls,
    /// Not a level. The reference dies of it, with status 2.
    #[error("unrecognized level: {}", quote(.0))]
    LogLevel(String),
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Setting(text.into()))
}

fn setting(error: impl ToString) -> Invalid {
    Invalid::Setting(error.to_string())
}

/// Checks everything and gives the logger that the settings describe; warnings are written to it, and it is installed as soon as it
/// exists.
///
/// # Errors
/// The first setting that can't be used.
pub(super) fn check(config: &Config) -> Result<(), Invalid> {
    log::install(logger(config)?);
    check_urls(config)?;
    check_bootstrap(config)?;
    check_times(config)?;
    if !config.listen_client_urls.is_empty() && config.advertise_client_urls.is_empty() {
        return Err(Invalid::AdvertiseClientUrls);
    }
    match config.auto_compaction_mode.as_str() {
        "periodic" | "revision" => {}
        "" => return invalid("undefined auto-compaction-mode"),
        mode => return invalid(format!("unknown auto-compaction-mode {}", quote(mode))),
    }
    check_tracing(config)?;
    check_gates(config)?;
    if config.compact_hash_check_time <= GoDuration::default() {
        return invalid(format!(
            "--compact-hash-check-time must be >0 (set to {})",
            config.compact_hash_check_time
        ));
    }
    if config.name == DEFAULT_NAME {
        log::warn(
            "it isn't recommended to use default name, please set a value for --name. \
             Note that etcd might run into issue when multiple members have the same default name",
            &[field("name", &config.name)],
        );
    }
    check_tls_versions(config)
}

/// The logger that `--log-level`, `--log-format` and `--log-outputs` describe.
fn logger(config: &Config) -> Result<Logger, Invalid> {
    match config.logger.as_str() {
        "zap" => {}
        "capnslog" => return invalid("--logger=capnslog is removed in v3.5"),
        other => return invalid(format!("unknown logger option {}", quote(other))),
    }
    let outputs = &config.log_outputs;
    if outputs.len() > 1 && outputs.contains("default") {
        return invalid("multi logoutput for \"default\" is not supported yet");
    }
    if config.enable_log_rotation {
        check_rotation(config)?;
    }
    if outputs.contains("systemd/journal") {
        return invalid("--log-outputs=systemd/journal is not supported by this version yet");
    }
    let level = Level::parse(&config.log_level).ok_or_else(|| Invalid::LogLevel(config.log_level.clone()))?;
    let format = match config.log_format.as_str() {
        "json" => Format::Json,
        "console" => Format::Console,
        other => return invalid(format!("unknown log format: {other}, supported values json, console")),
    };
    let sinks = Sinks::open(outputs.iter().map(String::as_str)).map_err(setting)?;
    Ok(Logger::new(level, format, sinks))
}

fn check_rotation(config: &Config) -> Result<(), Invalid> {
    let files = config
        .log_outputs
        .iter()
        .filter(|output| !matches!(output.as_str(), "default" | "stderr" | "stdout"))
        .count();
    if files != 1 || config.log_outputs.len() != 1 {
        return invalid("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    let json = &config.log_rotation_config_json;
    if let Err(error) = serde_json::from_str::<serde_json::Value>(json) {
        // Go names the first character it can't use; for text that is no JSON at all that is the first one.
        return match json.trim_start().chars().next() {
            Some(first) if error.column() <= 1 && !error.is_eof() => invalid(format!(
                "improperly formatted log rotation config: invalid character '{first}' looking for beginning of value"
            )),
            _ => invalid(format!("improperly formatted log rotation config: {error}")),
        };
    }
    Ok(())
}

fn check_urls(config: &Config) -> Result<(), Invalid> {
    url::check_bind(&config.listen_peer_urls).map_err(setting)?;
    url::check_bind(&config.listen_client_urls).map_err(setting)?;
    url::check_bind(&config.listen_client_http_urls).map_err(setting)?;
    if config.listen_client_http_urls.is_empty() {
        log::warn(
            "Running http and grpc server on single port. This is not recommended for production.",
            &[],
        );
    }
    url::check_bind(&config.listen_metrics_urls).map_err(setting)?;
    let advertised = |flag: &str, urls: &[Url]| match url::check_advertised(urls) {
        Ok(()) => Ok(()),
        Err(error) => {
            let list: Vec<String> = urls.iter().map(Url::to_string).collect();
            invalid(format!("--{flag} {} must be \"host:port\" ({error})", quote(&list.join(","))))
        }
    };
    advertised("initial-advertise-peer-urls", &config.initial_advertise_peer_urls)?;
    advertised("advertise-client-urls", &config.advertise_client_urls)
}

/// How the cluster comes to be: exactly one way, and that one whole.
fn check_bootstrap(config: &Config) -> Result<(), Invalid> {
    if !matches!(config.initial_cluster_state.as_str(), "new" | "existing") {
        return invalid(format!("unexpected clusterState {}", quote(&config.initial_cluster_state)));
    }
    let ways = [
        !config.initial_cluster.is_empty(),
        !config.discovery_srv.is_empty(),
        !config.discovery_endpoints.is_empty(),
    ];
    if ways.iter().filter(|way| **way).count() > 1 {
        return invalid(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"",
        );
    }
    if config.discovery_token.is_empty() != config.discovery_endpoints.is_empty() {
        return invalid("both --discovery-token and --discovery-endpoints must be set");
    }
    Ok(())
}

fn check_times(config: &Config) -> Result<(), Invalid> {
    let (heartbeat, election) = (config.heartbeat_interval, config.election_timeout);
    if heartbeat == 0 {
        return invalid("--heartbeat-interval must be >0 (set to 0ms)");
    }
    if election == 0 {
        return invalid("--election-timeout must be >0 (set to 0ms)");
    }
    if heartbeat.saturating_mul(5) > election {
        return invalid(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > MAX_ELECTION_MS {
        return invalid(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {MAX_ELECTION_MS}ms"
        ));
    }
    Ok(())
}

fn check_tracing(config: &Config) -> Result<(), Invalid> {
    let reason = match config.distributed_tracing_sampling_rate {
        _ if !config.enable_distributed_tracing => return Ok(()),
        ..0 => "tracing sampling rate must be positive",
        rate if rate > MAX_SAMPLING_RATE => "tracing sampling rate must be less than 1000000",
        _ => return Ok(()),
    };
    // The misspelling is etcd's.
    invalid(format!("distributed tracing configurition is not valid: ({reason})"))
}

fn check_gates(config: &Config) -> Result<(), Invalid> {
    let gates = &config.feature_gates;
    if gates.is_on("LeaseCheckpointPersist") && !gates.is_on("LeaseCheckpoint") {
        return invalid("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
    }
    if gates.is_on("LeaseCheckpoint") && !gates.is_on("LeaseCheckpointPersist") {
        log::warn(
            "Detected that checkpointing is enabled without persistence. Consider enabling feature gate LeaseCheckpointPersist",
            &[],
        );
    }
    Ok(())
}

fn check_tls_versions(config: &Config) -> Result<(), Invalid> {
    let version = |text: &str| match text {
        "" => Ok(0u8),
        "TLS1.2" => Ok(2),
        "TLS1.3" => Ok(3),
        other => Err(Invalid::Setting(format!(
            "unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)",
            quote(other)
        ))),
    };
    let (min, max) = (version(&config.tls_min_version)?, version(&config.tls_max_version)?);
    if max != 0 && min > max {
        return invalid(format!(
            "min version ({}) is greater than max version ({})",
            config.tls_min_version, config.tls_max_version
        ));
    }
    if min == 3 && !config.cipher_suites.is_empty() {
        return invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    Ok(())
}
