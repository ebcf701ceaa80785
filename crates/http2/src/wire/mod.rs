//! The protocol state of one connection, without I/O: frames in, events out, and frames appended to the output.
//!
//! Checks every frame against RFC 9113 and keeps both sides' windows; never looks into a header list or a message (the roles do).

mod receive;
mod send;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::frame::{self, ErrorCode, setting};
use crate::hpack::{DEFAULT_TABLE_BYTES, Decoder, Encoder};
use crate::output::Output;
use crate::streams::{Stream, Streams};
pub(crate) use send::{Payload, Sent};

/// Frames that one header block may come in.
const MAX_BLOCK_FRAMES: u32 = 128;
/// No more DATA is framed while this much waits for the socket.
pub(crate) const OUTPUT_MARK: usize = 512 * 1024;
/// Frames that cost us work and the peer nothing: how many in a burst, and how many a second.
const NUISANCE_BURST: u32 = 10_000;
const NUISANCE_PER_SECOND: u32 = 1_000;
/// A stream that is reset sooner than this after it was opened is such work too.
const RAPID_RESET: Duration = Duration::from_millis(50);
/// Streams reset by us whose late frames are dropped without a word.
const REMEMBERED_RESETS: usize = 64;

/// What ends a stream or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connection(ErrorCode, &'static str),
    Stream(u32, ErrorCode),
}

fn fatal<T>(code: ErrorCode, why: &'static str) -> Result<T, Fault> {
    Err(Fault::Connection(code, why))
}

/// Whom a header block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    New,
    Open(u32),
    /// A stream that is closed: the block is decoded for the table's sake alone.
    Stale,
    /// The same, but we closed it: the peer could not know.
    Dropped,
}

/// What a frame means.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Nothing,
    Headers {
        id: u32,
        target: Target,
        end_stream: bool,
        block: Cow<'a, [u8]>,
    },
    Data {
        slot: u32,
        data: &'a [u8],
        end_stream: bool,
    },
    Reset {
        slot: u32,
        code: ErrorCode,
    },
    GoAway {
        last: u32,
        code: ErrorCode,
        debug: &'a [u8],
    },
    /// The peer's limits may have changed.
    Settings,
    Ping,
    PingAck([u8; 8]),
}

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What we announce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub stream_window: u32,
    pub connection_window: u32,
    pub max_frame: u32,
    pub max_header_list: u32,
    pub max_streams: u32,
}

struct Block {
    id: u32,
    end_stream: bool,
    bytes: Vec<u8>,
    frames: u32,
}

/// A bucket of patience.
struct Calm {
    left: u32,
    filled: Instant,
}

impl Calm {
    fn spend(&mut self, cost: u32) -> Result<(), Fault> {
        if self.left < cost {
            let now = Instant::now();
            let since = now.duration_since(self.filled).as_millis();
            let earned = since.saturating_mul(u128::from(NUISANCE_PER_SECOND)) / 1000;
            self.left = NUISANCE_BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            self.filled = now;
        }
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => return fatal(ErrorCode::ENHANCE_YOUR_CALM, "too many frames that do nothing"),
        }
        Ok(())
    }
}

/// The state of a connection.
pub(crate) struct Wire<T> {
    pub out: Output,
    pub encoder: Encoder,
    pub decoder: Decoder,
    pub streams: Streams<T>,
    /// Slots that may have something to send.
    pub send_queue: VecDeque<u32>,
    /// The highest stream that the peer opened.
    pub last_peer_stream: u32,
    /// Frames of a call were sent since the peer's last ping: then a ping is no strike (grpc-go's rule).
    pub sent_since_ping: bool,
    pub peer_max_streams: u32,
    /// When the bytes being worked on came; one look at the clock a read.
    pub now: Instant,
    side: Side,
    limits: Limits,
    block: Option<Block>,
    window_blocked: Vec<u32>,
    our_resets: VecDeque<u32>,
    send_window: i64,
    recv_window: i64,
    recv_unacked: u32,
    peer_window: i64,
    peer_max_frame: usize,
    settings_seen: bool,
    next_own_stream: u32,
    calm: Calm,
}

