//! `/version`, `/metrics`, and the pages under `/debug`.

use std::io::Write as _;

use compat::protojson::{Escape, encode_text};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};

use super::{Body, Http, Versions, answer};
use crate::metrics::{Format, Value, render};

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    encode_text(text, Escape::Html, &mut out);
    String::from_utf8(out).expect("JSON text is UTF-8")
}

pub(super) fn version(http: &Http, request: &Request<()>) -> Response<Body> {
    if let Some(refused) = answer::only_get(request) {
        return refused;
    }
    answer::ok("application/json", Body::full(version_json(&http.pages.versions())))
}

/// What `/version` says, to clients and to other members.
pub fn version_json(versions: &Versions) -> String {
    format!(
        "{{\"etcdserver\":{},\"etcdcluster\":{},\"storage\":{}}}",
        quoted(api::SERVER_VERSION),
        quoted(versions.cluster.as_deref().unwrap_or("not_decided")),
        quoted(versions.storage.as_deref().unwrap_or("unknown")),
    )
}

/// `/debug/vars`: what Go's expvar shows. `memstats` has the names that mean something here.
pub(super) fn variables(http: &Http, request: &Request<()>) -> Response<Body> {
    if let Some(refused) = answer::only_get(request) {
        return refused;
    }
    let line: Vec<String> = http.pages.command_line().iter().map(|word| quoted(word)).collect();
    let metrics = http.metrics.collect();
    let number = |name: &str| {
        let metric = metrics.iter().find(|m| m.name == name);
        metric.and_then(|m| m.samples.first()).map_or(0, |s| match s.value {
            Value::Number(value) => value as u64,
            _ => 0,
        })
    };
    let memory = [
        ("Alloc", "go_memstats_alloc_bytes"),
        ("TotalAlloc", "go_memstats_alloc_bytes_total"),
        ("Sys", "go_memstats_sys_bytes"),
        ("Mallocs", "go_memstats_mallocs_total"),
        ("Frees", "go_memstats_frees_total"),
        ("HeapAlloc", "go_memstats_heap_alloc_bytes"),
        ("HeapSys", "go_memstats_heap_sys_bytes"),
        ("HeapIdle", "go_memstats_heap_idle_bytes"),
        ("HeapInuse", "go_memstats_heap_inuse_bytes"),
        ("HeapReleased", "go_memstats_heap_released_bytes"),
        ("StackInuse", "go_memstats_stack_inuse_bytes"),
        ("StackSys", "go_memstats_stack_sys_bytes"),
    ];
    let memory: Vec<String> = memory
        .iter()
        .map(|(name, metric)| format!("\"{name}\":{}", number(metric)))
        .collect();
    let body = format!(
        "{{\n\"cmdline\": [{}],\n\"file_descriptor_limit\": {},\n\"memstats\": {{{}}},\n\"raft.status\": {}\n}}\n",
        line.join(","),
        number("os_fd_limit"),
        memory.join(","),
        http.pages.raft_status(),
    );
    answer::ok("application/json; charset=utf-8", Body::chunked(body))
}

pub(super) fn metrics(http: &Http, request: &Request<()>) -> Response<Body> {
    let (format, content_type) = negotiate(request.headers());
    http.metrics.promhttp_metric_handler_requests_in_flight.add(1);
    let mut bytes = render(&http.metrics.collect(), format);
    http.metrics.promhttp_metric_handler_requests_in_flight.add(-1);
    http.metrics.promhttp_metric_handler_requests_total.with(&["200"]).inc();
    let packed = wants_gzip(request.headers());
    if packed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        bytes = written.expect("memory takes all that is written to it");
    }
    let mut response = Response::new(Body::chunked(bytes));
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    if packed {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// One element of a header that is a list.
struct Element {
    kind: String,
    parameters: Vec<(String, String)>,
    /// How much it is wished for.
    q: f64,
}

fn elements(headers: &HeaderMap, name: header::HeaderName) -> Vec<Element> {
    let mut all = Vec::new();
    for value in headers.get_all(name).iter().filter_map(|v| v.to_str().ok()) {
        for element in value.split(',') {
            let mut parts = element.split(';').map(str::trim);
            let Some(kind) = parts.next().filter(|k| !k.is_empty()) else {
                continue;
            };
            let parameters: Vec<(String, String)> = parts
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.trim().to_ascii_lowercase(), v.trim().trim_matches('"').to_owned()))
                .collect();
            let q = parameters
                .iter()
                .find(|(k, _)| k == "q")
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(1.0);
            all.push(Element {
                kind: kind.to_ascii_lowercase(),
                parameters,
                q,
            });
        }
    }
    all
}

