//! The store against a small reference: whole maps, one for every revision. Two members run each case, one of which commits,
//! restarts and finishes its compactions at other moments: answers and hashes must not show it.

mod common;

use std::collections::BTreeMap;

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::compare::TargetUnion;
use api::pb::etcdserverpb::request_op::Request;
use api::pb::etcdserverpb::response_op::Response;
use api::pb::mvccpb::KeyValue;
use bytes::Bytes;
use common::Member;
use mvcc::{CompactJob, Step, Store, StoreOptions, check, gosort};
use proptest::prelude::*;

type Keys = BTreeMap<Bytes, KeyValue>;

const LEASES: [i64; 2] = [5, 9];

#[derive(Clone, Debug)]
enum Op {
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Range(pb::RangeRequest),
    Txn(pb::TxnRequest),
    Revoke(i64),
    /// So many revisions below the newest.
    Compact(i64),
    Commit,
    Step,
    Restart,
    PowerCut,
    Hash(i64),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => (0u8..7).prop_map(|n| vec![b'a' + n].into()), 1 => Just(Bytes::from_static(b"\0"))]
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => Just(Bytes::new()), 3 => key(), 1 => Just(Bytes::from_static(b"\0"))]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        (0u8..4).prop_map(|n| vec![n; usize::from(n)].into()),
        Just(Bytes::from(vec![7; 5000]))
    ]
}

fn put() -> impl Strategy<Value = pb::PutRequest> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let lease = prop_oneof![6 => Just(0), 2 => Just(5), 1 => Just(9), 1 => Just(77)];
    (key(), value(), lease, flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| pb::PutRequest {
        key,
        value: if ignore_value { Bytes::new() } else { value },
        lease: if ignore_lease { 0 } else { lease },
        prev_kv,
        ignore_value,
        ignore_lease,
    })
}

fn delete() -> impl Strategy<Value = pb::DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| pb::DeleteRangeRequest { key, range_end, prev_kv })
}

fn range() -> impl Strategy<Value = pb::RangeRequest> {
    let sort = (0i32..3, 0i32..5, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let bound = || prop_oneof![5 => Just(0i64), 1 => 1i64..40];
    let bounds = (bound(), bound(), bound(), bound());
    let revision = prop_oneof![3 => Just(0i64), 1 => 1i64..40, 1 => Just(-1)];
    (key(), end(), 0i64..5, revision, sort, bounds).prop_map(|(key, range_end, limit, revision, sort, bounds)| pb::RangeRequest {
        key,
        range_end,
        limit,
        revision,
        sort_order: sort.0,
        sort_target: sort.1,
        keys_only: sort.2,
        count_only: sort.3,
        min_mod_revision: bounds.0,
        max_mod_revision: bounds.1,
        min_create_revision: bounds.2,
        max_create_revision: bounds.3,
        serializable: false,
    })
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    let target = prop_oneof![
        (0i64..4).prop_map(TargetUnion::Version),
        (0i64..30).prop_map(TargetUnion::CreateRevision),
        (0i64..30).prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        (0i64..10).prop_map(TargetUnion::Lease),
    ];
    (key(), end(), 0i32..4, target).prop_map(|(key, range_end, result, union)| pb::Compare {
        target: match union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        },
        key,
        range_end,
        result,
        target_union: Some(union),
    })
}

fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let leaf = prop_oneof![
        range().prop_map(Request::RequestRange),
        put().prop_map(Request::RequestPut),
        delete().prop_map(Request::RequestDeleteRange),
    ];
    let op = leaf.prop_recursive(2, 12, 4, |inner| {
        let branch = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), branch(), branch())
            .prop_map(|(compare, success, failure)| Request::RequestTxn(make_txn(compare, success, failure)))
    });
    let branch = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), branch(), branch()).prop_map(|(compare, success, failure)| make_txn(compare, success, failure))
}

fn make_txn(compare: Vec<pb::Compare>, success: Vec<Request>, failure: Vec<Request>) -> pb::TxnRequest {
    let ops = |requests: Vec<Request>| requests.into_iter().map(|r| pb::RequestOp { request: Some(r) }).collect();
    pb::TxnRequest {
        compare,
        success: ops(success),
        failure: ops(failure),
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => put().prop_map(Op::Put),
        2 => delete().prop_map(Op::Delete),
        6 => range().prop_map(Op::Range),
        8 => txn().prop_map(Op::Txn),
        1 => prop::sample::select(&LEASES[..]).prop_map(Op::Revoke),
        2 => (0i64..6).prop_map(Op::Compact),
        2 => Just(Op::Commit),
        3 => Just(Op::Step),
        1 => Just(Op::Restart),
        1 => Just(Op::PowerCut),
        2 => (-1i64..6).prop_map(Op::Hash),
    ]
}

/// The reference: what there was at every revision.
struct Reference {
    /// `history[r]` is the state at revision `r`; 0 is not used.
    history: Vec<Keys>,
    compacted: i64,
}

/// A transaction of the reference.
struct Open<'r> {
    reference: &'r Reference,
    now: Keys,
    changed: bool,
}