impl<T> Wire<T> {
    /// A new connection; our settings are already in the output (after the preface, on a client).
    pub(crate) fn new(side: Side, limits: Limits) -> Wire<T> {
        let mut out = Output::default();
        let buffer = out.buffer();
        let mut settings = vec![
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window),
            (setting::MAX_FRAME_SIZE, limits.max_frame),
            (setting::MAX_HEADER_LIST_SIZE, limits.max_header_list),
        ];
        match side {
            Side::Client => {
                buffer.extend_from_slice(frame::PREFACE);
                settings.push((setting::ENABLE_PUSH, 0));
            }
            Side::Server if limits.max_streams < u32::MAX => settings.push((setting::MAX_CONCURRENT_STREAMS, limits.max_streams)),
            Side::Server => {}
        }
        frame::put_settings(buffer, &settings);
        if let Some(more) = limits.connection_window.checked_sub(frame::DEFAULT_WINDOW).filter(|&more| more > 0) {
            frame::put_window_update(buffer, 0, more);
        }
        Wire {
            out,
            encoder: Encoder::new(),
            decoder: Decoder::new(DEFAULT_TABLE_BYTES),
            streams: Streams::new(),
            send_queue: VecDeque::new(),
            last_peer_stream: 0,
            sent_since_ping: false,
            peer_max_streams: u32::MAX,
            now: Instant::now(),
            side,
            limits,
            block: None,
            window_blocked: Vec::new(),
            our_resets: VecDeque::new(),
            send_window: i64::from(frame::DEFAULT_WINDOW),
            recv_window: i64::from(limits.connection_window.max(frame::DEFAULT_WINDOW)),
            recv_unacked: 0,
            peer_window: i64::from(frame::DEFAULT_WINDOW),
            peer_max_frame: frame::DEFAULT_MAX_FRAME,
            settings_seen: false,
            next_own_stream: 1,
            calm: Calm {
                left: NUISANCE_BURST,
                filled: Instant::now(),
            },
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts a frame that costs us work and the peer nothing.
    pub(crate) fn nuisance(&mut self, cost: u32) -> Result<(), Fault> {
        self.calm.spend(cost)
    }

    /// Opens a stream under the next number of ours (clients); gives `call` back when the numbers are used up.
    pub(crate) fn open_own(&mut self, call: T) -> Result<u32, T> {
        let id = self.next_own_stream;
        if id > frame::MAX_STREAM_ID {
            return Err(call);
        }
        self.next_own_stream += 2;
        Ok(self.open(id, call))
    }

    /// Makes the stream known.
    pub(crate) fn open(&mut self, id: u32, call: T) -> u32 {
        self.streams.insert(Stream {
            id,
            opened: self.now,
            send_window: self.peer_window,
            recv_window: i64::from(self.limits.stream_window),
            recv_unacked: 0,
            remote_closed: false,
            queued: false,
            call,
        })
    }

    /// Puts a slot on the list of those that may have something to send.
    pub(crate) fn queue(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get(slot)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.send_queue.push_back(slot);
        }
    }

    /// The next slot of that list.
    pub(crate) fn next_queued(&mut self) -> Option<u32> {
        loop {
            let slot = self.send_queue.pop_front()?;
            if let Some(stream) = self.streams.get(slot)
                && std::mem::replace(&mut stream.queued, false)
            {
                return Some(slot);
            }
        }
    }

    /// Resets a stream that may or may not be known.
    pub(crate) fn reset(&mut self, id: u32, code: ErrorCode) {
        frame::put_reset(self.out.buffer(), id, code);
        if self.our_resets.len() == REMEMBERED_RESETS {
            self.our_resets.pop_front();
        }
        self.our_resets.push_back(id);
    }
}
