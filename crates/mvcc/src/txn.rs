//! Transactions: which branch is taken, whether everything in it may be done, and then doing it.
//!
//! All compares, those of nested transactions too, look at the state before the first change; then every op of the branches
//! taken is checked; only then anything is changed. So a transaction has all of its effects or none.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use api::Revision;
use api::pb::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::response_op::Response;
use api::pb::etcdserverpb::{Compare, PutRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse};

use crate::index::{KeyRange, Until};
use crate::range::{Reader, parse};
use crate::{LeaseSink, MvccError};

/// The branches that a transaction takes: its own, and those of the transactions nested in that branch, in order.
pub(crate) struct Path {
    pub succeeded: bool,
    nested: Vec<Path>,
}

impl Path {
    /// The ops of the branch taken.
    pub fn ops<'r>(&self, request: &'r TxnRequest) -> &'r [RequestOp] {
        if self.succeeded { &request.success } else { &request.failure }
    }

    /// Every op of the branch taken, a nested transaction with its path.
    pub fn walk<'p, 'r: 'p>(&'p self, request: &'r TxnRequest) -> impl Iterator<Item = (&'r Request, Option<&'p Path>)> + 'p {
        let mut nested = self.nested.iter();
        self.ops(request).iter().filter_map(|op| op.request.as_ref()).map(move |op| {
            let path = matches!(op, Request::RequestTxn(_)).then(|| nested.next()).flatten();
            (op, path)
        })
    }
}

/// Evaluates all compares on the state before the transaction.
pub(crate) fn path(reader: &Reader<'_>, request: &TxnRequest) -> Result<Path, MvccError> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !holds(reader, compare)? {
            succeeded = false;
            break;
        }
    }
    let mut taken = Path {
        succeeded,
        nested: Vec::new(),
    };
    for op in taken.ops(request) {
        if let Some(Request::RequestTxn(txn)) = &op.request {
            taken.nested.push(path(reader, txn)?);
        }
    }
    Ok(taken)
}

/// Whether a compare holds for its key, or for every key of its range that exists.
fn holds(reader: &Reader<'_>, compare: &Compare) -> Result<bool, MvccError> {
    let range = KeyRange::of(&compare.key, &compare.range_end);
    let target = CompareTarget::try_from(compare.target);
    let needs_pair = matches!(target, Ok(CompareTarget::Value | CompareTarget::Lease));
    let (mut any, mut all) = (false, true);
    // Pairs are looked at afterwards: this is called under the index's lock.
    let mut pairs = Vec::new();
    reader.index.revisions(range, reader.current, 0, &mut |at| {
        any = true;
        if needs_pair {
            pairs.push(at.modified);
        } else {
            all = result(compare, number(compare, at.version, at.created, at.modified.main, 0));
        }
        if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if !any {
        // A key that does not exist has no value to compare, not even an empty one; its numbers are all 0.
        return Ok(target != Ok(CompareTarget::Value) && result(compare, number(compare, 0, 0, 0, 0)));
    }
    for modified in pairs {
        if !pair_holds(reader, compare, modified)? {
            return Ok(false);
        }
    }
    Ok(all)
}

/// A compare of a value or a lease.
fn pair_holds(reader: &Reader<'_>, compare: &Compare, modified: Revision) -> Result<bool, MvccError> {
    let stored = reader.value(modified)?;
    let kv = parse(modified, stored.as_slice())?;
    let order = match &compare.target_union {
        _ if compare.target == CompareTarget::Lease as i32 => number(compare, 0, 0, 0, kv.lease),
        Some(TargetUnion::Value(value)) => kv.value.cmp(value),
        _ => kv.value.cmp(&[]),
    };
    Ok(result(compare, order))
}

/// Compares the number a compare is about with the one it gives (0 if it gives one of another kind).
fn number(compare: &Compare, version: i64, created: i64, modified: i64, lease: i64) -> Ordering {
    let given = compare.target_union.as_ref();
    let (have, want) = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => (
            version,
            match given {
                Some(TargetUnion::Version(n)) => *n,
                _ => 0,
            },
        ),
        Ok(CompareTarget::Create) => (
            created,
            match given {
                Some(TargetUnion::CreateRevision(n)) => *n,
                _ => 0,
            },
        ),
        Ok(CompareTarget::Mod) => (
            modified,
            match given {
                Some(TargetUnion::ModRevision(n)) => *n,
                _ => 0,
            },
        ),
        Ok(CompareTarget::Lease) => (
            lease,
            match given {
                Some(TargetUnion::Lease(n)) => *n,
                _ => 0,
            },
        ),
        // A target from the future compares as equal.
        Ok(CompareTarget::Value) | Err(_) => (0, 0),
    };
    have.cmp(&want)
}

fn result(compare: &Compare, order: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        // A result from the future holds.
        Err(_) => true,
    }
}

