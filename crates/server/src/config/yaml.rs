//! The configuration file.
//!
//! YAML is turned into JSON and JSON into settings, because that is how etcd reads it and users know the corners of that path: keys
//! of any case, unknown keys without effect, durations as nanoseconds, numbers where a text is wanted. The messages are Go's.

use super::flags::{self, Bind, Flag, YamlForm};
use super::{Config, feature_gates::GateError};
use compat::duration::GoDuration;
use compat::errno;
use compat::url::{self, UrlError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A configuration file that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("{0}")]
    Read(String),
    /// It is not YAML.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Syntax(String),
    /// A value of the wrong type.
    #[error("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go {place} of type {wanted}")]
    Type {
        /// What stands there.
        found: String,
        /// Where.
        place: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// Refused feature gates.
    #[error(transparent)]
    Gates(#[from] GateError),
    /// A refused URL, under the name that etcd prints.
    #[error("unexpected error setting up {0}: {1}")]
    Url(&'static str, UrlError),
}

/// Reads a file into settings; what it does not name has its default.
///
/// # Errors
/// `FileError` in Go's words.
pub(super) fn read(path: &str) -> Result<Config, FileError> {
    let path = Path::new(path);
    let bytes = std::fs::read(path).map_err(|error| FileError::Read(errno::at_path("open", path, &error)))?;
    parse(&bytes)
}

/// The settings that a file's content gives.
///
/// # Errors
/// `FileError` in Go's words.
pub fn parse(bytes: &[u8]) -> Result<Config, FileError> {
    // Straight into JSON: of a key that stands twice the last counts, as in etcd.
    let document: Value = yaml_serde::from_slice(bytes).map_err(|error| FileError::Syntax(in_go_words(&error.to_string())))?;
    let mut config = Config::new();
    let usual_cluster = config.initial_cluster.clone();
    let mut late = Late::default();
    match document {
        Value::Null => {}
        Value::Object(map) => section(&mut config, &mut late, "", map.into_iter().collect())?,
        other => {
            return Err(FileError::Type {
                found: kind(&other).to_owned(),
                place: "value".to_owned(),
                wanted: "embed.configYAML",
            });
        }
    }
    late.apply(&mut config)?;
    if (!config.discovery_srv.is_empty() || !config.discovery_endpoints.is_empty()) && config.initial_cluster == usual_cluster {
        config.initial_cluster.clear();
    }
    if config.initial_cluster_state.is_empty() {
        config.initial_cluster_state = "new".to_owned();
    }
    if config.self_signed_cert_validity == 0 {
        config.self_signed_cert_validity = 1;
    }
    Ok(config)
}

/// Texts that are only parsed once the whole file has the right types: gates first, then URLs, in etcd's order.
#[derive(Default)]
struct Late {
    texts: BTreeMap<&'static str, String>,
}

impl Late {
    const URLS: &'static [(&'static str, &'static str)] = &[
        ("listen-peer-urls", "listen-peer-urls"),
        ("listen-client-urls", "listen-client-urls"),
        ("listen-client-http-urls", "listen-client-http-urls"),
        ("initial-advertise-peer-urls", "initial-advertise-peer-urls"),
        // etcd prints another flag's name here.
        ("advertise-client-urls", "advertise-peer-urls"),
        ("listen-metrics-urls", "listen-metrics-urls"),
        ("cors", "cors"),
    ];

    fn apply(mut self, config: &mut Config) -> Result<(), FileError> {
        if let Some(text) = self.texts.remove("feature-gates") {
            config.feature_gates.set(&text)?;
        }
        for (name, shown) in Self::URLS {
            let Some(text) = self.texts.remove(name).filter(|text| !text.is_empty()) else {
                continue;
            };
            let Some(flag) = flags::find(name) else { continue };
            match flag.bind {
                Bind::Urls(slot) => *slot(config) = url::parse_list(&text).map_err(|error| FileError::Url(shown, error))?,
                Bind::Origins(slot) if text == "*" => *slot(config) = [text].into(),
                Bind::Origins(slot) => {
                    let urls = url::parse_list(&text).map_err(|error| FileError::Url(shown, error))?;
                    *slot(config) = urls.iter().map(url::Url::to_string).collect();
                }
                _ => {}
            }
        }
        if let Some(text) = self.texts.remove("host-whitelist").filter(|text| !text.is_empty()) {
            config.host_whitelist = text.split(',').map(str::to_owned).collect();
        }
        Ok(())
    }
}

/// Sets what one map of the file holds, in the order of its keys. `path` is the map's own place, with a dot at its end.
fn section(config: &mut Config, late: &mut Late, path: &str, map: BTreeMap<String, Value>) -> Result<(), FileError> {
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        let place = format!("{path}{key}");
        let same = |candidate: &str| candidate.eq_ignore_ascii_case(&place);
        if let Some(flag) = flags::all().find(|flag| flag.yaml_key().is_some_and(same)) {
            setting(config, late, flag, value)?;
        } else if let Some(inner) = SECTIONS.iter().find(|(section, ..)| same(section)) {
            match value {
                Value::Object(map) => section(config, late, &format!("{}.", inner.0), map.into_iter().collect())?,
                other => return Err(wrong(&other, inner.0, inner.2)),
            }
        }
    }
    Ok(())
}

