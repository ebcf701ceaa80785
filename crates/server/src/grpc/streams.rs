//! The two ends of a streaming call, whichever door it came through.

use api::{Code, Status};
use bytes::Bytes;
use http2::{Encoded, MessageReceiver, MessageSender};
use tokio::sync::mpsc;

use super::status::from_transport;

/// Messages from the client.
pub enum Requests {
    Http2(MessageReceiver),
    Gateway(mpsc::Receiver<Bytes>),
}

/// Messages to the client; sending waits while the client is slow.
pub enum Answers {
    Http2(MessageSender),
    Gateway(mpsc::Sender<Bytes>),
}

impl Requests {
    /// The next message; `None` when the client has sent its last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        match self {
            Requests::Http2(receiver) => receiver.message().await.map_err(from_transport),
            Requests::Gateway(receiver) => Ok(receiver.recv().await),
        }
    }

    /// The one message of a call that takes one.
    pub async fn only(&mut self) -> Result<Bytes, Status> {
        self.next()
            .await?
            .ok_or_else(|| Status::new(Code::Internal, "the request has no message"))
    }
}

impl Answers {
    pub async fn send(&self, message: Encoded) -> Result<(), Status> {
        match self {
            Answers::Http2(sender) => sender.send(message).await.map_err(|_| gone()),
            Answers::Gateway(sender) => sender.send(message.into_bytes()).await.map_err(|_| gone()),
        }
    }

    /// The same from a thread that may wait.
    pub fn send_blocking(&self, message: Encoded, runtime: &tokio::runtime::Handle) -> Result<(), Status> {
        runtime.block_on(self.send(message))
    }

    /// Ends when the client is gone.
    pub async fn closed(&self) {
        match self {
            Answers::Http2(sender) => sender.closed().await,
            Answers::Gateway(sender) => sender.closed().await,
        }
    }
}

fn gone() -> Status {
    Status::new(Code::Canceled, "context canceled")
}
