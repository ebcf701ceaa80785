//! The protocol state of one connection, without I/O: frames in, events out, and frames appended to the output.
//!
//! Checks every frame against RFC 9113 and keeps both sides' windows; never looks into a header list or a message (the roles do).

use std::borrow::Cow;
use std::collections::VecDeque;

use tokio::time::Instant;

use crate::encoded::{Encoded, Sink};
use crate::frame::{self, ErrorCode, FrameHeader, HEADER_LEN, MAX_WINDOW, flag, kind, setting};
use crate::hpack::{DEFAULT_TABLE_BYTES, Decoder, Encoder};
use crate::output::Output;
use crate::streams::{Stream, Streams};

/// Frames that one header block may come in.
const MAX_BLOCK_FRAMES: u32 = 128;
/// No more DATA is framed while this much waits for the socket.
pub(crate) const OUTPUT_MARK: usize = 512 * 1024;
/// Frames that cost us work and the peer nothing: how many in a burst, and how many a second.
const NUISANCE_BURST: u32 = 10_000;
const NUISANCE_PER_SECOND: u32 = 1_000;

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

/// A message or body part being sent, with gRPC's prefix before it.
#[derive(Debug)]
pub(crate) struct Payload {
    prefix: [u8; 5],
    prefix_at: u8,
    body: Encoded,
}

impl Payload {
    pub(crate) fn message(body: Encoded) -> Payload {
        let len = (body.len() as u32).to_be_bytes();
        Payload {
            prefix: [0, len[0], len[1], len[2], len[3]],
            prefix_at: 0,
            body,
        }
    }

    pub(crate) fn raw(body: Encoded) -> Payload {
        Payload {
            prefix: [0; 5],
            prefix_at: 5,
            body,
        }
    }

    fn len(&self) -> usize {
        5 - usize::from(self.prefix_at) + self.body.len()
    }

    fn take(&mut self, mut count: usize, out: &mut Output) {
        let at = usize::from(self.prefix_at);
        let prefix = count.min(5 - at);
        if prefix > 0 {
            out.copy(&self.prefix[at..at + prefix]);
            self.prefix_at += prefix as u8;
            count -= prefix;
        }
        if count > 0 {
            self.body.take(count, out);
        }
    }
}

