//! The checks of a request that need no state: done by the server's handlers before anything is proposed.
//!
//! The order of the checks is Go's, because it decides which of several errors the client sees.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use api::Error;
use api::pb::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// Checks a Range.
pub fn range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// Why a RangeStream is refused, beyond what [`range`] finds: `Unimplemented`, with these texts.
pub fn range_stream(request: &RangeRequest) -> Result<(), api::Status> {
    let ascending = request.sort_target == SortTarget::Key as i32 && request.sort_order == SortOrder::Ascend as i32;
    if request.sort_order != SortOrder::None as i32 && !ascending {
        let text = "RangeStream does not support custom sort orders";
        return Err(api::Status::new(api::Code::Unimplemented, text));
    }
    if crate::range::has_filters(request) {
        let text = "RangeStream does not support revision filters";
        return Err(api::Status::new(api::Code::Unimplemented, text));
    }
    Ok(())
}

/// Checks a Put.
pub fn put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a DeleteRange.
pub fn delete(request: &DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

/// Checks a Txn with all it holds. `max_ops`: `--max-txn-ops`.
pub fn txn(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    shape(request, max_ops)?;
    overlaps(&request.success)?;
    overlaps(&request.failure)?;
    Ok(())
}

fn shape(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    if ops > max_ops {
        return Err(Error::TooManyOps);
    }
    if request.compare.iter().any(|c| c.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(r)) => range(r)?,
            Some(Request::RequestPut(r)) => put(r)?,
            Some(Request::RequestDeleteRange(r)) => delete(r)?,
            // A nested transaction gets what this level has left over.
            Some(Request::RequestTxn(r)) => shape(r, max_ops - ops)?,
            // An op with nothing in it: Go's word for it is this one.
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// Keys that a branch puts, and intervals that it deletes.
#[derive(Default)]
struct Touched<'a> {
    puts: HashSet<&'a [u8]>,
    deletes: Intervals<'a>,
}

/// Refuses a branch that puts a key twice, or deletes and puts it: the outcome would hang on the order. The two branches of a
/// nested transaction may put the same key, since only one of them runs.
fn overlaps(ops: &[RequestOp]) -> Result<Touched<'_>, Error> {
    let mut touched = Touched::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            touched.deletes.insert(&delete.key, &delete.range_end);
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(txn)) = &op.request else { continue };
        let success = overlaps(&txn.success)?;
        let failure = overlaps(&txn.failure)?;
        for key in &success.puts {
            if touched.puts.contains(key) || touched.deletes.contains(key) {
                return Err(Error::DuplicateKey);
            }
        }
        for key in &failure.puts {
            if touched.puts.contains(key) || touched.deletes.contains(key) {
                return Err(Error::DuplicateKey);
            }
        }
        touched.puts.extend(success.puts);
        touched.puts.extend(failure.puts);
        touched.deletes.extend(success.deletes);
        touched.deletes.extend(failure.deletes);
    }
    for op in ops {
        let Some(Request::RequestPut(put)) = &op.request else { continue };
        let key: &[u8] = &put.key;
        if touched.deletes.contains(key) || !touched.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
    }
    Ok(touched)
}

/// A set of keys made of intervals, as start and end of disjoint pieces.
#[derive(Default)]
struct Intervals<'a> {
    pieces: BTreeMap<&'a [u8], End<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End<'a> {
    /// The start alone.
    Start,
    Before(&'a [u8]),
}

impl<'a> Intervals<'a> {
    fn insert(&mut self, from: &'a [u8], range_end: &'a [u8]) {
        let mut end = match range_end {
            [] => End::Start,
            // Go takes the single zero byte of "from this key on" for an ordinary end here, so such a delete is never found
            // to overlap a put. An interval that ends before it starts holds nothing either.
            end if end <= from => return,
            end => End::Before(end),
        };
        let mut start = from;
        // Melts with the piece before and those that start inside, so that one look back answers `contains`.
        if let Some((&s, &e)) = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(from))).next_back()
            && holds(s, e, from)
        {
            start = s;
            end = end.max(e);
        }
        if let End::Before(to) = end {
            let inside: Vec<&[u8]> = self
                .pieces
                .range::<[u8], _>((Bound::Included(start), Bound::Excluded(to)))
                .map(|(s, _)| *s)
                .collect();
            for s in inside {
                if let Some(e) = self.pieces.remove(s) {
                    end = end.max(e);
                }
            }
        }
        self.pieces.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        let before = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(start, end)| holds(start, *end, key))
    }

    fn extend(&mut self, other: Intervals<'a>) {
        for (start, end) in other.pieces {
            match end {
                End::Start => self.insert(start, &[]),
                End::Before(end) => self.insert(start, end),
            }
        }
    }
}

/// Whether `key`, which is not below `start`, lies in the piece.
fn holds(start: &[u8], end: End<'_>, key: &[u8]) -> bool {
    match end {
        End::Start => key == start,
        End::Before(end) => key < end,
    }
}
