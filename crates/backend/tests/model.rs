//! A view against a plain map, with commits, restarts and power cuts at random moments.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use api::{RaftIndex, Revision, Term};
use backend::{Backend, Batch, Bucket, Committer, Options, ReadView, RevisionKey, Value};
use bytes::Bytes;
use proptest::prelude::*;
use world::sim::SimDisk;

const DB: &str = "/db";

type Content = BTreeMap<(Bucket, Vec<u8>), Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    /// A batch: small changes (bucket, key, value or delete), new revisions (tombstone?), the share of old ones to delete.
    Batch {
        small: Vec<(u8, u8, Option<u8>)>,
        puts: Vec<(bool, u16)>,
        delete: Option<u8>,
    },
    Commit,
    /// Takes a view that is looked at again at the end.
    Hold,
    Reopen,
    /// The power goes: what was not committed is lost.
    Cut,
    Reclaim,
}

fn op() -> impl Strategy<Value = Op> {
    let small = prop::collection::vec((0u8..9, 0u8..6, prop::option::of(any::<u8>())), 0..4);
    let puts = prop::collection::vec((prop::bool::weighted(0.2), 0u16..600), 0..5);
    let batch = (small, puts, prop::option::weighted(0.1, 1u8..10));
    prop_oneof![
        20 => batch.prop_map(|(small, puts, delete)| Op::Batch { small, puts, delete }),
        3 => Just(Op::Commit),
        2 => Just(Op::Hold),
        1 => Just(Op::Reopen),
        1 => Just(Op::Cut),
        1 => Just(Op::Reclaim),
    ]
}

fn small_bucket(n: u8) -> Bucket {
    let small: Vec<Bucket> = Bucket::ALL.into_iter().filter(|b| *b != Bucket::Key).collect();
    small[usize::from(n) % small.len()]
}

struct Model {
    disk: SimDisk,
    backend: Backend,
    committer: Committer,
    content: Content,
    committed: Content,
    main: i64,
    index: u64,
    held: Vec<(ReadView, Content)>,
}

fn open(disk: &SimDisk) -> (Backend, Committer) {
    let options = Options {
        initial_map: 1 << 20,
        page_size: Some(4096),
        verify: true,
        ..Options::default()
    };
    Backend::open(&disk.dyn_disk(), Path::new(DB), options).unwrap()
}

impl Model {
    fn new() -> Model {
        let disk = SimDisk::with_page_size(4096);
        let (backend, committer) = open(&disk);
        Model {
            disk,
            backend,
            committer,
            content: Content::new(),
            committed: Content::new(),
            main: 1,
            index: 0,
            held: Vec::new(),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Batch { small, puts, delete } => self.batch(small, puts, delete),
            Op::Commit => {
                self.committer.commit().unwrap();
                self.committed = self.content.clone();
                assert_eq!(self.backend.committed_index(), RaftIndex(self.index));
                assert_eq!(self.backend.pending_ops(), 0);
            }
            Op::Hold => self.held.push((self.backend.view(), self.content.clone())),
            Op::Reopen => {
                self.committer.commit().unwrap();
                self.committed = self.content.clone();
                self.reopen(None);
            }
            Op::Cut => {
                self.look_at_held();
                let disk = self.disk.kill();
                self.content = self.committed.clone();
                self.reopen(Some(disk));
            }
            Op::Reclaim => {
                self.committer.reclaim(16).unwrap();
            }
        }
    }

    fn reopen(&mut self, disk: Option<SimDisk>) {
        self.look_at_held();
        let disk = disk.unwrap_or_else(|| self.disk.clone());
        // A place holder, so that the old database is closed (and its lock gone) before it is opened again.
        let empty = SimDisk::with_page_size(4096);
        (self.backend, self.committer) = open(&empty);
        self.disk = disk;
        (self.backend, self.committer) = open(&self.disk);
        self.index = self.backend.consistent_index().0;
        let meta = self.content.get(&(Bucket::Meta, b"consistent_index".to_vec()));
        assert_eq!(meta.map_or(0, |v| u64::from_be_bytes(v[..].try_into().unwrap())), self.index);
    }

