//! The index against a model that keeps etcd's generations in the plainest way.

mod versions;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// etcd's keyIndex: generations of revisions, the last one possibly empty.
#[derive(Clone, Debug, Default)]
struct ModelKey {
    generations: Vec<ModelGeneration>,
}

#[derive(Clone, Debug, Default)]
struct ModelGeneration {
    created: i64,
    version: i64,
    revisions: Vec<Revision>,
}

impl ModelKey {
    fn put(&mut self, revision: Revision) {
        if self.generations.is_empty() {
            self.generations.push(ModelGeneration::default());
        }
        let generation = self.generations.last_mut().unwrap();
        if generation.revisions.is_empty() {
            generation.created = revision.main;
        }
        generation.revisions.push(revision);
        generation.version += 1;
    }

    fn live(&self) -> bool {
        self.generations.last().is_some_and(|g| !g.revisions.is_empty())
    }

    fn tombstone(&mut self, revision: Revision) -> bool {
        if !self.live() {
            return false;
        }
        self.put(revision);
        self.generations.push(ModelGeneration::default());
        true
    }

    fn get(&self, at: i64) -> Option<KeyRevision> {
        let mut state = None;
        for (i, generation) in self.generations.iter().enumerate() {
            for (j, revision) in generation.revisions.iter().enumerate() {
                if revision.main > at {
                    return state;
                }
                let tombstone = j + 1 == generation.revisions.len() && i + 1 < self.generations.len();
                let version = generation.version - (generation.revisions.len() - j - 1) as i64;
                state = (!tombstone).then_some(KeyRevision {
                    modified: *revision,
                    created: generation.created,
                    version,
                });
            }
        }
        state
    }

    /// Compacts; gives the revision kept and whether it is a closing tombstone.
    fn compact(&mut self, at: i64) -> Option<(Revision, bool)> {
        // Unlike Go, the tombstone of `at` itself gives way to a pair put after it in the same transaction.
        while self.generations.len() > 1
            && (self.generations[0].revisions.last().unwrap().main < at
                || self.generations[1].revisions.first().is_some_and(|r| r.main <= at))
        {
            self.generations.remove(0);
        }
        let closed = self.generations.len() > 1;
        let revisions = &mut self.generations[0].revisions;
        let kept = revisions.iter().rposition(|r| r.main <= at)?;
        revisions.drain(..kept);
        Some((revisions[0], closed && revisions.len() == 1))
    }
}

#[derive(Default)]
struct Model {
    keys: BTreeMap<Vec<u8>, ModelKey>,
}

impl Model {
    fn compact(&mut self, at: i64) -> BTreeSet<Revision> {
        let kept = self
            .keys
            .values_mut()
            .filter_map(|key| key.compact(at))
            .map(|(revision, _)| revision)
            .collect();
        self.keys.retain(|_, key| key.generations.len() > 1 || key.live());
        kept
    }

    fn keep(&self, at: i64) -> BTreeSet<Revision> {
        let kept = self.keys.values().filter_map(|key| key.clone().compact(at));
        kept.filter(|(_, tombstone)| !tombstone).map(|(revision, _)| revision).collect()
    }

    fn range(&self, from: &[u8], until: Until<'_>, at: i64) -> Vec<(Vec<u8>, KeyRevision)> {
        let within = |key: &[u8]| match until {
            Until::Single => key == from,
            Until::Before(end) => key >= from && key < end,
            Until::Unbounded => key >= from,
        };
        self.keys
            .iter()
            .filter(|(key, _)| within(key))
            .filter_map(|(key, model)| Some((key.clone(), model.get(at)?)))
            .collect()
    }
}

fn collect(index: &KeyIndex, range: KeyRange<'_>, at: i64, limit: usize) -> Vec<(Vec<u8>, KeyRevision)> {
    let mut found = Vec::new();
    let visited = index.range(range, at, limit, &mut |key, revision| {
        found.push((key.to_vec(), revision));
        ControlFlow::Continue(())
    });
    assert_eq!(visited, found.len());
    found
}

/// Keys in few families, so that they share prefixes and heads and are prefixes of one another.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let family = prop_oneof![
        Just(b"".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\xff\xff".to_vec()),
        Just(b"/registry/pods/default/".to_vec()),
        Just(b"/registry/leases/".to_vec())
    ];
    (
        family,
        proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..6),
    )
        .prop_map(|(mut family, rest)| {
            family.extend(rest);
            family
        })
}

#[derive(Clone, Debug)]
enum Act {
    Txn(Vec<(bool, Vec<u8>)>),
    Compact(u8),
    Range(Vec<u8>, Vec<u8>, u8, u8),
    Keep(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => proptest::collection::vec((proptest::bool::weighted(0.7), key()), 1..12).prop_map(Act::Txn),
        1 => any::<u8>().prop_map(Act::Compact),
        3 => (key(), prop_oneof![key(), Just(vec![0]), Just(vec![])], any::<u8>(), 0..9u8).prop_map(|(a, b, at, n)| Act::Range(a, b, at, n)),
        1 => any::<u8>().prop_map(Act::Keep),
    ]
}

