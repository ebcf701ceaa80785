//! What the answers should be: a whole map for every revision.

use std::collections::BTreeMap;

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::compare::TargetUnion;
use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::response_op::Response;
use api::pb::mvccpb::KeyValue;
use bytes::Bytes;
use mvcc::{Store, gosort};

pub type Keys = BTreeMap<Bytes, KeyValue>;

/// The reference: what there was at every revision.
pub struct Reference {
    /// `history[r]` is the state at revision `r`; 0 is not used.
    pub history: Vec<Keys>,
    pub compacted: i64,
}

/// A transaction of the reference.
pub struct Open<'r> {
    reference: &'r Reference,
    pub now: Keys,
    pub changed: bool,
}

pub type Refused = api::Error;

impl Reference {
    pub fn new() -> Reference {
        Reference {
            history: vec![Keys::new(), Keys::new()],
            compacted: -1,
        }
    }

    pub fn revision(&self) -> i64 {
        self.history.len() as i64 - 1
    }

    pub fn open(&self) -> Open<'_> {
        Open {
            reference: self,
            now: self.history.last().unwrap().clone(),
            changed: false,
        }
    }

    pub fn close(&mut self, now: Keys, changed: bool) {
        if changed {
            self.history.push(now);
        }
    }
}

fn inside(key: &Bytes, range_key: &Bytes, range_end: &Bytes) -> bool {
    match &range_end[..] {
        [] => key == range_key,
        [0] => key >= range_key,
        end => key >= range_key && key[..] < *end,
    }
}

fn only(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision,
        ..Default::default()
    })
}

