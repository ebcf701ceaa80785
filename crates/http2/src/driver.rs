//! Drives a connection: one task that reads, lets its role work, and writes all that came of it at once.
//!
//! Knows sockets and time, but not what a stream is for: that is the [`Role`]'s. A round is: read once, look at the calls that were
//! woken, frame what may be sent, write once.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::frame::{self, ErrorCode, FrameHeader, HEADER_LEN};
use crate::ready::{Ready, SHUTDOWN, SlotWaker, TIMER};
use crate::wire::{Event, Fault, OUTPUT_MARK, Wire};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Nothing is read while this much waits to be written: a peer that does not read gets nothing done.
const READ_MARK: usize = 2 * OUTPUT_MARK;
/// Rounds before other tasks get their turn.
const ROUNDS: usize = 16;
/// How long a finished connection waits for the peer to close it.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may take to write its last bytes.
const LAST_WRITE: Duration = Duration::from_secs(10);
/// What our keep-alive pings carry.
const KEEPALIVE_PING: [u8; 8] = *b"keepaliv";

thread_local! {
    /// Where every connection of the thread reads to: an idle connection holds no buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a connection is for.
pub(crate) trait Role {
    type Call;

    fn wire(&mut self) -> &mut Wire<Self::Call>;

    /// Works on what a frame means.
    fn event(&mut self, event: Event<'_>) -> Result<(), Fault>;

    /// The stream was reset by us (the frame is written).
    fn stream_fault(&mut self, id: u32, code: ErrorCode);

    /// The waker of a slot, or one of the role's own numbers, was woken.
    fn woken(&mut self, slot: u32);

    /// The slot may be able to send.
    fn pump(&mut self, slot: u32);

    /// The next moment at which `on_time` has something to do.
    fn next_time(&self) -> Option<Instant>;

    fn on_time(&mut self, now: Instant);

    /// The caller wants the connection to end gracefully.
    fn shutdown(&mut self);

    /// Whether the connection may be closed now.
    fn is_done(&mut self) -> bool;

    /// The connection is gone: all calls end. `why` is empty for a regular end.
    fn end(&mut self, why: &str);
}

/// When to ping the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub interval: Option<Duration>,
    pub timeout: Duration,
    /// Also while no call is open.
    pub without_streams: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Writes what is left until the moment has come, then closes.
    Flushing(Instant),
    /// Our side is closed; the peer's bytes are thrown away until it closes, or the moment has come.
    Lingering(Instant),
}

enum Step {
    Again,
    Idle,
    Ended,
}

/// A connection's future; ends with the connection.
pub(crate) struct Driver<IO, R: Role, F> {
    io: IO,
    role: R,
    ready: Arc<Ready>,
    shutdown: Option<Pin<Box<F>>>,
    shutdown_waker: Arc<SlotWaker>,
    /// What is still to come of the client's preface.
    preface: &'static [u8],
    /// A frame that has not arrived whole.
    leftover: Vec<u8>,
    woken: Vec<u32>,
    phase: Phase,
    sleep: Option<Pin<Box<Sleep>>>,
    sleep_until: Option<Instant>,
    timer_waker: Arc<SlotWaker>,
    keepalive: KeepAlive,
    last_read: Instant,
    pinged: Option<Instant>,
    handshake_by: Option<Instant>,
}

impl<IO, R, F> Driver<IO, R, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    R: Role + Unpin,
    F: Future<Output = ()>,
{
    pub(crate) fn new(io: IO, role: R, ready: Arc<Ready>, keepalive: KeepAlive, shutdown: Option<F>) -> Driver<IO, R, F> {
        let shutdown_waker = SlotWaker::new(&ready, SHUTDOWN);
        // Has the request polled for the first time.
        shutdown_waker.notify();
        Driver {
            io,
            role,
            shutdown: shutdown.map(Box::pin),
            shutdown_waker,
            timer_waker: SlotWaker::new(&ready, TIMER),
            ready,
            preface: &[],
            leftover: Vec::new(),
            woken: Vec::new(),
            phase: Phase::Open,
            sleep: None,
            sleep_until: None,
            keepalive,
            last_read: Instant::now(),
            pinged: None,
            handshake_by: None,
        }
    }

    /// Expects the client's preface within the time given.
    pub(crate) fn expect_preface(mut self, within: Duration) -> Driver<IO, R, F> {
        self.preface = frame::PREFACE;
        self.handshake_by = Some(Instant::now() + within);
        self
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Step {
        let progress = match self.read(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(why)) => return self.ended(&why),
            Poll::Pending => false,
        };
        self.look_at_woken();
        if let Phase::Lingering(until) | Phase::Flushing(until) = self.phase
            && Instant::now() >= until
        {
            return self.ended("");
        }
        if !matches!(self.phase, Phase::Lingering(_)) {
            match self.send(cx) {
                Poll::Ready(Ok(true)) => return Step::Again,
                Poll::Ready(Err(why)) => return self.ended(&why),
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
        }
        self.arm();
        if progress { Step::Again } else { Step::Idle }
    }

    fn ended(&mut self, why: &str) -> Step {
        self.role.end(why);
        Step::Ended
    }

    // ---- reading ----

    /// Reads once and works on the frames. Ready: there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if matches!(self.phase, Phase::Flushing(_)) || self.role.wire().out.len() > READ_MARK {
            return Poll::Pending;
        }
        let mut scratch = SCRATCH.take();
        let kept = self.leftover.len();
        if scratch.len() < kept + READ_BYTES {
            scratch.resize(kept + READ_BYTES, 0);
        }
        scratch[..kept].copy_from_slice(&self.leftover);
        let mut buffer = ReadBuf::new(&mut scratch[kept..kept + READ_BYTES]);
        let result = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        let outcome = match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) if read == 0 => Poll::Ready(Err(String::from("the peer closed the connection"))),
            Poll::Ready(Ok(())) => {
                self.received(&scratch[..kept + read], kept);
                Poll::Ready(Ok(()))
            }
        };
        SCRATCH.set(scratch);
        outcome
    }

    /// Works on bytes, of which the first `kept` are those left over.
    fn received(&mut self, bytes: &[u8], kept: usize) {
        let now = Instant::now();
        self.last_read = now;
        self.pinged = None;
        self.role.wire().now = now;
        let mut rest = bytes;
        while self.phase == Phase::Open {
            match self.frame(&mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::Stream(id, code)) => {
                    self.role.wire().reset(id, code);
                    self.role.stream_fault(id, code);
                }
                Err(Fault::Connection(code, why)) => self.fail(code, why),
            }
        }
        if self.phase != Phase::Open {
            rest = &[];
        }
        self.leftover.clear();
        if !rest.is_empty() {
            self.leftover.extend_from_slice(rest);
        } else if kept > 0 {
            self.leftover = Vec::new();
        }
    }

    /// Takes one frame off `rest`; false: it is not there whole.
    fn frame(&mut self, rest: &mut &[u8]) -> Result<bool, Fault> {
        if !self.preface.is_empty() {
            let part = self.preface.len().min(rest.len());
            if self.preface[..part] != rest[..part] {
                return Err(Fault::Connection(ErrorCode::PROTOCOL_ERROR, "bad preface"));
            }
            self.preface = &self.preface[part..];
            *rest = &rest[part..];
            return Ok(part > 0);
        }
        let Some(header) = rest.first_chunk::<HEADER_LEN>() else {
            return Ok(false);
        };
        let header = FrameHeader::parse(header);
        self.role.wire().check(header)?;
        let Some(payload) = rest.get(HEADER_LEN..HEADER_LEN + header.len) else {
            return Ok(false);
        };
        *rest = &rest[HEADER_LEN + header.len..];
        self.handshake_by = None;
        let event = self.role.wire().receive(header, payload)?;
        match event {
            Event::Nothing => Ok(true),
            event => self.role.event(event).map(|()| true),
        }
    }

    /// Tells the peer why the connection ends.
    fn fail(&mut self, code: ErrorCode, why: &'static str) {
        let wire = self.role.wire();
        let last = wire.last_peer_stream;
        frame::put_goaway(wire.out.buffer(), last, code, why.as_bytes());
        self.role.end(why);
        self.phase = Phase::Flushing(Instant::now() + LAST_WRITE);
    }

    // ---- calls and time ----

    fn look_at_woken(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        self.ready.take(&mut woken);
        for slot in woken.drain(..) {
            match slot {
                TIMER => {
                    self.timer_waker.rearm();
                    self.sleep_until = None;
                    self.on_time();
                }
                SHUTDOWN => self.poll_shutdown_request(),
                slot => {
                    self.role.wire().streams.rearm(slot);
                    self.role.woken(slot);
                }
            }
        }
        self.woken = woken;
    }

    fn poll_shutdown_request(&mut self) {
        self.shutdown_waker.rearm();
        let waker = Waker::from(self.shutdown_waker.clone());
        if let Some(future) = &mut self.shutdown
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            self.shutdown = None;
            self.role.shutdown();
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.handshake_by.is_some_and(|by| by <= now) {
            return self.fail(ErrorCode::SETTINGS_TIMEOUT, "no preface in time");
        }
        self.role.on_time(now);
        let Some(interval) = self.keepalive.interval else { return };
        match self.pinged {
            Some(pinged) if pinged + self.keepalive.timeout <= now => {
                self.fail(ErrorCode::NO_ERROR, "keepalive ping failed to receive ACK within timeout")
            }
            None if self.last_read + interval <= now && !self.keepalive.without_streams && self.role.wire().streams.len() == 0 => {
                self.last_read = now;
            }
            None if self.last_read + interval <= now => {
                frame::put_ping(self.role.wire().out.buffer(), false, &KEEPALIVE_PING);
                self.pinged = Some(now);
            }
            _ => {}
        }
    }

    /// Sets the timer to the earliest moment that matters.
    fn arm(&mut self) {
        let keepalive = self.keepalive.interval.map(|interval| match self.pinged {
            Some(pinged) => pinged + self.keepalive.timeout,
            None => self.last_read + interval,
        });
        let last = match self.phase {
            Phase::Lingering(until) | Phase::Flushing(until) => Some(until),
            Phase::Open => None,
        };
        let moments = [self.handshake_by, self.role.next_time(), keepalive, last];
        let Some(next) = moments.into_iter().flatten().min() else { return };
        // A timer that is too early costs one look; setting it anew for each frame would cost more.
        if self.sleep_until.is_some_and(|until| until <= next) {
            return;
        }
        self.sleep_until = Some(next);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(next),
            none => *none = Some(Box::pin(tokio::time::sleep_until(next))),
        }
        let waker = Waker::from(self.timer_waker.clone());
        if let Some(sleep) = &mut self.sleep
            && sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            self.timer_waker.notify();
        }
    }

    // ---- writing ----

    /// Frames and writes. Ready(true): another round may write more.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, String>> {
        while self.role.wire().out.len() <= OUTPUT_MARK {
            let Some(slot) = self.role.wire().next_queued() else { break };
            self.role.pump(slot);
        }
        if self.phase == Phase::Open && self.role.is_done() {
            self.phase = Phase::Flushing(Instant::now() + LAST_WRITE);
        }
        match self.role.wire().out.poll_write(&mut self.io, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) => {}
        }
        // TLS keeps what it has sealed until it is flushed.
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) => {}
        }
        if matches!(self.phase, Phase::Flushing(_)) {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
                Poll::Ready(Ok(())) => {}
            }
            self.role.end("");
            self.leftover = Vec::new();
            self.phase = Phase::Lingering(Instant::now() + LINGER);
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(Ok(!self.role.wire().send_queue.is_empty()))
    }
}

/// A connection that is dropped with calls open must not leave anyone waiting for them.
impl<IO, R: Role, F> Drop for Driver<IO, R, F> {
    fn drop(&mut self) {
        self.role.end("the connection was dropped");
    }
}

impl<IO, R, F> Future for Driver<IO, R, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    R: Role + Unpin,
    F: Future<Output = ()>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.ready.begin(cx.waker());
        for _ in 0..ROUNDS {
            match this.round(cx) {
                Step::Ended => return Poll::Ready(()),
                Step::Again => {}
                Step::Idle => {
                    if this.ready.sleep() {
                        return Poll::Pending;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
