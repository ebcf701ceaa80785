//! The messages of a streaming call, between a handler and its connection.

use bytes::Bytes;

use crate::{Encoded, Status};

/// The peer is gone or has reset the call: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call has ended")]
pub struct SendError;

/// Messages from the peer, whole and in order. Reading them gives the peer its flow control window back.
pub struct MessageReceiver {
    _private: (),
}

impl MessageReceiver {
    /// The next message; `None` when the peer has finished sending.
    ///
    /// # Errors
    /// On a server code 1 when the call was given up, code 8 for a message above the limit; on a client the call's status.
    pub async fn message(&mut self) -> Result<Option<Bytes>, Status> {
        unimplemented!()
    }
}

/// Messages to the peer. Clones feed the same call.
#[derive(Clone)]
pub struct MessageSender {
    _private: (),
}

impl MessageSender {
    /// Queues a message; waits while more than the configured bytes wait for the peer.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn send(&self, _message: Encoded) -> Result<(), SendError> {
        unimplemented!()
    }

    /// Queues a message without waiting, whatever waits already: for who keeps count himself.
    ///
    /// # Errors
    /// When the call has ended.
    pub fn send_now(&self, _message: Encoded) -> Result<(), SendError> {
        unimplemented!()
    }

    /// Bytes queued and not yet framed.
    pub fn queued_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Ends when there is room for another message.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn ready(&self) -> Result<(), SendError> {
        unimplemented!()
    }

    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }

    /// Ends when the call has ended.
    pub async fn closed(&self) {
        unimplemented!()
    }
}
