//! `request stats`: the line about a unary request that took long (`--warning-unary-request-duration`), or about every one at level
//! `debug`. Looks into messages only when it writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::request_op::Request as Op;
use bytes::Bytes;
use compat::strconv::quote;
use http2::Encoded;
use prost::Message;

use super::methods::{Entry, Method};
use crate::log::{self, Level, field};
use crate::node::Node;

/// A unary request under way.
pub(super) struct Watched {
    node: Arc<Node>,
    entry: &'static Entry,
    begun: Instant,
    message: Bytes,
    remote: Option<SocketAddr>,
}

impl Watched {
    pub(super) fn new(node: Arc<Node>, entry: &'static Entry, message: Bytes, remote: Option<SocketAddr>) -> Watched {
        Watched {
            node,
            entry,
            begun: Instant::now(),
            message,
            remote,
        }
    }

    /// The request is answered; `None` when it was refused.
    pub(super) fn done(&self, answer: Option<&Encoded>) {
        let took = self.begun.elapsed();
        let slow = took > self.node.limits.warning_unary;
        let debug = log::is_on(Level::Debug);
        if !slow && !debug {
            return;
        }
        let stats = stats(self.entry.method, &self.message, answer);
        let remote = self
            .remote
            .map_or_else(|| "No remote client info.".to_owned(), |remote| remote.to_string());
        let fields = [
            field("start time", SystemTime::now() - took),
            field("time spent", took),
            field("remote", remote),
            field("response type", format!("/{}/{}", self.entry.service, self.entry.name)),
            field("request count", stats.request_count),
            field("request size", stats.request_size),
            field("response count", stats.response_count),
            field("response size", stats.response_size),
            field("request content", stats.content),
        ];
        if slow && !debug {
            log::warn("request stats", &fields);
        } else {
            log::debug("request stats", &fields);
        }
    }
}

/// -1 where etcd does not look.
#[derive(Debug, PartialEq)]
struct Stats {
    request_count: i64,
    request_size: i64,
    response_count: i64,
    response_size: i64,
    content: String,
}

fn stats(method: Method, message: &Bytes, answer: Option<&Encoded>) -> Stats {
    let answered = |count: fn(Bytes) -> i64| answer.map_or(0, |answer| count(answer.clone().into_bytes()));
    let mut stats = Stats {
        request_count: 0,
        request_size: message.len() as i64,
        response_count: 0,
        response_size: answer.map_or(0, |answer| answer.len() as i64),
        content: String::new(),
    };
    match method {
        Method::Range => {
            stats.content = pb::RangeRequest::decode(message.clone()).map_or_else(|_| String::new(), |range| range_text(&range));
            stats.response_count = answered(|answer| pb::RangeResponse::decode(answer).map_or(0, |answer| answer.count));
        }
        Method::Put => {
            stats.request_count = 1;
            stats.content = pb::PutRequest::decode(message.clone()).map_or_else(|_| String::new(), |put| put_text(&put));
        }
        Method::DeleteRange => {
            stats.content = pb::DeleteRangeRequest::decode(message.clone()).map_or_else(|_| String::new(), |delete| delete_text(&delete));
            stats.response_count = answered(|answer| pb::DeleteRangeResponse::decode(answer).map_or(0, |answer| answer.deleted));
        }
        Method::Txn => {
            let txn = pb::TxnRequest::decode(message.clone()).unwrap_or_default();
            let succeeded = answered(|answer| pb::TxnResponse::decode(answer).map_or(0, |answer| i64::from(answer.succeeded))) == 1;
            // What was really executed counts.
            let ops = if succeeded { &txn.success } else { &txn.failure };
            stats.request_count = ops.len() as i64;
            stats.request_size = ops.iter().map(|op| op.encoded_len() as i64).sum();
            stats.content = txn_text(&txn);
        }
        _ => {
            return Stats {
                request_count: -1,
                request_size: -1,
                response_count: -1,
                response_size: -1,
                content: String::new(),
            };
        }
    }
    stats
}

