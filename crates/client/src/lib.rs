//! The client library under etcdctl, the proxy and the load generator: endpoints, one connection, typed calls.
//!
//! Stands at step 1 of the life of a Put: picks an endpoint, sends, and knows what may be sent again. Never hides an error behind
//! a guess: a write whose fate is unknown is reported, not repeated.
//!
//! Code map: `endpoint` (what a URL means), `connect` (bytes to a server), `channel` (the connection, replaced when it breaks, and the
//! retry rules), `stream` (typed streaming calls), `calls` (etcd's methods by name).

mod calls;
mod channel;
mod connect;
mod endpoint;
mod stream;

pub use calls::path;
pub use channel::{Client, Options, Repeat};
#[cfg(feature = "tls")]
pub use connect::TlsConnector;
pub use connect::{Connector, Io, PlainConnector};
pub use endpoint::{Endpoint, EndpointError, Target};
pub use stream::{Receiver, Sender};