/// How far sending came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    /// `WINDOW_UPDATE` or the emptied output will queue the stream again.
    Blocked,
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
    }

    // ---- sending ----

    /// Appends a header block written by `fill`.
    pub(crate) fn headers(&mut self, id: u32, end_stream: bool, fill: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        self.sent_since_ping = true;
        let max_frame = self.peer_max_frame;
        let buffer = self.out.buffer();
        let start = buffer.len();
        buffer.extend_from_slice(&[0; HEADER_LEN]);
        self.encoder.begin(buffer);
        fill(&mut self.encoder, buffer);
        let len = buffer.len() - start - HEADER_LEN;
        let end = if end_stream { flag::END_STREAM } else { 0 };
        let first = FrameHeader {
            len: len.min(max_frame),
            kind: kind::HEADERS,
            flags: end | if len <= max_frame { flag::END_HEADERS } else { 0 },
            stream: id,
        };
        buffer[start..start + HEADER_LEN].copy_from_slice(&first.bytes());
        if len > max_frame {
            let rest = buffer.split_off(start + HEADER_LEN + max_frame);
            let mut parts = rest.chunks(max_frame).peekable();
            while let Some(part) = parts.next() {
                let header = FrameHeader {
                    len: part.len(),
                    kind: kind::CONTINUATION,
                    flags: if parts.peek().is_none() { flag::END_HEADERS } else { 0 },
                    stream: id,
                };
                buffer.extend_from_slice(&header.bytes());
                buffer.extend_from_slice(part);
            }
        }
    }

    /// Frames as much of `payload` as the windows and the output allow. `end_stream` goes on the last frame.
    pub(crate) fn data(&mut self, slot: u32, payload: &mut Payload, end_stream: bool) -> Sent {
        let Some(stream) = self.streams.get(slot) else { return Sent::All };
        self.sent_since_ping = true;
        loop {
            let left = payload.len();
            if left == 0 && !end_stream {
                return Sent::All;
            }
            let window = self.send_window.min(stream.send_window);
            if left > 0 && (window <= 0 || self.out.len() > OUTPUT_MARK) {
                if stream.send_window > 0 && !stream.queued {
                    stream.queued = true;
                    // The socket's turn, or the connection's window: the stream's own window would queue it by itself.
                    if self.send_window > 0 {
                        self.send_queue.push_back(slot);
                    } else {
                        self.window_blocked.push(slot);
                    }
                }
                return Sent::Blocked;
            }
            let len = left.min(self.peer_max_frame).min(window.max(0) as usize);
            let last = len == left;
            let header = FrameHeader {
                len,
                kind: kind::DATA,
                flags: if last && end_stream { flag::END_STREAM } else { 0 },
                stream: stream.id,
            };
            self.out.buffer().extend_from_slice(&header.bytes());
            payload.take(len, &mut self.out);
            stream.send_window -= len as i64;
            self.send_window -= len as i64;
            if last {
                return Sent::All;
            }
        }
    }

    /// Gives received bytes of a stream back to the peer's window, once they are worth a frame.
    pub(crate) fn credit(&mut self, slot: u32) {
        let worth = self.limits.stream_window / 4;
        if let Some(stream) = self.streams.get(slot)
            && stream.recv_unacked > worth
            && !stream.remote_closed
        {
            stream.recv_window += i64::from(stream.recv_unacked);
            frame::put_window_update(self.out.buffer(), stream.id, stream.recv_unacked);
            stream.recv_unacked = 0;
        }
    }

    // ---- receiving ----

    /// Checks a frame's header before its payload is waited for.
    pub(crate) fn check(&self, header: FrameHeader) -> Result<(), Fault> {
        if header.len > self.limits.max_frame as usize {
            return fatal(ErrorCode::FRAME_SIZE_ERROR, "frame too large");
        }
        if !self.settings_seen && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return fatal(ErrorCode::PROTOCOL_ERROR, "the first frame is not SETTINGS");
        }
        if let Some(block) = &self.block
            && (header.kind != kind::CONTINUATION || header.stream != block.id)
        {
            return fatal(ErrorCode::PROTOCOL_ERROR, "a header block is not finished");
        }
        Ok(())
    }

    /// Takes a whole frame that `check` has passed.
    pub(crate) fn receive<'a>(&mut self, header: FrameHeader, payload: &'a [u8]) -> Result<Event<'a>, Fault> {
        assert_eq!(header.len, payload.len(), "a frame cut in two");
        match header.kind {
            kind::DATA => self.on_data(header, payload),
            kind::HEADERS => self.on_headers(header, payload),
            kind::CONTINUATION => self.on_continuation(header, payload),
            kind::WINDOW_UPDATE => self.on_window_update(header, payload),
            kind::RST_STREAM => self.on_reset(header, payload),
            kind::SETTINGS => self.on_settings(header, payload),
            kind::PING => self.on_ping(header, payload),
            kind::GOAWAY => on_goaway(header, payload),
            kind::PRIORITY => self.on_priority(header, payload),
            kind::PUSH_PROMISE => fatal(ErrorCode::PROTOCOL_ERROR, "PUSH_PROMISE"),
            _ => self.nuisance(1).map(|()| Event::Nothing),
        }
    }

    /// Whether nobody has opened the stream yet.
    fn is_idle(&self, id: u32) -> bool {
        match (self.side, id % 2 == 1) {
            (Side::Server, true) => id > self.last_peer_stream,
            (Side::Client, true) => id >= self.next_own_stream,
            // Neither side pushes.
            (_, false) => true,
        }
    }

    fn on_data<'a>(&mut self, header: FrameHeader, payload: &'a [u8]) -> Result<Event<'a>, Fault> {
        if self.is_idle(header.stream) {
            return fatal(ErrorCode::PROTOCOL_ERROR, "DATA on an idle stream");
        }
        let Some(data) = frame::unpadded(header, payload) else {
            return fatal(ErrorCode::PROTOCOL_ERROR, "padding longer than its frame");
        };
        self.recv_window -= header.len as i64;
        if self.recv_window < 0 {
            return fatal(ErrorCode::FLOW_CONTROL_ERROR, "more DATA than the connection's window");
        }
        // The connection's window opens again at once: what a slow reader may hold back is bounded by its stream's own window.
        self.recv_unacked += header.len as u32;
        if self.recv_unacked > self.limits.connection_window / 4 {
            self.recv_window += i64::from(self.recv_unacked);
            frame::put_window_update(self.out.buffer(), 0, self.recv_unacked);
            self.recv_unacked = 0;
        }
        let end_stream = header.has(flag::END_STREAM);
        if data.is_empty() && !end_stream {
            self.nuisance(1)?;
        }
        let open = self.streams.find(header.stream);
        let Some((slot, stream)) = open.and_then(|slot| self.streams.get(slot).map(|stream| (slot, stream))) else {
            // A client is told only once; what was under way when we reset the stream is dropped.
            return match self.side {
                Side::Server => self.nuisance(1).and(Err(Fault::Stream(header.stream, ErrorCode::STREAM_CLOSED))),
                Side::Client => Ok(Event::Nothing),
            };
        };
        if stream.remote_closed {
            return Err(Fault::Stream(header.stream, ErrorCode::STREAM_CLOSED));
        }
        stream.recv_window -= header.len as i64;
        if stream.recv_window < 0 {
            return Err(Fault::Stream(header.stream, ErrorCode::FLOW_CONTROL_ERROR));
        }
        stream.recv_unacked += header.len as u32;
        stream.remote_closed = end_stream;
        Ok(Event::Data { slot, data, end_stream })
    }

    fn on_headers<'a>(&mut self, header: FrameHeader, payload: &'a [u8]) -> Result<Event<'a>, Fault> {
        let Some(mut block) = frame::unpadded(header, payload) else {
            return fatal(ErrorCode::PROTOCOL_ERROR, "padding longer than its frame");
        };
        if header.has(flag::PRIORITY) {
            block = match block.get(5..) {
                Some(rest) => rest,
                None => return fatal(ErrorCode::FRAME_SIZE_ERROR, "HEADERS too short for its priority"),
            };
        }
        if header.stream.is_multiple_of(2) || (self.side == Side::Client && self.is_idle(header.stream)) {
            return fatal(ErrorCode::PROTOCOL_ERROR, "HEADERS on a stream that cannot be");
        }
        let end_stream = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return Ok(self.block_done(header.stream, end_stream, Cow::Borrowed(block)));
        }
        self.block = Some(Block {
            id: header.stream,
            end_stream,
            bytes: block.to_vec(),
            frames: 1,
        });
        Ok(Event::Nothing)
    }

    fn on_continuation<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        let Some(mut block) = self.block.take() else {
            return fatal(ErrorCode::PROTOCOL_ERROR, "CONTINUATION of nothing");
        };
        block.frames += 1;
        block.bytes.extend_from_slice(payload);
        if block.frames > MAX_BLOCK_FRAMES || block.bytes.len() > self.limits.max_header_list as usize {
            return fatal(ErrorCode::ENHANCE_YOUR_CALM, "header block too large");
        }
        if header.has(flag::END_HEADERS) {
            return Ok(self.block_done(block.id, block.end_stream, Cow::Owned(block.bytes)));
        }
        self.block = Some(block);
        Ok(Event::Nothing)
    }

    fn block_done<'a>(&mut self, id: u32, end_stream: bool, block: Cow<'a, [u8]>) -> Event<'a> {
        let target = match self.streams.find(id) {
            Some(slot) => match self.streams.get(slot) {
                Some(stream) if !stream.remote_closed => {
                    stream.remote_closed = end_stream;
                    Target::Open(slot)
                }
                _ => Target::Stale,
            },
            None if self.side == Side::Server && id > self.last_peer_stream => {
                self.last_peer_stream = id;
                Target::New
            }
            None => Target::Stale,
        };
        Event::Headers {
            id,
            target,
            end_stream,
            block,
        }
    }

    fn on_window_update<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        if payload.len() != 4 {
            return fatal(ErrorCode::FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length");
        }
        let more = i64::from(frame::number(payload) & 0x7fff_ffff);
        if header.stream == 0 {
            if more == 0 {
                return fatal(ErrorCode::PROTOCOL_ERROR, "WINDOW_UPDATE of nothing");
            }
            self.send_window += more;
            if self.send_window > MAX_WINDOW {
                return fatal(ErrorCode::FLOW_CONTROL_ERROR, "the connection's window overflows");
            }
            self.send_queue.extend(self.window_blocked.drain(..));
            return Ok(Event::Nothing);
        }
        if self.is_idle(header.stream) {
            return fatal(ErrorCode::PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream");
        }
        let Some(slot) = self.streams.find(header.stream) else {
            return Ok(Event::Nothing);
        };
        if more == 0 {
            return Err(Fault::Stream(header.stream, ErrorCode::PROTOCOL_ERROR));
        }
        if let Some(stream) = self.streams.get(slot) {
            stream.send_window += more;
            if stream.send_window > MAX_WINDOW {
                return Err(Fault::Stream(header.stream, ErrorCode::FLOW_CONTROL_ERROR));
            }
        }
        self.queue(slot);
        Ok(Event::Nothing)
    }

    fn on_reset<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        if payload.len() != 4 {
            return fatal(ErrorCode::FRAME_SIZE_ERROR, "RST_STREAM of a wrong length");
        }
        if self.is_idle(header.stream) {
            return fatal(ErrorCode::PROTOCOL_ERROR, "RST_STREAM on an idle stream");
        }
        // Opening and resetting streams is the cheapest way to keep a server busy.
        self.nuisance(1)?;
        Ok(match self.streams.find(header.stream) {
            Some(slot) => Event::Reset {
                slot,
                code: ErrorCode(frame::number(payload)),
            },
            None => Event::Nothing,
        })
    }

    fn on_settings<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        if header.stream != 0 {
            return fatal(ErrorCode::PROTOCOL_ERROR, "SETTINGS on a stream");
        }
        if header.has(flag::ACK) {
            return match payload.len() {
                0 => Ok(Event::Nothing),
                _ => fatal(ErrorCode::FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload"),
            };
        }
        if !payload.len().is_multiple_of(6) {
            return fatal(ErrorCode::FRAME_SIZE_ERROR, "SETTINGS of a wrong length");
        }
        if self.settings_seen {
            self.nuisance(10)?;
        }
        self.settings_seen = true;
        for entry in payload.chunks_exact(6) {
            self.setting(u16::from_be_bytes([entry[0], entry[1]]), frame::number(&entry[2..]))?;
        }
        frame::put_settings_ack(self.out.buffer());
        Ok(Event::Settings)
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Fault> {
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.set_limit(value as usize),
            setting::ENABLE_PUSH if value > 1 || (value == 1 && self.side == Side::Client) => {
                return fatal(ErrorCode::PROTOCOL_ERROR, "bad ENABLE_PUSH");
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer_max_streams = value,
            setting::INITIAL_WINDOW_SIZE => {
                if i64::from(value) > MAX_WINDOW {
                    return fatal(ErrorCode::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE too large");
                }
                let delta = i64::from(value) - self.peer_window;
                self.peer_window = i64::from(value);
                for slot in self.streams.occupied() {
                    let Some(stream) = self.streams.get(slot) else { continue };
                    stream.send_window += delta;
                    if stream.send_window > MAX_WINDOW {
                        return fatal(ErrorCode::FLOW_CONTROL_ERROR, "a stream's window overflows");
                    }
                    self.queue(slot);
                }
            }
            setting::MAX_FRAME_SIZE => {
                if !(16_384..1 << 24).contains(&value) {
                    return fatal(ErrorCode::PROTOCOL_ERROR, "bad MAX_FRAME_SIZE");
                }
                // Larger frames than this gain nothing and hold other streams up.
                self.peer_max_frame = (value as usize).min(64 * 1024);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_ping<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        if header.stream != 0 {
            return fatal(ErrorCode::PROTOCOL_ERROR, "PING on a stream");
        }
        let Ok(data) = <[u8; 8]>::try_from(payload) else {
            return fatal(ErrorCode::FRAME_SIZE_ERROR, "PING of a wrong length");
        };
        if header.has(flag::ACK) {
            return Ok(Event::PingAck(data));
        }
        if !self.sent_since_ping {
            self.nuisance(1)?;
        }
        frame::put_ping(self.out.buffer(), true, &data);
        Ok(Event::Ping)
    }

    fn on_priority<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Event<'a>, Fault> {
        if header.stream == 0 {
            return fatal(ErrorCode::PROTOCOL_ERROR, "PRIORITY on stream 0");
        }
        self.nuisance(1)?;
        match payload.len() {
            5 => Ok(Event::Nothing),
            _ if self.is_idle(header.stream) => fatal(ErrorCode::FRAME_SIZE_ERROR, "PRIORITY of a wrong length"),
            _ => Err(Fault::Stream(header.stream, ErrorCode::FRAME_SIZE_ERROR)),
        }
    }
}

fn on_goaway(header: FrameHeader, payload: &[u8]) -> Result<Event<'_>, Fault> {
    if header.stream != 0 {
        return fatal(ErrorCode::PROTOCOL_ERROR, "GOAWAY on a stream");
    }
    if payload.len() < 8 {
        return fatal(ErrorCode::FRAME_SIZE_ERROR, "GOAWAY too short");
    }
    Ok(Event::GoAway {
        last: frame::number(payload) & 0x7fff_ffff,
        code: ErrorCode(frame::number(&payload[4..])),
        debug: &payload[8..],
    })
}
