//! Answers what peers ask under `/raft`: streams, posted messages, snapshots, probes.
//!
//! The order of the checks, the statuses and the texts are etcd's: members tell refusals apart by them, and stop for good on some.

use std::io;
use std::time::{Instant, SystemTime};

use api::MemberId;
use api::pb::raftpb::{Message, MessageType};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::body::{Body, RequestBody};
use crate::codec::{CodecError, Frame, MessageDecoder, SNAPSHOT_MESSAGE_LIMIT, STREAM_LIMIT, decode_message, message_len};
use crate::probe;
use crate::seam::{Level, Value};
use crate::shared::Undelivered;
use crate::snapshot::ImageReader;
use crate::transport::Transport;
use crate::version;
use crate::writer::StreamKind;

const UNKNOWN_SENDER: &str = "UNKNOWN_SNAPSHOT_SENDER";

impl Transport {
    /// Answers a request under `/raft`; any other path is 404. `remote` is the sender's address, for the metrics.
    pub async fn handle(&self, request: Request<RequestBody>, remote: &str) -> Response<Body> {
        match request.uri().path() {
            "/raft" => self.pipeline(request, remote).await,
            "/raft/snapshot" => self.snapshot(request, remote).await,
            "/raft/probing" => plain(StatusCode::OK, probe::answer(SystemTime::now())),
            path if path.starts_with("/raft/stream/") => self.stream(&request),
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    async fn pipeline(&self, request: Request<RequestBody>, remote: &str) -> Response<Body> {
        if request.method() != Method::POST {
            return wrong_method("POST");
        }
        let answer = match self.admit(request.headers()) {
            Ok(()) => self.posted_message(request, remote).await,
            Err(refusal) => text(StatusCode::PRECONDITION_FAILED, refusal),
        };
        self.with_cluster(answer)
    }

    async fn posted_message(&self, request: Request<RequestBody>, remote: &str) -> Response<Body> {
        self.add_remote_from(request.headers());
        let body = match request.into_body().read_all(STREAM_LIMIT as usize).await {
            Ok(body) => body,
            Err(error) => {
                self.warn("failed to read Raft message", &error);
                self.shared.metrics.received_failure(remote);
                return text(StatusCode::BAD_REQUEST, "error reading raft message");
            }
        };
        let length = body.len() as u64;
        let message = match decode_message(body) {
            Ok(message) => message,
            Err(error) => {
                self.warn("failed to unmarshal Raft message", &error);
                self.shared.metrics.received_failure(remote);
                return text(StatusCode::BAD_REQUEST, "error unmarshalling raft message");
            }
        };
        self.shared.metrics.received_bytes(MemberId(message.from()), length);
        match self.shared.deliver(message) {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(Undelivered::Refused(refusal)) => {
                self.warn("failed to process Raft message", &refusal);
                // Go breaks the connection off; so do we, behind the answer.
                let mut answer = text(StatusCode::INTERNAL_SERVER_ERROR, "error processing raft message");
                answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
                answer
            }
            Err(forbidden) => forbid(&forbidden),
        }
    }

    async fn snapshot(&self, request: Request<RequestBody>, remote: &str) -> Response<Body> {
        let metrics = &self.shared.metrics;
        if request.method() != Method::POST {
            metrics.snapshot_receive_failure(UNKNOWN_SENDER);
            return wrong_method("POST");
        }
        let answer = match self.admit(request.headers()) {
            Ok(()) => self.posted_snapshot(request, remote).await,
            Err(refusal) => {
                metrics.snapshot_receive_failure(UNKNOWN_SENDER);
                text(StatusCode::PRECONDITION_FAILED, refusal)
            }
        };
        self.with_cluster(answer)
    }

    async fn posted_snapshot(&self, request: Request<RequestBody>, remote: &str) -> Response<Body> {
        let started = Instant::now();
        self.add_remote_from(request.headers());
        let metrics = &self.shared.metrics;
        let (message, image) = match read_snapshot_head(request.into_body()).await {
            Ok(head) => head,
            Err(error) => {
                self.warn("failed to decode Raft message", &error);
                metrics.received_failure(remote);
                metrics.snapshot_receive_failure("0");
                return text(StatusCode::BAD_REQUEST, &format!("failed to decode raft message ({error})"));
            }
        };
        let from = MemberId(message.from());
        metrics.received_bytes(from, message_len(&message) as u64);
        if message.r#type() != MessageType::MsgSnap {
            let fields = [
                ("remote-snapshot-sender-id", from.into()),
                ("message-type", Value::from(message.r#type().as_str_name())),
            ];
            self.shared.log(Level::Warn, "unexpected Raft message type", &fields);
            metrics.snapshot_receive_failure(&from.to_string());
            return text(StatusCode::BAD_REQUEST, "wrong raft message type");
        }
        // Whoever may not send a snapshot shall not fill our disk first.
        if let Err(forbidden) = self.shared.admit_message(&message) {
            return forbid(&forbidden);
        }
        metrics.snapshot_receive_started(from);
        let received = self.receive_snapshot(message, image).await;
        metrics.snapshot_receive_ended(from, received.is_ok().then(|| started.elapsed()));
        match received {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(answer) => {
                metrics.snapshot_receive_failure(&from.to_string());
                *answer
            }
        }
    }

    async fn receive_snapshot(&self, message: Message, image: ImageReader) -> Result<(), Box<Response<Body>>> {
        let from = MemberId(message.from());
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let fields = [
            ("remote-snapshot-sender-id", Value::from(from)),
            ("incoming-snapshot-index", metadata.map_or(0, |metadata| metadata.index()).into()),
        ];
        self.shared.log(Level::Info, "receiving database snapshot", &fields);
        let failed = |what: &str, error: &dyn std::error::Error| {
            self.warn(what, error);
            let words = match what {
                "failed to process Raft message" => "failed to process raft message",
                _ => "failed to save KV snapshot",
            };
            Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{words} ({error})")))
        };
        let saved = self.shared.host.receive_snapshot(&message, image).await;
        let size = saved.map_err(|error| failed("failed to save incoming database snapshot", &error))?;
        self.shared.metrics.received_bytes(from, size);
        let [sender, index] = fields;
        let fields = [sender, index, ("incoming-snapshot-size-bytes", size.into())];
        self.shared.log(Level::Info, "received and saved database snapshot", &fields);
        match self.shared.deliver(message) {
            Ok(()) => Ok(()),
            Err(Undelivered::Refused(refusal)) => Err(failed("failed to process Raft message", &refusal)),
            Err(forbidden) => Err(Box::new(forbid(&forbidden))),
        }
    }

    fn stream(&self, request: &Request<RequestBody>) -> Response<Body> {
        if request.method() != Method::GET {
            return wrong_method("GET");
        }
        let mut answer = match self.open_stream(request) {
            Ok(answer) => answer,
            Err((status, words)) => text(status, words),
        };
        let version = self.shared.headers["x-server-version"].clone();
        answer.headers_mut().insert("x-server-version", version);
        self.with_cluster(answer)
    }

    fn open_stream(&self, request: &Request<RequestBody>) -> Result<Response<Body>, (StatusCode, &'static str)> {
        let headers = request.headers();
        self.admit(headers).map_err(|refusal| (StatusCode::PRECONDITION_FAILED, refusal))?;
        let path = request.uri().path().strip_prefix("/raft/stream/").unwrap_or_default();
        let (kind, from) = match path.split_once('/') {
            Some(("msgapp", from)) if !from.contains('/') => (StreamKind::MsgApp, from),
            Some(("message", from)) if !from.contains('/') => (StreamKind::Message, from),
            _ => return Err((StatusCode::NOT_FOUND, "invalid path")),
        };
        let from = parse_id(from).ok_or((StatusCode::NOT_FOUND, "invalid from"))?;
        let fields = [("remote-peer-id-from", Value::from(from))];
        if self.shared.host.is_removed(from) {
            let message = "rejected stream from remote peer because it was removed";
            self.shared.log(Level::Warn, message, &fields);
            return Err((StatusCode::GONE, "removed member"));
        }
        if !self.is_peer(from) {
            // Perhaps our log is behind, and this is a member that joined later.
            self.add_remote_as(from, headers);
            self.shared.log(Level::Warn, "failed to find remote peer in cluster", &fields);
            return Err((StatusCode::NOT_FOUND, "error sender not found"));
        }
        let to = headers.get("x-raft-to").map_or(&b""[..], HeaderValue::as_bytes);
        if to != self.shared.id().to_string().as_bytes() {
            self.shared.log(Level::Warn, "ignored streaming request; ID mismatch", &fields);
            return Err((StatusCode::PRECONDITION_FAILED, "to field mismatch"));
        }
        match self.attach(from, kind) {
            Some(stream) => Ok(Response::new(Body::Stream(Box::new(stream)))),
            // Removed this very moment.
            None => Err((StatusCode::NOT_FOUND, "error sender not found")),
        }
    }

    /// Whether the sender may talk to us at all: its version first, its cluster then.
    fn admit(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let shared = &self.shared;
        let server = version::stated(headers.get("x-server-version"));
        let minimum = version::stated(headers.get("x-min-cluster-version"));
        let name = headers.get("x-server-from").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let compatible = server
            .zip(minimum)
            .is_some_and(|(server, minimum)| version::compatible(server, minimum, shared.version, shared.min_cluster_version));
        if !compatible {
            let fields = [("remote-peer-server-name", Value::from(name))];
            shared.log(Level::Warn, "failed version compatibility check", &fields);
            return Err("incompatible version");
        }
        let cluster = headers.get("x-etcd-cluster-id").map_or(&b""[..], HeaderValue::as_bytes);
        if cluster != shared.config.cluster.to_string().as_bytes() {
            let fields = [
                ("remote-peer-server-name", Value::from(name)),
                ("remote-peer-cluster-id", String::from_utf8_lossy(cluster).into_owned().into()),
            ];
            shared.log(Level::Warn, "request cluster ID mismatch", &fields);
            return Err("cluster ID mismatch");
        }
        Ok(())
    }

    fn add_remote_from(&self, headers: &HeaderMap) {
        let from = headers.get("x-server-from").and_then(|from| parse_id(from.to_str().ok()?));
        if let Some(from) = from {
            self.add_remote_as(from, headers);
        }
    }

    fn add_remote_as(&self, from: MemberId, headers: &HeaderMap) {
        let urls = headers.get("x-peerurls").and_then(|urls| urls.to_str().ok()).unwrap_or_default();
        if urls.is_empty() || self.is_peer(from) {
            return;
        }
        let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
        if let Err(error) = self.add_remote(from, &urls) {
            self.warn("a request states peer URLs that are none", &error);
        }
    }

    fn with_cluster(&self, mut answer: Response<Body>) -> Response<Body> {
        let cluster = self.shared.headers["x-etcd-cluster-id"].clone();
        answer.headers_mut().insert("x-etcd-cluster-id", cluster);
        answer
    }

    fn warn(&self, message: &str, error: &dyn std::error::Error) {
        self.shared.log(Level::Warn, message, &[("error", error.to_string().into())]);
    }
}

/// Why the message before an image could not be read.
#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

async fn read_snapshot_head(mut body: RequestBody) -> Result<(Message, ImageReader), HeadError> {
    let mut decoder = MessageDecoder::with_limit(SNAPSHOT_MESSAGE_LIMIT);
    loop {
        match decoder.frame()? {
            Some(Frame::Message(message)) => return Ok((message, ImageReader::new(decoder.into_rest(), body))),
            Some(Frame::LinkHeartbeat) => {
                // Not a snapshot either; the caller says so.
                return Ok((Message::default(), ImageReader::new(Bytes::new(), body)));
            }
            None => {}
        }
        match body.chunk().await {
            Some(chunk) => decoder.push(&chunk?),
            None => return Err(CodecError::CutOff(decoder.unread()).into()),
        }
    }
}

/// A member id in lower- or upper-case hex.
fn parse_id(text: &str) -> Option<MemberId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits).map(MemberId)
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::full(body));
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert("content-type", content_type);
    answer
}

/// As Go's `http.Error`: the words and a newline.
fn text(status: StatusCode, words: &str) -> Response<Body> {
    let mut answer = plain(status, format!("{words}\n"));
    let nosniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert("x-content-type-options", nosniff);
    answer
}

fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    answer.headers_mut().insert("allow", HeaderValue::from_static(allowed));
    answer
}

/// Makes the sender stop for good: only for a removed sender, or a message for somebody else.
fn forbid(reason: &Undelivered) -> Response<Body> {
    let mut answer = plain(StatusCode::FORBIDDEN, format!("{{\"message\":\"{reason}\"}}"));
    let content_type = HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", content_type);
    answer
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::Full(None));
    *answer.status_mut() = status;
    answer
}