    fn batch(&mut self, small: Vec<(u8, u8, Option<u8>)>, puts: Vec<(bool, u16)>, delete: Option<u8>) {
        let mut batch = Batch::new();
        for (bucket, key, value) in small {
            let (bucket, key) = (small_bucket(bucket), vec![b'a' + key]);
            match value {
                Some(v) => {
                    batch.put(bucket, key.clone(), vec![v; 3]);
                    self.content.insert((bucket, key), vec![v; 3]);
                }
                None => {
                    batch.delete(bucket, key.clone());
                    self.content.remove(&(bucket, key));
                }
            }
        }
        if !puts.is_empty() {
            self.main += 1;
        }
        for (sub, (tombstone, length)) in puts.into_iter().enumerate() {
            let revision = Revision::new(self.main, sub as i64);
            let key = RevisionKey { revision, tombstone };
            let value = vec![self.main as u8; usize::from(length)];
            batch.put_revision(key, Bytes::from(value.clone()));
            let bytes = key.with_bytes(<[u8]>::to_vec);
            self.content.insert((Bucket::Key, bytes), value);
        }
        if let Some(one_in) = delete {
            let all: Vec<RevisionKey> = revisions(&self.content);
            let gone: Vec<RevisionKey> = all.into_iter().filter(|k| k.revision.main % i64::from(one_in) == 0).collect();
            for key in &gone {
                self.content.remove(&(Bucket::Key, key.with_bytes(<[u8]>::to_vec)));
            }
            batch.delete_revisions(gone);
        }
        self.index += 1;
        batch.set_consistent_index(RaftIndex(self.index), Term(7));
        for (key, value) in [("consistent_index", self.index), ("term", 7)] {
            self.content.insert((Bucket::Meta, key.into()), value.to_be_bytes().to_vec());
        }
        self.backend.append(batch);
    }

    fn look_at_held(&mut self) {
        for (view, content) in self.held.drain(..) {
            compare(&view, &content);
        }
    }
}

fn revisions(content: &Content) -> Vec<RevisionKey> {
    let keys = content.keys().filter(|(bucket, _)| *bucket == Bucket::Key);
    keys.map(|(_, key)| RevisionKey::parse(key).unwrap()).collect()
}

