//! The gateway's way in: the same handlers, reached by path.

use api::{Code, Status};
use bytes::Bytes;
use http2::{Encoded, Reply, Route};
use tokio::sync::mpsc;

use super::status::from_transport;
use super::streams::{Answers, Requests};
use super::{CallContext, Services};
use crate::http::{BoxFuture, Call, Rpc};

fn context(call: &Call) -> CallContext<'_> {
    CallContext {
        needs_leader: call.metadata.text("hasleader") == Some("true"),
        client_version: call.metadata.get("client-api-version").map(|version| &version[..]),
        remote: None,
    }
}

fn unknown(path: &str) -> Status {
    Status::new(Code::Unimplemented, format!("no method {path}"))
}

impl Services {
    fn find(&self, path: &str) -> Option<usize> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        match http2::Service::route(self, service, method) {
            Route::Unary(number) | Route::Stream(number) => Some(number as usize),
            Route::UnknownMethod | Route::UnknownService => None,
        }
    }
}

impl Rpc for Services {
    fn unary(&self, call: Call, request: Bytes) -> BoxFuture<Result<Bytes, Status>> {
        let Some(number) = self.find(call.path) else {
            return Box::pin(std::future::ready(Err(unknown(call.path))));
        };
        match self.answer(number, &context(&call), request) {
            Reply::Ready(result) => Box::pin(std::future::ready(result.map(Encoded::into_bytes).map_err(from_transport))),
            Reply::Later(future) => Box::pin(async move { future.await.map(Encoded::into_bytes).map_err(from_transport) }),
        }
    }

    fn stream(&self, call: Call, requests: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Bytes>) -> BoxFuture<Result<(), Status>> {
        let Some(number) = self.find(call.path) else {
            return Box::pin(std::future::ready(Err(unknown(call.path))));
        };
        let running = self.run(number, &context(&call), Requests::Gateway(requests), Answers::Gateway(answers));
        Box::pin(async move { running.await.map_err(from_transport) })
    }
}
