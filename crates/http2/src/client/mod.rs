//! The client's side: one connection, many calls.
//!
//! A [`Client`] queues its calls for the connection's task, which numbers the streams, writes all waiting requests at once and hands
//! the answers back. Never opens a connection, never tries a call twice.

mod call;
mod response;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::channel::Shared;
use crate::driver::{Driver, KeepAlive};
use crate::grpc;
use crate::ready::{COMMANDS, Ready, SlotWaker};
use crate::{Code, Encoded, MessageReceiver, MessageSender, Metadata, Status};
use call::Caller;

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
    /// Bytes that a streaming call may queue before `send` waits.
    pub stream_queue_bytes: usize,
    /// Ping the server after this long without a byte from it; `None`: never.
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    /// Ping also while no call is open. etcd's servers take that for a nuisance.
    pub keepalive_without_streams: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scheme: "http",
            authority: String::from("localhost"),
            user_agent: String::from("quorate-http2"),
            max_receive_message_bytes: i32::MAX as usize,
            max_send_message_bytes: 2 * 1024 * 1024,
            initial_stream_window: 1024 * 1024,
            initial_connection_window: 16 * 1024 * 1024,
            stream_queue_bytes: 256 * 1024,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
            keepalive_without_streams: false,
        }
    }
}

/// Why a unary call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}")]
pub struct CallError {
    pub status: Status,
    /// The server has certainly not worked on the call: it was not sent, or refused before a handler saw it. It may be made again.
    pub unprocessed: bool,
}

impl CallError {
    fn unprocessed(status: Status) -> CallError {
        CallError { status, unprocessed: true }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        error.status
    }
}

/// What a caller wants of the connection.
enum Command {
    Unary {
        call: NewCall,
        message: Encoded,
        reply: oneshot::Sender<Result<Bytes, CallError>>,
    },
    Stream {
        call: NewCall,
        shared: Arc<Shared>,
    },
}

struct NewCall {
    path: &'static str,
    metadata: Metadata,
    timeout: Option<Duration>,
}

/// The calls on their way to the connection's task.
struct Queue {
    state: Mutex<QueueState>,
    connection: Arc<SlotWaker>,
    stream_window: usize,
    stream_queue: usize,
    max_send: usize,
}

#[derive(Default)]
struct QueueState {
    commands: Vec<Command>,
    /// Why no call can be made any more.
    closed: Option<Status>,
    /// No handle is left.
    abandoned: bool,
}

impl Queue {
    fn push(&self, command: Command) -> Result<(), Status> {
        let mut state = self.state.lock();
        if let Some(status) = &state.closed {
            return Err(status.clone());
        }
        state.commands.push(command);
        drop(state);
        self.connection.notify();
        Ok(())
    }
}

/// Tells the connection when the last handle is gone.
struct Handle {
    queue: Arc<Queue>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.state.lock().abandoned = true;
        self.queue.connection.notify();
    }
}

/// A handle to a connection; clones share it. When the last one is dropped the connection ends with its last call.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Gives a handle and the connection itself, a future to be spawned: it sends the preface and ends with the connection.
pub fn connect<IO>(io: IO, options: Options) -> (Client, impl Future<Output = ()> + Send)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let ready = Arc::new(Ready::default());
    let queue = Arc::new(Queue {
        state: Mutex::default(),
        connection: SlotWaker::new(&ready, COMMANDS),
        stream_window: options.initial_stream_window as usize,
        stream_queue: options.stream_queue_bytes,
        max_send: options.max_send_message_bytes,
    });
    let keepalive = KeepAlive {
        interval: options.keepalive_interval,
        timeout: options.keepalive_timeout,
        without_streams: options.keepalive_without_streams,
    };
    let caller = Caller::new(options, queue.clone(), ready.clone());
    let driver = Driver::new(io, caller, ready, keepalive, None::<std::future::Pending<()>>);
    let client = Client {
        handle: Arc::new(Handle { queue }),
    };
    (client, tokio::task::unconstrained(driver))
}

impl Client {
    /// A unary call. `path` is `/service/method`. Dropping the future cancels the call.
    ///
    /// # Errors
    /// The call's status; code 14 when the connection is or gets lost, code 4 when the time is over.
    pub async fn unary(
        &self,
        path: &'static str,
        metadata: &Metadata,
        timeout: Option<Duration>,
        message: Encoded,
    ) -> Result<Bytes, CallError> {
        let queue = &self.handle.queue;
        grpc::check_sent(message.len(), queue.max_send, "").map_err(CallError::unprocessed)?;
        let (reply, answer) = oneshot::channel();
        let call = NewCall {
            path,
            metadata: metadata.clone(),
            timeout,
        };
        queue
            .push(Command::Unary { call, message, reply })
            .map_err(CallError::unprocessed)?;
        answer.await.unwrap_or_else(|_| {
            Err(CallError {
                status: connection_lost("the connection was dropped"),
                unprocessed: false,
            })
        })
    }

    /// A streaming call. Dropping all senders ends our side; dropping the receiver resets the call.
    ///
    /// # Errors
    /// Code 14 when the connection is lost.
    pub fn stream(
        &self,
        path: &'static str,
        metadata: &Metadata,
        timeout: Option<Duration>,
    ) -> Result<(MessageSender, MessageReceiver), Status> {
        let queue = &self.handle.queue;
        let shared = Shared::new(queue.stream_window / 2, queue.stream_queue);
        let ends = (shared.sender(), shared.receiver());
        let call = NewCall {
            path,
            metadata: metadata.clone(),
            timeout,
        };
        queue.push(Command::Stream { call, shared })?;
        Ok(ends)
    }

    /// Whether no further call can be made on this connection.
    pub fn is_closed(&self) -> bool {
        self.handle.queue.state.lock().closed.is_some()
    }
}

fn connection_lost(why: &str) -> Status {
    Status::new(Code::UNAVAILABLE, format!("connection lost: {why}"))
}
