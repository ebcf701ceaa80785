//! Connections: the plain connector, and the deadlines that every connection between members has.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

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

    /// Begins a wait anew. The task stays registered with it: nobody may poll again before it is over.
    fn renew(&mut self) {
        if let (Some(limit), Some(waiting)) = (self.limit, &mut self.waiting) {
            waiting.as_mut().reset(Instant::now() + limit);
        }
    }
}

/// A connection that fails when a read or a write makes no progress for too long. What is written sets the patience with reads anew: who still
/// sends a snapshot cannot expect the answer yet.
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

    fn wrote(&mut self, happened: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(_)) = happened {
            self.read.renew();
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
        this.wrote(&happened);
        this.write.judge(cx, happened)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let happened = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.wrote(&happened);
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_so_long() {
        let (near, _far) = duplex(16);
        let mut near = Deadlines::new(near, Some(LIMIT), None);
        let started = Instant::now();
        let error = near.read_u8().await.expect_err("nobody wrote");
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_need_not_be_answered_yet() {
        let (near, mut far) = duplex(16);
        let (mut reading, mut writing) = split(Deadlines::new(near, Some(LIMIT), Some(LIMIT)));
        let started = Instant::now();
        let write = async {
            for _ in 0..4 {
                sleep(Duration::from_secs(2)).await;
                writing.write_u8(1).await.expect("room");
            }
        };
        let (read, ()) = tokio::join!(reading.read_u8(), write);
        assert_eq!(read.expect_err("nobody answered").kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(8) + LIMIT);
        assert_eq!(far.read_u32().await.expect("what was written"), 0x0101_0101);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_stuck_fails() {
        let (near, mut far) = duplex(16);
        let mut near = Deadlines::new(near, None, Some(LIMIT));
        let started = Instant::now();
        let reader = async {
            // Makes room once, in time.
            sleep(Duration::from_secs(2)).await;
            far.read_u64().await.expect("bytes");
            far
        };
        let (written, _far) = tokio::join!(near.write_all(&[7; 40]), reader);
        assert_eq!(written.expect_err("no room").kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(2) + LIMIT);
    }
}
