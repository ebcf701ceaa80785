//! From arguments and variables to a checked configuration: the first thing the process does.
//!
//! The command line is read first. Then either the configuration file counts, alone, or the variables join the command line.

use super::validate::{self, Invalid};
use super::variables::{self, EnvironmentError};
use super::{Config, flags, help, subcommands, yaml};
use crate::log::{self, error_field, field};
use compat::goflag::{self, ParseError};
use compat::url;
use std::io::Write;

/// The process ends here, with this status; all that is to be said has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub i32);

impl Exit {
    /// All is well.
    pub const OK: Exit = Exit(0);
    /// The settings can't be used.
    pub const REFUSED: Exit = Exit(1);
    /// The command line is wrong, or the process could not go on.
    pub const USAGE: Exit = Exit(2);
}

/// The process's arguments, its own name first. What is not UTF-8 is shown as far as it is, and then refused like any wrong value.
pub fn arguments() -> Vec<String> {
    std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// The process's variables, in the same way: one that is not UTF-8 must not stop a server it does not concern.
pub fn environment() -> Vec<(String, String)> {
    let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Reads the settings, from the process's arguments (its own name first) and variables.
///
/// # Errors
/// `Exit` when there is nothing to serve: help, version, or settings that can't be used. The reason has been printed or logged.
pub fn load(arguments: &[String], environment: &[(String, String)]) -> Result<Config, Exit> {
    if let Some(exit) = subcommands::run(arguments) {
        return Err(exit);
    }
    let mut config = Config::new();
    let rest = match goflag::parse(arguments.get(1..).unwrap_or_default(), &mut CommandLine(&mut config)) {
        Ok(rest) => rest,
        Err(ParseError::Help) => {
            complain(help::USAGE);
            say(&help::flags_text());
            return Err(Exit::OK);
        }
        Err(error) => {
            complain(&format!("{error}\n{}", help::USAGE));
            return Err(Exit::USAGE);
        }
    };
    let result = match rest.first() {
        Some(extra) => Err(Failure::ExtraArgument(extra.clone())),
        None if config.print_version => {
            say(&help::version_text());
            return Err(Exit::OK);
        }
        None => settle(&mut config, environment),
    };
    report(arguments, result)?;
    Ok(config)
}

/// Prints to stdout. Whoever closed it (`etcd --help | head`) has read enough.
pub(super) fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints to stderr, likewise.
pub(super) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The list of flags as the parser of the command line wants it.
struct CommandLine<'a>(&'a mut Config);

impl goflag::Flags for CommandLine<'_> {
    fn is_bool(&self, name: &str) -> Option<bool> {
        flags::find(name).map(flags::Flag::is_bool)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = flags::find(name).ok_or("no such flag")?;
        flag.set(self.0, value).map_err(|reason| reason.to_string())?;
        self.0.set.insert(flag.name);
        Ok(())
    }
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{} is not a valid flag", compat::strconv::quote(.0))]
    ExtraArgument(String),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    File(#[from] yaml::FileError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Brings in the configuration file, or else the variables, and checks the whole.
fn settle(config: &mut Config, environment: &[(String, String)]) -> Result<(), Failure> {
    let variable = |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let file = match config.config_file.as_str() {
        "" => variable("ETCD_CONFIG_FILE").unwrap_or_default(),
        path => path.to_owned(),
    };
    let given = config.set.clone();
    if file.is_empty() {
        from_command_line(config, environment)?;
    } else {
        *config = yaml::read(&file)?;
        config.config_file.clone_from(&file);
        validate::check(config)?;
        log::info(
            "loaded server configuration, other configuration command line flags and environment variables will be ignored if provided",
            &[field("path", &file)],
        );
    }
    for (flag, words) in DEPRECATED {
        if config.is_set(flag) || given.contains(flag) {
            log::warn(words, &[]);
        }
    }
    Ok(())
}

/// Flags that warn when they are given; etcd's words.
const DEPRECATED: &[(&str, &str)] = &[
    (
        "max-snapshots",
        "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
    ),
    (
        "v2-deprecation",
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input.",
    ),
];

/// The shortest time for which peer connections may be silent.
const MIN_PEER_TIMEOUT: compat::duration::GoDuration = compat::duration::GoDuration::from_millis(5_000);

fn from_command_line(config: &mut Config, environment: &[(String, String)]) -> Result<(), Failure> {
    let mut usable = environment.to_vec();
    usable.retain(|(name, value)| {
        // It would print the version and end every server of whoever exported it.
        let special = name == "ETCD_VERSION" && !value.is_empty();
        if special {
            log::warn(
                "cannot set special environment variable",
                &[field("key", name), field("value", value)],
            );
        }
        !special
    });
    variables::apply(config, &usable)?;
    for (flag, timeout) in [("read", &mut config.raft_read_timeout), ("write", &mut config.raft_write_timeout)] {
        if *timeout < MIN_PEER_TIMEOUT {
            *timeout = MIN_PEER_TIMEOUT;
            log::info(&format!("raft-{flag}-timeout increased to minimum value: {MIN_PEER_TIMEOUT}"), &[]);
        }
    }
    if config.is_set("listen-client-urls") && !config.is_set("advertise-client-urls") {
        config.advertise_client_urls.clear();
    }
    let discovers = !config.discovery_srv.is_empty() || !config.discovery_srv_name.is_empty() || !config.discovery_endpoints.is_empty();
    if discovers && !config.is_set("initial-cluster") {
        config.initial_cluster.clear();
    }
    if config.discovery_fallback == "proxy" {
        return Err(Invalid::Setting("v2 proxy is deprecated, and --discovery-fallback can't be configured as 'proxy'".to_owned()).into());
    }
    Ok(validate::check(config)?)
}

/// Says in the log how the process was called and what is wrong with that.
fn report(arguments: &[String], result: Result<(), Failure>) -> Result<(), Exit> {
    let failure = match result {
        // The reference dies before it has a logger, and so does whoever watches for the status.
        Err(Failure::Invalid(error @ Invalid::LogLevel(_))) => {
            complain(&format!("panic: {error}\n"));
            return Err(Exit::USAGE);
        }
        Err(Failure::Environment(EnvironmentError::Shadowed(variable))) => {
            log::current().log(log::Level::Fatal, variables::SHADOWED, &[field("environment-variable", &variable)]);
            return Err(Exit::REFUSED);
        }
        // A file whose URLs are wrong is reported outside the log.
        Err(Failure::File(error @ yaml::FileError::Url(..))) => {
            complain(&format!("{error}\n"));
            return Err(Exit::REFUSED);
        }
        other => other.err(),
    };
    log::info("Running: ", &[field("args", arguments)]);
    let Some(failure) = failure else { return Ok(()) };
    log::warn("failed to verify flags", &[error_field(&failure)]);
    if matches!(failure, Failure::Invalid(Invalid::AdvertiseClientUrls)) {
        log::warn("advertise client URLs are not set", &[error_field(&failure)]);
    }
    Err(Exit::REFUSED)
}

/// `NAME=URL` for each peer URL, with commas between: the initial cluster of a member alone.
pub(super) fn cluster_of_one(name: &str, urls: &[url::Url]) -> String {
    urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}