/// The maps in the file, the Go structure that holds their keys, and its type as errors print it.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("client-transport-security", "securityConfig", "embed.securityConfig"),
    ("peer-transport-security", "securityConfig", "embed.securityConfig"),
    ("socket-options", "SocketOpts", "transport.SocketOpts"),
    ("discovery-config", "DiscoveryConfig", "v3discovery.DiscoveryConfig"),
    ("discovery-config.client", "ConfigSpec", "clientv3.ConfigSpec"),
    ("discovery-config.client.secure", "SecureConfig", "clientv3.SecureConfig"),
    ("discovery-config.client.auth", "AuthConfig", "clientv3.AuthConfig"),
];

fn setting(config: &mut Config, late: &mut Late, flag: &'static Flag, value: Value) -> Result<(), FileError> {
    let name = flag.yaml_key().unwrap_or(flag.name);
    config.set.insert(flag.name);
    match (flag.bind, flag.yaml_form) {
        (_, YamlForm::Ignored) => {}
        (Bind::Urls(_) | Bind::Origins(_) | Bind::Gates(_), _) | (_, YamlForm::Commas) => {
            late.texts.insert(flag.name, text(value, name)?);
        }
        (Bind::Text(slot) | Bind::Choice(_, slot), _) => *slot(config) = text(value, name)?,
        (Bind::Bool(slot), _) => *slot(config) = boolean(value, name)?,
        (Bind::Int(slot), _) => *slot(config) = integer(&value, name, "int")?,
        (Bind::Int64(slot), _) => *slot(config) = integer(&value, name, "int64")?,
        (Bind::Duration(slot), _) => *slot(config) = GoDuration::from_nanos(integer(&value, name, "time.Duration")?),
        (Bind::Uint(slot), _) => *slot(config) = unsigned(&value, name, "uint")?,
        (Bind::Uint64(slot), _) => *slot(config) = unsigned(&value, name, "uint64")?,
        (Bind::Uint32(slot), _) => {
            let number = unsigned(&value, name, "uint32")?;
            *slot(config) = u32::try_from(number).map_err(|_| wrong(&value, name, "uint32"))?;
        }
        (Bind::List(slot) | Bind::Choices(_, slot), _) => *slot(config) = list(value, name)?,
        (Bind::Set(slot), _) => *slot(config) = list(value, name)?.into_iter().collect(),
        (Bind::Ignored | Bind::Removed, _) => {}
    }
    Ok(())
}

fn text(value: Value, name: &str) -> Result<String, FileError> {
    match value {
        Value::String(text) => Ok(text),
        // A number or a boolean where a text is wanted is taken as it is written.
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(wrong(&other, name, "string")),
    }
}

fn boolean(value: Value, name: &str) -> Result<bool, FileError> {
    match &value {
        Value::Bool(value) => Ok(*value),
        // YAML 1.1, which etcd reads, knows more booleans than the parser here.
        Value::String(text) => match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(false),
            _ => Err(wrong(&value, name, "bool")),
        },
        _ => Err(wrong(&value, name, "bool")),
    }
}

fn integer(value: &Value, name: &str, wanted: &'static str) -> Result<i64, FileError> {
    whole(value)
        .and_then(|number| i64::try_from(number).ok())
        .ok_or_else(|| wrong(value, name, wanted))
}

fn unsigned(value: &Value, name: &str, wanted: &'static str) -> Result<u64, FileError> {
    whole(value)
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| wrong(value, name, wanted))
}

/// A whole number; one that is written with an exponent or a zero fraction counts.
fn whole(value: &Value) -> Option<i128> {
    let Value::Number(number) = value else { return None };
    let from_float = || {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 1e18)
            .map(|float| float as i128)
    };
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .or_else(from_float)
}

fn list(value: Value, name: &str) -> Result<Vec<String>, FileError> {
    let element = |value| match value {
        Value::Null => Ok(String::new()),
        // Unlike a text on its own, one in a list is not made of a number.
        Value::String(text) => Ok(text),
        other => Err(wrong(&other, name, "string")),
    };
    match value {
        Value::Array(values) => values.into_iter().map(element).collect(),
        other => Err(wrong(&other, name, "[]string")),
    }
}

