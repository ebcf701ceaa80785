//! The seam between transport and handlers: what a service is asked, and what it is told about a call.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Encoded, MessageReceiver, MessageSender, Status};

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What the caller of [`crate::serve_connection`] knows about a connection (peer address, TLS client certificate, ...), handed
/// to each call untouched.
pub type Connection = Arc<dyn Any + Send + Sync>;

/// A method's number, given out by [`Service::route`] and handed back with each call.
pub type MethodId = u32;

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One request, one answer: [`Service::unary`] is called when the request is complete.
    Unary(MethodId),
    /// Everything else: [`Service::stream`] is called as soon as the headers are there.
    Stream(MethodId),
    /// Answered with code 12, `unknown method <m> for service <svc>`.
    UnknownMethod,
    /// Answered with code 12, `unknown service <svc>`.
    UnknownService,
}

/// The answer of a unary call. `Ready` costs no allocation; `Later` is polled inside the connection's task.
pub enum Reply {
    Ready(Result<Encoded, Status>),
    Later(BoxFuture<Result<Encoded, Status>>),
}

impl Reply {
    pub fn later(future: impl Future<Output = Result<Encoded, Status>> + Send + 'static) -> Reply {
        Reply::Later(Box::pin(future))
    }
}

/// What happens to a call, for metrics. Sizes are those of messages without gRPC's 5-byte prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEvent {
    Started,
    Received {
        bytes: usize,
    },
    Sent {
        bytes: usize,
    },
    /// The last event of a call, with its gRPC code. A call that the peer gave up ends with code 1.
    Handled {
        code: u8,
        /// Since its headers came.
        took: std::time::Duration,
    },
}

/// gRPC handlers. All calls come from the connection's task: what takes long belongs on another thread.
pub trait Service: Send + Sync + 'static {
    /// Looks up `/service/method`.
    fn route(&self, service: &str, method: &str) -> Route;

    /// Answers a unary call. The future is dropped when the peer resets the stream, the deadline passes or the connection ends.
    fn unary(&self, method: MethodId, cx: Context, message: Bytes) -> Reply;

    /// Runs a streaming call until the future ends; queued messages are sent before its status. Dropped as in [`Service::unary`];
    /// then `requests` ends with an error and `answers` is closed, for whom they were given away to.
    fn stream(&self, method: MethodId, cx: Context, requests: MessageReceiver, answers: MessageSender) -> BoxFuture<Result<(), Status>>;

    /// Told of each step of a routed call.
    fn observe(&self, _method: MethodId, _event: CallEvent) {}
}

/// What a handler knows about its call.
#[derive(Clone)]
pub struct Context {
    pub connection: Connection,
    pub metadata: Metadata,
    /// From `grpc-timeout`. The transport answers code 4 by itself when it passes.
    pub deadline: Option<Instant>,
}

impl Context {
    /// The connection's context, if it is a `T`.
    pub fn connection<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.connection.downcast_ref()
    }
}

/// The request's headers but for those of the protocol itself (`:…`, `te`, `content-type`, `grpc-*`) and `user-agent`.
#[derive(Clone, Default, Debug)]
pub struct Metadata {
    fields: Vec<(Bytes, Bytes)>,
}

impl Metadata {
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// Adds a field; names are lower case.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.fields.push((name.into(), value.into()));
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_ref())
    }

    /// The first value of a field, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}
