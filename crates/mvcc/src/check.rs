//! The checks of a request that need no state: done by the server's handlers before anything is proposed.

#![allow(clippy::unimplemented)]

use api::Error;
use api::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};

/// Checks a Range.
pub fn range(request: &RangeRequest) -> Result<(), Error> {
    let _ = request;
    unimplemented!()
}
/// Checks a Put.
pub fn put(request: &PutRequest) -> Result<(), Error> {
    let _ = request;
    unimplemented!()
}
/// Checks a DeleteRange.
pub fn delete(request: &DeleteRangeRequest) -> Result<(), Error> {
    let _ = request;
    unimplemented!()
}
/// Checks a Txn with all it holds. `max_ops`: `--max-txn-ops`.
pub fn txn(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    let _ = (request, max_ops);
    unimplemented!()
}
