//! The list against `tests/data/contract/metrics.tsv` and `metrics-runtime.tsv`.

use std::collections::BTreeMap;

use super::sample::{Metric, Type, Value};
use super::{Metrics, text};
use crate::grpc::METHODS;

fn table(name: &str) -> Vec<BTreeMap<String, String>> {
    let path = format!("{}/../../tests/data/contract/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut lines = text.lines().map(|l| l.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    lines.map(|row| head.iter().cloned().zip(row).collect()).collect()
}

/// Every metric of the list with a value, so that all are shown.
fn all() -> Vec<Metric> {
    let metrics = Metrics::new(true);
    metrics.touch_all();
    metrics.collect()
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Type::Counter => "counter",
        Type::Gauge => "gauge",
        Type::Histogram => "histogram",
        Type::Summary => "summary",
    }
}

fn sorted(list: &str) -> Vec<String> {
    let mut labels: Vec<String> = list.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect();
    labels.sort();
    labels
}

#[test]
fn list_is_the_contract() {
    let contract: BTreeMap<String, BTreeMap<String, String>> = ["metrics.tsv", "metrics-runtime.tsv"]
        .iter()
        .flat_map(|name| table(name))
        .map(|row| (row["name"].clone(), row))
        .collect();
    for metric in all() {
        let row = contract
            .get(metric.name)
            .unwrap_or_else(|| panic!("{} is none of etcd's", metric.name));
        assert_eq!(row["type"], kind(&metric), "{}", metric.name);
        let sample = &metric.samples[0];
        let labels: Vec<String> = sample.labels.iter().map(|(name, _)| (*name).to_owned()).collect();
        if metric.kind != Type::Summary {
            assert_eq!(labels, sorted(&row["labels"]), "{}", metric.name);
        }
        let bounds = match &sample.value {
            Value::Histogram { bounds, .. } => bounds.iter().map(|b| format!("{b}")).collect::<Vec<_>>().join(","),
            _ => String::new(),
        };
        assert_eq!(row["buckets_expanded"], bounds, "{}", metric.name);
        assert!(!metric.help.is_empty(), "{} has no help text", metric.name);
    }
}

#[test]
fn what_go_shows_at_start_is_there() {
    let at_start: Vec<&str> = Vec::from_iter(Metrics::new(false).collect().iter().map(|m| m.name));
    let listed: Vec<&str> = Vec::from_iter(all().iter().map(|m| m.name));
    for name in ["metrics.tsv", "metrics-runtime.tsv"] {
        for row in table(name) {
            let metric = row["name"].as_str();
            if !row["exported"].starts_with("at start") {
                continue;
            }
            // Those with labels are set by the shell when it starts.
            let shown = if row["labels"].is_empty() { &at_start } else { &listed };
            assert!(shown.contains(&metric), "{metric} is missing");
        }
    }
}

/// The parts that are for show in Go are left out.
#[test]
fn what_is_not_listed_is_known() {
    let listed = all();
    for row in table("metrics.tsv") {
        let name = row["name"].as_str();
        let shown = name.starts_with("etcd_debugging_store_");
        assert!(shown || listed.iter().any(|m| m.name == name), "{name} is not listed");
    }
}

#[test]
fn late_methods_appear_with_their_first_call() {
    let metrics = Metrics::new(false);
    let shown = || String::from_utf8(text::render(&metrics.collect(), text::Format::Text)).unwrap();
    assert!(!shown().contains("v3lockpb"));
    let lock = METHODS.iter().position(|entry| entry.name == "Lock").unwrap();
    metrics.grpc.at(lock).started();
    assert!(shown().contains("grpc_server_started_total{grpc_method=\"Lock\",grpc_service=\"v3lockpb.Lock\",grpc_type=\"unary\"} 1\n"));
}