/// A revision between the compact revision and a little above the newest.
fn pick(compacted: i64, newest: i64, choice: u8) -> i64 {
    compacted + i64::from(choice) % (newest - compacted + 2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(acts in proptest::collection::vec(act(), 1..120)) {
        let (index, mut model) = (KeyIndex::new(), Model::default());
        let (mut main, mut compacted) = (1, 0);
        for act in acts {
            match act {
                Act::Txn(changes) => {
                    main += 1;
                    for (sub, (put, key)) in changes.into_iter().enumerate() {
                        let revision = Revision::new(main, sub as i64);
                        let before = model.keys.get(&key).and_then(|m| m.get(main)).map(|k| k.modified);
                        if put {
                            let entered = index.put(&key, revision);
                            model.keys.entry(key.clone()).or_default().put(revision);
                            let now = model.keys[&key].get(main).unwrap();
                            prop_assert_eq!(entered, Entered { created: now.created, version: now.version, previous: before });
                        } else {
                            let deleted = model.keys.get_mut(&key).is_some_and(|m| m.tombstone(revision));
                            prop_assert_eq!(index.tombstone(&key, revision).is_ok(), deleted);
                        }
                    }
                }
                Act::Compact(choice) => {
                    compacted = pick(compacted, main, choice).min(main);
                    let kept: Vec<_> = model.compact(compacted).into_iter().collect();
                    let mut compaction = index.start_compaction(compacted);
                    while !index.compact_step(&mut compaction, 7) {}
                    prop_assert_eq!(compaction.into_kept().iter().collect::<Vec<_>>(), kept);
                    index.state.read().tree.check();
                }
                Act::Range(from, end, choice, limit) => {
                    let at = pick(compacted, main, choice);
                    let range = KeyRange::of(&from, &end);
                    let all = model.range(&from, range.until, at);
                    prop_assert_eq!(index.count(range, at), all.len() as u64);
                    prop_assert_eq!(index.count(range, main), model.range(&from, range.until, main).len() as u64);
                    let limit = usize::from(limit);
                    let expected = if limit == 0 { &all[..] } else { &all[..all.len().min(limit)] };
                    prop_assert_eq!(&collect(&index, range, at, limit)[..], expected);
                    let mut revisions = Vec::new();
                    index.revisions(range, at, limit, &mut |found| {
                        revisions.push(found);
                        ControlFlow::Continue(())
                    });
                    prop_assert!(revisions.iter().eq(expected.iter().map(|(_, found)| found)));
                    prop_assert_eq!(index.get(&from, at), model.keys.get(&from).and_then(|m| m.get(at)));
                }
                Act::Keep(choice) => {
                    let at = pick(compacted, main, choice);
                    prop_assert_eq!(index.keep(at).iter().collect::<Vec<_>>(), model.keep(at).into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(index.len(), model.keys.len());
        }
        index.state.read().tree.check();
        prop_assert_eq!(index.live_len(), model.keys.values().filter(|m| m.live()).count());
        let again = restored(&model);
        for (key, history) in &model.keys {
            for at in compacted..=main {
                prop_assert_eq!(again.get(key, at), history.get(at));
            }
        }
        // A tombstone alone does not say the version of what it ended.
        let lone = model.keys.values().any(|m| m.generations.len() > 1 && m.generations[0].revisions.len() == 1);
        prop_assert!(lone || again.equal(&index));
    }
}

/// An index built from what the database holds of the model's history.
fn restored(model: &Model) -> KeyIndex {
    let mut entries = BTreeMap::new();
    for (key, history) in &model.keys {
        for (i, generation) in history.generations.iter().enumerate() {
            for (j, revision) in generation.revisions.iter().enumerate() {
                let closing = j + 1 == generation.revisions.len() && i + 1 < history.generations.len();
                let version = generation.version - (generation.revisions.len() - j - 1) as i64;
                let put = Stored::Put {
                    created: generation.created,
                    version,
                };
                entries.insert(*revision, (key.clone(), if closing { Stored::Tombstone } else { put }));
            }
        }
    }
    let index = KeyIndex::new();
    index.restore(&mut entries.iter().map(|(revision, (key, stored))| (key.as_slice(), *revision, *stored)));
    index
}

/// Deterministic noise.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

#[test]
fn a_tree_of_several_levels_stays_in_order() {
    let (index, mut seed, mut main) = (KeyIndex::new(), 7, 1);
    let name = |n: u64| format!("/registry/pods/ns-{:02}/pod-{n:06}", n % 37).into_bytes();
    let mut live = BTreeMap::new();
    for _ in 0..30_000 {
        main += 1;
        let key = name(noise(&mut seed) % 12_000);
        if noise(&mut seed).is_multiple_of(3) {
            assert_eq!(index.tombstone(&key, Revision::new(main, 0)).is_ok(), live.remove(&key).is_some());
        } else {
            index.put(&key, Revision::new(main, 0));
            live.insert(key, main);
        }
    }
    index.state.read().tree.check();
    let check = |live: &BTreeMap<Vec<u8>, i64>| {
        assert_eq!(index.count(KeyRange::of(b"\0", b"\0"), main), live.len() as u64);
        for prefix in [
            ("/registry/pods/ns-07/", "/registry/pods/ns-070"),
            ("/registry/pods/ns-10", "/registry/pods/ns-2"),
            ("/", "a"),
        ] {
            let range = KeyRange::of(prefix.0.as_bytes(), prefix.1.as_bytes());
            let expected = live.range(prefix.0.as_bytes().to_vec()..prefix.1.as_bytes().to_vec());
            let expected: Vec<_> = expected.map(|(key, main)| (key.clone(), *main)).collect();
            assert_eq!(index.count(range, main), expected.len() as u64);
            let found: Vec<_> = collect(&index, range, main, 0)
                .into_iter()
                .map(|(key, found)| (key, found.modified.main))
                .collect();
            assert_eq!(found, expected);
        }
    };
    check(&live);
    assert_eq!(
        index.compact(main).len(),
        live.len() + usize::from(!live.values().any(|m| *m == main))
    );
    index.state.read().tree.check();
    check(&live);
    // Nearly all gone: the tree has to shrink.
    for key in live.keys().skip(20).cloned().collect::<Vec<_>>() {
        main += 1;
        index.tombstone(&key, Revision::new(main, 0)).unwrap();
        live.remove(&key);
    }
    main += 1;
    index.compact(main);
    index.state.read().tree.check();
    assert_eq!((index.len(), index.live_len()), (20, 20));
    for key in live.keys() {
        index.tombstone(key, Revision::new(main, 0)).unwrap();
    }
    index.compact(main + 1);
    assert!(index.is_empty());
    assert_eq!(index.count(KeyRange::of(b"\0", b"\0"), main), 0);
}

#[test]
fn ascending_keys_fill_the_leaves() {
    let index = KeyIndex::new();
    for n in 0..20_000 {
        index.put(format!("key-{n:08}").as_bytes(), Revision::new(n + 2, 0));
    }
    index.state.read().tree.check();
    assert_eq!(index.count(KeyRange::of(b"key-00001", b"key-00002"), 20_001), 1000);
    // Half of them were not there yet.
    assert_eq!(index.count(KeyRange::of(b"", b"\0"), 10_001), 10_000);
    assert_eq!(index.count(KeyRange::of(b"key-00019000", b"\0"), 19_501), 500);
}

#[test]
fn ends_of_ranges() {
    let index = KeyIndex::new();
    for (n, key) in [&b"\0"[..], b"a", b"a\0", b"b", b"\xff", b"\xff\xff"].into_iter().enumerate() {
        index.put(key, Revision::new(n as i64 + 2, 0));
    }
    let keys = |from: &[u8], end: &[u8]| {
        collect(&index, KeyRange::of(from, end), 100, 0)
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(b"a", b""), [b"a"]);
    assert_eq!(keys(b"a", b"a\0"), [b"a"]);
    assert_eq!(keys(b"a", b"b"), [&b"a"[..], b"a\0"]);
    assert_eq!(keys(b"b", b"a"), [b""; 0]);
    assert_eq!(keys(b"b", b"b"), [b""; 0]);
    assert_eq!(keys(b"b", b"\0"), [&b"b"[..], b"\xff", b"\xff\xff"]);
    assert_eq!(keys(b"\0", b"\0").len(), 6);
    assert_eq!(index.count(KeyRange::of(b"b", b"a"), 100), 0);
    assert_eq!(index.count(KeyRange::of(b"b", b"a"), 3), 0);
    assert_eq!(index.count(KeyRange::of(b"\xff", b""), 100), 1);
}

#[test]
fn what_a_restart_may_find() {
    let index = KeyIndex::new();
    let entries: [(&[u8], Revision, Stored); 4] = [
        // A value lost its bytes to a revision bump: key "" (data-dir.md 6.2).
        (b"", Revision::new(3, 0), Stored::Put { created: 0, version: 0 }),
        (b"gone", Revision::new(4, 0), Stored::Tombstone),
        (b"gone", Revision::new(5, 0), Stored::Tombstone),
        (
            b"kept",
            Revision::new(9, 2),
            Stored::Put {
                created: 6,
                version: 5_000_000_000,
            },
        ),
    ];
    index.restore(&mut entries.into_iter());
    assert_eq!(
        index.get(b"kept", 9),
        Some(KeyRevision {
            modified: Revision::new(9, 2),
            created: 6,
            version: 5_000_000_000
        })
    );
    assert_eq!(index.get(b"gone", 9), None);
    assert_eq!((index.len(), index.live_len()), (3, 2));
    let entered = index.put(b"kept", Revision::new(10, 0));
    assert_eq!(
        entered,
        Entered {
            created: 6,
            version: 5_000_000_001,
            previous: Some(Revision::new(9, 2))
        }
    );
    assert_eq!(index.put(b"gone", Revision::new(11, 0)).version, 1);
    assert_eq!(index.since(b"gone", 4), [Revision::new(4, 0), Revision::new(11, 0)]);
}
