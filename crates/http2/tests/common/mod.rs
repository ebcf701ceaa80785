//! A service for tests: echoes, failures, streams of every kind; and a handler of plain requests.
#![allow(dead_code)] // Each test uses its part.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http2::{
    Body, BoxFuture, CallEvent, Code, Config, Connection, Context, Encoded, HttpHandler, MessageReceiver, MessageSender, MethodId, Reply,
    Route, Service, Status,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

pub const ECHO: MethodId = 0;
pub const LATER: MethodId = 1;
pub const FAIL: MethodId = 2;
pub const HANG: MethodId = 3;
pub const SIZE: MethodId = 4;
pub const METADATA: MethodId = 5;
pub const BIDI: MethodId = 10;
pub const MANY: MethodId = 11;
pub const COUNT: MethodId = 12;
pub const STUCK: MethodId = 13;

const METHODS: [(&str, Route); 10] = [
    ("Echo", Route::Unary(ECHO)),
    ("Later", Route::Unary(LATER)),
    ("Fail", Route::Unary(FAIL)),
    ("Hang", Route::Unary(HANG)),
    ("Size", Route::Unary(SIZE)),
    ("Metadata", Route::Unary(METADATA)),
    ("Bidi", Route::Stream(BIDI)),
    ("Many", Route::Stream(MANY)),
    ("Count", Route::Stream(COUNT)),
    ("Stuck", Route::Stream(STUCK)),
];

/// The service `test.Toy`.
#[derive(Default)]
pub struct Toy {
    pub started: AtomicU64,
    pub handled: AtomicU64,
    pub last_code: AtomicI64,
    pub received_bytes: AtomicU64,
    pub sent_bytes: AtomicU64,
    /// Calls of `Hang` and `Stuck` that live.
    pub hanging: Arc<AtomicI64>,
    pub go_on: Arc<Notify>,
}

/// Counts itself down when dropped.
struct Guard(Arc<AtomicI64>);

impl Guard {
    fn new(count: &Arc<AtomicI64>) -> Guard {
        count.fetch_add(1, Ordering::SeqCst);
        Guard(count.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn number(message: &[u8], at: usize) -> usize {
    message
        .get(at..at + 4)
        .map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()) as usize)
}

impl Service for Toy {
    fn route(&self, service: &str, method: &str) -> Route {
        if service != "test.Toy" {
            return Route::UnknownService;
        }
        let known = METHODS.iter().find(|(name, _)| *name == method);
        known.map_or(Route::UnknownMethod, |(_, route)| *route)
    }

    fn unary(&self, method: MethodId, cx: Context, message: Bytes) -> Reply {
        match method {
            ECHO => Reply::Ready(Ok(Encoded::from(message))),
            LATER => Reply::later(async move {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(Encoded::copy_from(&message))
            }),
            FAIL => Reply::Ready(Err(Status::new(Code(number(&message, 0) as u8), "it failed: 100% ☠"))),
            HANG => {
                let guard = Guard::new(&self.hanging);
                Reply::later(async move {
                    let _guard = guard;
                    std::future::pending().await
                })
            }
            SIZE => Reply::Ready(Ok(Encoded::from(vec![7; number(&message, 0)]))),
            METADATA => {
                let text: Vec<String> = cx
                    .metadata
                    .iter()
                    .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
                    .collect();
                let peer = cx.connection::<String>().cloned().unwrap_or_default();
                Reply::Ready(Ok(Encoded::from(format!("{peer} {}", text.join(" ")).into_bytes())))
            }
            _ => panic!("no such method"),
        }
    }

    fn stream(
        &self,
        method: MethodId,
        _cx: Context,
        mut requests: MessageReceiver,
        answers: MessageSender,
    ) -> BoxFuture<Result<(), Status>> {
        let guard = Guard::new(&self.hanging);
        let go_on = self.go_on.clone();
        Box::pin(async move {
            let _guard = guard;
            let gone = |_| Status::canceled();
            match method {
                BIDI => {
                    while let Some(message) = requests.message().await? {
                        answers.send(Encoded::from(message)).await.map_err(gone)?;
                    }
                }
                MANY => {
                    let request = requests.message().await?.unwrap_or_default();
                    let (count, size) = (number(&request, 0), number(&request, 4));
                    let message = Bytes::from(vec![9; size]);
                    for _ in 0..count {
                        answers.send(Encoded::from(message.clone())).await.map_err(gone)?;
                    }
                }
                COUNT => {
                    let (mut count, mut bytes) = (0u32, 0u32);
                    while let Some(message) = requests.message().await? {
                        count += 1;
                        bytes += message.len() as u32;
                    }
                    let answer = [count.to_be_bytes(), bytes.to_be_bytes()].concat();
                    answers.send(Encoded::copy_from(&answer)).await.map_err(gone)?;
                }
                _ => {
                    go_on.notified().await;
                    while requests.message().await?.is_some() {}
                }
            }
            Ok(())
        })
    }

    fn observe(&self, _method: MethodId, event: CallEvent) {
        match event {
            CallEvent::Started => self.started.fetch_add(1, Ordering::SeqCst),
            CallEvent::Received { bytes } => self.received_bytes.fetch_add(bytes as u64, Ordering::SeqCst),
            CallEvent::Sent { bytes } => self.sent_bytes.fetch_add(bytes as u64, Ordering::SeqCst),
            CallEvent::Handled { code, .. } => {
                self.last_code.store(i64::from(code), Ordering::SeqCst);
                self.handled.fetch_add(1, Ordering::SeqCst)
            }
        };
    }
}

/// Answers `/echo` with the request's body, `/text` with a text.
pub struct Pages;

impl HttpHandler for Pages {
    fn call(&self, _connection: &Connection, request: http::Request<Body>) -> BoxFuture<http::Response<Body>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut response = http::Response::new(Body::empty());
            match parts.uri.path() {
                "/echo" => *response.body_mut() = body,
                "/text" => *response.body_mut() = Body::from(format!("{} {}", parts.method, parts.uri)),
                _ => *response.status_mut() = http::StatusCode::NOT_FOUND,
            }
            response.headers_mut().insert("x-test", http::HeaderValue::from_static("yes"));
            response
        })
    }
}

/// Serves one connection in a task of its own.
pub fn serve<IO>(io: IO, config: Config, toy: &Arc<Toy>) -> tokio::task::JoinHandle<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_until(io, config, toy, std::future::pending())
}

pub fn serve_until<IO>(
    io: IO,
    config: Config,
    toy: &Arc<Toy>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection: Connection = Arc::new(String::from("peer"));
    tokio::spawn(http2::serve_connection(
        io,
        Arc::new(config),
        connection,
        toy.clone(),
        Arc::new(Pages),
        shutdown,
    ))
}

/// A message with gRPC's prefix.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Undoes `framed` for any number of messages.
pub fn unframed(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let len = number(bytes, 1);
        messages.push(bytes[5..5 + len].to_vec());
        bytes = &bytes[5 + len..];
    }
    messages
}
