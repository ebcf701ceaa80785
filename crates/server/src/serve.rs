//! Listeners and connections: from a socket to HTTP/2 with gRPC, or to HTTP/1.1.
//!
//! Stands at steps 1 and 2 of the life of a Put. Every core has a thread with a runtime of its own; a connection lives on one of them
//! from beginning to end, so that its requests never change threads before they are proposed. Plain connections are told apart
//! by their first bytes, TLS connections by what was negotiated.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::grpc::Services;
use crate::http::{BodyError, Doors, Http, Peer};
use crate::log::{self, field};
use crate::tls::ServerTls;

/// Less than any time-out of a request.
const NEAR_TIMER: Duration = Duration::from_secs(1);

/// What a listener serves.
#[derive(Clone)]
pub struct Door {
    pub services: Arc<Services>,
    pub http: Arc<Http>,
    pub doors: Doors,
    /// gRPC is served here.
    pub grpc: bool,
    /// Pages and gateway are served here.
    pub pages: bool,
    pub tls: Option<Arc<ServerTls>>,
    pub config: Arc<http2::Config>,
}

/// A socket that waits for connections.
pub enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

enum Socket {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

struct Arrival {
    socket: Socket,
    door: Door,
    /// Its place among the connections that the listener takes; given back when it ends.
    _place: OwnedSemaphorePermit,
}

/// The threads that serve connections.
#[derive(Clone)]
pub struct Workers {
    queues: Arc<[mpsc::UnboundedSender<Arrival>]>,
    next: Arc<AtomicUsize>,
    shutdown: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads. When `shutdown` turns true, clients are told to go away.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(count: usize, shutdown: watch::Receiver<bool>) -> io::Result<Workers> {
        let open = Arc::new(AtomicUsize::new(0));
        let mut queues = Vec::new();
        for number in 0..count {
            let (sender, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("blocking")
                .build()?;
            let (shutdown, open) = (shutdown.clone(), open.clone());
            std::thread::Builder::new().name(format!("net-{number}")).spawn(move || {
                runtime.block_on(async move {
                    tokio::spawn(keep_a_timer_near());
                    while let Some(arrival) = arrivals.recv().await {
                        open.fetch_add(1, Ordering::Relaxed);
                        let (shutdown, open) = (shutdown.clone(), open.clone());
                        tokio::spawn(async move {
                            if let Err(error) = serve(arrival, shutdown).await {
                                log::debug("a connection ended", &[field("error", error.to_string())]);
                            }
                            open.fetch_sub(1, Ordering::Relaxed);
                        });
                    }
                });
            })?;
            queues.push(sender);
        }
        Ok(Workers {
            queues: queues.into(),
            next: Arc::default(),
            shutdown,
            open,
        })
    }

    /// Accepts connections until shutdown, at most `most` at a time: those beyond wait in the kernel's queue.
    pub async fn listen(self, listener: Listener, door: Door, most: u64) -> io::Result<()> {
        let mut shutdown = self.shutdown.clone();
        let places = Arc::new(Semaphore::new(
            usize::try_from(most).map_or(Semaphore::MAX_PERMITS, |most| most.min(Semaphore::MAX_PERMITS)),
        ));
        match listener {
            Listener::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let accepted = tokio::select! {
                        accepted = placed(&places, listener.accept()) => accepted,
                        _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                    };
                    let Some(((socket, address), place)) = self.survive(accepted).await else {
                        continue;
                    };
                    // What fails here is this connection's end, not the listener's.
                    if let Ok(socket) = socket.set_nodelay(true).and_then(|()| socket.into_std()) {
                        self.hand_over(Socket::Tcp(socket, address), &door, place);
                    }
                }
            }
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                loop {
                    let accepted = tokio::select! {
                        accepted = placed(&places, listener.accept()) => accepted,
                        _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                    };
                    let Some(((socket, _), place)) = self.survive(accepted).await else {
                        continue;
                    };
                    if let Ok(socket) = socket.into_std() {
                        self.hand_over(Socket::Unix(socket), &door, place);
                    }
                }
            }
        }
    }

    /// A failed accept (no descriptors left, a connection gone already) is no reason to stop listening.
    async fn survive<T>(&self, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(accepted) => Some(accepted),
            Err(error) => {
                log::warn("failed to accept a connection", &[field("error", error.to_string())]);
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    fn hand_over(&self, socket: Socket, door: &Door, place: OwnedSemaphorePermit) {
        let worker = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len();
        // A worker lives as long as the process.
        let _ = self.queues[worker].send(Arrival {
            socket,
            door: door.clone(),
            _place: place,
        });
    }

    /// Waits until all connections have ended, or the time is up.
    pub async fn drained(&self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        while self.open.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// tokio wakes its own thread through the kernel for a timer that is nearer than all others, as each request's time-out is on an idle
/// thread. A timer that is always nearer saves two system calls a request.
async fn keep_a_timer_near() {
    loop {
        tokio::time::sleep(NEAR_TIMER).await;
    }
}

/// Waits for a free place, then for a connection to take it.
async fn placed<T>(places: &Arc<Semaphore>, accept: impl Future<Output = io::Result<T>>) -> io::Result<(T, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((accept.await?, place))
}

async fn serve(arrival: Arrival, shutdown: watch::Receiver<bool>) -> io::Result<()> {
    let Arrival { socket, door, _place } = arrival;
    match socket {
        Socket::Tcp(socket, address) => {
            let peer = Peer {
                address: Some(address),
                tls: false,
                common_name: None,
            };
            secure(tokio::net::TcpStream::from_std(socket)?, door, peer, shutdown).await
        }
        Socket::Unix(socket) => secure(tokio::net::UnixStream::from_std(socket)?, door, Peer::default(), shutdown).await,
    }
}

/// Does the TLS handshake, if the listener has one.
async fn secure<S>(socket: S, door: Door, mut peer: Peer, shutdown: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(tls) = door.tls.clone() else {
        return sniff(socket, door, peer, shutdown).await;
    };
    let admitted = match tokio_rustls::TlsAcceptor::from(tls.config()).accept(socket).await {
        Ok(stream) => tls
            .admit(stream.get_ref().1.peer_certificates())
            .map(|client| (stream, client))
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match admitted {
        Ok((stream, client)) => {
            peer.tls = true;
            peer.common_name = client.map(|client| client.common_name).filter(|name| !name.is_empty());
            sniff(stream, door, peer, shutdown).await
        }
        Err(error) => {
            let address = peer.address.map(|a| a.to_string()).unwrap_or_default();
            log::warn(
                "rejected connection on client endpoint",
                &[field("remote-addr", address), field("error", error)],
            );
            Ok(())
        }
    }
}

/// The first bytes of an HTTP/2 connection; no method of HTTP/1.1 begins so.
const PREFACE_START: &[u8; 4] = b"PRI ";

async fn sniff<S>(mut stream: S, door: Door, peer: Peer, mut shutdown: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut head = [0; PREFACE_START.len()];
    let mut len = 0;
    while len < head.len() && head[..len] == PREFACE_START[..len] {
        let read = tokio::select! {
            read = stream.read(&mut head[len..]) => read?,
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        };
        if read == 0 {
            return Ok(());
        }
        len += read;
    }
    let is_http2 = head[..len] == *PREFACE_START;
    let stream = Rewound {
        head,
        from: 0,
        to: len,
        stream,
    };
    if is_http2 && door.grpc {
        let stop = async move {
            // A closed channel means the same: the process ends.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        let pages = Arc::new(PagesOverHttp2 { door: door.clone() });
        http2::serve_connection(stream, door.config, Arc::new(peer), door.services, pages, stop).await;
        return Ok(());
    }
    if door.pages {
        return crate::http::serve::connection(door.http, door.doors, peer, stream, shutdown).await;
    }
    Ok(())
}

/// Requests over HTTP/2 that are not gRPC.
struct PagesOverHttp2 {
    door: Door,
}

impl http2::HttpHandler for PagesOverHttp2 {
    fn call(
        &self,
        connection: &http2::Connection,
        request: ::http::Request<http2::Body>,
    ) -> http2::BoxFuture<::http::Response<http2::Body>> {
        let peer = connection.downcast_ref::<Peer>().cloned().unwrap_or_default();
        let door = self.door.clone();
        Box::pin(async move {
            if !door.pages {
                let mut missing = ::http::Response::new(http2::Body::empty());
                *missing.status_mut() = ::http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return missing;
            }
            let request =
                request.map(|body| crate::http::Body::foreign(MapError(body, |error: http2::BoxError| BodyError(error.to_string()))));
            door.http
                .handle(door.doors, &peer, request)
                .await
                .map(|body| http2::Body::stream(MapError(body, |error: BodyError| error.into())))
        })
    }
}

/// A body whose errors are of another type.
struct MapError<B, E, F>(B, fn(E) -> F);

impl<B, E, F> http_body::Body for MapError<B, E, F>
where
    B: http_body::Body<Data = bytes::Bytes, Error = E> + Unpin,
{
    type Data = bytes::Bytes;
    type Error = F;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, F>>> {
        let map = self.1;
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(map)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// A stream whose first bytes were read already.
struct Rewound<S> {
    head: [u8; PREFACE_START.len()],
    from: usize,
    to: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            let count = (this.to - this.from).min(buf.remaining());
            buf.put_slice(&this.head[this.from..this.from + count]);
            this.from += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
