//! The HTTP side of the client port: JSON gateway, health pages, version, metrics, debug pages, CORS and host check.
//!
//! One transport-free door, [`Http::handle`], takes an [`http::Request`] and gives an [`http::Response`]. HTTP/1.1 comes in through
//! [`serve`], HTTP/2 through the gRPC transport. Stands before step 2 of the life of a Put: it turns JSON into the bytes of the
//! gRPC message and hands them to the same entry as the gRPC transport. Never touches the store, never decodes a message into Rust types.

mod access;
pub(crate) mod answer;
mod body;
mod gateway;
mod health;
mod pages;
#[cfg(test)]
mod replay;
mod routes;
mod seam;
pub mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod timeout;

pub use access::Access;
pub use body::{Body, BodyError};
pub use pages::version_json;
pub use seam::{Alarm, BoxFuture, Call, Metadata, Pages, Rpc, Versions};

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};

use crate::metrics::Metrics;

/// Which pages a listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doors {
    /// A client listener: every page, the gateway, CORS and the host check.
    Client,
    /// `--listen-metrics-urls`: `/metrics` and the health pages, without CORS or host check.
    Metrics,
}

/// What the flags say about the HTTP pages.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--enable-grpc-gateway`.
    pub gateway: bool,
    /// `--enable-pprof`, or `--log-level=debug`.
    pub pprof: bool,
    /// `--log-level=debug`: `/debug/requests` and `/debug/events`.
    pub trace_pages: bool,
    /// `--cors` and `--host-whitelist`.
    pub access: Access,
    /// `--client-cert-auth`.
    pub client_cert_auth: bool,
    /// Largest gRPC message that is taken, in bytes (`--max-request-bytes` and the overhead).
    pub max_message_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            gateway: true,
            pprof: false,
            trace_pages: false,
            access: Access::default(),
            client_cert_auth: false,
            max_message_bytes: (api::limits::MAX_REQUEST_BYTES + api::limits::GRPC_OVERHEAD_BYTES) as usize,
        }
    }
}

/// What the transport knows of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where the client is.
    pub address: Option<SocketAddr>,
    /// True when the connection is TLS: the host check is left out.
    pub tls: bool,
    /// The common name of the client's certificate, when there is one.
    pub common_name: Option<String>,
}

/// The HTTP pages of one member.
pub struct Http {
    pub(crate) rpc: Arc<dyn Rpc>,
    pub(crate) pages: Arc<dyn Pages>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) options: Options,
}

impl Http {
    pub fn new(rpc: Arc<dyn Rpc>, pages: Arc<dyn Pages>, metrics: Arc<Metrics>, options: Options) -> Arc<Http> {
        Arc::new(Http {
            rpc,
            pages,
            metrics,
            options,
        })
    }

    /// Answers one request. A streaming answer goes on after this has returned, until the stream ends or its body is dropped.
    pub async fn handle(self: &Arc<Self>, doors: Doors, peer: &Peer, request: Request<Body>) -> Response<Body> {
        routes::handle(self, doors, peer, request).await
    }
}
