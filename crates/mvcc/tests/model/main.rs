//! The store against a small reference: whole maps, one for every revision. Two members run each case, one of which commits,
//! restarts and finishes its compactions at other moments: answers and hashes must not show it.

#[path = "../common/mod.rs"]
mod common;
mod generate;
mod reference;

use api::pb::etcdserverpb as pb;
use api::pb::etcdserverpb::request_op::Request;
use bytes::Bytes;
use common::Member;
use generate::{LEASES, Op, make_txn, op};
use mvcc::{CompactJob, Step, Store, StoreOptions, check};
use proptest::prelude::*;
use reference::{Keys, Reference, Refused};

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
