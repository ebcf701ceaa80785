//! Random writes, compactions, slow and impatient streams: every watcher sees every event that concerns it exactly once, in order,
//! transactions whole, up to the moment it is cancelled; and the router agrees with a plain look at every watcher.

use proptest::prelude::*;

use super::*;
use crate::watch::intervals::{Intervals, Upper};

/// What one watcher should see and has seen.
struct Expectation {
    stream: usize,
    id: i64,
    request: WatchCreateRequest,
    /// First revision it is due.
    next: i64,
    seen: Vec<EventPb>,
    /// The client knows of it.
    created: bool,
    /// The client has cancelled it; answers before that still count.
    cancelled: bool,
    compacted: bool,
}

impl Expectation {
    fn wants(&self, key: &[u8], delete: bool) -> bool {
        let within = match self.request.range_end.as_ref() {
            [] => key == self.request.key,
            [0] => key >= self.request.key.as_ref(),
            end => key >= self.request.key.as_ref() && key < end,
        };
        within && !self.request.filters.contains(&i32::from(delete))
    }

    /// All events due from the whole history.
    fn due(&self, truth: &[EventPb]) -> Vec<EventPb> {
        let due = truth.iter().filter(|event| {
            let kv = event.kv.as_ref().unwrap();
            kv.mod_revision >= self.next && self.wants(&kv.key, event.r#type == 1)
        });
        due.cloned().collect()
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(Vec<(u8, bool)>),
    /// Many small ones, so that queues fill and logs move on.
    Burst(u16),
    Pump,
    Compact(u8),
    Create {
        stream: u8,
        key: u8,
        end: u8,
        start: u8,
        filter: u8,
        fragment: bool,
    },
    Cancel(u8),
    Poll(u8),
    Drain(u8),
    Progress(u8),
    Restore,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => proptest::collection::vec((0..6u8, any::<bool>()), 1..5).prop_map(Act::Write),
        1 => (1..700u16).prop_map(Act::Burst),
        4 => Just(Act::Pump),
        1 => any::<u8>().prop_map(Act::Compact),
        4 => (any::<u8>(), 0..6u8, 0..8u8, any::<u8>(), 0..6u8, any::<bool>())
            .prop_map(|(stream, key, end, start, filter, fragment)| Act::Create { stream, key, end, start, filter, fragment }),
        1 => any::<u8>().prop_map(Act::Cancel),
        4 => any::<u8>().prop_map(Act::Poll),
        2 => any::<u8>().prop_map(Act::Drain),
        2 => any::<u8>().prop_map(Act::Progress),
        1 => Just(Act::Restore),
    ]
}

const STREAMS: usize = 3;

struct World {
    store: Store,
    clients: Vec<Client>,
    watchers: Vec<Expectation>,
    truth: Vec<EventPb>,
}

fn key(n: u8) -> Vec<u8> {
    vec![b'k', n]
}

impl World {
    fn new() -> World {
        let store = Store::new(0);
        let clients = (0..STREAMS).map(|_| store.stream()).collect();
        World {
            store,
            clients,
            watchers: Vec::new(),
            truth: Vec::new(),
        }
    }

    fn write(&mut self, changes: &[(u8, bool)]) {
        let mut seen = std::collections::BTreeSet::new();
        let changes: Vec<_> = changes
            .iter()
            .filter(|(n, _)| seen.insert(*n))
            .map(|(n, put)| (key(*n), *put))
            .collect();
        let revision = self.store.revision;
        let value = revision.to_string().into_bytes();
        let before = self.store.history.len();
        let changes: Vec<Change<'_>> = changes
            .iter()
            .map(|(key, put)| (key.as_slice(), put.then_some(value.as_slice())))
            .collect();
        self.store.write(&changes);
        for (at, (tombstone, kv)) in self.store.history.range(Revision::new(revision + 1, 0)..) {
            let mut kv = KeyValue::decode(kv.clone()).unwrap();
            kv.mod_revision = at.main;
            self.truth.push(EventPb {
                r#type: i32::from(*tombstone),
                kv: Some(kv),
                prev_kv: None,
            });
        }
        assert!(self.store.history.len() >= before);
    }

