//! What a connection receives: each frame checked, and told as an event.

use std::borrow::Cow;

use super::{Block, Event, Fault, MAX_BLOCK_FRAMES, RAPID_RESET, Side, Target, Wire, fatal};
use crate::frame::{self, ErrorCode, FrameHeader, MAX_WINDOW, flag, kind, setting};

impl<T> Wire<T> {
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
            if self.side == Side::Client || self.our_resets.contains(&header.stream) {
                return Ok(Event::Nothing);
            }
            return self.nuisance(1).and(Err(Fault::Stream(header.stream, ErrorCode::STREAM_CLOSED)));
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
            None if self.our_resets.contains(&id) => Target::Dropped,
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
        let slot = self.streams.find(header.stream);
        let opened = slot.and_then(|slot| self.streams.get(slot)).map(|stream| stream.opened);
        // Opening and resetting streams is the cheapest way to keep a server busy; giving up after a while is fair.
        if opened.is_none_or(|opened| opened + RAPID_RESET > self.now) {
            self.nuisance(1)?;
        }
        let code = ErrorCode(frame::number(payload));
        Ok(slot.map_or(Event::Nothing, |slot| Event::Reset { slot, code }))
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
