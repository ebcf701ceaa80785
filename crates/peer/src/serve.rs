//! Serves connections of the peer port: HTTP/1.1, with etcd's deadlines.
//!
//! An idle connection, a slow head and a silent body end after five seconds, a write that makes no progress too. A stream lives by
//! its heartbeats, and a snapshot may take as long as it keeps coming.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::body::{Body, RequestBody};
use crate::connect::Deadlines;
use crate::seam::{Io, Level, Pages, Value};
use crate::transport::Transport;

/// Where peers are waited for, without TLS.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Transport {
    /// Serves one accepted connection, TLS already taken off, until it ends. After `stop` says true, what is under way may take as
    /// long as a silence is borne; streams end when their peers are removed.
    ///
    /// # Errors
    /// What broke the connection; for the log at debug level.
    pub async fn serve<S>(&self, stream: S, remote: String, pages: Arc<dyn Pages>, mut stop: watch::Receiver<bool>) -> io::Result<()>
    where
        S: Io + 'static,
    {
        let silence = self.shared.config.timing.silence;
        // Reading has its deadlines above: during an answer nothing is read, and that is no silence.
        let stream = TokioIo::new(Deadlines::new(stream, None, Some(silence)));
        let service = service_fn(|request: Request<Incoming>| {
            let (pages, remote) = (pages.clone(), &remote);
            async move {
                let request = request.map(|body| RequestBody::new(body, silence));
                Ok::<_, Infallible>(self.route(request, remote, &*pages).await)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(silence)
            .title_case_headers(true);
        let mut connection = pin!(builder.serve_connection(stream, service));
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
        match tokio::time::timeout(silence, connection).await {
            Ok(done) => done.map_err(io::Error::other),
            Err(_) => Ok(()),
        }
    }

    async fn route(&self, request: Request<RequestBody>, remote: &str, pages: &dyn Pages) -> Response<Body> {
        let path = request.uri().path();
        if path == "/raft" || path.starts_with("/raft/") {
            self.handle(request, remote).await
        } else {
            pages.answer(request).await.map(Body::full)
        }
    }

    /// Accepts and serves connections without TLS until `stop` says true or is dropped on its other side.
    ///
    /// # Errors
    /// Never for a single connection's sake.
    pub async fn listen(&self, listener: Listener, pages: Arc<dyn Pages>, stop: watch::Receiver<bool>) -> io::Result<()> {
        let mut stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors left, or a connection gone already: no reason to stop listening.
                    self.shared.log(
                        Level::Warn,
                        "failed to accept a peer connection",
                        &[("error", error.to_string().into())],
                    );
                    tokio::time::sleep(self.shared.config.timing.redial).await;
                    continue;
                }
            };
            let (transport, pages, stop) = (self.clone(), pages.clone(), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = transport.serve(stream, remote, pages, stop).await {
                    let fields = [("error", Value::from(error.to_string()))];
                    transport.shared.log(Level::Debug, "a peer connection ended", &fields);
                }
            });
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Io>, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), address.to_string()))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), "@".to_owned()))
            }
        }
    }
}
