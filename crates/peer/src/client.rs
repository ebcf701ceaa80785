//! Requests to peers over HTTP/1.1.
//!
//! Never follows a redirect and never sends twice what may have arrived: only a request that did not leave is tried on a new connection.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::body::Body;
use crate::connect::Deadlines;
use crate::seam::{Connect, Io};
use crate::shared::Shared;
use crate::url::PeerUrl;

/// The longest answer to a posted message or a probe, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How long a connection may be stuck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub dial: Duration,
    pub read: Option<Duration>,
    pub write: Option<Duration>,
}

type Wire = TokioIo<Deadlines<Box<dyn Io>>>;
type Driver = http1::Connection<Wire, Body>;

/// Connects and prepares for HTTP. The driver has to be polled for anything to happen.
pub(crate) async fn open(connector: &dyn Connect, url: &PeerUrl, patience: Patience) -> io::Result<(SendRequest<Body>, Driver)> {
    let dialled = tokio::time::timeout(patience.dial, connector.connect(url)).await;
    let stream = dialled.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("dial {}: i/o timeout", url.address())))??;
    let stream = TokioIo::new(Deadlines::new(stream, patience.read, patience.write));
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true);
    builder.handshake(stream).await.map_err(io::Error::other)
}

/// The next bytes of an answer.
pub(crate) async fn next_chunk(body: &mut Incoming) -> Option<io::Result<Bytes>> {
    use http_body::Body as _;
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await?;
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(io::Error::other(error))),
        }
    }
}

/// The whole of an answer, unless it is longer than `limit` bytes.
pub(crate) async fn read_all(mut body: Incoming, limit: usize) -> io::Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut body).await {
        let chunk = chunk?;
        if whole.len() + chunk.len() > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the answer is too long"));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A request's outline for this URL.
pub(crate) fn request(url: &PeerUrl, method: Method, path: &str) -> http::request::Builder {
    let host = HeaderValue::from_str(url.address()).unwrap_or(HeaderValue::from_static("peer"));
    Request::builder().method(method).uri(path).header("host", host)
}

/// Aborts the task that drives a connection.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Held {
    url: PeerUrl,
    sender: SendRequest<Body>,
    _driving: Driving,
}

/// Posts one request after another, keeping its connection between them.
pub(crate) struct Poster {
    shared: Arc<Shared>,
    patience: Patience,
    held: Option<Held>,
}

impl Poster {
    pub fn new(shared: Arc<Shared>, patience: Patience) -> Poster {
        Poster {
            shared,
            patience,
            held: None,
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, url: &PeerUrl, request: Request<Body>) -> io::Result<(StatusCode, Bytes)> {
        let response = self.send(url, request).await?;
        let status = response.status();
        match read_all(response.into_body(), ANSWER_LIMIT).await {
            Ok(body) => Ok((status, body)),
            Err(error) => {
                self.held = None;
                Err(error)
            }
        }
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn send(&mut self, url: &PeerUrl, mut request: Request<Body>) -> io::Result<Response<Incoming>> {
        if let Some(mut held) = self.held.take().filter(|held| held.url == *url)
            && held.sender.ready().await.is_ok()
        {
            match held.sender.try_send_request(request).await {
                Ok(response) => {
                    self.held = Some(held);
                    return Ok(response);
                }
                // The peer had closed the idle connection before the request left.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(io::Error::other(error.into_error())),
                },
            }
        }
        let (mut sender, driver) = open(&*self.shared.connector, url, self.patience).await?;
        let driving = Driving(tokio::spawn(async move {
            // Its failure is the failure of the request that was under way.
            let _ = driver.await;
        }));
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        self.held = Some(Held {
            url: url.clone(),
            sender,
            _driving: driving,
        });
        Ok(response)
    }
}

/// Sends one request on a connection of its own and reads the answer: for the pages that peers serve each other.
///
/// The request's URI is a path; `Host` is set here.
///
/// # Errors
/// What broke the connection; [`io::ErrorKind::TimedOut`] after `timeout`; [`io::ErrorKind::FileTooLarge`] beyond `limit` bytes.
pub async fn fetch(
    connector: &dyn Connect,
    url: &PeerUrl,
    request: Request<Bytes>,
    limit: usize,
    timeout: Duration,
) -> io::Result<Response<Bytes>> {
    let patience = Patience {
        dial: timeout,
        read: None,
        write: None,
    };
    let work = async {
        let (mut sender, driver) = open(connector, url, patience).await?;
        let (mut parts, body) = request.into_parts();
        if let Ok(host) = HeaderValue::from_str(url.address()) {
            parts.headers.insert("host", host);
        }
        let exchange = async {
            let response = sender.send_request(Request::from_parts(parts, Body::full(body))).await;
            let (parts, body) = response.map_err(io::Error::other)?.into_parts();
            Ok(Response::from_parts(parts, read_all(body, limit).await?))
        };
        alongside(exchange, driver).await
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Does `work` while driving its connection in the same task.
pub(crate) async fn alongside<T>(work: impl Future<Output = io::Result<T>>, driver: Driver) -> io::Result<T> {
    let mut work = std::pin::pin!(work);
    let mut driver = std::pin::pin!(driver);
    tokio::select! {
        biased;
        done = &mut work => return done,
        // The end of the connection comes to the work as an error or as the end of its body.
        _ = &mut driver => {}
    }
    work.await
}
