//! The record of what clients asked and were told: numbers for keys and values, times from one clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::{compare, request_op, response_op};
use api::pb::mvccpb::KeyValue;
use api::{Code, Status};
use bytes::Bytes;
use client::Client;
use sim::checkers::{Action, Answer, Done, Expect, Key, Nanos, Operation, Seen, Value};

/// All keys begin with this.
const PREFIX: &str = "f/";
pub const RANGE: (&[u8], &[u8]) = (b"f/", b"f0");

/// The time without writes. One lock for both: a write of before must not end it.
#[derive(Default)]
struct Gap {
    from: Nanos,
    /// The first acknowledgement of a write that began at `from` or later.
    until: Option<Nanos>,
}

/// The record.
pub struct Record {
    began: Instant,
    operations: Mutex<Vec<Operation>>,
    next_value: AtomicU64,
    acknowledged: AtomicU64,
    highest_revision: AtomicU64,
    gap: Mutex<Gap>,
    /// Values are padded to this many bytes.
    pub value_bytes: usize,
    /// Reads are serializable ones, which may be stale.
    pub stale_reads: bool,
}

impl Gap {
    fn end(&mut self, write: &Operation, at: Nanos) {
        if write.call >= self.from {
            self.until = Some(self.until.map_or(at, |until| until.min(at)));
        }
    }
}

impl Record {
    pub fn new(value_bytes: usize, stale_reads: bool) -> Record {
        Record {
            began: Instant::now(),
            operations: Mutex::default(),
            next_value: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            highest_revision: AtomicU64::new(0),
            gap: Mutex::default(),
            value_bytes,
            stale_reads,
        }
    }

