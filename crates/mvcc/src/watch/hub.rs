//! All watchers of a member: appending events, routing them, compaction, restore.
//!
//! Two locks: the log's, held for moments, is all that apply ever waits for; the hub's guards the watchers. A queue's lock is
//! taken inside the hub's, never the other way round. The shell is woken with no lock held.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::event::{EventKind, EventList, SharedEvent, TxnEvents};
use super::log::{EventLog, LoggedTxn};
use super::queue::{EventsItem, Queue};
use super::router::{Router, Target};
use super::slots::Slots;
use super::stream::WatchStream;

/// Transactions routed before the lock is let go.
const ROUTED_AT_ONCE: usize = 64;

/// Counters for the metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchMetrics {
    pub streams: u64,
    pub watchers: u64,
    /// Watchers that are behind.
    pub slow_watchers: u64,
    /// Events in queues.
    pub pending_events: u64,
    /// Events handed out since the start.
    pub events_total: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub streams: AtomicU64,
    pub watchers: AtomicU64,
    pub slow_watchers: AtomicU64,
    pub pending_events: AtomicU64,
    pub events_total: AtomicU64,
}

/// Which events a watcher does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    pub no_put: bool,
    pub no_delete: bool,
}

impl Filters {
    pub fn pass(self, event: &SharedEvent) -> bool {
        match event.event.kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    fn index(self) -> usize {
        usize::from(self.no_put) + 2 * usize::from(self.no_delete)
    }
}

/// Where a watcher gets its events from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From routing: it has seen all that was routed.
    Synced,
    /// From the log or from history.
    Behind,
    /// From nowhere: what it needs is compacted. Its id stays taken until the client cancels it, as in etcd.
    Compacted,
}

pub(super) struct Watcher {
    pub stream: u32,
    pub queue: Arc<Queue>,
    pub id: i64,
    pub target: Target,
    /// What the client asked for.
    pub start: i64,
    /// The next revision it has to see.
    pub next: i64,
    pub filters: Filters,
    pub previous: bool,
    pub fragment: bool,
    /// Whether it wants progress.
    pub progress: bool,
    /// No events since the last progress interval ended.
    pub idle: bool,
    pub place: Place,
}

impl Watcher {
    pub fn item(&self, list: &Arc<EventList>, revision: i64) -> EventsItem {
        EventsItem {
            watch_id: self.id,
            revision,
            list: list.clone(),
            previous: self.previous,
            fragment: self.fragment,
        }
    }
}

pub(super) struct Stream {
    /// Watchers by id. Never walked through where the order shows.
    pub ids: HashMap<i64, u32>,
    /// Numbers of the watchers that are behind.
    pub behind: Vec<u32>,
    pub next_id: i64,
}

#[derive(Default)]
pub(super) struct State {
    pub watchers: Slots<Watcher>,
    pub streams: Slots<Stream>,
    pub router: Router,
    /// Everything up to here has been routed.
    pub routed: i64,
}

/// All streams of a member, and the log they are fed from.
pub struct WatchHub {
    pub(super) log: Mutex<EventLog>,
    pub(super) state: Mutex<State>,
    compacted: AtomicI64,
    pub(super) counters: Counters,
    pub(super) fragment_bytes: usize,
}

impl WatchHub {
    /// `revision` and `compact_revision` of the store as opened. `max_request_bytes`: `--max-request-bytes`, above which (plus
    /// 512 KiB) answers are cut into fragments for watchers that allow it.
    pub fn new(revision: i64, compact_revision: i64, max_request_bytes: usize) -> Arc<WatchHub> {
        Arc::new(WatchHub {
            log: Mutex::new(EventLog::new(revision)),
            state: Mutex::new(State {
                routed: revision,
                ..State::default()
            }),
            compacted: AtomicI64::new(compact_revision),
            counters: Counters::default(),
            fragment_bytes: max_request_bytes.saturating_add(api::limits::GRPC_OVERHEAD_BYTES as usize),
        })
    }

    /// Takes the events of one write transaction. Called by apply, in order of revisions, once the events can be read through
    /// [`super::History`] and before the client hears of the change.
    pub fn append(&self, txn: TxnEvents) {
        self.log.lock().append(txn);
    }

    /// Hands what was appended to the streams. Called by the shell after apply; on any thread, also on several at once.
    pub fn pump(&self) {
        let mut wake = Vec::new();
        loop {
            let mut state = self.state.lock();
            let txns = {
                let log = self.log.lock();
                if log.head() == state.routed {
                    break;
                }
                if log.begin() > state.routed {
                    // Nobody pumped for so long that the log moved on: history knows.
                    self.unroute(&mut state, log.head(), &mut wake);
                    continue;
                }
                log.read(state.routed + 1, ROUTED_AT_ONCE, usize::MAX)
            };
            for txn in txns {
                self.route(&mut state, &txn, &mut wake);
                state.routed = txn.revision;
            }
        }
        wake_all(wake);
    }

    /// History below `revision` is going to be deleted: watchers that still need it will be cancelled.
    pub fn compacted(&self, revision: i64) {
        self.compacted.fetch_max(revision, Ordering::SeqCst);
    }

    pub(super) fn compact_revision(&self) -> i64 {
        self.compacted.load(Ordering::SeqCst)
    }

    /// The store was replaced by a snapshot: every watcher goes on from where it was, out of the new history.
    pub fn restored(&self, revision: i64, compact_revision: i64) {
        let mut wake = Vec::new();
        {
            let mut state = self.state.lock();
            *self.log.lock() = EventLog::new(revision);
            self.compacted.store(compact_revision, Ordering::SeqCst);
            self.unroute(&mut state, revision, &mut wake);
        }
        wake_all(wake);
    }

