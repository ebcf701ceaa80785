//! The JSON gateway: `/v3/...` paths, JSON in, JSON out, as grpc-gateway 2.29 does it with etcd's settings.
//!
//! Only this file knows which path is which method; types come from the descriptors. Never looks into a message.

use std::sync::Arc;
use std::time::Duration;

use api::{Code, Status};
use bytes::Bytes;
use compat::protojson::{self, Escape, Next, ScanError, Values};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::{Body, Call, Http, Metadata, Peer, stream, timeout};

/// Paths and their methods, by path. All are POST with the message as the body.
#[rustfmt::skip]
pub(super) const PATHS: &[(&str, &str)] = &[
    ("/v3/auth/authenticate", "/etcdserverpb.Auth/Authenticate"),
    ("/v3/auth/disable", "/etcdserverpb.Auth/AuthDisable"),
    ("/v3/auth/enable", "/etcdserverpb.Auth/AuthEnable"),
    ("/v3/auth/role/add", "/etcdserverpb.Auth/RoleAdd"),
    ("/v3/auth/role/delete", "/etcdserverpb.Auth/RoleDelete"),
    ("/v3/auth/role/get", "/etcdserverpb.Auth/RoleGet"),
    ("/v3/auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission"),
    ("/v3/auth/role/list", "/etcdserverpb.Auth/RoleList"),
    ("/v3/auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission"),
    ("/v3/auth/status", "/etcdserverpb.Auth/AuthStatus"),
    ("/v3/auth/user/add", "/etcdserverpb.Auth/UserAdd"),
    ("/v3/auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword"),
    ("/v3/auth/user/delete", "/etcdserverpb.Auth/UserDelete"),
    ("/v3/auth/user/get", "/etcdserverpb.Auth/UserGet"),
    ("/v3/auth/user/grant", "/etcdserverpb.Auth/UserGrantRole"),
    ("/v3/auth/user/list", "/etcdserverpb.Auth/UserList"),
    ("/v3/auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole"),
    ("/v3/cluster/member/add", "/etcdserverpb.Cluster/MemberAdd"),
    ("/v3/cluster/member/list", "/etcdserverpb.Cluster/MemberList"),
    ("/v3/cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote"),
    ("/v3/cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove"),
    ("/v3/cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate"),
    ("/v3/election/campaign", "/v3electionpb.Election/Campaign"),
    ("/v3/election/leader", "/v3electionpb.Election/Leader"),
    ("/v3/election/observe", "/v3electionpb.Election/Observe"),
    ("/v3/election/proclaim", "/v3electionpb.Election/Proclaim"),
    ("/v3/election/resign", "/v3electionpb.Election/Resign"),
    ("/v3/kv/compaction", "/etcdserverpb.KV/Compact"),
    ("/v3/kv/deleterange", "/etcdserverpb.KV/DeleteRange"),
    ("/v3/kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    ("/v3/kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    ("/v3/kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    ("/v3/kv/put", "/etcdserverpb.KV/Put"),
    ("/v3/kv/range", "/etcdserverpb.KV/Range"),
    ("/v3/kv/txn", "/etcdserverpb.KV/Txn"),
    ("/v3/lease/grant", "/etcdserverpb.Lease/LeaseGrant"),
    ("/v3/lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive"),
    ("/v3/lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    ("/v3/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    ("/v3/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    ("/v3/lock/lock", "/v3lockpb.Lock/Lock"),
    ("/v3/lock/unlock", "/v3lockpb.Lock/Unlock"),
    ("/v3/maintenance/alarm", "/etcdserverpb.Maintenance/Alarm"),
    ("/v3/maintenance/defragment", "/etcdserverpb.Maintenance/Defragment"),
    ("/v3/maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade"),
    ("/v3/maintenance/hash", "/etcdserverpb.Maintenance/Hash"),
    ("/v3/maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV"),
    ("/v3/maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot"),
    ("/v3/maintenance/status", "/etcdserverpb.Maintenance/Status"),
    ("/v3/maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader"),
    ("/v3/watch", "/etcdserverpb.Watch/Watch"),
];

/// A JSON text is larger than the bytes it stands for: base64, names, quotes.
const JSON_GROWTH: usize = 8;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The HTTP status for a gRPC code.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // "Client closed request": nginx's number, which has no name.
        Code::Canceled => StatusCode::from_u16(499).expect("three digits"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `{"code":3,"message":"..."}`
pub(super) fn status_json(status: &Status, escape: Escape, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"code\":{}", status.code as u8).as_bytes());
    if !status.message.is_empty() {
        out.extend_from_slice(b",\"message\":");
        protojson::encode_text(&status.message, escape, out);
    }
    out.push(b'}');
}

fn failure(status: &Status) -> Response<Body> {
    let mut json = Vec::new();
    status_json(status, Escape::Plain, &mut json);
    let mut response = Response::new(Body::full(json));
    *response.status_mut() = http_status(status.code);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if status.code == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(&status.message)
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, message);
    }
    response
}

/// What every answer that has a message carries: the gRPC side's headers.
pub(super) fn succeed(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
        .headers_mut()
        .insert("grpc-metadata-content-type", HeaderValue::from_static("application/grpc"));
}

pub(super) async fn handle(http: &Arc<Http>, peer: &Peer, path: &str, request: Request<Body>) -> Response<Body> {
    let headers = request.headers();
    if headers
        .get(header::UPGRADE)
        .is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"))
    {
        return failure(&Status::new(Code::Unimplemented, "WebSocket is not supported"));
    }
    let Ok(found) = PATHS.binary_search_by_key(&path, |(path, _)| path) else {
        return failure(&Status::new(Code::NotFound, "Not Found"));
    };
    let form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t == "application/x-www-form-urlencoded");
    let other = headers.get("x-http-method-override").filter(|m| form && !m.is_empty());
    let post = other.map_or(request.method() == Method::POST, |m| m.as_bytes().eq_ignore_ascii_case(b"POST"));
    if !post || request.method() != Method::POST {
        return failure(&Status::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let path = PATHS[found].1;
    let types = protojson::method(path).expect("every path's method is described");
    let call = match annotate(path, headers, request.uri(), peer) {
        Ok(call) => call,
        Err(status) => return failure(&status),
    };
    let limit = http.options.max_message_bytes;
    let body = request.into_body();
    if types.client_streams {
        return stream::run(http, call, types, stream::Input::Many(body), limit).await;
    }
    let message = match one(body, types.request, limit).await {
        Ok(message) => message,
        Err(status) => return failure(&status),
    };
    if types.server_streams {
        return stream::run(http, call, types, stream::Input::One(message), limit).await;
    }
    match unary(http, call, message).await {
        Ok(answer) => {
            let mut json = Vec::with_capacity(answer.len() * 2);
            if let Err(error) = protojson::encode(types.answer, &answer, Escape::Plain, &mut json) {
                return failure(&Status::new(Code::Internal, error.to_string()));
            }
            let mut response = Response::new(Body::full(json));
            succeed(&mut response);
            response
        }
        Err(status) => failure(&status),
    }
}

/// How a call ends whose time is over.
pub(super) fn out_of_time() -> Status {
    Status::new(Code::DeadlineExceeded, "context deadline exceeded")
}

pub(super) fn deadline(call: &Call) -> Option<Instant> {
    call.timeout.map(far)
}

fn far(timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(YEAR)
}

async fn unary(http: &Http, call: Call, message: Bytes) -> Result<Bytes, Status> {
    let deadline = deadline(&call);
    let answer = http.rpc.unary(call, message);
    match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout_at(deadline, answer)
            .await
            .unwrap_or_else(|_| Err(out_of_time())),
    }
}

pub(super) fn too_large(size: usize, limit: usize) -> Status {
    Status::new(
        Code::ResourceExhausted,
        format!("grpc: received message larger than max ({size} vs. {limit})"),
    )
}

pub(super) fn values(limit: usize) -> Values {
    Values::new(limit.saturating_mul(JSON_GROWTH))
}

/// One JSON value into a message.
pub(super) fn message(value: protojson::Value<'_>, kind: protojson::MessageType, limit: usize) -> Result<Bytes, Status> {
    let bytes = protojson::decode(kind, value).map_err(|e| Status::new(Code::InvalidArgument, e.to_string()))?;
    if bytes.len() > limit {
        return Err(too_large(bytes.len(), limit));
    }
    Ok(Bytes::from(bytes))
}

pub(super) fn scan_status(error: &ScanError, limit: usize) -> Status {
    match error {
        ScanError::TooLarge { limit: json } => too_large(*json, limit),
        error => Status::new(Code::InvalidArgument, error.to_string()),
    }
}

/// The message of a body: of its first JSON value, or the empty one when there is none. What follows is not looked at.
async fn one(mut body: Body, kind: protojson::MessageType, limit: usize) -> Result<Bytes, Status> {
    let mut values = values(limit);
    let mut found = None;
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| Status::new(Code::InvalidArgument, "unexpected EOF"))?;
        if found.is_some() {
            continue;
        }
        values.push(&chunk);
        if let Next::Value(value) = values.next().map_err(|e| scan_status(&e, limit))? {
            found = Some(message(value, kind, limit)?);
        }
    }
    if let Some(found) = found {
        return Ok(found);
    }
    values.end();
    match values.next().map_err(|e| scan_status(&e, limit))? {
        Next::Value(value) => message(value, kind, limit),
        Next::NeedMore | Next::End => Ok(Bytes::new()),
    }
}