impl Open<'_> {
    pub fn revision(&self) -> i64 {
        self.reference.revision() + i64::from(self.changed)
    }

    pub fn range(&self, r: &pb::RangeRequest) -> Result<pb::RangeResponse, Refused> {
        if r.revision > self.revision() {
            return Err(Refused::FutureRev);
        }
        let at = if r.revision <= 0 { self.revision() } else { r.revision };
        if at < self.reference.compacted {
            return Err(Refused::Compacted);
        }
        let state = self
            .reference
            .history
            .get(at as usize)
            .filter(|_| at <= self.reference.revision())
            .unwrap_or(&self.now);
        let mut kvs: Vec<KeyValue> = state
            .iter()
            .filter(|(k, _)| inside(k, &r.key, &r.range_end))
            .map(|(_, kv)| kv.clone())
            .collect();
        let count = kvs.len() as i64;
        let mut more = false;
        if r.count_only {
            kvs.clear();
        }
        let filters = [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision];
        // Without order and filters Go reads no further than one more than the limit, and sorts that.
        if r.limit > 0 && r.sort_order == 0 && filters == [0; 4] {
            kvs.truncate(r.limit as usize + 1);
        }
        kvs.retain(|kv| {
            (r.min_mod_revision == 0 || kv.mod_revision >= r.min_mod_revision)
                && (r.max_mod_revision == 0 || kv.mod_revision <= r.max_mod_revision)
                && (r.min_create_revision == 0 || kv.create_revision >= r.min_create_revision)
                && (r.max_create_revision == 0 || kv.create_revision <= r.max_create_revision)
        });
        let below = |a: &KeyValue, b: &KeyValue| match r.sort_target {
            0 => a.key < b.key,
            1 => a.version < b.version,
            2 => a.create_revision < b.create_revision,
            3 => a.mod_revision < b.mod_revision,
            _ => a.value < b.value,
        };
        if r.sort_order == 2 {
            gosort::sort(&mut kvs, |a, b| below(b, a));
        } else {
            gosort::sort(&mut kvs, below);
        }
        if r.limit > 0 && kvs.len() as i64 > r.limit {
            kvs.truncate(r.limit as usize);
            more = true;
        }
        for kv in kvs.iter_mut().filter(|_| r.keys_only) {
            kv.value = Bytes::new();
            kv.lease = if r.sort_target == 4 { kv.lease } else { 0 };
        }
        Ok(pb::RangeResponse {
            header: only(self.revision()),
            kvs,
            more,
            count,
        })
    }

    pub fn put(&mut self, r: &pb::PutRequest) -> pb::PutResponse {
        let main = self.reference.revision() + 1;
        let before = self.now.get(&r.key).cloned();
        let kv = KeyValue {
            key: r.key.clone(),
            create_revision: before.as_ref().map_or(main, |b| b.create_revision),
            mod_revision: main,
            version: before.as_ref().map_or(0, |b| b.version) + 1,
            value: before.as_ref().filter(|_| r.ignore_value).map_or(&r.value, |b| &b.value).clone(),
            lease: before.as_ref().filter(|_| r.ignore_lease).map_or(r.lease, |b| b.lease),
        };
        self.now.insert(r.key.clone(), kv);
        self.changed = true;
        pb::PutResponse {
            header: only(self.revision()),
            prev_kv: before.filter(|_| r.prev_kv),
        }
    }

    pub fn delete(&mut self, r: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let gone: Vec<KeyValue> = self
            .now
            .iter()
            .filter(|(k, _)| inside(k, &r.key, &r.range_end))
            .map(|(_, kv)| kv.clone())
            .collect();
        self.now.retain(|k, _| !inside(k, &r.key, &r.range_end));
        self.changed |= !gone.is_empty();
        pb::DeleteRangeResponse {
            header: only(self.revision()),
            deleted: gone.len() as i64,
            prev_kvs: if r.prev_kv { gone } else { Vec::new() },
        }
    }

    pub fn put_refused(&self, r: &pb::PutRequest, gone: bool, leases: &[i64]) -> Option<Refused> {
        if r.lease != 0 && !leases.contains(&r.lease) {
            return Some(Refused::LeaseNotFound);
        }
        let missing = gone || !self.now.contains_key(&r.key);
        ((r.ignore_value || r.ignore_lease) && missing).then_some(Refused::KeyNotFound)
    }

    fn holds(&self, c: &pb::Compare) -> bool {
        let some: Vec<&KeyValue> = self
            .now
            .iter()
            .filter(|(k, _)| inside(k, &c.key, &c.range_end))
            .map(|(_, kv)| kv)
            .collect();
        let one = |kv: &KeyValue| {
            let order = match c.target_union.as_ref().unwrap() {
                TargetUnion::Version(n) => kv.version.cmp(n),
                TargetUnion::CreateRevision(n) => kv.create_revision.cmp(n),
                TargetUnion::ModRevision(n) => kv.mod_revision.cmp(n),
                TargetUnion::Value(v) => kv.value.cmp(v),
                TargetUnion::Lease(n) => kv.lease.cmp(n),
            };
            match c.result {
                0 => order.is_eq(),
                1 => order.is_gt(),
                2 => order.is_lt(),
                _ => order.is_ne(),
            }
        };
        if some.is_empty() {
            return c.target != 3 && one(&KeyValue::default());
        }
        some.into_iter().all(one)
    }

    /// The branches taken, nested ones in order of their ops.
    fn path(&self, t: &pb::TxnRequest, path: &mut Vec<bool>) {
        let taken = t.compare.iter().all(|c| self.holds(c));
        path.push(taken);
        for op in if taken { &t.success } else { &t.failure } {
            if let Some(Request::RequestTxn(t)) = &op.request {
                self.path(t, path);
            }
        }
    }

    fn refused(&self, t: &pb::TxnRequest, path: &mut &[bool], gone: &mut Vec<Bytes>, leases: &[i64]) -> Option<Refused> {
        let (taken, rest) = path.split_first().unwrap();
        *path = rest;
        for op in if *taken { &t.success } else { &t.failure } {
            let refused = match op.request.as_ref().unwrap() {
                Request::RequestRange(r) if r.revision > self.revision() => Some(Refused::FutureRev),
                Request::RequestRange(r) if r.revision != 0 && r.revision < self.reference.compacted => Some(Refused::Compacted),
                Request::RequestRange(_) => None,
                Request::RequestPut(r) => self.put_refused(r, gone.iter().any(|from| r.key >= *from), leases),
                Request::RequestDeleteRange(r) => {
                    if r.range_end[..] == [0] {
                        gone.push(r.key.clone());
                    }
                    None
                }
                Request::RequestTxn(t) => self.refused(t, path, gone, leases),
            };
            if refused.is_some() {
                return refused;
            }
        }
        None
    }

    fn run(&mut self, t: &pb::TxnRequest, path: &mut &[bool]) -> Result<pb::TxnResponse, Refused> {
        let (taken, rest) = path.split_first().unwrap();
        *path = rest;
        let mut responses = Vec::new();
        for op in if *taken { &t.success } else { &t.failure } {
            let response = match op.request.as_ref().unwrap() {
                Request::RequestRange(r) => Response::ResponseRange(self.range(r)?),
                Request::RequestPut(r) => Response::ResponsePut(self.put(r)),
                Request::RequestDeleteRange(r) => Response::ResponseDeleteRange(self.delete(r)),
                Request::RequestTxn(t) => {
                    let mut answer = self.run(t, path)?;
                    answer.header = only(0);
                    Response::ResponseTxn(answer)
                }
            };
            responses.push(pb::ResponseOp { response: Some(response) });
        }
        Ok(pb::TxnResponse {
            header: only(self.revision()),
            succeeded: *taken,
            responses,
        })
    }

    pub fn txn(&mut self, t: &pb::TxnRequest, leases: &[i64]) -> Result<pb::TxnResponse, Refused> {
        let mut path = Vec::new();
        self.path(t, &mut path);
        if !Store::is_read_only(t)
            && let Some(refused) = self.refused(t, &mut &path[..], &mut Vec::new(), leases)
        {
            return Err(refused);
        }
        self.run(t, &mut &path[..])
    }
}
