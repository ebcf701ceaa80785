//! What the HTTP pages ask of the member: [`Rpc`] for the gateway, [`Pages`] for the health pages. Implemented by the shell.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use api::{MemberId, Status};
use bytes::Bytes;
use tokio::sync::mpsc;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// gRPC metadata of a request: lower-case names, in the order they came. Values of `-bin` names are decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pairs: Vec<(String, Bytes)>,
}

impl Metadata {
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// # Panics
    /// When the name has an upper-case letter.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Bytes>) {
        let name = name.into();
        assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "metadata names are lower case");
        self.pairs.push((name, value.into()));
    }

    /// The first value under a (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The first value under a name, when it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v))
    }
}

/// One call: everything but the messages.
#[derive(Clone, Debug)]
pub struct Call {
    /// `/etcdserverpb.KV/Range`
    pub path: &'static str,
    pub metadata: Metadata,
    /// What the client gave as `grpc-timeout`. The gateway ends the call by itself when it is over; a handler may use it to plan.
    pub timeout: Option<Duration>,
}

/// The entry that the gRPC transport and the gateway share: messages are protobuf bytes.
///
/// Dropping a returned future cancels the call.
pub trait Rpc: Send + Sync + 'static {
    /// A call of one request and one answer.
    fn unary(&self, call: Call, request: Bytes) -> BoxFuture<Result<Bytes, Status>>;

    /// A streaming call. `requests` ends when the client has sent its last; `answers` is bounded, so a slow client is felt by whoever
    /// sends. The future ends with the call's status after the last answer was sent.
    fn stream(&self, call: Call, requests: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Bytes>) -> BoxFuture<Result<(), Status>>;
}

/// What `/version` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// `3.7.0`; none before the cluster has decided.
    pub cluster: Option<String>,
    /// `3.7.0`; none when the database does not say.
    pub storage: Option<String>,
}

/// One active alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub member: MemberId,
    /// The number of `etcdserverpb.AlarmType`: 1 NOSPACE, 2 CORRUPT, anything else by hand.
    pub kind: i32,
}

/// What the health and debug pages ask of the member.
pub trait Pages: Send + Sync + 'static {
    fn versions(&self) -> Versions;
    fn has_leader(&self) -> bool;
    fn is_learner(&self) -> bool;
    fn auth_enabled(&self) -> bool;
    fn alarms(&self) -> Vec<Alarm>;
    /// A read of one key through the read index (or, if `serializable`, from what is here). "Not allowed" by auth counts as healthy.
    /// The error is the text that the page prints.
    fn read(&self, serializable: bool) -> BoxFuture<Result<(), String>>;
    /// The value of `raft.status` in `/debug/vars`: a JSON object.
    fn raft_status(&self) -> String;
    /// The command line, for `/debug/vars`.
    fn command_line(&self) -> Vec<String> {
        std::env::args().collect()
    }
}