fn scan(view: &ReadView, bucket: Bucket, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    view.scan(bucket, from, to, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn compare(view: &ReadView, content: &Content) {
    for bucket in Bucket::ALL {
        let expected = |from: &[u8], to: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
            let start = Bound::Included((bucket, from.to_vec()));
            content
                .range((start, Bound::Unbounded))
                .take_while(|((b, key), _)| *b == bucket && (to.is_empty() || &key[..] < to))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        };
        assert_eq!(scan(view, bucket, &[], &[]), expected(&[], &[]), "{bucket:?}");
        assert_eq!(scan(view, bucket, b"b", b"d"), expected(b"b", b"d"), "{bucket:?}");
        let (from, to) = (Revision::new(4, 1).to_key(), Revision::new(20, 0).to_key());
        assert_eq!(scan(view, bucket, &from, &to), expected(&from, &to), "{bucket:?}");
        for key in [&b"a"[..], b"c", b"f", b"consistent_index", b"term"] {
            let expected = content.get(&(bucket, key.to_vec())).map(|v| &v[..]);
            assert_eq!(view.get(bucket, key).unwrap().as_deref(), expected, "{bucket:?} {key:?}");
        }
    }
    let keys = view.keys().unwrap();
    let (mut every, mut some) = (keys.ascending(), keys.ascending());
    for main in 1..40 {
        for tombstone in [false, true] {
            let key = RevisionKey {
                revision: Revision::new(main, main % 3),
                tombstone,
            };
            let bytes = key.with_bytes(<[u8]>::to_vec);
            let expected = content.get(&(Bucket::Key, bytes.clone())).map(|v| &v[..]);
            assert_eq!(view.get_revision(key).unwrap().as_deref(), expected);
            let found = every.get(key).unwrap().map(Value::to_bytes);
            assert_eq!(found.as_deref(), expected);
            if main % 11 < 3 {
                let found = some.get(key).unwrap().map(Value::to_bytes);
                assert_eq!(found.as_deref(), expected);
            }
            assert_eq!(view.get(Bucket::Key, &bytes).unwrap().as_deref(), expected);
        }
    }
    assert_eq!(view.hash().unwrap(), hash(content));
}

fn hash(content: &Content) -> u32 {
    let mut hash = 0;
    for bucket in Bucket::ALL {
        hash = crc32c::crc32c_append(hash, bucket.name());
        for ((b, key), value) in content {
            let local = [&b"consistent_index"[..], b"term", b"storageVersion"].contains(&&key[..]);
            if *b == bucket && !(bucket == Bucket::Meta && local) {
                hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
            }
        }
    }
    hash
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_is_a_map(ops in prop::collection::vec(op(), 1..60)) {
        let mut model = Model::new();
        for op in ops {
            model.step(op);
            compare(&model.backend.view(), &model.content);
        }
        model.look_at_held();
    }
}

#[test]
fn a_commit_is_due_by_operations_and_by_bytes() {
    let disk = SimDisk::with_page_size(4096);
    let options = Options {
        initial_map: 1 << 20,
        batch_limit: 3,
        ..Options::default()
    };
    let (backend, mut committer) = Backend::open(&disk.dyn_disk(), Path::new(DB), options).unwrap();
    let mut main = 1;
    let mut put = |length: usize| {
        main += 1;
        let mut batch = Batch::new();
        batch.put_revision(RevisionKey::put(Revision::new(main, 0)), vec![0; length].into());
        batch.set_consistent_index(RaftIndex(main as u64), Term(1));
        backend.append(batch);
    };
    put(10);
    put(10);
    assert!(!backend.should_commit());
    assert_eq!((backend.pending_ops(), backend.pending_bytes()), (2, 20));
    put(10);
    assert!(backend.should_commit());
    assert_eq!(committer.commit().unwrap().operations, 3);
    assert!(!backend.should_commit());
    assert_eq!((backend.pending_ops(), backend.pending_bytes()), (0, 0));
    put(17 << 20);
    assert!(backend.should_commit() && !backend.is_behind());
    committer.commit().unwrap();
    // Eight commits' worth, in operations.
    (0..23).for_each(|_| put(1));
    assert!(!backend.is_behind());
    put(1);
    assert!(backend.is_behind());
    committer.commit().unwrap();
    assert!(!backend.is_behind());
    // Nothing but the index: written when somebody asks, counted as nothing.
    let mut batch = Batch::new();
    batch.set_consistent_index(RaftIndex(90), Term(2));
    backend.append(batch);
    assert_eq!(backend.pending_ops(), 0);
    assert_eq!(
        (backend.consistent_index(), backend.committed_index()),
        (RaftIndex(90), RaftIndex(29))
    );
    let committed = committer.commit().unwrap();
    assert_eq!((committed.operations, committed.consistent_index), (0, RaftIndex(90)));
    assert_eq!(backend.view().applied(), Some((RaftIndex(90), Term(2))));
}

#[test]
#[should_panic(expected = "consistent index 4 after 5")]
fn the_consistent_index_never_goes_down() {
    let (backend, _committer) = open(&SimDisk::with_page_size(4096));
    for index in [5, 4] {
        let mut batch = Batch::new();
        batch.set_consistent_index(RaftIndex(index), Term(1));
        backend.append(batch);
    }
}

#[test]
#[should_panic(expected = "after Some")]
fn revisions_never_go_down() {
    let (backend, _committer) = open(&SimDisk::with_page_size(4096));
    for main in [5, 5] {
        let mut batch = Batch::new();
        batch.put_revision(RevisionKey::put(Revision::new(main, 0)), Bytes::new());
        backend.append(batch);
    }
}
