//! RangeStream: one range in chunks, all of one revision.

use api::pb::etcdserverpb::RangeRequest;
use bytes::{BufMut, Bytes, BytesMut};
use world::fail;

use crate::kv::{self, Kv};
use crate::{MvccError, RangeAnswer, Store};

/// Keys in the first chunk.
const FIRST_CHUNK_KEYS: i64 = 10;

/// One message of a range stream.
#[derive(Clone, Debug)]
pub struct RangeChunk {
    pub kvs: Vec<Bytes>,
    /// In the last chunk alone: what the others leave out (its `kvs` stay empty).
    pub end: Option<RangeAnswer>,
}

/// A range handed out in chunks. Each is read when it is asked for, so nothing is held in between, and a compaction that
/// passes the revision ends the stream with an error.
pub struct RangeStream {
    store: Store,
    /// What is left: key, limit of the next chunk, and from the second chunk on the revision of the first.
    request: RangeRequest,
    /// Keys that may still be sent; `None` without a limit.
    allowed: Option<i64>,
    max_request_bytes: usize,
    /// Revision and count of the first chunk: the count is that of the whole range.
    first: Option<(i64, i64)>,
    done: bool,
}

impl RangeStream {
    pub(crate) fn new(store: Store, mut request: RangeRequest, max_request_bytes: usize) -> RangeStream {
        let allowed = (request.limit > 0).then_some(request.limit);
        request.limit = allowed.map_or(FIRST_CHUNK_KEYS, |allowed| allowed.min(FIRST_CHUNK_KEYS));
        RangeStream {
            store,
            request,
            allowed,
            max_request_bytes,
            first: None,
            done: false,
        }
    }

    fn chunk(&mut self) -> Result<RangeChunk, MvccError> {
        fail::point("beforeRangeStreamChunk");
        let answer = self.store.range(&self.request)?;
        let (revision, count) = *self.first.get_or_insert((answer.revision, answer.count));
        let sent = answer.kvs.len() as i64;
        if let Some(allowed) = &mut self.allowed {
            *allowed -= sent;
        }
        let exhausted = self.allowed == Some(0);
        if answer.more && !exhausted {
            self.prepare_next(&answer, revision)?;
            return Ok(RangeChunk {
                kvs: answer.kvs,
                end: None,
            });
        }
        self.done = true;
        Ok(RangeChunk {
            kvs: answer.kvs,
            end: Some(RangeAnswer {
                revision,
                kvs: Vec::new(),
                more: answer.more,
                count,
            }),
        })
    }

    fn prepare_next(&mut self, answer: &RangeAnswer, revision: i64) -> Result<(), MvccError> {
        let last = answer.kvs.last().map(|stored| Kv::parse(stored)).transpose()?;
        let last = last.map_or(&[][..], |kv| kv.key);
        // The least key above the last one sent.
        let mut next = BytesMut::with_capacity(last.len() + 1);
        next.put_slice(last);
        next.put_u8(0);
        self.request.key = next.freeze();
        if self.request.revision <= 0 {
            self.request.revision = revision;
        }
        let size: usize = answer.kvs.iter().map(|kv| kv::field_len(kv.len())).sum();
        let limit = match size {
            size if size < self.max_request_bytes / 2 => self.request.limit.saturating_mul(2),
            size if size > self.max_request_bytes * 2 => self.request.limit / 2,
            _ => self.request.limit,
        };
        self.request.limit = limit.max(1).min(self.allowed.unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Iterator for RangeStream {
    type Item = Result<RangeChunk, MvccError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let chunk = self.chunk();
        self.done |= chunk.is_err();
        Some(chunk)
    }
}
