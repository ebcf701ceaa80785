//! Connections: the plain connector, and the deadlines that every connection between members has.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

use crate::seam::{BoxFuture, Connect, Io};
use crate::url::PeerUrl;

/// Connects without TLS, over TCP or a socket file.
pub struct Plain;

impl Connect for Plain {
    fn connect<'a>(&'a self, url: &'a PeerUrl) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            if url.is_secure() {
                return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{url} wants TLS")));
            }
            if url.is_unix() {
                return Ok(Box::new(UnixStream::connect(url.address()).await?) as Box<dyn Io>);
            }
            let stream = TcpStream::connect(url.address()).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// One direction's patience.
struct Patience {
    limit: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Passes on what has happened; turns a wait that is too long into an error.
    fn judge<T>(&mut self, cx: &mut Context<'_>, happened: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(limit) = self.limit.filter(|_| happened.is_pending()) else {
            self.waiting = None;
            return happened;
        };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A connection that fails when a read or a write makes no progress for too long.
pub(crate) struct Deadlines<S> {
    inner: S,
    read: Patience,
    write: Patience,
}

impl<S> Deadlines<S> {
    pub fn new(inner: S, read: Option<Duration>, write: Option<Duration>) -> Deadlines<S> {
        let patience = |limit| Patience { limit, waiting: None };
        Deadlines {
            inner,
            read: patience(read),
            write: patience(write),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadlines<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.read.judge(cx, happened)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadlines<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.write.judge(cx, happened)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.write.judge(cx, happened)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_flush(cx);
        this.write.judge(cx, happened)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.write.judge(cx, happened)
    }
}
