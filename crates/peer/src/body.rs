//! The bodies that go out and come in.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::snapshot::Image;
use crate::writer::StreamBody;

/// What we send: an answer, a posted message, a stream, or a snapshot.
pub enum Body {
    Full(Option<Bytes>),
    Stream(Box<StreamBody>),
    /// What goes before the image, and the image.
    Image {
        head: Option<Bytes>,
        image: Image,
    },
}

impl Body {
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Body::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => stream.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk)))),
            Body::Image { head, image } => match head.take() {
                Some(head) => Poll::Ready(Some(Ok(Frame::data(head)))),
                None => image.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Stream(_) | Body::Image { .. } => SizeHint::default(),
        }
    }
}

type Inner = Pin<Box<dyn http_body::Body<Data = Bytes, Error = io::Error> + Send>>;

/// What a peer sends us. It may be slow, but not silent: nothing for longer than the patience is an error.
pub struct RequestBody {
    inner: Inner,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// A body whose sender may be silent for `patience` at a time.
    pub fn new<B>(body: B, patience: Duration) -> RequestBody
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        RequestBody {
            inner: Box::pin(Adapted(Box::pin(body))),
            patience,
            silence: None,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or says nothing for too long.
    pub async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The whole body, unless it is longer than `limit` bytes.
    ///
    /// # Errors
    /// As for [`RequestBody::chunk`]; [`io::ErrorKind::FileTooLarge`] beyond the limit.
    pub async fn read_all(mut self, limit: usize) -> io::Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "http: request body too large"));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match self.inner.as_mut().poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence = None;
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Pending => {
                    let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
                    ready!(silence.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
            }
        }
    }
}

struct Adapted<B>(Pin<Box<B>>);

impl<B> http_body::Body for Adapted<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = self.0.as_mut().poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(io::Error::other)))
    }
}
