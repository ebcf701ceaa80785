//! The server's side of a connection: requests become calls of the service, their answers become frames.
//!
//! `request` reads header lists, `call` runs the handlers, `respond` sends what they answer; this file joins them.

mod call;
mod request;
mod respond;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::deadlines::Deadlines;
use crate::driver::{Driver, KeepAlive, Role};
use crate::frame::{self, ErrorCode, MAX_STREAM_ID};
use crate::ready::Ready;
use crate::wire::{Event, Fault, Limits, Side, Wire};
use crate::{Config, Connection, HttpHandler, Service, Status};
use call::Call;
use request::Head;

/// Pings that come too fast in a row before the connection ends.
const MAX_PING_STRIKES: u32 = 2;
/// How often an idle connection may ping (grpc-go's `defaultPingTimeout`).
const IDLE_PING_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);
/// The ping between the two GOAWAYs of a graceful end, and how long its answer may take.
const DRAIN_PING: [u8; 8] = *b"goawaypi";
const DRAIN_PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, in the calling task. `connection` is handed to each call. When `shutdown` ends, the peer is
/// told to go away, open calls are finished, and the connection is closed. Dropping the future drops all calls.
pub async fn serve_connection<IO, S, H>(
    io: IO,
    config: Arc<Config>,
    connection: Connection,
    service: Arc<S>,
    http: Arc<H>,
    shutdown: impl Future<Output = ()> + Send,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service,
    H: HttpHandler,
{
    let ready = Arc::new(Ready::default());
    let keepalive = KeepAlive {
        interval: Some(config.keepalive_interval),
        timeout: config.keepalive_timeout,
        without_streams: true,
    };
    let handshake_timeout = config.handshake_timeout;
    let server = Server::new(config, connection, service, http, ready.clone());
    let driver = Driver::new(io, server, ready, keepalive, Some(shutdown)).expect_preface(handshake_timeout);
    // The driver bounds its own work a poll; tokio's budget would only make handlers wait that are ready.
    tokio::task::unconstrained(driver).await;
}

/// How far a graceful end came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// New calls are still taken: they may have been on their way. Until the ping is answered, or the moment has come.
    Asked(Instant),
    Told,
}

struct Pings {
    last: Option<Instant>,
    strikes: u32,
}

struct Server<S, H> {
    wire: Wire<Call>,
    ready: Arc<Ready>,
    config: Arc<Config>,
    connection: Connection,
    service: Arc<S>,
    http: Arc<H>,
    head: Head,
    deadlines: Deadlines,
    pings: Pings,
    drain: Drain,
}

impl<S: Service, H: HttpHandler> Server<S, H> {
    fn new(config: Arc<Config>, connection: Connection, service: Arc<S>, http: Arc<H>, ready: Arc<Ready>) -> Server<S, H> {
        let limits = Limits {
            stream_window: config.initial_stream_window,
            connection_window: config.initial_connection_window,
            max_frame: config.max_frame_bytes,
            max_header_list: config.max_header_list_bytes,
            max_streams: config.max_concurrent_streams,
        };
        Server {
            wire: Wire::new(Side::Server, limits),
            ready,
            config,
            connection,
            service,
            http,
            head: Head::default(),
            deadlines: Deadlines::default(),
            pings: Pings { last: None, strikes: 0 },
            drain: Drain::No,
        }
    }

    /// Judges a ping as grpc-go's enforcement policy does.
    fn on_ping(&mut self) -> Result<(), Fault> {
        let now = self.wire.now;
        let last = self.pings.last.replace(now);
        if std::mem::take(&mut self.wire.sent_since_ping) {
            self.pings.strikes = 0;
            return Ok(());
        }
        let judged_idle = self.wire.streams.len() == 0 && !self.config.keepalive_without_streams;
        let interval = if judged_idle {
            IDLE_PING_INTERVAL
        } else {
            self.config.keepalive_min_interval
        };
        if last.is_some_and(|last| last + interval > now) {
            self.pings.strikes += 1;
        }
        if self.pings.strikes > MAX_PING_STRIKES {
            return Err(Fault::Connection(ErrorCode::ENHANCE_YOUR_CALM, "too_many_pings"));
        }
        Ok(())
    }

    /// The second half of a graceful end: from here on no new call is taken.
    fn tell_last_stream(&mut self) {
        self.drain = Drain::Told;
        let last = self.wire.last_peer_stream;
        frame::put_goaway(self.wire.out.buffer(), last, ErrorCode::NO_ERROR, b"");
    }
}

impl<S: Service, H: HttpHandler> Role for Server<S, H> {
    type Call = Call;

    fn wire(&mut self) -> &mut Wire<Call> {
        &mut self.wire
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Headers {
                id,
                target,
                end_stream,
                block,
            } => self.on_headers(id, target, end_stream, &block),
            Event::Data { slot, data, end_stream } => self.on_data(slot, data, end_stream),
            Event::Reset { slot, .. } => {
                self.give_up(slot, Status::canceled());
                Ok(())
            }
            Event::Ping => self.on_ping(),
            Event::PingAck(DRAIN_PING) if matches!(self.drain, Drain::Asked(_)) => {
                self.tell_last_stream();
                Ok(())
            }
            Event::PingAck(_) | Event::Settings | Event::GoAway { .. } | Event::Nothing => Ok(()),
        }
    }

    fn stream_fault(&mut self, id: u32, _code: ErrorCode) {
        if let Some(slot) = self.wire.streams.find(id) {
            self.give_up(slot, Status::canceled());
        }
    }

    fn woken(&mut self, slot: u32) {
        self.run(slot);
    }

    fn pump(&mut self, slot: u32) {
        self.respond(slot);
    }

    fn next_time(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Asked(until) => Some(until),
            _ => None,
        };
        self.deadlines.next().into_iter().chain(drain).min()
    }

    fn on_time(&mut self, now: Instant) {
        while let Some((slot, id)) = self.deadlines.pop(now) {
            self.on_deadline(slot, id);
        }
        if let Drain::Asked(until) = self.drain
            && until <= now
        {
            self.tell_last_stream();
        }
    }

    fn shutdown(&mut self) {
        let out = self.wire.out.buffer();
        frame::put_goaway(out, MAX_STREAM_ID, ErrorCode::NO_ERROR, b"");
        frame::put_ping(out, false, &DRAIN_PING);
        self.drain = Drain::Asked(Instant::now() + DRAIN_PING_TIMEOUT);
    }

    fn is_done(&mut self) -> bool {
        self.drain == Drain::Told && self.wire.streams.len() == 0
    }

    fn end(&mut self, _why: &str) {
        for slot in self.wire.streams.occupied() {
            self.give_up(slot, Status::canceled());
        }
    }
}
