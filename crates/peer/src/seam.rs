//! What this crate asks of the member around it: raft's door, the removed members, the log, the metrics, pages, connections.
//!
//! All of it is called from network tasks, so nothing here may block; what waits is a future.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use api::MemberId;
use api::pb::raftpb::Message;
use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::RequestBody;
use crate::snapshot::ImageReader;
use crate::url::PeerUrl;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Messages the member should be able to queue from its peers, once for proposals and once for everything else.
pub const RECEIVE_QUEUE: usize = 4096;

/// Why raft did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("receiving buffer is full")]
    Full,
    #[error("raft: stopped")]
    Stopped,
}

/// The member, as its peers' traffic sees it. None of these calls may come back into the transport: it may hold its locks.
pub trait Host: Send + Sync + 'static {
    /// Queues a message for raft. Never blocks.
    ///
    /// # Errors
    /// When the queue is full or raft has stopped: the message is lost, which raft bears.
    fn process(&self, message: Message) -> Result<(), Refusal>;

    /// Queues a proposal that a follower forwarded. Never blocks. A queue of its own, because proposals may have to wait for a leader
    /// and nothing else may wait behind them.
    ///
    /// # Errors
    /// As for [`Host::process`].
    fn propose(&self, message: Message) -> Result<(), Refusal>;

    /// Whether this id belonged to a member that was removed. Asked for every message: must be cheap.
    fn is_removed(&self, id: MemberId) -> bool;

    /// A message to this peer was lost.
    fn report_unreachable(&self, id: MemberId);

    /// A snapshot for this peer has arrived, or not.
    fn report_snapshot(&self, id: MemberId, arrived: bool);

    /// A peer says that this member was removed from the cluster: it must stop for good. May come more than once.
    fn removed(&self, by: MemberId);

    /// Stores the image that follows `message` (a MsgSnap) so that raft can be given the message next; answers its size in bytes.
    /// The message itself comes through [`Host::process`] afterwards.
    fn receive_snapshot<'a>(&'a self, message: &'a Message, image: ImageReader) -> BoxFuture<'a, io::Result<u64>>;
}

/// A connection's two directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Makes connections to peers.
pub trait Connect: Send + Sync + 'static {
    /// A connection ready for HTTP/1.1: for `https` and `unixs` the TLS handshake is done, with no ALPN or `http/1.1` alone.
    fn connect<'a>(&'a self, url: &'a PeerUrl) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;
}

/// What the peer port serves beside `/raft*`: `/members`, `/version`, `/leases`, ...
pub trait Pages: Send + Sync + 'static {
    fn answer(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<Bytes>>;
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Number(u64),
    Duration(Duration),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<MemberId> for Value {
    fn from(id: MemberId) -> Value {
        Value::Text(id.to_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Value {
        Value::Duration(duration)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => out.write_str(text),
            Value::Number(number) => number.fmt(out),
            Value::Duration(duration) => write!(out, "{duration:?}"),
        }
    }
}

/// The server's log. Messages and field names are etcd's.
pub trait Log: Send + Sync + 'static {
    fn is_on(&self, level: Level) -> bool;
    fn write(&self, level: Level, message: &str, fields: &[(&'static str, Value)]);
}

/// What is counted, under etcd's names. Each does nothing unless implemented.
#[allow(unused_variables)]
pub trait Metrics: Send + Sync + 'static {
    /// `etcd_network_peer_sent_bytes_total{To}`.
    fn sent_bytes(&self, to: MemberId, bytes: u64) {}
    /// `etcd_network_peer_received_bytes_total{From}`; link heartbeats count for member 0.
    fn received_bytes(&self, from: MemberId, bytes: u64) {}
    /// `etcd_network_peer_sent_failures_total{To}`.
    fn sent_failure(&self, to: MemberId) {}
    /// `etcd_network_peer_received_failures_total{From}`: a member's hex id, or the remote address.
    fn received_failure(&self, from: &str) {}
    /// `etcd_network_peer_round_trip_time_seconds{To}`.
    fn round_trip(&self, to: MemberId, time: Duration) {}
    /// `etcd_network_active_peers{Local,Remote}` by one up or down; each down also counts in `etcd_network_disconnected_peers_total`.
    fn peer_active(&self, remote: MemberId, active: bool) {}
    /// `etcd_network_snapshot_send_inflights_total{To}` one up.
    fn snapshot_send_started(&self, to: MemberId) {}
    /// `etcd_network_snapshot_send_inflights_total{To}` one down; with a time `.._send_success` and `.._send_total_duration_seconds`, else
    /// `.._send_failures`.
    fn snapshot_send_ended(&self, to: MemberId, took: Option<Duration>) {}
    /// `etcd_network_snapshot_receive_inflights_total{From}` one up.
    fn snapshot_receive_started(&self, from: MemberId) {}
    /// `etcd_network_snapshot_receive_inflights_total{From}` one down; with a time also `.._receive_success` and
    /// `.._receive_total_duration_seconds`.
    fn snapshot_receive_ended(&self, from: MemberId, took: Option<Duration>) {}
    /// `etcd_network_snapshot_receive_failures{From}`: a member's hex id, or `UNKNOWN_SNAPSHOT_SENDER`.
    fn snapshot_receive_failure(&self, from: &str) {}
}

/// Counts nothing.
pub struct NoMetrics;

impl Metrics for NoMetrics {}

/// Writes nothing.
pub struct NoLog;

impl Log for NoLog {
    fn is_on(&self, _: Level) -> bool {
        false
    }

    fn write(&self, _: Level, _: &str, _: &[(&'static str, Value)]) {}
}