    fn act(&mut self, act: Act) {
        let pick = |n: u8| usize::from(n) % STREAMS;
        match act {
            Act::Write(changes) => self.write(&changes),
            Act::Burst(count) => (0..count).for_each(|n| self.write(&[(n as u8 % 6, n % 7 != 0)])),
            Act::Pump => self.store.hub.pump(),
            Act::Compact(choice) => {
                let low = self.store.compacted.max(0);
                self.store
                    .compact((low + i64::from(choice) % (self.store.revision - low + 1)).max(1));
            }
            Act::Create {
                stream,
                key: from,
                end,
                start,
                filter,
                fragment,
            } => {
                let range_end = match end {
                    0 => vec![],
                    1 => vec![0],
                    end => key(from + end),
                };
                let request = WatchCreateRequest {
                    key: key(from).into(),
                    range_end: range_end.into(),
                    start_revision: if start < 128 {
                        0
                    } else {
                        (self.store.revision + 5 - i64::from(start - 128)).max(0)
                    },
                    filters: if filter < 3 { vec![i32::from(filter)] } else { vec![] },
                    fragment,
                    ..WatchCreateRequest::default()
                };
                let client = &self.clients[pick(stream)];
                client.create(request.clone());
                let next = if request.start_revision == 0 {
                    self.store.revision + 1
                } else {
                    request.start_revision
                };
                let id = self.watchers.iter().filter(|w| w.stream == pick(stream)).count() as i64;
                let stream = pick(stream);
                self.watchers.push(Expectation {
                    stream,
                    id,
                    request,
                    next,
                    seen: vec![],
                    created: false,
                    cancelled: false,
                    compacted: false,
                });
            }
            Act::Cancel(n) => {
                let count = self.watchers.len().max(1);
                if let Some(watcher) = self.watchers.get_mut(usize::from(n) % count) {
                    watcher.cancelled = true;
                    self.clients[watcher.stream].cancel(watcher.id);
                }
            }
            Act::Poll(n) => {
                let (answers, _) = self.clients[pick(n)].poll(&self.store);
                self.take(pick(n), answers);
            }
            Act::Drain(n) => {
                let answers = self.clients[pick(n)].receive(&self.store);
                self.take(pick(n), answers);
            }
            Act::Progress(n) => self.clients[pick(n)].progress(),
            Act::Restore => {
                self.store.hub.restored(self.store.revision, self.store.compacted);
            }
        }
    }

    fn take(&mut self, stream: usize, answers: Vec<WatchResponse>) {
        for answer in answers {
            let revision = answer.header.as_ref().unwrap().revision;
            if answer.watch_id == NO_WATCHER {
                // Progress of all: nothing up to there may be missing.
                for watcher in self.watchers.iter().filter(|w| w.stream == stream && w.created && !w.cancelled) {
                    let due = watcher.due(&self.truth);
                    let due = due.iter().filter(|event| event.kv.as_ref().unwrap().mod_revision <= revision);
                    assert!(watcher.compacted || due.count() == watcher.seen.len(), "progress before events");
                }
                continue;
            }
            let watcher = self
                .watchers
                .iter_mut()
                .find(|w| w.stream == stream && w.id == answer.watch_id)
                .unwrap();
            assert!(!watcher.compacted || answer.canceled, "events after a cancellation");
            watcher.created |= answer.created;
            watcher.compacted |= answer.compact_revision != 0;
            for event in &answer.events {
                let modified = event.kv.as_ref().unwrap().mod_revision;
                assert!(modified <= revision, "an event above the header's revision");
            }
            if let (Some(last), Some(first)) = (watcher.seen.last(), answer.events.first()) {
                let same = last.kv.as_ref().unwrap().mod_revision == first.kv.as_ref().unwrap().mod_revision;
                assert!(!same || watcher.request.fragment, "a transaction in two answers");
            }
            watcher.seen.extend(answer.events);
        }
    }

    fn finish(mut self) {
        self.store.hub.pump();
        for stream in 0..STREAMS {
            let answers = self.clients[stream].receive(&self.store);
            self.take(stream, answers);
        }
        for watcher in &self.watchers {
            let due = watcher.due(&self.truth);
            if watcher.cancelled || watcher.compacted {
                assert!(due.starts_with(&watcher.seen), "cancelled watcher has seen something else");
            } else {
                assert_eq!(
                    short(&watcher.seen),
                    short(&due),
                    "watcher {} of stream {}",
                    watcher.id,
                    watcher.stream
                );
            }
        }
        let metrics = self.store.hub.metrics();
        assert_eq!((metrics.slow_watchers, metrics.pending_events), (0, 0));
        drop(self.clients);
        let metrics = self.store.hub.metrics();
        assert_eq!((metrics.watchers, metrics.streams), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_once_and_in_order(acts in proptest::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        world.finish();
    }

    #[test]
    fn ranges_found_by_a_key(
        changes in proptest::collection::vec((proptest::bool::weighted(0.7), 0..30u8, 0..32u8), 1..200),
        key in 0..32u8,
    ) {
        let mut intervals = Intervals::default();
        let mut model: Vec<(Bytes, Upper, u32)> = Vec::new();
        for (n, (add, from, end)) in changes.into_iter().enumerate() {
            let from = Bytes::from(vec![from]);
            let until = if end > 30 { Upper::Unbounded } else { Upper::Before(vec![end].into()) };
            let place = model.iter().position(|(f, u, _)| (f, u) == (&from, &until));
            prop_assert_eq!(intervals.get(&from, &until), place.map(|place| model[place].2));
            match (add, place) {
                (true, None) => {
                    intervals.insert(from.clone(), until.clone(), n as u32);
                    model.push((from, until, n as u32));
                }
                (false, Some(place)) => {
                    intervals.remove(&from, &until);
                    model.remove(place);
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        intervals.stab(&[key], &mut |value| found.push(value));
        found.sort_unstable();
        let within = |until: &Upper| match until {
            Upper::Before(end) => end.as_ref() > &[key][..],
            Upper::Unbounded => true,
        };
        let expected: Vec<_> = model.iter().filter(|(f, u, _)| f.as_ref() <= &[key][..] && within(u)).map(|(_, _, n)| *n).collect();
        prop_assert_eq!(found, expected);
    }
}
