//! Streaming calls whose messages are decoded and encoded on the way.

use std::marker::PhantomData;

use api::{Code, Status};
use http2::{Encoded, MessageReceiver, MessageSender, SendError};
use prost::Message;

use crate::channel::status;

/// Our side of a streaming call; dropping the last clone ends it.
pub struct Sender<Q> {
    inner: MessageSender,
    message: PhantomData<fn(Q)>,
}

impl<Q: Message> Sender<Q> {
    /// Sends a message; waits while the server does not take more.
    ///
    /// # Errors
    /// When the call has ended: the receiver knows why.
    pub async fn send(&self, message: &Q) -> Result<(), SendError> {
        self.inner.send(Encoded::message(message)).await
    }

    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl<Q> Clone for Sender<Q> {
    fn clone(&self) -> Sender<Q> {
        Sender {
            inner: self.inner.clone(),
            message: PhantomData,
        }
    }
}

/// The server's side of a streaming call; dropping it cancels the call.
pub struct Receiver<A> {
    inner: MessageReceiver,
    message: PhantomData<fn() -> A>,
}

impl<A: Message + Default> Receiver<A> {
    /// The next message; `None` when the call has ended well.
    ///
    /// # Errors
    /// The call's status.
    pub async fn message(&mut self) -> Result<Option<A>, Status> {
        let Some(message) = self.inner.message().await.map_err(status)? else {
            return Ok(None);
        };
        let decoded = A::decode(message).map_err(|error| Status::new(Code::Internal, format!("failed to decode a message: {error}")))?;
        Ok(Some(decoded))
    }

    /// The next message, not decoded.
    ///
    /// # Errors
    /// The call's status.
    pub async fn bytes(&mut self) -> Result<Option<bytes::Bytes>, Status> {
        self.inner.message().await.map_err(status)
    }
}

pub(crate) fn stream<Q, A>(send: MessageSender, receive: MessageReceiver) -> (Sender<Q>, Receiver<A>) {
    let sender = Sender {
        inner: send,
        message: PhantomData,
    };
    let receiver = Receiver {
        inner: receive,
        message: PhantomData,
    };
    (sender, receiver)
}
