//! The connection to the cluster: made when first needed, made anew at the next endpoint when it breaks; and what is tried again.

use std::sync::Arc;
use std::time::Duration;

use api::{Code, Status};
use bytes::Bytes;
use http2::client::Client as Connection;
use http2::{Encoded, Metadata};
use parking_lot::Mutex;
use prost::Message;

use crate::stream::{Receiver, Sender, stream};
use crate::{Connector, Endpoint, PlainConnector};

/// What clients say they speak.
const API_VERSION: &str = "3.7";
const USER_AGENT: &str = concat!("quorate/", env!("CARGO_PKG_VERSION"));
/// Largest request, in bytes.
const MAX_SEND_BYTES: usize = 2 * 1024 * 1024;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tried in this order, round and round.
    pub endpoints: Vec<Endpoint>,
    /// How long a connection may take to be made.
    pub dial_timeout: Duration,
    /// How long a unary call may take; `None`: as long as it takes.
    pub request_timeout: Option<Duration>,
    /// How often a repeatable call is tried again when the server is not available.
    pub max_retries: u32,
    pub backoff: Duration,
    /// Calls fail at once on a member without a leader.
    pub require_leader: bool,
    pub max_send_message_bytes: usize,
    pub max_receive_message_bytes: usize,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoints: Vec::new(),
            dial_timeout: Duration::from_secs(5),
            request_timeout: None,
            max_retries: 100,
            backoff: Duration::from_millis(25),
            require_leader: false,
            max_send_message_bytes: MAX_SEND_BYTES,
            max_receive_message_bytes: i32::MAX as usize,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

/// Whether a call may be made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A read: tried again wherever it failed.
    Yes,
    /// A write: tried again only when it certainly did not reach a server.
    UnlessSent,
}

struct Inner {
    options: Options,
    connector: Box<dyn Connector>,
    /// The connection and the number of the endpoint to try next. Held while connecting, so that callers wait for one attempt.
    connection: tokio::sync::Mutex<(Option<Connection>, usize)>,
    /// A copy for calls while all is well.
    current: Mutex<Option<Connection>>,
    metadata: Mutex<Metadata>,
}

/// A client of one cluster; clones share its connection.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// A client over plain sockets. Connects with its first call.
    pub fn new(options: Options) -> Client {
        Client::with_connector(options, PlainConnector)
    }

    pub fn with_connector(options: Options, connector: impl Connector) -> Client {
        let metadata = metadata(&options, None);
        Client {
            inner: Arc::new(Inner {
                options,
                connector: Box::new(connector),
                connection: tokio::sync::Mutex::new((None, 0)),
                current: Mutex::new(None),
                metadata: Mutex::new(metadata),
            }),
        }
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Sends this auth token with every further call.
    pub fn set_token(&self, token: Option<&str>) {
        *self.inner.metadata.lock() = metadata(&self.inner.options, token);
    }

    /// Connects if there is no connection.
    ///
    /// # Errors
    /// Code 14 when no endpoint can be reached.
    pub async fn connect(&self) -> Result<(), Status> {
        self.connection().await.map(|_| ())
    }

    async fn connection(&self) -> Result<Connection, Status> {
        if let Some(connection) = self.inner.current.lock().as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let mut place = self.inner.connection.lock().await;
        let (connection, next) = &mut *place;
        if let Some(connection) = connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let endpoints = &self.inner.options.endpoints;
        let mut failure = Status::new(Code::Unavailable, "no endpoints");
        for _ in 0..endpoints.len() {
            let endpoint = &endpoints[*next % endpoints.len()];
            *next = (*next + 1) % endpoints.len();
            match self.dial(endpoint).await {
                Ok(made) => {
                    *connection = Some(made.clone());
                    *self.inner.current.lock() = Some(made.clone());
                    return Ok(made);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Connection, Status> {
        let options = &self.inner.options;
        let failed = |why: String| Status::new(Code::Unavailable, format!("cannot connect to {endpoint}: {why}"));
        let io = match tokio::time::timeout(options.dial_timeout, self.inner.connector.connect(endpoint)).await {
            Err(_) => return Err(failed(String::from("timed out"))),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(io)) => io,
        };
        let (connection, task) = http2::client::connect(
            io,
            http2::client::Options {
                scheme: if endpoint.is_tls { "https" } else { "http" },
                authority: endpoint.authority(),
                user_agent: String::from(USER_AGENT),
                max_receive_message_bytes: options.max_receive_message_bytes,
                max_send_message_bytes: options.max_send_message_bytes,
                keepalive_interval: options.keepalive_interval,
                keepalive_timeout: options.keepalive_timeout,
                ..http2::client::Options::default()
            },
        );
        tokio::spawn(task);
        Ok(connection)
    }

    /// A unary call of any method.
    ///
    /// # Errors
    /// The call's status.
    pub async fn unary<A: Message + Default>(&self, path: &'static str, request: &impl Message, repeat: Repeat) -> Result<A, Status> {
        let answer = self.unary_bytes(path, Encoded::message(request), repeat).await?;
        A::decode(answer).map_err(|error| Status::new(Code::Internal, format!("failed to decode the answer: {error}")))
    }

    /// A unary call with encoded messages.
    ///
    /// # Errors
    /// The call's status.
    pub async fn unary_bytes(&self, path: &'static str, request: Encoded, repeat: Repeat) -> Result<Bytes, Status> {
        let options = &self.inner.options;
        let mut tries = 0;
        loop {
            let (error, may_repeat) = match self.connection().await {
                Err(error) => (error, true),
                Ok(connection) => {
                    let metadata = self.inner.metadata.lock().clone();
                    match connection.unary(path, &metadata, options.request_timeout, request.clone()).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => (status(error.status), repeat == Repeat::Yes || error.unprocessed),
                    }
                }
            };
            tries += 1;
            if error.code != Code::Unavailable || !may_repeat || tries > options.max_retries {
                return Err(error);
            }
            tokio::time::sleep(options.backoff).await;
        }
    }

    /// A streaming call of any method.
    ///
    /// # Errors
    /// Code 14 when there is no connection.
    pub async fn stream<Q: Message, A: Message + Default>(&self, path: &'static str) -> Result<(Sender<Q>, Receiver<A>), Status> {
        let connection = self.connection().await?;
        let metadata = self.inner.metadata.lock().clone();
        let (send, receive) = connection.stream(path, &metadata, None).map_err(status)?;
        Ok(stream(send, receive))
    }
}

fn metadata(options: &Options, token: Option<&str>) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.push("client-api-version", API_VERSION);
    if options.require_leader {
        metadata.push("hasleader", "true");
    }
    if let Some(token) = token {
        metadata.push("token", Bytes::copy_from_slice(token.as_bytes()));
    }
    metadata
}

/// The transport's status as the API has it.
pub(crate) fn status(status: http2::Status) -> Status {
    Status::new(Code::from_number(u32::from(status.code.0)), status.message)
}
