//! Ranges: from a request to the stored bytes that answer it, at one moment of the store.

use std::ops::ControlFlow;

use api::Revision;
use api::pb::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::pb::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use backend::{Batch, KeyReader, RevisionKey, Value};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::encode_varint;

use crate::index::{KeyIndex, KeyRange, KeyRevision, Until};
use crate::kv::{self, Kv};
use crate::{MvccError, gosort};

/// Stored pairs up to this size are packed together into one buffer; larger ones get their own.
const PACKED_BYTES: usize = 4096;
/// Size of such a buffer.
const PACK_BYTES: usize = 64 * 1024;

/// What a range found.
#[derive(Clone, Debug, Default)]
pub struct RangeAnswer {
    /// The store's revision: goes into the header.
    pub revision: i64,
    /// `mvccpb.KeyValue` messages as they are stored.
    pub kvs: Vec<Bytes>,
    pub more: bool,
    /// Keys in the whole range, whatever the limit and the filters.
    pub count: i64,
}

impl RangeAnswer {
    /// The `RangeResponse`, encoded. `header.revision` is replaced by the answer's.
    pub fn encode(&self, header: ResponseHeader) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len_hint());
        self.encode_into(header, &mut out);
        out.freeze()
    }

    /// Appends the encoded `RangeResponse`.
    pub fn encode_into(&self, mut header: ResponseHeader, out: &mut BytesMut) {
        header.revision = self.revision;
        out.reserve(self.encoded_len_hint());
        let empty = RangeResponse {
            header: Some(header),
            ..RangeResponse::default()
        };
        // Fields in order: the header, the pairs as they are, then what is left.
        empty.encode_raw(out);
        for kv in &self.kvs {
            out.put_u8(2 << 3 | 2);
            encode_varint(kv.len() as u64, out);
            out.put_slice(kv);
        }
        let rest = RangeResponse {
            more: self.more,
            count: self.count,
            ..RangeResponse::default()
        };
        rest.encode_raw(out);
    }

    fn encoded_len_hint(&self) -> usize {
        64 + self.kvs.iter().map(|kv| kv::field_len(kv.len())).sum::<usize>()
    }

    /// The answer as a message (for transactions, and for transports that want one). `header` may be left out by those that wrap it.
    pub fn into_message(self) -> Result<RangeResponse, MvccError> {
        let kvs: Result<_, _> = self.kvs.iter().map(kv::message).collect();
        Ok(RangeResponse {
            header: Some(ResponseHeader {
                revision: self.revision,
                ..ResponseHeader::default()
            }),
            kvs: kvs?,
            more: self.more,
            count: self.count,
        })
    }
}

/// Whether a range has bounds on mod or create revisions.
pub(crate) fn has_filters(request: &RangeRequest) -> bool {
    let r = request;
    r.min_mod_revision != 0 || r.max_mod_revision != 0 || r.min_create_revision != 0 || r.max_create_revision != 0
}

/// The store at one moment, as a reader or the transaction under way sees it.
pub(crate) struct Reader<'a> {
    pub index: &'a KeyIndex,
    pub keys: KeyReader<'a>,
    /// The changes of the transaction under way, which no view shows yet.
    pub own: Option<&'a Batch>,
    /// The newest revision to be seen.
    pub current: i64,
    pub compacted: i64,
}

/// A key that a range found.
struct Found {
    at: KeyRevision,
    /// Its bytes, as far as they are known before the order and the limit are: fetched early only where the order depends on the value.
    bytes: Option<Bytes>,
}

