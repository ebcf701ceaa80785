//! Real threads: one writes, pumps and compacts, others watch, each asleep until it is woken. Finds lost wake-ups, and events lost or
//! doubled between falling behind, catching up and routing.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parking_lot::RwLock;

use super::*;

const WRITES: i64 = 12_000;
const READERS: usize = 4;

impl History for RwLock<Store> {
    fn scan(&self, from: i64, to: i64, visit: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError> {
        self.read().scan(from, to, visit)
    }
    fn value_before(&self, key: &[u8], main: i64) -> Option<Bytes> {
        self.read().value_before(key, main)
    }
}

/// Watches from the beginning and from now on, and opens further watchers on the way, until all have seen the last revision.
fn read(store: &RwLock<Store>, number: usize) {
    let (sender, woken): (_, Receiver<()>) = channel();
    let wake = Arc::new(move || {
        let _ = sender.send(());
    });
    let hub = store.read().hub.clone();
    let stream = hub.open_stream(wake);
    let client = Client {
        stream,
        wakes: Arc::default(),
    };
    client.create(WatchCreateRequest {
        start_revision: 1,
        ..watch(b"k", b"l")
    });
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    loop {
        let mut answers = Vec::new();
        let polled = client.stream.poll(store, &header(), &mut answers).unwrap();
        for answer in &answers {
            if answer.created {
                let from = if answer.watch_id == 0 { 0 } else { answer.revision };
                last.insert(answer.watch_id, from);
            }
            for event in answer.events.iter() {
                let revision = EventPb::decode(event.clone()).unwrap().kv.unwrap().mod_revision;
                let seen = last.get_mut(&answer.watch_id).expect("events before the watcher is announced");
                // The first write has revision 2, and every revision writes.
                let expected = (*seen + 1).max(2);
                assert!(
                    revision == expected,
                    "watcher {} sees {revision}, expected {expected}",
                    answer.watch_id
                );
                *seen = revision;
                if revision % 1500 == 0 && answer.watch_id == 0 && last.len() < 6 {
                    client.create(watch(b"k", b"l"));
                }
            }
        }
        if last.values().all(|seen| *seen == WRITES + 1) && !last.is_empty() {
            return;
        }
        if number % 2 == 1 {
            // A slow one.
            std::thread::sleep(Duration::from_millis(3));
        }
        if polled == Polled::Idle {
            woken.recv_timeout(Duration::from_secs(20)).expect("nobody wakes the stream");
        }
    }
}

#[test]
fn nobody_sleeps_through() {
    let store = RwLock::new(Store::new(1 << 20));
    let hub = store.read().hub.clone();
    std::thread::scope(|scope| {
        for number in 0..READERS {
            let store = &store;
            scope.spawn(move || read(store, number));
        }
        for n in 0..WRITES {
            store.write().write(&[(format!("k{}", n % 7).as_bytes(), Some(b"v"))]);
            if n % 3 != 1 {
                hub.pump();
            }
        }
        hub.pump();
    });
    assert_eq!(store.read().revision, WRITES + 1);
    assert_eq!(
        hub.metrics(),
        WatchMetrics {
            events_total: hub.metrics().events_total,
            ..WatchMetrics::default()
        }
    );
}