/// Checks everything on the path before anything is changed.
pub(crate) fn check(reader: &Reader<'_>, request: &TxnRequest, path: &Path, leases: &dyn LeaseSink) -> Result<(), MvccError> {
    Check {
        reader,
        leases,
        open_delete: None,
    }
    .all(request, path)
}

struct Check<'c> {
    reader: &'c Reader<'c>,
    leases: &'c dyn LeaseSink,
    /// The lowest key from which on an earlier op of the path deletes everything.
    open_delete: Option<&'c [u8]>,
}

impl<'c> Check<'c> {
    fn all(&mut self, request: &'c TxnRequest, path: &'c Path) -> Result<(), MvccError> {
        for (op, nested) in path.walk(request) {
            match op {
                Request::RequestRange(range) => match range.revision {
                    0 => {}
                    revision if revision > self.reader.current => return Err(MvccError::FutureRevision),
                    revision if revision < self.reader.compacted => return Err(MvccError::Compacted),
                    _ => {}
                },
                Request::RequestPut(put) => self.put(put)?,
                Request::RequestDeleteRange(delete) => {
                    if KeyRange::of(&delete.key, &delete.range_end).until == Until::Unbounded {
                        let from = &delete.key[..];
                        self.open_delete = Some(self.open_delete.map_or(from, |lowest| lowest.min(from)));
                    }
                }
                Request::RequestTxn(txn) => {
                    if let Some(nested) = nested {
                        self.all(txn, nested)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&self, put: &PutRequest) -> Result<(), MvccError> {
        if put.lease != 0 && !self.leases.exists(put.lease.into()) {
            return Err(MvccError::LeaseNotFound);
        }
        if put.ignore_value || put.ignore_lease {
            // The request checks do not see that a delete without an end takes the key away first (Go etcd dies of it in the
            // middle of the transaction).
            let gone = self.open_delete.is_some_and(|from| put.key[..] >= *from);
            if gone || self.reader.index.get(&put.key, self.reader.current).is_none() {
                return Err(MvccError::KeyNotFound);
            }
        }
        Ok(())
    }
}

/// Answers a transaction that holds nothing but ranges.
pub(crate) fn read_only(reader: &Reader<'_>, request: &TxnRequest) -> Result<TxnResponse, MvccError> {
    let path = path(reader, request)?;
    let mut responses = Vec::new();
    for (op, _) in path.walk(request) {
        if let Request::RequestRange(range) = op {
            let answer = reader.range(range)?.into_message()?;
            responses.push(response(Response::ResponseRange(answer)));
        }
    }
    Ok(TxnResponse {
        header: Some(header(reader.current)),
        succeeded: path.succeeded,
        responses,
    })
}

pub(crate) fn response(response: Response) -> ResponseOp {
    ResponseOp { response: Some(response) }
}

/// A header with nothing but its revision.
pub(crate) fn header(revision: i64) -> ResponseHeader {
    ResponseHeader {
        revision,
        ..ResponseHeader::default()
    }
}