/// Go's text form: fields with a value, apart by blanks.
struct Text(String);

impl Text {
    fn bytes(mut self, name: &str, value: &Bytes) -> Text {
        if !value.is_empty() {
            self.0 += &format!("{name}:{} ", quote(&String::from_utf8_lossy(value)));
        }
        self
    }

    fn number(mut self, name: &str, value: i64) -> Text {
        if value != 0 {
            self.0 += &format!("{name}:{value} ");
        }
        self
    }

    fn flag(mut self, name: &str, value: bool) -> Text {
        if value {
            self.0 += &format!("{name}:true ");
        }
        self
    }
}

fn range_text(range: &pb::RangeRequest) -> String {
    Text(String::new())
        .bytes("key", &range.key)
        .bytes("range_end", &range.range_end)
        .number("limit", range.limit)
        .number("revision", range.revision)
        .flag("serializable", range.serializable)
        .flag("keys_only", range.keys_only)
        .flag("count_only", range.count_only)
        .0
}

/// The value is told by its size alone: logs hold no values.
fn put_text(put: &pb::PutRequest) -> String {
    Text(String::new())
        .bytes("key", &put.key)
        .number("value_size", put.value.len() as i64)
        .number("lease", put.lease)
        .flag("prev_kv", put.prev_kv)
        .flag("ignore_value", put.ignore_value)
        .flag("ignore_lease", put.ignore_lease)
        .0
}

fn delete_text(delete: &pb::DeleteRangeRequest) -> String {
    Text(String::new())
        .bytes("key", &delete.key)
        .bytes("range_end", &delete.range_end)
        .flag("prev_kv", delete.prev_kv)
        .0
}

fn txn_text(txn: &pb::TxnRequest) -> String {
    let compares = txn.compare.iter().map(|compare| {
        let text = Text(String::new())
            .bytes("key", &compare.key)
            .bytes("range_end", &compare.range_end);
        format!("<{}>", text.0)
    });
    let ops = |ops: &[pb::RequestOp]| {
        let texts = ops.iter().map(|op| match &op.request {
            Some(Op::RequestRange(range)) => format!("request_range:<{}>", range_text(range)),
            Some(Op::RequestPut(put)) => format!("request_put:<{}>", put_text(put)),
            Some(Op::RequestDeleteRange(delete)) => format!("request_delete_range:<{}>", delete_text(delete)),
            Some(Op::RequestTxn(inner)) => format!("request_txn:<{}>", txn_text(inner)),
            None => String::new(),
        });
        texts.collect::<Vec<_>>().join(" ")
    };
    format!(
        "compare:{} success:<{}> failure:<{}>",
        compares.collect::<Vec<_>>().join(" "),
        ops(&txn.success),
        ops(&txn.failure)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_size() {
        let put = pb::PutRequest {
            key: Bytes::from_static(b"a\"b"),
            value: Bytes::from_static(b"secret"),
            lease: 7,
            ..Default::default()
        };
        let answer = Encoded::message(&pb::PutResponse::default());
        let message = Bytes::from(put.encode_to_vec());
        let found = stats(Method::Put, &message, Some(&answer));
        assert_eq!(found.content, r#"key:"a\"b" value_size:6 lease:7 "#);
        assert_eq!(
            (found.request_count, found.request_size, found.response_size),
            (1, message.len() as i64, 0)
        );
        let txn = pb::TxnRequest {
            success: vec![
                pb::RequestOp {
                    request: Some(Op::RequestPut(put)),
                };
                2
            ],
            ..Default::default()
        };
        let answer = Encoded::message(&pb::TxnResponse {
            succeeded: true,
            ..Default::default()
        });
        let found = stats(Method::Txn, &Bytes::from(txn.encode_to_vec()), Some(&answer));
        assert_eq!(found.request_count, 2);
        assert!(!found.content.contains("secret"), "{}", found.content);
        assert_eq!(stats(Method::Status, &message, None).request_count, -1);
    }
}
