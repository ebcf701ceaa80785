//! The list against the contract's table, line by line.

use super::*;
use crate::config::feature_gates::{GATES, Stage};
use std::collections::BTreeMap;

/// The rows of a table of the contract, each by column names.
fn table(name: &str) -> Vec<BTreeMap<String, String>> {
    let path = format!("{}/../../tests/data/contract/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            columns
                .iter()
                .map(|c| (*c).to_owned())
                .zip(line.split('\t').map(str::to_owned))
                .collect()
        })
        .collect()
}

fn type_text(flag: &Flag) -> String {
    match flag.bind {
        Bind::Bool(_) => "bool".to_owned(),
        Bind::Int(_) => "int".to_owned(),
        Bind::Int64(_) => "int64".to_owned(),
        Bind::Uint(_) => "uint".to_owned(),
        Bind::Uint32(_) => "uint32".to_owned(),
        Bind::Uint64(_) => "uint64".to_owned(),
        Bind::Duration(_) => "duration".to_owned(),
        Bind::Text(_) => "string".to_owned(),
        Bind::Choice(choices, _) => format!("enum {}", choices.join("|")),
        Bind::Choices(choices, _) => format!("enum-list {}", choices.join("|")),
        Bind::Urls(_) | Bind::Origins(_) => "url-list".to_owned(),
        Bind::List(_) => "string-list (comma)".to_owned(),
        Bind::Set(_) => "string-set (comma)".to_owned(),
        Bind::Gates(_) => "map string=bool (comma)".to_owned(),
        Bind::Ignored => "bool (ignored)".to_owned(),
        Bind::Removed => "(none)".to_owned(),
    }
}

fn yaml_type_text(flag: &Flag) -> &'static str {
    match (flag.yaml, flag.yaml_form, flag.bind) {
        (Yaml::None, ..) => "",
        (_, YamlForm::Ignored, _) => "string (ignored)",
        (_, YamlForm::Commas, _) | (_, _, Bind::Urls(_) | Bind::Origins(_)) => "string, comma-separated",
        (_, _, Bind::Bool(_)) => "bool",
        (_, _, Bind::Int(_)) => "int",
        (_, _, Bind::Int64(_)) => "int64",
        (_, _, Bind::Uint(_)) => "uint",
        (_, _, Bind::Uint32(_)) => "uint32",
        (_, _, Bind::Uint64(_)) => "uint64",
        (_, _, Bind::Duration(_)) => "int nanoseconds",
        (_, _, Bind::Text(_) | Bind::Choice(..)) => "string",
        (_, _, Bind::List(_) | Bind::Set(_) | Bind::Choices(..)) => "list of string",
        (_, _, Bind::Gates(_)) => "string Name=bool,...",
        (_, _, Bind::Ignored | Bind::Removed) => "",
    }
}

#[test]
fn the_list_is_the_contracts() {
    let rows = table("server-flags.tsv");
    let ours: BTreeMap<&str, (&str, &Flag)> = GROUPS
        .iter()
        .flat_map(|(group, flags)| flags.iter().map(move |flag| (flag.name, (*group, flag))))
        .collect();
    assert_eq!(
        rows.len(),
        GROUPS.iter().map(|(_, flags)| flags.len()).sum::<usize>(),
        "a flag stands once"
    );
    for row in rows {
        let name = row["flag"].as_str();
        let (group, flag) = ours.get(name).unwrap_or_else(|| panic!("--{name} is missing"));
        let default = if row["default"] == "see feature-gates.tsv" {
            ""
        } else {
            row["default"].as_str()
        };
        // Two entries of the table describe what the value does, not how it is given.
        let wanted_group = if row["group"] == "member (feature gates)" {
            "member"
        } else {
            row["group"].as_str()
        };
        assert_eq!(type_text(flag), row["type"], "type of --{name}");
        assert_eq!(flag.default, default, "default of --{name}");
        assert_eq!(flag.variable(), row["env"], "variable of --{name}");
        assert_eq!(flag.yaml_key().unwrap_or(""), row["yaml_key"], "key of --{name}");
        assert_eq!(yaml_type_text(flag), row["yaml_type"], "YAML type of --{name}");
        assert_eq!(*group, wanted_group, "group of --{name}");
        assert_eq!(row["in_help"] == "yes", *group != "ignored", "--{name} in the help");
    }
}

