//! What waits to be written: one buffer of copied bytes with large shared chunks between them, written with one call a wake-up.
//!
//! Never decides what may be sent (`wire` does). An idle connection holds no buffer: buffers go back to a small pool of the thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::encoded::Sink;

/// Slices handed to one vectored write.
const MAX_SLICES: usize = 64;
/// Buffers above this size are not kept.
const POOLED_BYTES: usize = 512 * 1024;
const POOLED_BUFFERS: usize = 8;
const FIRST_BYTES: usize = 4096;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

enum Part {
    /// The next bytes of the buffer.
    Copied(usize),
    Shared(Bytes),
}

/// The bytes on their way to the peer, in order.
#[derive(Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
    /// How much of the buffer `parts` speaks of; the rest comes after all parts.
    parted: usize,
    parts: VecDeque<Part>,
    shared_bytes: usize,
}

impl Output {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.written + self.shared_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The end of the queue, to append to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES));
        }
        &mut self.buffer
    }

    /// Writes as much as the peer takes.
    pub(crate) fn poll_write<IO: AsyncWrite + Unpin>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let wrote = match self.poll_write_once(io, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(wrote)) => wrote,
            };
            self.advance(wrote);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_once<IO: AsyncWrite + Unpin>(&self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.parts.is_empty() {
            return Pin::new(io).poll_write(cx, &self.buffer[self.written..]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let mut at = self.written;
        for part in self.parts.iter().take(MAX_SLICES - 1) {
            slices[count] = match part {
                Part::Copied(len) => {
                    at += len;
                    IoSlice::new(&self.buffer[at - len..at])
                }
                Part::Shared(bytes) => IoSlice::new(bytes),
            };
            count += 1;
        }
        if self.parts.len() < MAX_SLICES && self.parted < self.buffer.len() {
            slices[count] = IoSlice::new(&self.buffer[self.parted..]);
            count += 1;
        }
        if io.is_write_vectored() {
            Pin::new(io).poll_write_vectored(cx, &slices[..count])
        } else {
            Pin::new(io).poll_write(cx, &slices[0])
        }
    }

    fn advance(&mut self, mut wrote: usize) {
        assert!(wrote <= self.len(), "the socket took more than it was given");
        while wrote > 0 {
            match self.parts.front_mut() {
                None => {
                    self.written += wrote;
                    break;
                }
                Some(Part::Copied(len)) => {
                    let part = wrote.min(*len);
                    *len -= part;
                    self.written += part;
                    wrote -= part;
                    if *len > 0 {
                        break;
                    }
                }
                Some(Part::Shared(bytes)) => {
                    let part = wrote.min(bytes.len());
                    bytes.advance(part);
                    self.shared_bytes -= part;
                    wrote -= part;
                    if !bytes.is_empty() {
                        break;
                    }
                }
            }
            self.parts.pop_front();
        }
        self.parted = self.parted.max(self.written);
        if self.is_empty() {
            self.release();
        } else if self.written > POOLED_BYTES {
            // A peer that never quite catches up must not make the buffer grow for ever.
            self.buffer.drain(..self.written);
            self.parted -= self.written;
            self.written = 0;
        }
    }

    fn release(&mut self) {
        assert!(self.parts.is_empty(), "parts of an empty queue");
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        self.parted = 0;
        if buffer.capacity() <= POOLED_BYTES {
            buffer.clear();
            POOL.with_borrow_mut(|pool| {
                if pool.len() < POOLED_BUFFERS {
                    pool.push(buffer);
                }
            });
        }
    }
}

impl Sink for Output {
    fn copy(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: Bytes) {
        let copied = self.buffer.len() - self.parted;
        if copied > 0 {
            self.parts.push_back(Part::Copied(copied));
            self.parted = self.buffer.len();
        }
        self.shared_bytes += bytes.len();
        self.parts.push_back(Part::Shared(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes a call.
    struct Slow {
        taken: Vec<u8>,
        step: usize,
        vectored: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let part = bytes.len().min(self.step);
            self.taken.extend_from_slice(&bytes[..part]);
            Poll::Ready(Ok(part))
        }

        fn poll_write_vectored(mut self: Pin<&mut Self>, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let part = all.len().min(self.step);
            self.taken.extend_from_slice(&all[..part]);
            Poll::Ready(Ok(part))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn keeps_the_order_of_copied_and_shared_bytes() {
        for vectored in [true, false] {
            for step in [1, 3, 7, 100, 100_000] {
                let mut out = Output::default();
                let mut wanted = Vec::new();
                for round in 0..100u8 {
                    out.copy(&[round; 9]);
                    wanted.extend_from_slice(&[round; 9]);
                    if round % 3 != 0 {
                        out.share(Bytes::from(vec![round; 20]));
                        wanted.extend_from_slice(&[round; 20]);
                    }
                }
                assert_eq!(out.len(), wanted.len());
                let mut io = Slow {
                    taken: Vec::new(),
                    step,
                    vectored,
                };
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(matches!(out.poll_write(&mut io, &mut cx), Poll::Ready(Ok(()))));
                assert!(io.taken == wanted, "step {step}, vectored {vectored}");
                assert!(out.is_empty());
            }
        }
    }
}
