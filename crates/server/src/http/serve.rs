//! Serves [`Http`] over HTTP/1.1, with hyper: one call for one connection. Listeners, TLS and limits are the shell's.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::{Body, BodyError, Doors, Http, Peer};

/// Go's server sends what is longer than this in chunks, because it has begun to send before it knows the length.
const ANNOUNCED_BYTES: u64 = 2048;

/// The time a client has to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Serves one connection until it ends, or until `stop` says true and the request at hand is answered.
///
/// # Errors
/// What broke the connection; for the log at debug level.
pub async fn connection<S>(http: Arc<Http>, doors: Doors, peer: Peer, io: S, mut stop: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (http, peer) = (http.clone(), peer.clone());
        async move {
            let request = request.map(body);
            Ok::<_, Infallible>(as_go_sends(http.handle(doors, &peer, request).await))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .title_case_headers(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let stopped = async {
        // An error means that nobody can say stop any more.
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        done = connection.as_mut() => return done.map_err(io::Error::other),
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(io::Error::other)
}

fn as_go_sends(response: Response<Body>) -> Response<Body> {
    let length = http_body::Body::size_hint(response.body()).exact();
    if length.is_none_or(|length| length <= ANNOUNCED_BYTES) {
        return response;
    }
    response.map(|body| Body::foreign(Unannounced(body)))
}

/// A body that keeps its length to itself.
struct Unannounced(Body);

impl http_body::Body for Unannounced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A request's body as it comes from hyper.
pub(crate) fn body(incoming: Incoming) -> Body {
    Body::foreign(FromHyper(incoming))
}

/// Hyper's body with our error.
struct FromHyper(Incoming);

impl http_body::Body for FromHyper {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map(|frame| frame.map(|f| f.map_err(|e| BodyError(e.to_string()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