    /// Opens a stream. `wake` is called when there is something to poll; with no lock held, but it should do no more than wake.
    pub fn open_stream(self: &Arc<WatchHub>, wake: Arc<dyn Fn() + Send + Sync>) -> WatchStream {
        let queue = Arc::new(Queue::new(wake));
        let stream = Stream {
            ids: HashMap::new(),
            behind: Vec::new(),
            next_id: 0,
        };
        let number = self.state.lock().streams.insert(stream);
        self.counters.streams.fetch_add(1, Ordering::Relaxed);
        WatchStream::new(self.clone(), number, queue)
    }

    pub fn metrics(&self) -> WatchMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WatchMetrics {
            streams: read(&self.counters.streams),
            watchers: read(&self.counters.watchers),
            slow_watchers: read(&self.counters.slow_watchers),
            pending_events: read(&self.counters.pending_events),
            events_total: read(&self.counters.events_total),
        }
    }

    /// Queues the events of a transaction for all synced watchers that they concern.
    fn route(&self, state: &mut State, txn: &LoggedTxn, wake: &mut Vec<Arc<Queue>>) {
        let mut matched: Vec<(u32, usize)> = Vec::new();
        for (at, event) in txn.events.iter().enumerate() {
            state.router.groups_of(&event.event.key, &mut |group| matched.push((group, at)));
        }
        matched.sort_unstable();
        let mut lists = Lists::default();
        let mut before: &[(u32, usize)] = &[];
        for run in matched.chunk_by(|a, b| a.0 == b.0) {
            let events = || run.iter().map(|(_, at)| *at);
            // Groups that see the same events share the lists made of them.
            if !events().eq(before.iter().map(|(_, at)| *at)) {
                lists.begin(events().map(|at| &txn.events[at]));
                before = run;
            }
            self.deliver(state, run[0].0, txn.revision, &mut lists, wake);
        }
    }

    /// Queues the same events for all members of a group.
    fn deliver(&self, state: &mut State, group: u32, revision: i64, lists: &mut Lists, wake: &mut Vec<Arc<Queue>>) {
        let mut fallen = Vec::new();
        for member in state.router.members(group) {
            let watcher = state.watchers.at_mut(*member);
            if revision < watcher.next {
                continue;
            }
            let Some(list) = lists.passing(watcher.filters) else { continue };
            match watcher.queue.push_events(watcher.item(list, revision)) {
                Ok(must_wake) => {
                    self.counters.pending_events.fetch_add(list.len() as u64, Ordering::Relaxed);
                    watcher.idle = false;
                    if must_wake {
                        wake.push(watcher.queue.clone());
                    }
                }
                Err(_) => {
                    watcher.next = revision;
                    fallen.push(*member);
                }
            }
        }
        for member in &fallen {
            self.fall_behind(state, *member, wake);
        }
        if !fallen.is_empty() {
            let State { router, watchers, .. } = state;
            router.remove_from(group, |member| watchers.at(member).place == Place::Behind);
        }
    }

    /// Notes that a watcher has to catch up from `next` on. The caller takes it out of the router.
    fn fall_behind(&self, state: &mut State, member: u32, wake: &mut Vec<Arc<Queue>>) {
        let watcher = state.watchers.at_mut(member);
        watcher.place = Place::Behind;
        state.streams.at_mut(watcher.stream).behind.push(member);
        watcher.queue.behind.fetch_add(1, Ordering::SeqCst);
        self.counters.slow_watchers.fetch_add(1, Ordering::Relaxed);
        // The stream may have been emptied and left to sleep since it was found full.
        if watcher.queue.stir() {
            wake.push(watcher.queue.clone());
        }
    }

    /// Has every synced watcher that wants anything up to `head` catch up by itself.
    fn unroute(&self, state: &mut State, head: i64, wake: &mut Vec<Arc<Queue>>) {
        let routed = std::mem::replace(&mut state.routed, head);
        let mut fallen = Vec::new();
        for (member, watcher) in state.watchers.iter_mut().filter(|(_, watcher)| watcher.place == Place::Synced) {
            watcher.next = watcher.next.max(routed + 1);
            if watcher.next <= head {
                fallen.push(member);
            }
        }
        for member in fallen {
            state.router.remove(&state.watchers.at(member).target, member);
            self.fall_behind(state, member, wake);
        }
    }
}

pub(super) fn wake_all(queues: Vec<Arc<Queue>>) {
    for queue in queues {
        queue.wake();
    }
}

/// The lists made of the same events for watchers with different filters, each made when first needed.
#[derive(Default)]
pub(super) struct Lists {
    events: Vec<Arc<SharedEvent>>,
    made: [Option<Option<Arc<EventList>>>; 4],
}

impl Lists {
    pub fn begin<'e>(&mut self, events: impl Iterator<Item = &'e Arc<SharedEvent>>) {
        self.events.clear();
        self.events.extend(events.cloned());
        self.made = Default::default();
    }

    /// The events that pass the filters; `None` if none does.
    pub fn passing(&mut self, filters: Filters) -> Option<&Arc<EventList>> {
        let made = self.made[filters.index()].get_or_insert_with(|| {
            let passing: Vec<_> = self.events.iter().filter(|event| filters.pass(event)).cloned().collect();
            (!passing.is_empty()).then(|| Arc::new(EventList::new(passing)))
        });
        made.as_ref()
    }
}
