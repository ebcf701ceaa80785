//! HTTP/2 and gRPC for the hot path: a server and a client, each connection one task.
//!
//! Stands at steps 1, 2 and 12 of the life of a Put: bytes from a socket become a message handed to a [`Service`], whose answer
//! becomes bytes again. Knows nothing of etcd: methods are numbers that the service gives out, messages are [`bytes::Bytes`].
//! Never opens or accepts a socket (the caller hands over anything that reads and writes), never spawns a task a request (a
//! handler's future is polled inside its connection's task; a handler that computes for long spawns for itself), never retries.
//!
//! Code map: `frame` (the 9-byte header and the payloads), `hpack` (header compression), `flow` (windows), `output` (what waits
//! to be written), `wire` (the protocol state of a connection, without I/O), `server` and `client` (the two roles that drive a
//! `wire` over a socket), `grpc` (message framing, statuses, time-outs), `channel` (messages of a streaming call).

mod body;
pub mod channel;
pub mod client;
mod config;
mod deadlines;
mod driver;
mod encoded;
mod frame;
mod grpc;
mod hpack;
mod output;
mod ready;
pub mod server;
mod service;
mod status;
mod streams;
mod wire;

pub use body::{Body, BoxError, HttpHandler};
pub use channel::{MessageReceiver, MessageSender, SendError};
pub use config::Config;
pub use encoded::{Builder, Encoded};
pub use server::serve_connection;
pub use service::{BoxFuture, CallEvent, Connection, Context, Metadata, MethodId, Reply, Route, Service};
pub use status::{Code, Status};
