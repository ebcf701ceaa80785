//! What a connection sends: header blocks, and DATA as far as the windows and the output allow.

use super::{OUTPUT_MARK, Wire};
use crate::encoded::{Encoded, Sink};
use crate::frame::{self, FrameHeader, HEADER_LEN, flag, kind};
use crate::hpack::Encoder;
use crate::output::Output;

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
impl<T> Wire<T> {
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
}
