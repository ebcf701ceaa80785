//! From a request to its page: host check, CORS, redirects, and the table of paths.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::access::host_name;
use super::{Body, Doors, Http, Peer, answer, gateway, health, pages};
use crate::log::{self, field};

pub(super) async fn handle(http: &Arc<Http>, doors: Doors, peer: &Peer, mut request: Request<Body>) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    let mut response = match doors {
        Doors::Metrics => route(http, doors, peer, request).await,
        Doors::Client => {
            if let Some(refused) = refuse(http, peer, &request) {
                refused
            } else {
                let origin = request.headers().get(header::ORIGIN).and_then(|o| o.to_str().ok());
                let allowed = http.options.access.allowed_origin(origin);
                let mut response = if request.method() == Method::OPTIONS {
                    Response::new(Body::empty())
                } else {
                    old_prefix(&mut request);
                    route(http, doors, peer, request).await
                };
                if let Some(origin) = allowed {
                    add_cors(response.headers_mut(), &origin);
                }
                response
            }
        }
    };
    if head {
        bodiless(&mut response);
    }
    response
}

/// An answer to HEAD: what GET would have said of the length, and no body.
fn bodiless(response: &mut Response<Body>) {
    if let Some(length) = http_body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}

/// `/v3beta/` is an old name of `/v3/`.
fn old_prefix(request: &mut Request<Body>) {
    let Some(rest) = request.uri().path_and_query().and_then(|p| p.as_str().strip_prefix("/v3beta/")) else {
        return;
    };
    let path = format!("/v3/{rest}");
    let mut parts = request.uri().clone().into_parts();
    // What was a path stays one with another beginning.
    parts.path_and_query = Some(path.parse().expect("a path"));
    *request.uri_mut() = http::Uri::from_parts(parts).expect("a changed path leaves a URI whole");
}

/// The host a request is for: of its target when that is absolute (or HTTP/2), else of its `Host` header.
fn host(request: &Request<Body>) -> &str {
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    target.unwrap_or_else(|| {
        request
            .headers()
            .get(header::HOST)
            .and_then(|h| h.to_str().ok())
            .unwrap_or_default()
    })
}

/// The host check (against DNS rebinding, CVE-2018-5702), and the client certificates that the gateway can't carry on.
fn refuse(http: &Http, peer: &Peer, request: &Request<Body>) -> Option<Response<Body>> {
    if !peer.tls {
        let host = host(request);
        if http.options.access.host_allowed(host) {
            return None;
        }
        let host = host_name(host);
        log::warn("rejecting HTTP request to prevent DNS rebinding attacks", &[field("host", host)]);
        let text = format!(
            "\netcd received your request, but the Host header was unrecognized.\n\n\
             To fix this, choose one of the following options:\n\
             - Enable TLS, then any HTTPS request will be allowed.\n\
             - Add the hostname you want to use to the whitelist in settings.\n  - e.g. etcd --host-whitelist {host:?}\n\n\
             This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n"
        );
        return Some(answer::error(StatusCode::MISDIRECTED_REQUEST, &text));
    }
    let path = request.uri().path();
    let gateway = http.options.gateway && (path.starts_with("/v3/") || path.starts_with("/v3beta/"));
    let named = peer.common_name.as_ref().is_some_and(|name| !name.is_empty());
    if gateway && named && http.options.client_cert_auth && http.pages.auth_enabled() {
        let text = "CommonName of client sending a request against gateway will be ignored and not used as expected";
        return Some(answer::error(StatusCode::BAD_REQUEST, text));
    }
    None
}

fn add_cors(headers: &mut HeaderMap, origin: &str) {
    let Ok(origin) = HeaderValue::from_str(origin) else { return };
    headers.append(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    );
    headers.append(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
}

async fn route(http: &Arc<Http>, doors: Doors, peer: &Peer, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    let clean = clean(path);
    let client = doors == Doors::Client;
    let gateway = client && http.options.gateway;
    if gateway && clean == "/v3" || client && http.options.pprof && clean == "/debug/pprof" {
        return redirect(&request, &format!("{clean}/"));
    }
    if clean != path {
        return redirect(&request, &clean);
    }
    let path = answer::decoded(path).into_owned();
    if gateway && path.starts_with("/v3/") {
        return gateway::handle(http, peer, &path, request).await;
    }
    // No page reads its body; it is kept until the page is done, because a transport may take its end for the client's.
    let (head, _body) = request.into_parts();
    let request = Request::from_parts(head, ());
    match path.as_str() {
        "/metrics" => pages::metrics(http, &request),
        "/health" => health::health(http, &request).await,
        "/version" if client => pages::version(http, &request),
        "/debug/vars" if client => pages::variables(http, &request),
        "/debug/requests" | "/debug/events" if client && http.options.trace_pages => pages::trace(&path),
        path => {
            if let Some(name) = path.strip_prefix("/debug/pprof/")
                && client
                && http.options.pprof
            {
                return pages::profile(http, name, &request);
            }
            match health::check(http, path, &request).await {
                Some(response) => response,
                None => answer::not_found(),
            }
        }
    }
}

/// The path without empty, `.` and `..` parts; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let slash = path.ends_with('/') && !parts.is_empty();
    format!("/{}{}", parts.join("/"), if slash { "/" } else { "" })
}

fn redirect(request: &Request<Body>, path: &str) -> Response<Body> {
    // The path is escaped once more, as it is in Go.
    let mut to = path.replace('%', "%25");
    if let Some(query) = request.uri().query() {
        to.push('?');
        to.push_str(query);
    }
    let body = match *request.method() {
        Method::GET => {
            let shown = to
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
                .replace('\'', "&#39;");
            Body::full(format!("<a href=\"{shown}\">Temporary Redirect</a>.\n\n"))
        }
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn clean_paths() {
        for (path, want) in [
            ("/", "/"),
            ("//version", "/version"),
            ("/./version", "/version"),
            ("/a/../version", "/version"),
            ("/../x", "/x"),
            ("/x/", "/x/"),
            ("/x/.", "/x"),
            ("/x//", "/x/"),
            ("/..", "/"),
            ("", "/"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }
}
