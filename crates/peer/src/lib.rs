//! Traffic between members, as Go's rafthttp speaks it: streams, posted messages, snapshots, probes.
//!
//! Stands beside the log in the life of a Put: MsgApp out, MsgAppResp back, and a quorum commits. Messages are dropped rather than waited for, and one slow peer
//! never slows the others. Never looks into raft, the log or the database: messages go to a [`Host`], images come and go as bytes.
//! Never makes TLS of its own: connections out come from a [`Connect`], those in are handed to [`Transport::serve`].

pub mod codec;

mod body;
mod client;
mod connect;
mod handler;
mod peers;
mod pipeline;
mod probe;
mod reader;
mod seam;
mod serve;
mod shared;
mod snapshot;
mod status;
mod transport;
mod url;
mod version;
mod writer;

pub use body::{Body, RequestBody};
pub use client::fetch;
pub use connect::Plain;
pub use pipeline::PIPELINE_QUEUE;
pub use seam::{BoxFuture, Connect, Host, Io, Level, Log, Metrics, NoLog, NoMetrics, Pages, RECEIVE_QUEUE, Refusal, Value};
pub use serve::Listener;
pub use shared::{Config, ConfigError, Timing};
pub use snapshot::{Image, ImageReader, ImageWriter, SNAPSHOTS_IN_FLIGHT, image};
pub use transport::Transport;
pub use url::{PeerUrl, UrlError};
pub use writer::{STREAM_QUEUE, StreamBody, StreamKind};