/// Headers that gRPC metadata carries on under `grpcgateway-`.
const PERMANENT: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
];

/// The call's metadata out of the HTTP headers.
fn annotate(path: &'static str, headers: &HeaderMap, uri: &http::Uri, peer: &Peer) -> Result<Call, Status> {
    let wait = match headers.get("grpc-timeout").map(HeaderValue::as_bytes) {
        None | Some(b"") => None,
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            // Zero is no timeout, as in Go.
            let wait = timeout::parse(&text);
            Some(wait.ok_or_else(|| Status::new(Code::InvalidArgument, format!("invalid grpc-timeout: {text}")))?)
        }
    };
    let mut metadata = Metadata::new();
    for (name, value) in headers {
        let name = name.as_str();
        let bytes = value.as_bytes();
        if name == "authorization" {
            metadata.push("authorization", bytes.to_vec());
        }
        let key = match name.strip_prefix("grpc-metadata-") {
            Some(rest) => rest.to_owned(),
            None if PERMANENT.contains(&name) => format!("grpcgateway-{name}"),
            None => continue,
        };
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            continue;
        }
        if name.ends_with("-bin") {
            let text = String::from_utf8_lossy(bytes);
            let decoded = protojson::base64_decode(text.trim_end_matches('=')).ok_or_else(|| {
                Status::new(
                    Code::InvalidArgument,
                    format!("invalid binary header {}: illegal base64 data", canonical(name)),
                )
            })?;
            metadata.push(key, decoded);
        } else if bytes.iter().all(|b| (0x20..0x7f).contains(b)) {
            metadata.push(key, bytes.to_vec());
        }
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
    if let Some(host) = text("x-forwarded-host").or(uri.authority().map(|a| a.as_str())).or(text("host")) {
        metadata.push("x-forwarded-host", host.as_bytes().to_vec());
    }
    let mut from: Vec<String> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|v| v.to_str().ok().map(str::to_owned))
        .collect();
    from.extend(peer.address.map(|a| a.ip().to_string()));
    if !from.is_empty() {
        metadata.push("x-forwarded-for", from.join(", "));
    }
    Ok(Call {
        path,
        metadata,
        timeout: wait.filter(|w| !w.is_zero()),
    })
}

/// `grpc-metadata-x` as `Grpc-Metadata-X`.
fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let (head, rest) = part.split_at(part.len().min(1));
        format!("{}{rest}", head.to_ascii_uppercase())
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}
