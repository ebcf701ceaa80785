//! The body of a request or answer, whatever transport it travels on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Why a body ended before its end. The text is for the log; a client never sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// A body: nothing, bytes, a channel of chunks, or a transport's own.
pub struct Body(Kind);

enum Kind {
    Full(Option<Bytes>),
    Chunked(Option<Bytes>),
    Chunks(mpsc::Receiver<Result<Bytes, BodyError>>),
    Foreign(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    pub fn empty() -> Body {
        Body(Kind::Full(None))
    }

    /// Bytes whose length is announced.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body(Kind::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// Bytes whose length is not announced, as Go sends what outgrows its buffer.
    pub fn chunked(bytes: impl Into<Bytes>) -> Body {
        Body(Kind::Chunked(Some(bytes.into())))
    }

    /// A body of unknown length: ends when the sender is dropped. An error cuts the connection.
    pub fn channel(capacity: usize) -> (mpsc::Sender<Result<Bytes, BodyError>>, Body) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Body(Kind::Chunks(receiver)))
    }

    /// A transport's body.
    pub fn foreign<B>(body: B) -> Body
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Body(Kind::Foreign(Box::pin(body)))
    }

    /// The next chunk of data; none at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx)).await?;
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// What the transport says.
    pub async fn collect(mut self) -> Result<Bytes, BodyError> {
        let mut all = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.freeze())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Full(_) => "Body::Full",
            Kind::Chunked(_) => "Body::Chunked",
            Kind::Chunks(_) => "Body::Chunks",
            Kind::Foreign(_) => "Body::Foreign",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Full(bytes) | Kind::Chunked(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Chunks(receiver) => receiver.poll_recv(cx).map(|chunk| chunk.map(|c| c.map(Frame::data))),
            Kind::Foreign(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Chunked(_) | Kind::Chunks(_) => false,
            Kind::Foreign(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Chunked(_) | Kind::Chunks(_) => SizeHint::default(),
            Kind::Foreign(body) => body.size_hint(),
        }
    }
}