fn wants_gzip(headers: &HeaderMap) -> bool {
    // As it is comes first: gzip has to be wished for more than that.
    let list = elements(headers, header::ACCEPT_ENCODING);
    let wish = |name: &str| {
        list.iter()
            .filter(|e| e.kind == name || e.kind == "*")
            .map(|e| e.q)
            .fold(-1.0, f64::max)
    };
    let gzip = wish("gzip");
    gzip > 0.0 && gzip > wish("identity")
}

fn negotiate(headers: &HeaderMap) -> (Format, String) {
    let mut list = elements(headers, header::ACCEPT);
    list.sort_by(|a, b| b.q.total_cmp(&a.q));
    for Element { kind, parameters, .. } in &list {
        let parameter = |name: &str| parameters.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let known = ["allow-utf-8", "underscores", "dots", "values"];
        let escaping = parameter("escaping").filter(|e| known.contains(e)).unwrap_or("underscores");
        if kind == "application/vnd.google.protobuf"
            && parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && parameter("encoding") == Some("delimited")
        {
            let text = format!("{kind}; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping={escaping}");
            return (Format::Protobuf, text);
        }
        if kind == "text/plain" && matches!(parameter("version"), None | Some("0.0.4")) {
            return (
                Format::Text,
                format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
            );
        }
    }
    (
        Format::Text,
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores".to_owned(),
    )
}

/// `/debug/requests` and `/debug/events`: pages of a Go tracing library, of which only the shell is here.
pub(super) fn trace(path: &str) -> Response<Body> {
    let body = format!("<html><head><title>{path}</title></head><body>No request is traced here: use the log.</body></html>\n");
    answer::ok("text/html; charset=utf-8", Body::full(body))
}

/// `/debug/pprof/...`: profiles of Go's runtime, which is not here. What collects them for a report gets profiles without samples; what
/// wants to measure is told that it can't.
pub(super) fn profile(http: &Http, name: &str, request: &Request<()>) -> Response<Body> {
    let mut response = match name {
        "" => {
            let body = "<html><head><title>/debug/pprof/</title></head><body>\n<p>Go's runtime is not here: its profiles are empty. \
                        Use perf.</p>\n</body></html>\n";
            answer::ok("text/html; charset=utf-8", Body::chunked(body))
        }
        "cmdline" => answer::text(http.pages.command_line().join("\0")),
        "symbol" => answer::text("num_symbols: 0\n".to_owned()),
        "allocs" | "block" | "goroutine" | "heap" | "mutex" | "threadcreate" => no_samples(name, request),
        _ => {
            let known = matches!(name, "profile" | "trace");
            let (status, text) = match known {
                true => (StatusCode::NOT_IMPLEMENTED, "Go's runtime is not here"),
                false => (StatusCode::NOT_FOUND, "Unknown profile"),
            };
            let mut response = answer::error(status, text);
            response.headers_mut().insert("x-go-pprof", HeaderValue::from_static("1"));
            response
        }
    };
    response.headers_mut().insert(answer::NO_SNIFF.0, answer::NO_SNIFF.1);
    response
}

fn no_samples(name: &str, request: &Request<()>) -> Response<Body> {
    let long = matches!(name, "allocs" | "goroutine" | "heap");
    let body = |bytes: Vec<u8>| if long { Body::chunked(bytes) } else { Body::full(bytes) };
    if answer::query(request, "debug")
        .first()
        .is_some_and(|d| d != "0" && d.parse::<u32>().is_ok())
    {
        return answer::ok("text/plain; charset=utf-8", body(format!("{name} profile: total 0\n").into_bytes()));
    }
    // A profile is a gzipped message; this one has no fields.
    let empty = GzEncoder::new(Vec::new(), Compression::fast())
        .finish()
        .expect("memory takes all that is written to it");
    let mut response = answer::ok("application/octet-stream", body(empty));
    if let Ok(file) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, file);
    }
    response
}