    pub fn now(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn new_value(&self) -> Value {
        Value(self.next_value.fetch_add(1, Ordering::Relaxed))
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The highest revision that any client was told.
    pub fn highest_revision(&self) -> i64 {
        self.highest_revision.load(Ordering::Relaxed) as i64
    }

    /// Begins to measure: a fault happens now.
    pub fn mark_fault(&self) {
        *self.gap.lock().unwrap_or_else(PoisonError::into_inner) = Gap {
            from: self.now(),
            until: None,
        };
    }

    /// From the fault to the first acknowledgement of a write that began after it.
    pub fn gap(&self) -> Option<Duration> {
        let gap = self.gap.lock().unwrap_or_else(PoisonError::into_inner);
        gap.until.map(|until| Duration::from_nanos(until - gap.from))
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn push(&self, operation: Operation) {
        if let Some(done) = operation.done {
            let revision = u64::try_from(done.answer.revision()).unwrap_or_default();
            self.highest_revision.fetch_max(revision, Ordering::Relaxed);
            if done.answer.is_write() {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.gap.lock().unwrap_or_else(PoisonError::into_inner).end(&operation, done.at);
            }
        }
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    /// Performs and records. `None`: it was certainly not done.
    pub async fn perform(&self, on: &Client, client: u32, key: Key, action: Action) -> Option<Operation> {
        let call = self.now();
        let answer = self.ask(on, key, action).await;
        let at = self.now();
        let done = match answer {
            Ok(answer) => Some(Done { at, answer }),
            Err(status) if is_refusal(&status) => return None,
            Err(_) => None,
        };
        let operation = Operation {
            client,
            key,
            call,
            action,
            done,
        };
        self.push(operation);
        Some(operation)
    }

    async fn ask(&self, on: &Client, key: Key, action: Action) -> Result<Answer, Status> {
        let name = name(key);
        match action {
            Action::Put(value) => {
                let answer = on.put(&self.put(name, value)).await?;
                Ok(Answer::Put {
                    revision: revision(answer.header)?,
                })
            }
            Action::Get => {
                let answer = on
                    .range(&pb::RangeRequest {
                        serializable: self.stale_reads,
                        ..get(name)
                    })
                    .await?;
                Ok(Answer::Got {
                    seen: answer.kvs.first().map(seen).transpose()?,
                    revision: revision(answer.header)?,
                })
            }
            Action::Delete => {
                let answer = on
                    .delete_range(&pb::DeleteRangeRequest {
                        key: name,
                        prev_kv: true,
                        ..Default::default()
                    })
                    .await?;
                Ok(Answer::Deleted {
                    seen: answer.prev_kvs.first().map(seen).transpose()?,
                    revision: revision(answer.header)?,
                })
            }
            Action::Swap { expect, value } => {
                let op = |request| vec![pb::RequestOp { request: Some(request) }];
                let request = pb::TxnRequest {
                    compare: vec![self.compare(name.clone(), expect)],
                    success: op(request_op::Request::RequestPut(self.put(name.clone(), value))),
                    failure: op(request_op::Request::RequestRange(get(name))),
                };
                let answer = on.txn(&request).await?;
                let revision = revision(answer.header)?;
                if answer.succeeded {
                    return Ok(Answer::Swapped { revision });
                }
                match answer.responses.first().and_then(|response| response.response.as_ref()) {
                    Some(response_op::Response::ResponseRange(range)) => Ok(Answer::NotSwapped {
                        seen: range.kvs.first().map(seen).transpose()?,
                        revision,
                    }),
                    _ => Err(strange("a transaction's answer without its range")),
                }
            }
        }
    }

    fn put(&self, key: Bytes, value: Value) -> pb::PutRequest {
        pb::PutRequest {
            key,
            value: self.text(value),
            ..Default::default()
        }
    }

    fn text(&self, value: Value) -> Bytes {
        Bytes::from(format!("{}.{}", value.0, "x".repeat(self.value_bytes)))
    }

    fn compare(&self, key: Bytes, expect: Expect) -> pb::Compare {
        let (target, union) = match expect {
            Expect::Value(value) => (compare::CompareTarget::Value, compare::TargetUnion::Value(self.text(value))),
            Expect::ModRevision(revision) => (compare::CompareTarget::Mod, compare::TargetUnion::ModRevision(revision)),
        };
        pb::Compare {
            result: compare::CompareResult::Equal as i32,
            target: target as i32,
            key,
            target_union: Some(union),
            ..Default::default()
        }
    }

    /// Reads every key that was ever written, in one linearizable read, and records it as a read of each. Gives the revision.
    pub async fn read_all(&self, on: &Client, client: u32) -> Result<(i64, Vec<(Key, Seen)>), Status> {
        let mut keys: Vec<Key> = self.operations().iter().map(|operation| operation.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let call = self.now();
        let request = pb::RangeRequest {
            key: RANGE.0.into(),
            range_end: RANGE.1.into(),
            ..Default::default()
        };
        let answer = on.range(&request).await?;
        let at = self.now();
        let revision = revision(answer.header)?;
        let mut found = Vec::new();
        for kv in &answer.kvs {
            found.push((number(kv)?, seen(kv)?));
        }
        for key in keys {
            let seen = found.binary_search_by_key(&key, |(key, _)| *key).ok().map(|place| found[place].1);
            let done = Some(Done {
                at,
                answer: Answer::Got { seen, revision },
            });
            self.push(Operation {
                client,
                key,
                call,
                action: Action::Get,
                done,
            });
        }
        Ok((revision, found))
    }
}

/// Errors after which the request certainly had no effect: it was not sent, or it was refused before it was proposed.
fn is_refusal(status: &Status) -> bool {
    status.message.starts_with("cannot connect to ") || status.code == Code::ResourceExhausted
}

fn get(key: Bytes) -> pb::RangeRequest {
    pb::RangeRequest { key, ..Default::default() }
}

fn name(key: Key) -> Bytes {
    Bytes::from(format!("{PREFIX}{:08}", key.0))
}

fn strange(what: &'static str) -> Status {
    Status::new(Code::Internal, what)
}

fn revision(header: Option<pb::ResponseHeader>) -> Result<i64, Status> {
    header
        .map(|header| header.revision)
        .ok_or_else(|| strange("an answer without a header"))
}

/// The key's number.
pub fn number(kv: &KeyValue) -> Result<Key, Status> {
    let text = std::str::from_utf8(&kv.key).ok().and_then(|text| text.strip_prefix(PREFIX));
    text.and_then(|text| text.parse().ok())
        .map(Key)
        .ok_or_else(|| strange("a key that nobody wrote"))
}

/// The value's number.
pub fn value(kv: &KeyValue) -> Result<Value, Status> {
    let text = std::str::from_utf8(&kv.value).ok().and_then(|text| text.split('.').next());
    text.and_then(|text| text.parse().ok())
        .map(Value)
        .ok_or_else(|| strange("a value that nobody wrote"))
}

fn seen(kv: &KeyValue) -> Result<Seen, Status> {
    Ok(Seen {
        value: value(kv)?,
        mod_revision: kv.mod_revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_began_before_the_fault_does_not_end_the_gap() {
        let record = Record::new(0, false);
        let write = |call, at| {
            let done = Some(Done {
                at,
                answer: Answer::Put { revision: 2 },
            });
            record.push(Operation {
                client: 1,
                key: Key(1),
                call,
                action: Action::Put(Value(1)),
                done,
            });
        };
        let before = record.now();
        record.mark_fault();
        let from = record.gap.lock().expect("not poisoned").from;
        write(before, from + 10);
        assert_eq!(record.gap(), None);
        write(from + 20, from + 50);
        write(from + 30, from + 40);
        assert_eq!(record.gap(), Some(Duration::from_nanos(40)));
        record.mark_fault();
        assert_eq!(record.gap(), None);
    }
}