impl<'a> Reader<'a> {
    /// Answers a Range that passed [`crate::check::range`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeAnswer, MvccError> {
        let at = self.at(request.revision)?;
        let range = KeyRange::of(&request.key, &request.range_end);
        let mut answer = RangeAnswer {
            revision: self.current,
            ..RangeAnswer::default()
        };
        if request.count_only {
            answer.count = self.count(range, at);
            return Ok(answer);
        }
        let sort = Sort::of(request);
        let filters = has_filters(request);
        // As in Go: only what neither sorts by an order nor filters can stop at the limit. One more tells whether there is more.
        let fetch = match usize::try_from(request.limit) {
            Ok(limit) if limit > 0 && (sort.stops_at_limit || sort.in_key_order()) && !filters => limit.saturating_add(1),
            _ => 0,
        };
        // As in Go, keys alone come out of the index, without the lease that only the pair has; sorted by value, out of the pair.
        let from_index = request.keys_only && sort.target != SortTarget::Value;
        let mut found = self.find(range, at, fetch, from_index);
        answer.count = if fetch == 0 || found.len() < fetch {
            found.len() as i64
        } else {
            self.count(range, at)
        };
        if filters {
            found.retain(|f| passes(request, &f.at));
        }
        self.sort(&mut found, &sort)?;
        if request.limit > 0 && found.len() as i64 > request.limit {
            found.truncate(request.limit as usize);
            answer.more = true;
        }
        answer.kvs = self.fetch(found, request.keys_only && !from_index)?;
        Ok(answer)
    }

    /// The revision a request is about; 0 and less mean the newest.
    fn at(&self, revision: i64) -> Result<i64, MvccError> {
        if revision > self.current {
            return Err(MvccError::FutureRevision);
        }
        let at = if revision <= 0 { self.current } else { revision };
        if at < self.compacted {
            return Err(MvccError::Compacted);
        }
        Ok(at)
    }

    fn count(&self, range: KeyRange<'_>, at: i64) -> i64 {
        match range.until {
            Until::Single => i64::from(self.index.get(range.from, at).is_some()),
            _ => self.index.count(range, at) as i64,
        }
    }

    fn find(&self, range: KeyRange<'_>, at: i64, limit: usize, from_index: bool) -> Vec<Found> {
        let expected = if range.until == Until::Single { 1 } else { limit.min(10_000) };
        let mut all = Vec::with_capacity(expected);
        if !from_index {
            self.index.revisions(range, at, limit, &mut |at| {
                all.push(Found { at, bytes: None });
                ControlFlow::Continue(())
            });
            return all;
        }
        let mut pack = Pack::default();
        self.index.range(range, at, limit, &mut |key, at| {
            pack.remaining = expected.saturating_sub(all.len());
            let bytes = Some(pack.key_alone(key, &at));
            all.push(Found { at, bytes });
            ControlFlow::Continue(())
        });
        all
    }

    fn sort(&self, found: &mut [Found], sort: &Sort) -> Result<(), MvccError> {
        if sort.order == SortOrder::None || sort.in_key_order() {
            return Ok(());
        }
        if sort.target == SortTarget::Key {
            // They come in ascending order, and no two are equal.
            found.reverse();
            return Ok(());
        }
        let mut order: Vec<(Rank, usize)> = Vec::with_capacity(found.len());
        for (place, item) in found.iter_mut().enumerate() {
            order.push((self.rank(item, sort.target)?, place));
        }
        if sort.order == SortOrder::Descend {
            gosort::sort(&mut order, |a, b| b.0.below(&a.0));
        } else {
            gosort::sort(&mut order, |a, b| a.0.below(&b.0));
        }
        let mut sorted: Vec<Option<Found>> = Vec::with_capacity(found.len());
        for (_, place) in order {
            let item = Found {
                at: found[place].at,
                bytes: found[place].bytes.take(),
            };
            sorted.push(Some(item));
        }
        for (slot, item) in found.iter_mut().zip(sorted) {
            *slot = item.expect("each place once");
        }
        Ok(())
    }

    fn rank(&self, item: &mut Found, target: SortTarget) -> Result<Rank, MvccError> {
        Ok(match target {
            SortTarget::Version => Rank::Number(item.at.version),
            SortTarget::Create => Rank::Number(item.at.created),
            SortTarget::Mod => Rank::Number(item.at.modified.main),
            SortTarget::Key | SortTarget::Value => {
                let stored = self.value(item.at.modified)?.to_bytes();
                let value = parse(item.at.modified, &stored)?.value;
                let value = if value.is_empty() { Bytes::new() } else { stored.slice_ref(value) };
                item.bytes = Some(stored);
                Rank::Bytes(value)
            }
        })
    }

    fn fetch(&self, found: Vec<Found>, without_value: bool) -> Result<Vec<Bytes>, MvccError> {
        let mut pack = Pack::default();
        if let [item] = &found[..] {
            return Ok(vec![self.fetch_one(item, without_value, &mut pack, |at| self.value(at))?]);
        }
        // In the order in which they lie in the file: neighbours share pages, and the way to the next page is short.
        let mut order: Vec<(Revision, usize)> = found.iter().map(|item| item.at.modified).zip(0..).collect();
        order.sort_unstable();
        let mut stored = self.keys.ascending();
        let mut kvs = vec![Bytes::new(); found.len()];
        for (done, (_, place)) in order.into_iter().enumerate() {
            pack.remaining = found.len() - done;
            kvs[place] = self.fetch_one(&found[place], without_value, &mut pack, |at| {
                let key = RevisionKey::put(at);
                match self.own_value(key) {
                    Some(own) => Ok(own),
                    None => stored.get(key)?.ok_or(MvccError::Missing(key)),
                }
            })?;
        }
        Ok(kvs)
    }

    fn fetch_one(
        &self,
        item: &Found,
        without_value: bool,
        pack: &mut Pack,
        value: impl FnOnce(Revision) -> Result<Value<'a>, MvccError>,
    ) -> Result<Bytes, MvccError> {
        match &item.bytes {
            Some(stored) if without_value => pack.without_value(stored, item.at.modified),
            Some(bytes) => Ok(bytes.clone()),
            None => Ok(pack.whole(value(item.at.modified)?)),
        }
    }

    /// The stored pair of a put that the index knows.
    pub fn value(&self, revision: Revision) -> Result<Value<'a>, MvccError> {
        let key = RevisionKey::put(revision);
        match self.own_value(key) {
            Some(own) => Ok(own),
            None => self.keys.get(key)?.ok_or(MvccError::Missing(key)),
        }
    }

    /// A value of the transaction under way.
    fn own_value(&self, key: RevisionKey) -> Option<Value<'a>> {
        self.own.and_then(|batch| batch.get_revision(key)).map(Value::Pending)
    }

    /// The stored pair of a key as it is now.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, MvccError> {
        match self.index.get(key, self.current) {
            Some(found) => Ok(Some(self.value(found.modified)?.to_bytes())),
            None => Ok(None),
        }
    }
}

