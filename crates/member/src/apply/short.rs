//! Tells entries that are applied in no time from those that may take long.
//!
//! For the shell, which applies a short entry on the thread that is awake anyway instead of waking another one. Says nothing about the result.

use api::pb::etcdserverpb::{RequestOp, TxnRequest, request_op};

use crate::replicate::{Committed, EntryKind};
use crate::request::{self, Request};

/// Larger entries cost more to copy than a thread costs to wake.
const MOST_BYTES: usize = 16 << 10;

/// Whether applying an entry costs no more than a few keys do: puts, and transactions that name each of their keys.
pub fn is_short(entry: &Committed) -> bool {
    if entry.kind != EntryKind::Normal || entry.data.len() > MOST_BYTES {
        return false;
    }
    match request::decode(entry.data.clone()).map(|decoded| decoded.request) {
        Ok(Request::Put(_)) => true,
        Ok(Request::Txn(txn)) => is_short_txn(&txn),
        _ => false,
    }
}

fn is_short_txn(txn: &TxnRequest) -> bool {
    txn.compare.iter().all(|compare| compare.range_end.is_empty()) && txn.success.iter().chain(&txn.failure).all(is_short_op)
}

fn is_short_op(op: &RequestOp) -> bool {
    match &op.request {
        Some(request_op::Request::RequestRange(range)) => range.range_end.is_empty(),
        Some(request_op::Request::RequestDeleteRange(delete)) => delete.range_end.is_empty(),
        Some(request_op::Request::RequestTxn(txn)) => is_short_txn(txn),
        Some(request_op::Request::RequestPut(_)) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use api::pb::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestHeader};
    use api::{RaftIndex, Term};
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::propose::{Body, wrap};

    fn entry(body: Body, request: &impl Message) -> Committed {
        Committed {
            index: RaftIndex(1),
            term: Term(1),
            kind: EntryKind::Normal,
            data: wrap(&RequestHeader::default(), body, &request.encode_to_vec()),
        }
    }

    fn txn(op: request_op::Request) -> TxnRequest {
        TxnRequest {
            failure: vec![RequestOp { request: Some(op) }],
            ..TxnRequest::default()
        }
    }

    #[test]
    fn what_names_its_keys_is_short() {
        let put = PutRequest::default();
        assert!(is_short(&entry(Body::Put, &put)));
        let inner = txn(request_op::Request::RequestPut(put));
        assert!(is_short(&entry(Body::Txn, &txn(request_op::Request::RequestTxn(inner)))));
        assert!(is_short(&entry(
            Body::Txn,
            &txn(request_op::Request::RequestRange(RangeRequest::default()))
        )));
    }

    #[test]
    fn ranges_and_large_values_are_not() {
        let range_end = Bytes::from_static(b"z");
        let delete = DeleteRangeRequest {
            range_end: range_end.clone(),
            ..DeleteRangeRequest::default()
        };
        assert!(!is_short(&entry(Body::DeleteRange, &delete)));
        let inner = txn(request_op::Request::RequestDeleteRange(delete));
        assert!(!is_short(&entry(Body::Txn, &txn(request_op::Request::RequestTxn(inner)))));
        let compare = Compare {
            range_end,
            ..Compare::default()
        };
        let compared = TxnRequest {
            compare: vec![compare],
            ..TxnRequest::default()
        };
        assert!(!is_short(&entry(Body::Txn, &compared)));
        let large = PutRequest {
            value: vec![0; MOST_BYTES].into(),
            ..PutRequest::default()
        };
        assert!(!is_short(&entry(Body::Put, &large)));
        let garbled = Committed {
            data: Bytes::from_static(b"\xff\xff"),
            ..entry(Body::Put, &PutRequest::default())
        };
        assert!(!is_short(&garbled));
    }
}
