//! The gRPC services: which method leads to which handler, for the gRPC transport and the JSON gateway alike.
//!
//! Stands at steps 2, 11 and 12 of the life of a Put. Handlers take bytes and give bytes; they know no transport. What etcd 3.7.1 has and
//! this server has not yet is refused with code 12 and a text that says so.

mod gateway;
mod health;
mod kv;
mod lease;
mod maintenance;
mod membership;
mod methods;
mod slow;
mod status;
mod streams;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use api::{Code, Error, Status};
use bytes::Bytes;
use http2::{BoxFuture, CallEvent, Context, Encoded, MessageReceiver, MessageSender, MethodId, Reply, Route};
use prost::Message;

use crate::http::Peer;
use crate::node::Node;
pub use maintenance::storage_version;
pub use methods::{Entry, METHODS, Method, Shape};
use slow::Watched;
use status::to_transport;
use streams::{Answers, Requests};

/// All services of a member.
pub struct Services {
    node: Arc<Node>,
}

/// What came before the message: what a handler may want to know of the call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallContext<'c> {
    /// The client asks not to be served without a leader.
    pub needs_leader: bool,
    /// `client-api-version`, for the metrics.
    pub client_version: Option<&'c [u8]>,
    pub remote: Option<SocketAddr>,
}

impl Services {
    pub fn new(node: Arc<Node>) -> Arc<Services> {
        Arc::new(Services { node })
    }

    /// Answers a unary call, at once where that needs no waiting.
    fn answer(&self, number: usize, cx: &CallContext<'_>, message: Bytes) -> Reply {
        let entry = &METHODS[number];
        if let Err(status) = self.admit(entry, cx, Some(&message)) {
            return Reply::Ready(Err(to_transport(status)));
        }
        let node = &self.node;
        let watched = Watched::new(node.clone(), entry, message.clone(), cx.remote);
        match entry.method {
            Method::Range => kv::range(node, watched, message),
            Method::Put => later(watched, kv::put(node.clone(), message)),
            Method::DeleteRange => later(watched, kv::delete_range(node.clone(), message)),
            Method::Txn => kv::txn(node, watched, message),
            Method::Compact => later(watched, kv::compact(node.clone(), message)),
            Method::LeaseGrant => later(watched, lease::grant(node.clone(), message)),
            Method::LeaseRevoke => later(watched, lease::revoke(node.clone(), message)),
            Method::LeaseTimeToLive => later(watched, lease::time_to_live(node.clone(), message)),
            Method::LeaseLeases => later(watched, lease::leases(node.clone(), message)),
            Method::MemberList => later(watched, membership::list(node.clone(), message)),
            Method::MemberAdd => later(watched, membership::add(node.clone(), message)),
            Method::MemberPromote => later(watched, membership::promote(node.clone(), message)),
            Method::MemberRemove => later(watched, membership::remove(node.clone(), message)),
            Method::MemberUpdate => later(watched, membership::update(node.clone(), message)),
            Method::MoveLeader => later(watched, maintenance::move_leader(node.clone(), message)),
            Method::Status => later(watched, maintenance::status(node.clone())),
            Method::Alarm => later(watched, maintenance::alarm(node.clone(), message)),
            Method::Defragment => later(watched, maintenance::defragment(node.clone())),
            Method::Hash => later(watched, maintenance::hash(node.clone())),
            Method::HashKv => later(watched, maintenance::hash_kv(node.clone(), message)),
            Method::HealthCheck => ready(watched, health::check(message)),
            Method::HealthList => ready(watched, health::list()),
            Method::NotBuilt(name) => ready(watched, Err(not_built(name))),
            Method::RangeStream | Method::Watch | Method::LeaseKeepAlive | Method::Snapshot | Method::HealthWatch => ready(
                watched,
                Err(Status::new(Code::Internal, "a streaming method was called as a unary one")),
            ),
        }
    }

    /// Runs a streaming call.
    fn run(&self, number: usize, cx: &CallContext<'_>, requests: Requests, answers: Answers) -> BoxFuture<Result<(), http2::Status>> {
        let entry = &METHODS[number];
        let (node, method, admitted) = (self.node.clone(), entry.method, self.admit(entry, cx, None));
        let needs_leader = cx.needs_leader;
        Box::pin(async move {
            admitted.map_err(to_transport)?;
            let running = serve_stream(node.clone(), method, requests, answers);
            if !needs_leader {
                return running.await.map_err(to_transport);
            }
            tokio::select! {
                result = running => result.map_err(to_transport),
                () = node.leadership.lost() => Err(to_transport(Error::NoLeader.into())),
            }
        })
    }