/// A stored pair, read; the error names its revision.
pub(crate) fn parse(revision: Revision, stored: &[u8]) -> Result<Kv<'_>, MvccError> {
    Kv::parse(stored).map_err(|_| MvccError::MalformedAt(RevisionKey::put(revision)))
}

fn passes(request: &RangeRequest, at: &KeyRevision) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(at.modified.main, request.min_mod_revision, request.max_mod_revision)
        && within(at.created, request.min_create_revision, request.max_create_revision)
}

/// The order a request asks for.
struct Sort {
    order: SortOrder,
    target: SortTarget,
    /// The request named no order, so Go fetches no further than the limit, even where it sorts what it has fetched.
    stops_at_limit: bool,
}

impl Sort {
    fn of(request: &RangeRequest) -> Sort {
        let asked = SortOrder::try_from(request.sort_order).unwrap_or(SortOrder::None);
        let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
        // Every target but the key sorts, ascending unless told otherwise.
        let order = match asked {
            SortOrder::None if target != SortTarget::Key => SortOrder::Ascend,
            order => order,
        };
        Sort {
            order,
            target,
            stops_at_limit: asked == SortOrder::None,
        }
    }

    /// The order in which the index gives the keys anyway.
    fn in_key_order(&self) -> bool {
        self.target == SortTarget::Key && self.order != SortOrder::Descend
    }
}

enum Rank {
    Number(i64),
    Bytes(Bytes),
}

impl Rank {
    fn below(&self, other: &Rank) -> bool {
        match (self, other) {
            (Rank::Number(a), Rank::Number(b)) => a < b,
            (Rank::Bytes(a), Rank::Bytes(b)) => a < b,
            _ => unreachable!("one sort has one kind of rank"),
        }
    }
}

/// Packs small pairs into shared buffers: one allocation for hundreds of them.
#[derive(Default)]
struct Pack {
    buffer: BytesMut,
    /// Pairs still to come, this one included: what a new buffer is sized for.
    remaining: usize,
}

impl Pack {
    fn whole(&mut self, value: Value<'_>) -> Bytes {
        match value {
            Value::Stored(stored) if stored.len() <= PACKED_BYTES && self.has_room(stored.len()) => {
                self.buffer.put_slice(stored);
                self.buffer.split().freeze()
            }
            value => value.to_bytes(),
        }
    }

    /// A pair as far as the index knows it.
    fn key_alone(&mut self, key: &[u8], at: &KeyRevision) -> Bytes {
        let kv = Kv {
            key,
            create_revision: at.created,
            mod_revision: at.modified.main,
            version: at.version,
            ..Kv::default()
        };
        if !self.has_room(kv.encoded_len()) {
            return kv.encode();
        }
        kv.encode_into(&mut self.buffer);
        self.buffer.split().freeze()
    }

    /// A stored pair without its value.
    fn without_value(&mut self, stored: &[u8], revision: Revision) -> Result<Bytes, MvccError> {
        let malformed = |_| MvccError::MalformedAt(RevisionKey::put(revision));
        let length = stored.len() - Kv::parse(stored).map_err(malformed)?.value.len();
        if !self.has_room(length) {
            self.buffer = BytesMut::with_capacity(length);
        }
        kv::put_without_value(stored, &mut self.buffer).map_err(malformed)?;
        Ok(self.buffer.split().freeze())
    }

    /// Makes room for a pair, if a shared buffer is worth it.
    fn has_room(&mut self, bytes: usize) -> bool {
        if self.buffer.capacity() >= bytes {
            return true;
        }
        if self.remaining < 2 {
            return false;
        }
        let wanted = bytes.saturating_mul(self.remaining).min(PACK_BYTES).max(bytes);
        self.buffer = BytesMut::with_capacity(wanted);
        true
    }
}