type Refused = api::Error;

impl Reference {
    fn new() -> Reference {
        Reference {
            history: vec![Keys::new(), Keys::new()],
            compacted: -1,
        }
    }

    fn revision(&self) -> i64 {
        self.history.len() as i64 - 1
    }

    fn open(&self) -> Open<'_> {
        Open {
            reference: self,
            now: self.history.last().unwrap().clone(),
            changed: false,
        }
    }

    fn close(&mut self, now: Keys, changed: bool) {
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
    fn revision(&self) -> i64 {
        self.reference.revision() + i64::from(self.changed)
    }

    fn range(&self, r: &pb::RangeRequest) -> Result<pb::RangeResponse, Refused> {
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

    fn put(&mut self, r: &pb::PutRequest) -> pb::PutResponse {
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

    fn delete(&mut self, r: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
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

    fn put_refused(&self, r: &pb::PutRequest, gone: bool, leases: &[i64]) -> Option<Refused> {
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

    fn txn(&mut self, t: &pb::TxnRequest, leases: &[i64]) -> Result<pb::TxnResponse, Refused> {
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

/// A member with the compactions that it has not run yet.
struct Lagging {
    member: Member,
    jobs: Vec<CompactJob>,
    /// Entries since the last commit, to be applied again after a power cut.
    since_commit: Vec<Op>,
    leases: Vec<i64>,
}

type Answer<T> = Result<T, Refused>;

fn refused<T>(answer: Result<T, mvcc::MvccError>) -> Answer<T> {
    answer.map_err(|error| error.api().unwrap_or_else(|| panic!("{error}")))
}

impl Lagging {
    fn new() -> Lagging {
        let mut lagging = Lagging {
            member: Member::new(),
            jobs: Vec::new(),
            since_commit: Vec::new(),
            leases: LEASES.to_vec(),
        };
        lagging.grant();
        lagging
    }

    fn grant(&mut self) {
        for lease in LEASES {
            self.member.lessor.leases.entry(lease).or_default();
        }
    }

    fn step(&mut self) -> bool {
        let Some(job) = self.jobs.first_mut() else { return false };
        if matches!(job.step().unwrap(), Step::Done(_)) {
            self.jobs.remove(0);
        }
        true
    }

    fn commit(&mut self) {
        self.member.committer.commit().unwrap();
        self.since_commit.clear();
    }

    fn reopen(&mut self, cut: bool) {
        let old = std::mem::replace(&mut self.member, Member::new());
        self.jobs.clear();
        let disk = if cut { old.disk.kill() } else { old.disk.clone() };
        let index = old.index;
        drop(old);
        self.member = Member::open(disk, small_slices());
        self.grant();
        self.jobs.extend(self.member.writer.resume_compaction());
        // The log gives again what the database had not got yet.
        for op in std::mem::take(&mut self.since_commit) {
            self.apply(&op);
        }
        assert_eq!(self.member.index, index);
    }

    /// Applies what goes through the log; gives its answer as text.
    fn apply(&mut self, op: &Op) -> String {
        self.since_commit.push(op.clone());
        let member = &mut self.member;
        let answer = match op {
            Op::Put(r) => format!("{:?}", refused(member.writer.put(r, &mut member.lessor))),
            Op::Delete(r) => format!("{:?}", refused(member.writer.delete_range(r, &mut member.lessor))),
            Op::Txn(r) => format!("{:?}", refused(member.writer.txn(r, &mut member.lessor))),
            Op::Revoke(lease) => {
                let keys = std::mem::take(member.lessor.leases.get_mut(lease).unwrap());
                let keys: Vec<Bytes> = keys.into_iter().collect();
                member.writer.delete_keys(&keys).unwrap();
                member.lessor.keys.retain(|_, l| l != lease);
                String::new()
            }
            Op::Compact(revision) => match refused(member.writer.compact(*revision)) {
                Ok(job) => {
                    self.jobs.push(job);
                    "Ok".into()
                }
                Err(error) => format!("{error:?}"),
            },
            _ => unreachable!("not in the log"),
        };
        self.member.finish();
        answer
    }
}

fn small_slices() -> StoreOptions {
    StoreOptions {
        compaction_batch: 3,
        ..StoreOptions::default()
    }
}

fn run(ops: Vec<Op>) {
    let mut reference = Reference::new();
    // The first commits and compacts at once, the second when the case says so.
    let mut prompt = Lagging::new();
    let mut lagging = Lagging::new();
    for op in ops {
        let both = |prompt: &mut Lagging, lagging: &mut Lagging, op: &Op, want: &str| {
            assert_eq!(prompt.apply(op), want, "{op:?}");
            assert_eq!(lagging.apply(op), want, "{op:?}");
            while prompt.step() {}
            prompt.commit();
        };
        match op {
            Op::Put(r) => {
                let mut open = reference.open();
                let want = match open.put_refused(&r, false, &lagging.leases) {
                    Some(error) => Err(error),
                    None => Ok(open.put(&r)),
                };
                let (now, changed) = (open.now, open.changed);
                reference.close(now, changed);
                both(&mut prompt, &mut lagging, &Op::Put(r), &format!("{want:?}"));
            }
            Op::Delete(r) => {
                let mut open = reference.open();
                let want: Answer<_> = Ok(open.delete(&r));
                let (now, changed) = (open.now, open.changed);
                reference.close(now, changed);
                both(&mut prompt, &mut lagging, &Op::Delete(r), &format!("{want:?}"));
            }
            Op::Txn(r) => {
                if check::txn(&r, 128).is_err() {
                    continue;
                }
                let mut open = reference.open();
                let want = open.txn(&r, &lagging.leases);
                if Store::is_read_only(&r) {
                    for store in [&prompt.member.store, &lagging.member.store] {
                        assert_eq!(refused(store.txn(&r)), want, "{r:?}");
                    }
                    continue;
                }
                let (now, changed) = (open.now, open.changed && want.is_ok());
                reference.close(now, changed);
                both(&mut prompt, &mut lagging, &Op::Txn(r), &format!("{want:?}"));
            }
            Op::Revoke(lease) => {
                let mut open = reference.open();
                let before = open.now.len();
                open.now.retain(|_, kv| kv.lease != lease);
                let (changed, now) = (open.now.len() != before, open.now);
                reference.close(now, changed);
                both(&mut prompt, &mut lagging, &Op::Revoke(lease), "");
            }
            Op::Compact(below) => {
                let to = reference.revision() - below;
                let want = if to <= reference.compacted { "Compacted" } else { "Ok" };
                reference.compacted = reference.compacted.max(to);
                both(&mut prompt, &mut lagging, &Op::Compact(to), want);
            }
            Op::Range(r) => {
                let want = reference.open().range(&r);
                for store in [&prompt.member.store, &lagging.member.store] {
                    let got = refused(store.range(&r)).map(|answer| answer.into_message().unwrap());
                    assert_eq!(got, want, "{r:?}");
                }
            }
            Op::Hash(below) => {
                let at = if below < 0 { 0 } else { reference.revision() - below };
                // Remembered hashes have another compact revision, and the second member has not computed them yet.
                if prompt.member.store.compaction_hashes().iter().any(|h| h.revision == at) {
                    continue;
                }
                // With nothing alive at that revision there is nothing to tell by what a compaction has not deleted yet (Go's rule).
                let state = if at == 0 {
                    reference.history.last()
                } else {
                    reference.history.get(at.max(0) as usize)
                };
                if state.is_some_and(Keys::is_empty) && !lagging.jobs.is_empty() {
                    continue;
                }
                let (a, b) = (refused(prompt.member.store.hash_kv(at)), refused(lagging.member.store.hash_kv(at)));
                assert_eq!(a, b, "hash at {at}");
                assert_eq!(a.is_err(), at > 0 && at < reference.compacted);
            }
            Op::Commit => lagging.commit(),
            Op::Step => {
                lagging.step();
            }
            Op::Restart => {
                lagging.commit();
                lagging.reopen(false);
            }
            Op::PowerCut => lagging.reopen(true),
        }
        assert_eq!(lagging.member.store.revision(), reference.revision());
    }
    while lagging.step() {}
    let (a, b) = (&prompt.member, &lagging.member);
    assert_eq!(a.store.hash_kv(0).unwrap(), b.store.hash_kv(0).unwrap());
    // Everything is compacted alike now, so the whole databases are equal too.
    assert_eq!(a.backend.view().hash().unwrap(), b.backend.view().hash().unwrap());
    assert_eq!(a.lessor.keys, b.lessor.keys);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_its_reference(ops in prop::collection::vec(op(), 1..60)) {
        run(ops);
    }
}

/// A delete without an end may be followed by a put of the same key in one transaction: the checks of requests do not see it.
/// A compaction to just that revision has to keep the pair, and not the tombstone before it.
#[test]
fn deleted_and_put_in_the_revision_compacted_to() {
    let put = |key: &'static str| pb::PutRequest {
        key: key.into(),
        value: "v".into(),
        ..Default::default()
    };
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        range_end: vec![0].into(),
        ..Default::default()
    };
    let all = pb::RangeRequest {
        key: "a".into(),
        range_end: vec![0].into(),
        ..Default::default()
    };
    let both = vec![Request::RequestDeleteRange(delete.clone()), Request::RequestPut(put("f"))];
    let thrice = vec![
        Request::RequestDeleteRange(delete.clone()),
        Request::RequestPut(put("f")),
        Request::RequestDeleteRange(delete),
    ];
    run(vec![
        Op::Put(put("f")),
        Op::Txn(make_txn(Vec::new(), both, Vec::new())),
        Op::Compact(0),
        Op::Range(all.clone()),
        Op::Hash(-1),
        Op::Step,
        Op::Step,
        Op::Range(all.clone()),
        Op::Restart,
        Op::Range(all.clone()),
        Op::Txn(make_txn(Vec::new(), thrice, Vec::new())),
        Op::Compact(0),
        Op::Put(put("g")),
        Op::Restart,
        Op::Range(all),
    ]);
}
