//! `/health`, `/livez`, `/readyz` and their single checks.

use std::collections::BTreeSet;

use http::{Request, Response, StatusCode};

use super::{Body, Http, answer};
use crate::log::{self, field};

const NOSPACE: i32 = 1;
const CORRUPT: i32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    LinearizableRead,
    NonLearner,
    SerializableRead,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
            Check::SerializableRead => "serializable_read",
        }
    }

    async fn run(self, http: &Http) -> Result<(), String> {
        match self {
            Check::DataCorruption if http.pages.alarms().iter().any(|a| a.kind == CORRUPT) => Err("alarm activated: CORRUPT".to_owned()),
            Check::NonLearner if http.pages.is_learner() => Err("not supported for learner".to_owned()),
            Check::DataCorruption | Check::NonLearner => Ok(()),
            Check::LinearizableRead => http.pages.read(false).await,
            Check::SerializableRead => http.pages.read(true).await,
        }
    }
}

/// The checks of a page; Go runs them in random order.
fn checks(page: &str) -> Option<&'static [Check]> {
    match page {
        "livez" => Some(&[Check::SerializableRead]),
        "readyz" => Some(&[
            Check::DataCorruption,
            Check::LinearizableRead,
            Check::NonLearner,
            Check::SerializableRead,
        ]),
        _ => None,
    }
}

fn excluded(request: &Request<()>) -> BTreeSet<String> {
    answer::query(request, "exclude")
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect()
}

/// `/health`: alarms, leader, a read; the first that fails is the reason.
pub(super) async fn health(http: &Http, request: &Request<()>) -> Response<Body> {
    if let Some(refused) = answer::only_get(request) {
        log::warn("/health error", &[field("status-code", 405i64)]);
        return refused;
    }
    let serializable = answer::query(request, "serializable").first().is_some_and(|v| v == "true");
    let reason = unhealthy(http, &excluded(request), serializable).await;
    let mut json = format!("{{\"health\":\"{}\",\"reason\":", reason.is_none()).into_bytes();
    compat::protojson::encode_text(reason.as_deref().unwrap_or_default(), compat::protojson::Escape::Html, &mut json);
    json.push(b'}');
    // Made of UTF-8 above.
    let json = String::from_utf8_lossy(&json).into_owned();
    if reason.is_none() {
        http.metrics.server_health_success.inc();
        return answer::text(json);
    }
    http.metrics.server_health_failures.inc();
    log::warn("/health error", &[field("output", &json), field("status-code", 503i64)]);
    answer::error(StatusCode::SERVICE_UNAVAILABLE, &json)
}

async fn unhealthy(http: &Http, excluded: &BTreeSet<String>, serializable: bool) -> Option<String> {
    for alarm in http.pages.alarms() {
        let name = match alarm.kind {
            0 => "NONE".to_owned(),
            NOSPACE => "NOSPACE".to_owned(),
            CORRUPT => "CORRUPT".to_owned(),
            other => other.to_string(),
        };
        if excluded.contains(&name) {
            continue;
        }
        log::warn(
            "serving /health false due to an alarm",
            &[field("alarm", format!("memberID:{} alarm:{name} ", alarm.member.0))],
        );
        let reason = match alarm.kind {
            NOSPACE => "ALARM NOSPACE",
            CORRUPT => "ALARM CORRUPT",
            _ => "ALARM UNKNOWN",
        };
        return Some(reason.to_owned());
    }
    if !serializable && !http.pages.has_leader() {
        log::warn("serving /health false; no leader", &[]);
        return Some("RAFT NO LEADER".to_owned());
    }
    if let Err(error) = http.pages.read(serializable).await {
        log::warn("serving /health false; Range fails", &[log::error_field(&error)]);
        return Some(format!("RANGE ERROR:{error}"));
    }
    None
}

/// `/livez`, `/readyz` and `/readyz/data_corruption`; none when the path is no such page.
pub(super) async fn check(http: &Http, path: &str, request: &Request<()>) -> Option<Response<Body>> {
    let path = path.strip_prefix('/')?;
    let (page, single) = match path.split_once('/') {
        Some((page, single)) => (page, Some(single)),
        None => (path, None),
    };
    let all = checks(page)?;
    let single = match single {
        Some(name) => Some(*all.iter().find(|c| c.name() == name)?),
        None => None,
    };
    if let Some(refused) = answer::only_get(request) {
        log::warn(
            "Health request error",
            &[field("path", format!("/{path}")), field("status-code", 405i64)],
        );
        return Some(refused);
    }
    let chosen: Vec<Check> = match single {
        Some(check) => vec![check],
        None => without(all, excluded(request)),
    };
    let mut lines = String::new();
    let mut healthy = true;
    for check in chosen {
        let result = check.run(http).await;
        count(http, page, check, result.is_ok());
        match result {
            Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
            Err(error) => {
                healthy = false;
                lines.push_str(&format!("[-]{} failed: {error}\n", check.name()));
            }
        }
    }
    if !healthy {
        log::error(
            "Health check error",
            &[
                field("path", format!("/{path}")),
                field("reason", &lines),
                field("status-code", 503i64),
            ],
        );
        return Some(answer::error(StatusCode::SERVICE_UNAVAILABLE, &lines));
    }
    let verbose = !answer::query(request, "verbose").is_empty();
    let mut response = answer::text(if verbose { format!("{lines}ok\n") } else { "ok\n".to_owned() });
    response.headers_mut().insert(answer::NO_SNIFF.0, answer::NO_SNIFF.1);
    Some(response)
}

fn without(all: &[Check], mut excluded: BTreeSet<String>) -> Vec<Check> {
    let left = all.iter().copied().filter(|check| !excluded.remove(check.name())).collect();
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        log::warn(
            "some health checks cannot be excluded",
            &[field("missing-health-checks", names.join(","))],
        );
    }
    left
}

fn count(http: &Http, page: &str, check: Check, healthy: bool) {
    let status = if healthy { "success" } else { "error" };
    http.metrics.server_healthcheck.with(&[page, check.name()]).set(i64::from(healthy));
    http.metrics.server_healthchecks_total.with(&[page, check.name(), status]).inc();
}