#[test]
fn zeros_mean_what_the_contract_says() {
    let config = Config::new();
    let meant: BTreeMap<&str, String> = [
        ("backend-batch-interval", GoDuration::from(config.batch_interval()).to_string()),
        ("backend-batch-limit", config.batch_limit().to_string()),
        ("compaction-batch-limit", config.compaction_batch().to_string()),
        ("compaction-sleep-interval", GoDuration::from(config.compaction_sleep()).to_string()),
        ("quota-backend-bytes", config.quota_bytes().unwrap().to_string()),
        (
            "watch-progress-notify-interval",
            GoDuration::from(config.watch_progress_interval()).to_string().replace("m0s", "m"),
        ),
    ]
    .into();
    let rows = table("server-flags.tsv");
    for (flag, value) in meant {
        let row = rows.iter().find(|row| row["flag"] == flag).unwrap();
        assert_eq!(row["effective_default_when_zero"], value, "--{flag}");
    }
    assert_eq!(config.data_dir_path(), std::path::Path::new("default.etcd"));
    assert_eq!(config.wal_dir_path(), std::path::Path::new("default.etcd/member/wal"));
}

#[test]
fn the_gates_are_the_contracts() {
    let rows = table("feature-gates.tsv");
    assert_eq!(rows.len(), GATES.len());
    for (row, gate) in rows.iter().zip(GATES) {
        assert_eq!(row["name"], gate.name);
        assert_eq!(
            row["stage"],
            if gate.stage == Stage::Alpha || gate.name == "AllAlpha" {
                "ALPHA"
            } else {
                "BETA"
            },
            "{}",
            gate.name
        );
        assert_eq!(row["generic"] == "yes", gate.generic, "{}", gate.name);
        assert_eq!(
            row["default"],
            Config::new().feature_gates.is_on(gate.name).to_string(),
            "{}",
            gate.name
        );
    }
}

#[test]
fn every_default_is_written_as_it_is_read() {
    let mut config = Config::new();
    for flag in all() {
        assert_eq!(flag.text(&mut config), flag.default, "--{}", flag.name);
    }
}

#[test]
fn values_behave_as_gos() {
    let mut config = Config::new();
    let mut set = |name: &str, value: &str| find(name).unwrap().set(&mut config, value).map_err(|error| error.to_string());
    // An empty list of URLs is taken and changes nothing; gates add up; lists are replaced.
    set("listen-client-urls", "").unwrap();
    set("feature-gates", "AllAlpha=true").unwrap();
    set("feature-gates", "InitialCorruptCheck=false,").unwrap();
    set("log-outputs", "b,a,a").unwrap();
    set("max-wals", "0x10").unwrap();
    set("host-whitelist", "").unwrap();
    assert_eq!(
        set("max-concurrent-streams", "-1").unwrap_err(),
        "strconv.ParseUint: parsing \"-1\": invalid syntax"
    );
    assert_eq!(set("quota-backend-bytes", "9223372036854775808").unwrap_err(), "value out of range");
    assert_eq!(set("initial-cluster-state", "maybe").unwrap_err(), "invalid value");
    assert_eq!(set("v2-deprecation", "gone,not-yet").unwrap_err(), "invalid value \"not-yet\"");
    assert_eq!(set("feature-gates", "bad").unwrap_err(), "missing bool value for bad");
    assert_eq!(config.listen_client_urls.len(), 1);
    assert!(config.feature_gates.is_on("CompactHashCheck") && !config.feature_gates.is_on("InitialCorruptCheck"));
    assert_eq!(config.feature_gates.first_missing(), Some("CompactHashCheck"));
    assert_eq!(config.log_outputs.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.max_wals, 16);
    assert!(config.host_whitelist.contains(""));
}
