//! The client's side: one connection, many calls.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Encoded, MessageReceiver, MessageSender, Metadata, Status};

/// How a client's connection behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// `:scheme`.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    pub user_agent: String,
    /// Largest answer, in bytes.
    pub max_receive_message_bytes: usize,
    /// Largest request, in bytes.
    pub max_send_message_bytes: usize,
    pub initial_stream_window: u32,
    pub initial_connection_window: u32,
    /// Ping the server after this long without a byte from it; `None`: never.
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scheme: "http",
            authority: String::new(),
            user_agent: String::from("quorate-http2"),
            max_receive_message_bytes: i32::MAX as usize,
            max_send_message_bytes: 2 * 1024 * 1024,
            initial_stream_window: 1024 * 1024,
            initial_connection_window: 16 * 1024 * 1024,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

/// A handle to a connection; clones share it.
#[derive(Clone)]
pub struct Client {
    _private: (),
}

/// Sends the preface and gives a handle and the connection itself, a future to be spawned: it ends with the connection.
pub fn connect<IO>(_io: IO, _options: Options) -> (Client, impl Future<Output = ()> + Send)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    (Client { _private: () }, async { unimplemented!() })
}

impl Client {
    /// A unary call. `path` is `/service/method`.
    ///
    /// # Errors
    /// The call's status; code 14 when the connection is or gets lost.
    pub async fn unary(
        &self,
        _path: &'static str,
        _metadata: &Metadata,
        _timeout: Option<Duration>,
        _message: Encoded,
    ) -> Result<Bytes, Status> {
        unimplemented!()
    }

    /// A streaming call. Dropping all senders ends our side; dropping the receiver resets the call.
    ///
    /// # Errors
    /// Code 14 when the connection is lost.
    pub fn stream(
        &self,
        _path: &'static str,
        _metadata: &Metadata,
        _timeout: Option<Duration>,
    ) -> Result<(MessageSender, MessageReceiver), Status> {
        unimplemented!()
    }

    /// Whether no further call can be made on this connection.
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
}
