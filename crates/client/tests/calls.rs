//! The client against a small server of its own: endpoints, retries, tokens, streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use api::pb::etcdserverpb::*;
use api::{Code, Error, Status};
use bytes::Bytes;
use client::{Client, Options};
use http2::{
    Body, BoxFuture, Config, Connection, Context, Encoded, HttpHandler, MessageReceiver, MessageSender, MethodId, Reply, Route, Service,
};
use prost::Message;
use tokio::net::TcpListener;

const RANGE: MethodId = 0;
const PUT: MethodId = 1;
const WATCH: MethodId = 2;

#[derive(Default)]
struct Server {
    calls: AtomicU32,
    unavailable: AtomicU32,
    hang: AtomicBool,
}

impl Service for Server {
    fn route(&self, service: &str, method: &str) -> Route {
        match (service, method) {
            ("etcdserverpb.KV", "Range") => Route::Unary(RANGE),
            ("etcdserverpb.KV", "Put") => Route::Unary(PUT),
            ("etcdserverpb.Watch", "Watch") => Route::Stream(WATCH),
            ("etcdserverpb.KV", _) => Route::UnknownMethod,
            _ => Route::UnknownService,
        }
    }

    fn unary(&self, method: MethodId, cx: Context, message: Bytes) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.hang.load(Ordering::SeqCst) {
            return Reply::later(std::future::pending());
        }
        let fail = |error: Error| Reply::Ready(Err(http2::Status::new(http2::Code(error.wire_code() as u8), error.message())));
        let refuse = self
            .unavailable
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refuse.is_ok() {
            return fail(Error::NoLeader);
        }
        if method == PUT {
            return fail(Error::NoSpace);
        }
        let request = RangeRequest::decode(message).unwrap();
        let text = |name: &str| cx.metadata.text(name).unwrap_or("-").to_string();
        let seen = format!("{} {} {}", text("token"), text("hasleader"), text("client-api-version"));
        let kv = api::pb::mvccpb::KeyValue {
            key: request.key,
            value: Bytes::from(seen),
            ..Default::default()
        };
        Reply::Ready(Ok(Encoded::message(&RangeResponse {
            kvs: vec![kv],
            ..Default::default()
        })))
    }

    fn stream(
        &self,
        _: MethodId,
        _: Context,
        mut requests: MessageReceiver,
        answers: MessageSender,
    ) -> BoxFuture<Result<(), http2::Status>> {
        Box::pin(async move {
            let mut watch_id = 0;
            while let Some(request) = requests.message().await? {
                let request = WatchRequest::decode(request).unwrap();
                assert!(request.request_union.is_some());
                let answer = WatchResponse {
                    watch_id,
                    created: true,
                    ..Default::default()
                };
                watch_id += 1;
                answers
                    .send(Encoded::message(&answer))
                    .await
                    .map_err(|_| http2::Status::canceled())?;
            }
            Ok(())
        })
    }
}

struct NoPages;

impl HttpHandler for NoPages {
    fn call(&self, _: &Connection, _: http::Request<Body>) -> BoxFuture<http::Response<Body>> {
        Box::pin(async { http::Response::new(Body::empty()) })
    }
}

/// Serves on a port; aborting the task closes its connections.
async fn start() -> (Arc<Server>, String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Arc::new(Server::default());
    let service = server.clone();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let config = Arc::new(Config::default());
            let serving = http2::serve_connection(
                socket,
                config,
                Arc::new(()),
                service.clone(),
                Arc::new(NoPages),
                std::future::pending(),
            );
            connections.spawn(serving);
        }
    });
    (server, address, task)
}

fn client(addresses: &[&str], change: impl FnOnce(&mut Options)) -> Client {
    let mut options = Options {
        endpoints: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        backoff: Duration::from_millis(1),
        max_retries: 10,
        ..Options::default()
    };
    change(&mut options);
    Client::new(options)
}

fn key(text: &'static str) -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(text.as_bytes()),
        ..Default::default()
    }
}

#[tokio::test]
async fn calls_carry_token_and_metadata() {
    let (_server, address, _task) = start().await;
    let client = client(&[&address], |options| options.require_leader = true);
    let answer = client.range(&key("a")).await.unwrap();
    assert_eq!(
        (answer.kvs[0].key.as_ref(), answer.kvs[0].value.as_ref()),
        (b"a".as_slice(), b"- true 3.7".as_slice())
    );
    client.set_token(Some("t.1"));
    assert_eq!(client.range(&key("a")).await.unwrap().kvs[0].value, "t.1 true 3.7");
    assert_eq!(client.put(&PutRequest::default()).await, Err(Status::from(Error::NoSpace)));
    assert_eq!(
        client.compact(&CompactionRequest::default()).await.unwrap_err().code,
        Code::Unimplemented
    );
}

#[tokio::test]
async fn goes_to_the_next_endpoint() {
    let (_server, address, _task) = start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let client = client(&[&nobody, &address], |_| {});
    assert_eq!(client.range(&key("a")).await.unwrap().kvs.len(), 1);
}

#[tokio::test]
async fn nobody_there() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let client = client(&[&nobody], |options| options.max_retries = 2);
    let failed = client.put(&PutRequest::default()).await.unwrap_err();
    assert_eq!(failed.code, Code::Unavailable);
    assert!(failed.message.starts_with("cannot connect to http://"), "{failed}");
}

#[tokio::test]
async fn reads_are_repeated_and_writes_are_not() {
    let (server, address, _task) = start().await;
    let client = client(&[&address], |_| {});
    server.unavailable.store(3, Ordering::SeqCst);
    client.range(&key("a")).await.unwrap();
    assert_eq!(server.calls.swap(0, Ordering::SeqCst), 4);
    server.unavailable.store(3, Ordering::SeqCst);
    assert_eq!(client.put(&PutRequest::default()).await, Err(Status::from(Error::NoLeader)));
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let (first, first_address, task) = start().await;
    let (_second, second_address, _task) = start().await;
    let client = client(&[&first_address, &second_address], |_| {});
    client.range(&key("a")).await.unwrap();
    first.hang.store(true, Ordering::SeqCst);
    let write = tokio::spawn({
        let client = client.clone();
        async move { client.put(&PutRequest::default()).await }
    });
    while first.calls.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    task.abort();
    // Whether the write was done is not known, so it is not sent to the other server.
    assert_eq!(write.await.unwrap().unwrap_err().code, Code::Unavailable);
    assert_eq!(client.range(&key("a")).await.unwrap().kvs.len(), 1);
}

#[tokio::test]
async fn time_runs_out() {
    let (server, address, _task) = start().await;
    server.hang.store(true, Ordering::SeqCst);
    let client = client(&[&address], |options| options.request_timeout = Some(Duration::from_millis(20)));
    assert_eq!(client.range(&key("a")).await.unwrap_err().code, Code::DeadlineExceeded);
}

#[tokio::test]
async fn watches() {
    let (_server, address, _task) = start().await;
    let client = client(&[&address], |_| {});
    let (send, mut receive) = client.watch().await.unwrap();
    for id in 0..50 {
        let create = watch_request::RequestUnion::CreateRequest(WatchCreateRequest::default());
        send.send(&WatchRequest {
            request_union: Some(create),
        })
        .await
        .unwrap();
        assert_eq!(receive.message().await.unwrap().unwrap().watch_id, id);
    }
    drop(send);
    assert_eq!(receive.message().await, Ok(None));
}
