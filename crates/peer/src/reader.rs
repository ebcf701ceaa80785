//! The other half of a stream: a GET to the peer, whose endless answer is read, again and again.

use std::io;
use std::sync::Arc;

use api::MemberId;
use api::pb::raftpb::Message;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout};

use crate::body::Body;
use crate::client::{self, Patience, next_chunk, read_all};
use crate::codec::{CodecError, Frame, MessageDecoder, MsgAppDecoder, message_len};
use crate::seam::{Level, Refusal, Value};
use crate::shared::{Shared, Undelivered};
use crate::status::Status;
use crate::url::{PeerUrl, Urls};
use crate::version;
use crate::writer::StreamKind;

/// The longest explanation of a refusal that is read, in bytes.
const REASON_LIMIT: usize = 64 * 1024;

pub(crate) struct Reader {
    pub shared: Arc<Shared>,
    pub peer: MemberId,
    pub kind: StreamKind,
    pub urls: Arc<Urls>,
    pub status: Arc<Status>,
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("unsupported stream type")]
    Unsupported,
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("peer {peer} failed to find local node {local}")]
    NotFound { peer: MemberId, local: MemberId },
    #[error("{0}")]
    Precondition(String),
    #[error("unhandled http status {0}")]
    Status(u16),
}

/// How an open stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("EOF")]
    Eof,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Reader {
    /// Reads until the task is dropped.
    pub async fn run(self) {
        loop {
            let next_dial = Instant::now() + self.shared.config.timing.redial;
            let url = self.urls.pick();
            if let Err(error) = self.dial_and_read(&url).await {
                self.urls.failed(&url);
                if !matches!(error, DialError::Unsupported) {
                    self.status.deactivate(self.kind.log_name(), "dial", &error.to_string());
                }
            }
            sleep_until(next_dial).await;
        }
    }

    async fn dial_and_read(&self, url: &PeerUrl) -> Result<(), DialError> {
        let timing = &self.shared.config.timing;
        let patience = Patience {
            dial: timing.dial,
            read: Some(timing.silence),
            write: Some(timing.silence),
        };
        let (mut sender, driver) = client::open(&*self.shared.connector, url, patience).await?;
        let work = async {
            let path = format!("/raft/stream/{}/{}", self.kind.path_name(), self.shared.id());
            let mut request = client::request(url, Method::GET, &path)
                .body(Body::Full(None))
                .map_err(io::Error::other)?;
            request.headers_mut().extend(self.shared.headers.clone());
            let to = HeaderValue::from_str(&self.peer.to_string()).map_err(io::Error::other)?;
            request.headers_mut().insert("x-raft-to", to);
            let answer = timeout(timing.dial, sender.send_request(request)).await;
            let answer = answer
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
                .map_err(io::Error::other)?;
            let stream = match self.check(answer).await {
                Ok(stream) => stream,
                Err(error) => return Ok(Err(error)),
            };
            self.stream(stream).await;
            Ok(Ok(()))
        };
        client::alongside(work, driver).await?
    }

    /// Reads an answer's status, which says a lot.
    async fn check(&self, answer: http::Response<Incoming>) -> Result<Incoming, DialError> {
        let stated = version::stated(answer.headers().get("x-server-version"));
        let own = self.shared.version;
        if stated.is_none_or(|remote| !version::streams_supported(remote, own)) {
            return Err(DialError::Unsupported);
        }
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            StatusCode::GONE => {
                self.shared.removed_by(self.peer);
                Err(DialError::Removed)
            }
            StatusCode::NOT_FOUND => Err(DialError::NotFound {
                peer: self.peer,
                local: self.shared.id(),
            }),
            StatusCode::PRECONDITION_FAILED => {
                let body = timeout(self.shared.config.timing.dial, read_all(answer.into_body(), REASON_LIMIT)).await;
                let body = body.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Err(DialError::Precondition(explain_refusal(&self.shared, self.peer, &body)))
            }
            other => Err(DialError::Status(other.as_u16())),
        }
    }

    async fn stream(&self, body: Incoming) {
        self.status.activate();
        let fields = [
            ("stream-reader-type", Value::from(self.kind.log_name())),
            ("remote-peer-id", self.peer.into()),
        ];
        let established = "established TCP streaming connection with remote peer";
        self.shared.log(Level::Info, established, &fields);
        let end = match self.decode(body).await {
            Ok(()) => StreamEnd::Eof,
            Err(end) => end,
        };
        let [kind, peer] = fields;
        let fields = [kind, peer, ("error", Value::from(end.to_string()))];
        self.shared
            .log(Level::Warn, "lost TCP streaming connection with remote peer", &fields);
        if !matches!(end, StreamEnd::Eof) {
            self.status.deactivate(self.kind.log_name(), "read", &end.to_string());
        }
    }

    async fn decode(&self, mut body: Incoming) -> Result<(), StreamEnd> {
        let mut decoder = match self.kind {
            StreamKind::MsgApp => Decoder::MsgApp(MsgAppDecoder::new(self.peer.0, self.shared.id().0)),
            StreamKind::Message => Decoder::Message(MessageDecoder::default()),
        };
        while let Some(chunk) = next_chunk(&mut body).await {
            decoder.push(&chunk?);
            while let Some(frame) = decoder.frame()? {
                match frame {
                    Frame::LinkHeartbeat => {}
                    Frame::Message(message) => self.deliver(message),
                }
            }
        }
        match decoder.unread() {
            0 => Ok(()),
            unread => Err(CodecError::CutOff(unread).into()),
        }
    }

    fn deliver(&self, message: Message) {
        let from = MemberId(message.from());
        let kind = message.r#type();
        self.shared.metrics.received_bytes(from, message_len(&message) as u64);
        match self.shared.deliver(message) {
            Ok(()) => {}
            Err(Undelivered::Refused(Refusal::Full)) => {
                self.shared.metrics.received_failure(&from.to_string());
                let fields = [("message-type", Value::from(kind.as_str_name())), ("from", from.into())];
                let dropped = "dropped internal Raft message since receiving buffer is full (overloaded network)";
                self.shared.log(Level::Warn, dropped, &fields);
            }
            Err(error) => {
                let fields = [("error", Value::from(error.to_string()))];
                self.shared.log(Level::Warn, "failed to process Raft message", &fields);
            }
        }
    }
}

/// The words of a 412, which are told apart by their text alone.
pub(crate) fn explain_refusal(shared: &Shared, peer: MemberId, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let fields = [("remote-peer-id", Value::from(peer)), ("error", Value::from(text))];
    match text {
        "incompatible version" => {
            let message = "request sent was ignored by remote peer due to server version incompatibility";
            shared.log(Level::Warn, message, &fields);
            text.to_owned()
        }
        "cluster ID mismatch" => {
            let message = "request sent was ignored by remote peer due to cluster ID mismatch";
            shared.log(Level::Warn, message, &fields);
            text.to_owned()
        }
        _ => format!("unhandled error {text:?} when precondition failed"),
    }
}

enum Decoder {
    MsgApp(MsgAppDecoder),
    Message(MessageDecoder),
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Decoder::MsgApp(decoder) => decoder.push(bytes),
            Decoder::Message(decoder) => decoder.push(bytes),
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>, CodecError> {
        match self {
            Decoder::MsgApp(decoder) => decoder.frame(),
            Decoder::Message(decoder) => decoder.frame(),
        }
    }

    fn unread(&self) -> usize {
        match self {
            Decoder::MsgApp(decoder) => decoder.unread(),
            Decoder::Message(decoder) => decoder.unread(),
        }
    }
}