    fn admit(&self, entry: &Entry, cx: &CallContext<'_>, message: Option<&Bytes>) -> Result<(), Status> {
        let version = match cx.client_version.map(std::str::from_utf8) {
            None => None,
            Some(Ok(version)) => Some(version),
            Some(Err(_)) => return Err(Error::InvalidClientAPIVersion.into()),
        };
        self.node.metrics.client_request(version, entry.shape.streaming());
        if self.node.cluster.is_local_learner() && !serves_as_learner(entry.method, message) {
            return Err(Error::NotSupportedForLearner.into());
        }
        if cx.needs_leader && self.node.progress.leader() == 0 {
            return Err(Error::NoLeader.into());
        }
        Ok(())
    }
}

impl http2::Service for Services {
    fn route(&self, service: &str, method: &str) -> Route {
        let mut known_service = false;
        for (number, entry) in METHODS.iter().enumerate() {
            if entry.service != service {
                continue;
            }
            known_service = true;
            if entry.name == method {
                let number = number as MethodId;
                return if entry.shape.streaming() {
                    Route::Stream(number)
                } else {
                    Route::Unary(number)
                };
            }
        }
        if known_service {
            Route::UnknownMethod
        } else {
            Route::UnknownService
        }
    }

    fn unary(&self, method: MethodId, cx: Context, message: Bytes) -> Reply {
        self.answer(method as usize, &context(&cx), message)
    }

    fn stream(
        &self,
        method: MethodId,
        cx: Context,
        requests: MessageReceiver,
        answers: MessageSender,
    ) -> BoxFuture<Result<(), http2::Status>> {
        self.run(method as usize, &context(&cx), Requests::Http2(requests), Answers::Http2(answers))
    }

    fn observe(&self, method: MethodId, event: CallEvent) {
        let metrics = &self.node.metrics;
        let counters = metrics.grpc.at(method as usize);
        match event {
            CallEvent::Started => counters.started(),
            CallEvent::Received { bytes } => {
                counters.received();
                metrics.network_client_grpc_received_bytes_total.add(bytes as u64);
            }
            CallEvent::Sent { bytes } => {
                counters.sent();
                metrics.network_client_grpc_sent_bytes_total.add(bytes as u64);
            }
            CallEvent::Handled { code, took } => counters.handled(Code::from_number(u32::from(code)), took),
        }
    }
}

async fn serve_stream(node: Arc<Node>, method: Method, requests: Requests, answers: Answers) -> Result<(), Status> {
    match method {
        Method::Watch => watch::serve(node, requests, answers).await,
        Method::LeaseKeepAlive => lease::keep_alive(node, requests, answers).await,
        Method::RangeStream => kv::range_stream(node, requests, answers).await,
        Method::Snapshot => maintenance::snapshot(node, requests, answers).await,
        Method::HealthWatch => health::watch(requests, answers).await,
        Method::NotBuilt(name) => Err(not_built(name)),
        _ => Err(Status::new(Code::Internal, "a unary method was called as a streaming one")),
    }
}

/// What a learner answers: it may be far behind, so nothing that has to be of now.
fn serves_as_learner(method: Method, message: Option<&Bytes>) -> bool {
    match method {
        Method::Status | Method::MemberList | Method::Snapshot => true,
        Method::HealthCheck | Method::HealthList | Method::HealthWatch => true,
        // What can't be read is refused by its handler.
        Method::Range => {
            let request = message.and_then(|message| api::pb::etcdserverpb::RangeRequest::decode(message.clone()).ok());
            request.is_none_or(|request| request.serializable)
        }
        _ => false,
    }
}

fn context(cx: &Context) -> CallContext<'_> {
    CallContext {
        needs_leader: cx.metadata.get("hasleader") == Some(b"true"),
        client_version: cx.metadata.get("client-api-version"),
        remote: cx.connection::<Peer>().and_then(|peer| peer.address),
    }
}

fn not_built(name: &str) -> Status {
    Status::new(Code::Unimplemented, format!("quorate: {name} is not built yet"))
}

fn ready(watched: Watched, result: Result<Encoded, Status>) -> Reply {
    watched.done(result.as_ref().ok());
    Reply::Ready(result.map_err(to_transport))
}

fn later(watched: Watched, future: impl Future<Output = Result<Encoded, Status>> + Send + 'static) -> Reply {
    Reply::later(async move {
        let result = future.await;
        watched.done(result.as_ref().ok());
        result.map_err(to_transport)
    })
}

/// Decodes a request, or says what grpc-go says.
fn decode<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| Status::new(Code::Internal, format!("grpc: error unmarshalling request: {error}")))
}