/// The error for a value of the wrong type, with the place as Go names it: the structure that holds the key, and the path to it.
fn wrong(value: &Value, name: &str, wanted: &'static str) -> FileError {
    let holder = name.rsplit_once('.').map_or("", |(section, _)| section);
    let structure = SECTIONS
        .iter()
        .find(|(section, ..)| *section == holder)
        .map_or("configYAML", |(_, structure, _)| structure);
    let top = name.split('.').next().unwrap_or_default();
    let flag = flags::all().find(|flag| flag.yaml_key() == Some(name));
    // Texts that are parsed later, and the two maps of certificates, are kept in a structure of their own.
    let late = flag.is_some_and(|flag| {
        matches!(flag.bind, Bind::Urls(_) | Bind::Origins(_) | Bind::Gates(_)) || matches!(flag.yaml_form, YamlForm::Commas)
    }) || top.ends_with("-transport-security");
    let part = if late { "configJSON" } else { "Config" };
    let found = match value {
        Value::Number(number) if wanted != "string" && wanted != "bool" && !wanted.contains('[') => format!("number {number}"),
        other => kind(other).to_owned(),
    };
    FileError::Type {
        found,
        place: format!("struct field {structure}.{part}.{name}"),
        wanted,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The parser's complaint as Go's YAML prints it: the line first, and counted from 0 for what the parser (not the scanner) finds.
fn in_go_words(error: &str) -> String {
    let (problem, rest) = error.split_once(" at line ").unwrap_or((error, ""));
    let line: usize = rest
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(1);
    // What it was doing meanwhile is of no interest to Go.
    let problem = problem.split(", while ").next().unwrap_or_default();
    let from_parser = problem.starts_with("did not find expected");
    match line - usize::from(line > 0) {
        0 => problem.to_owned(),
        line => format!("line {}: {problem}", if from_parser { line } else { line + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_settings() {
        let config = parse(
            b"name: 7\nHeartbeat-Interval: 1e2\nlisten-client-urls: http://127.0.0.1:2,http://127.0.0.1:1\nlog-outputs: [stdout, a.log]\n\
              backend-batch-interval: 5000000\nclient-transport-security:\n  cert-file: c.pem\n  client-cert-auth: on\n\
              socket-options:\n  reuse-port: true\nquota-backend-bytes: 8589934592\nnosuch: {a: [1]}\nhost-whitelist: a,b\ncors: '*'\n\
              v2-deprecation: [anything]\nfeature-gates: AllBeta=false\nmax-wals: ~\n",
        )
        .unwrap();
        assert_eq!(config.name, "7");
        assert_eq!(config.heartbeat_interval, 100);
        assert_eq!(
            config.listen_client_urls.iter().map(|u| u.to_string()).collect::<Vec<_>>(),
            ["http://127.0.0.1:1", "http://127.0.0.1:2"]
        );
        assert_eq!(
            config.log_outputs.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a.log", "stdout"]
        );
        assert_eq!(config.batch_interval(), std::time::Duration::from_millis(5));
        assert!(config.client_cert_auth && config.socket_reuse_port && config.cert_file == "c.pem");
        assert_eq!(config.quota_bytes(), Some(8 << 30));
        assert_eq!(config.host_whitelist.len(), 2);
        assert!(!config.feature_gates.is_on("FastLeaseKeepAlive"));
        assert_eq!(config.max_wals, 5);
    }

    #[test]
    fn an_empty_file_means_defaults() {
        let config = parse(b"").unwrap();
        assert_eq!((config.name.as_str(), config.initial_cluster_state.as_str()), ("default", "new"));
    }

    #[test]
    fn refuses_in_go_words() {
        let type_error = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ";
        for (text, words) in [
            (
                "heartbeat-interval: abc",
                "string into Go struct field configYAML.Config.heartbeat-interval of type uint",
            ),
            (
                "heartbeat-interval: -1",
                "number -1 into Go struct field configYAML.Config.heartbeat-interval of type uint",
            ),
            ("pre-vote: 1", "number into Go struct field configYAML.Config.pre-vote of type bool"),
            (
                "log-outputs: stderr",
                "string into Go struct field configYAML.Config.log-outputs of type []string",
            ),
            (
                "log-outputs: [1]",
                "number into Go struct field configYAML.Config.log-outputs of type string",
            ),
            (
                "name: x\nname: [a]",
                "array into Go struct field configYAML.Config.name of type string",
            ),
            (
                "listen-peer-urls: [a]",
                "array into Go struct field configYAML.configJSON.listen-peer-urls of type string",
            ),
            (
                "max-concurrent-streams: 4294967296",
                "number 4294967296 into Go struct field configYAML.Config.max-concurrent-streams of type uint32",
            ),
            (
                "discovery-config: {client: {dial-timeout: x}}",
                "string into Go struct field ConfigSpec.Config.discovery-config.client.dial-timeout of type time.Duration",
            ),
            (
                "client-transport-security: {auto-tls: 1}",
                "number into Go struct field securityConfig.configJSON.client-transport-security.auto-tls of type bool",
            ),
            ("just words", "string into Go value of type embed.configYAML"),
        ] {
            assert_eq!(error(text), format!("{type_error}{words}"), "{text}");
        }
        assert_eq!(
            error("name: [unclosed\n"),
            "error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'"
        );
        assert_eq!(
            error("\tname: x\n"),
            "error converting YAML to JSON: yaml: found character that cannot start any token"
        );
        assert_eq!(error("feature-gates: Nosuch=true"), "unrecognized feature gate: Nosuch");
        assert_eq!(
            error("advertise-client-urls: bad"),
            "unexpected error setting up advertise-peer-urls: URL scheme must be http, https, unix, or unixs: bad"
        );
    }
}
