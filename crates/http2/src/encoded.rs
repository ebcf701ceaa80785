//! An encoded message on its way out: a few bytes in place, or a list of shared chunks.
//!
//! A small answer costs no allocation; a large one is written around the stored bytes it holds. Never knows frames or windows:
//! `output` takes as many bytes as those allow.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Chunks from this size on are shared with the socket's write instead of copied.
pub(crate) const SHARE_FROM: usize = 4096;

/// One encoded message.
#[derive(Clone, Debug)]
pub struct Encoded(pub(crate) Repr);

#[derive(Clone, Debug)]
pub(crate) enum Repr {
    Inline { start: u8, end: u8, data: [u8; Encoded::INLINE] },
    One(Bytes),
    Many { len: usize, chunks: VecDeque<Bytes> },
}

impl Encoded {
    /// Messages up to this size are kept in place.
    pub const INLINE: usize = 62;

    pub fn empty() -> Encoded {
        Encoded::copy_from(&[])
    }

    /// A message of the given bytes; copies them.
    pub fn copy_from(message: &[u8]) -> Encoded {
        if message.len() > Encoded::INLINE {
            return Encoded(Repr::One(Bytes::copy_from_slice(message)));
        }
        let mut data = [0; Encoded::INLINE];
        data[..message.len()].copy_from_slice(message);
        Encoded(Repr::Inline {
            start: 0,
            end: message.len() as u8,
            data,
        })
    }

    /// Encodes a protobuf message.
    pub fn message(message: &impl prost::Message) -> Encoded {
        let len = message.encoded_len();
        if len > Encoded::INLINE {
            return Encoded::from(message.encode_to_vec());
        }
        let mut data = [0; Encoded::INLINE];
        let fits = message.encode(&mut &mut data[..]);
        assert!(fits.is_ok(), "a message longer than its own encoded_len");
        Encoded(Repr::Inline {
            start: 0,
            end: len as u8,
            data,
        })
    }

    /// Starts a message that is put together from small pieces and shared bytes.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What is left to be taken, in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Inline { start, end, .. } => usize::from(end - start),
            Repr::One(bytes) => bytes.len(),
            Repr::Many { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole message as one piece; copies if it is in several.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { start, end, data } => Bytes::copy_from_slice(&data[usize::from(start)..usize::from(end)]),
            Repr::One(bytes) => bytes,
            Repr::Many { len, chunks } => {
                let mut whole = Vec::with_capacity(len);
                chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
                Bytes::from(whole)
            }
        }
    }

    /// Takes the next `count` bytes: small pieces through `copy`, large ones through `share`.
    pub(crate) fn take(&mut self, mut count: usize, sink: &mut impl Sink) {
        assert!(count <= self.len(), "taking more of a message than there is");
        match &mut self.0 {
            Repr::Inline { start, data, .. } => {
                let from = usize::from(*start);
                sink.copy(&data[from..from + count]);
                *start += count as u8;
            }
            Repr::One(bytes) => take_chunk(bytes, count, sink),
            Repr::Many { len, chunks } => {
                *len -= count;
                while let Some(chunk) = chunks.front_mut().filter(|_| count > 0) {
                    let part = chunk.len().min(count);
                    take_chunk(chunk, part, sink);
                    count -= part;
                    if chunk.is_empty() {
                        chunks.pop_front();
                    }
                }
            }
        }
    }
}

fn take_chunk(chunk: &mut Bytes, count: usize, sink: &mut impl Sink) {
    if count >= SHARE_FROM {
        sink.share(chunk.split_to(count));
    } else {
        sink.copy(&chunk[..count]);
        chunk.advance(count);
    }
}

/// Where the bytes of a message go.
pub(crate) trait Sink {
    fn copy(&mut self, bytes: &[u8]);
    fn share(&mut self, bytes: Bytes);
}

impl From<Vec<u8>> for Encoded {
    fn from(message: Vec<u8>) -> Encoded {
        Encoded(Repr::One(Bytes::from(message)))
    }
}

impl From<Bytes> for Encoded {
    fn from(message: Bytes) -> Encoded {
        Encoded(Repr::One(message))
    }
}

/// Puts a message together: small pieces are copied into one buffer, large shared ones are kept as they are.
#[derive(Default)]
pub struct Builder {
    tail: Vec<u8>,
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Builder {
    /// Room for small pieces, in bytes.
    pub fn reserve(&mut self, additional: usize) {
        self.tail.reserve(additional);
    }

    /// The buffer for small pieces (a [`bytes::BufMut`]); append only.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends shared bytes: copied when copying is cheaper.
    pub fn share(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            self.tail.extend_from_slice(bytes);
            return;
        }
        self.seal();
        self.len += bytes.len();
        self.chunks.push_back(bytes.clone());
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.len += self.tail.len();
            self.chunks.push_back(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    /// Length so far, in bytes.
    pub fn len(&self) -> usize {
        self.len + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn finish(mut self) -> Encoded {
        if self.chunks.is_empty() && self.tail.len() <= Encoded::INLINE {
            return Encoded::copy_from(&self.tail);
        }
        self.seal();
        if self.chunks.len() == 1 {
            return Encoded::from(self.chunks.pop_front().unwrap_or_default());
        }
        Encoded(Repr::Many {
            len: self.len,
            chunks: self.chunks,
        })
    }
}
