//! One client's watch stream: its requests, and the answers on their way out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::pb::etcdserverpb::watch_create_request::FilterType;
use api::pb::etcdserverpb::watch_request::RequestUnion;
use api::pb::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use bytes::Bytes;

use super::hub::{Filters, Place, State, Stream, WatchHub, Watcher};
use super::intervals::Upper;
use super::queue::{EventsItem, Item, Queue};
use super::router::Target;
use super::{History, HistoryError, NO_WATCHER, WatchAnswer};

/// About how many bytes of events one poll gives.
const POLL_BYTES: usize = 1 << 20;
/// Most queued answers that one poll gives.
const POLL_ANSWERS: usize = 256;

/// Why a create request is refused: etcd's own words.
mod refusal {
    pub const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
    pub const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
    pub const NEGATIVE_REVISION: &str = "etcdserver: mvcc: required revision has been compacted";
}

/// What [`WatchStream::poll`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// More may be ready: poll again when these answers are written.
    More,
    /// Nothing else: wait for the wake-up.
    Idle,
}

/// One watch stream of a client. Dropping it cancels its watchers. All methods take `&self` and may be called from two tasks
/// (one for requests, one for answers).
pub struct WatchStream {
    hub: Arc<WatchHub>,
    number: u32,
    queue: Arc<Queue>,
}

impl WatchStream {
    pub(super) fn new(hub: Arc<WatchHub>, number: u32, queue: Arc<Queue>) -> WatchStream {
        WatchStream { hub, number, queue }
    }

    /// Does what a request says; what it answers comes out of [`WatchStream::poll`]. Permission is checked before
    /// ([`WatchStream::refuse`]), unless the start revision is negative: that is refused first.
    pub fn handle(&self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.request_progress(),
            None => {}
        }
    }

    /// The key and range end that a create request is about, for the permission check: an empty key means the smallest one.
    pub fn permission_range(request: &WatchCreateRequest) -> (Bytes, Bytes) {
        let key = if request.key.is_empty() {
            Bytes::from_static(&[0])
        } else {
            request.key.clone()
        };
        (key, request.range_end.clone())
    }

    /// Answers a create request that is not permitted.
    pub fn refuse(&self, reason: &str) {
        self.hub.pump();
        let revision = self.hub.state.lock().routed;
        self.wake_if(self.queue.push_refusal(revision, reason));
    }

    /// Answers waiting; when there are many the server should stop reading requests.
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// Whether the next [`WatchStream::poll`] may have to read history: that belongs on a thread that may take its time.
    pub fn is_behind(&self) -> bool {
        self.queue.behind.load(Ordering::Relaxed) > 0
    }

    fn create(&self, request: WatchCreateRequest) {
        // All that is appended counts as seen: the watcher starts above it.
        self.hub.pump();
        let mut state = self.hub.state.lock();
        let routed = state.routed;
        let wake = match self.admit(&mut state, request) {
            Ok(watch_id) => {
                let created = WatchAnswer {
                    watch_id,
                    revision: routed,
                    created: true,
                    ..WatchAnswer::default()
                };
                self.queue.push(created)
            }
            Err(reason) => self.queue.push_refusal(routed, reason),
        };
        drop(state);
        self.wake_if(wake);
    }

    /// Adds a watcher and gives its id.
    fn admit(&self, state: &mut State, request: WatchCreateRequest) -> Result<i64, &'static str> {
        if request.start_revision < 0 {
            return Err(refusal::NEGATIVE_REVISION);
        }
        let (key, range_end) = WatchStream::permission_range(&request);
        let until = match range_end.as_ref() {
            [] => None,
            [0] => Some(Upper::Unbounded),
            end if end <= key.as_ref() => return Err(refusal::EMPTY_RANGE),
            _ => Some(Upper::Before(range_end)),
        };
        let target = Target { key, until };
        let stream = state.streams.at_mut(self.number);
        let id = stream.choose_id(request.watch_id).ok_or(refusal::DUPLICATE_ID)?;
        let start = request.start_revision;
        let behind = start != 0 && start <= state.routed;
        let watcher = Watcher {
            stream: self.number,
            queue: self.queue.clone(),
            id,
            target: target.clone(),
            start,
            next: if behind { start } else { start.max(state.routed + 1) },
            filters: Filters {
                no_put: request.filters.contains(&(FilterType::Noput as i32)),
                no_delete: request.filters.contains(&(FilterType::Nodelete as i32)),
            },
            previous: request.prev_kv,
            fragment: request.fragment,
            progress: request.progress_notify,
            idle: true,
            place: if behind { Place::Behind } else { Place::Synced },
        };
        let number = state.watchers.insert(watcher);
        stream.ids.insert(id, number);
        self.queue.watchers.fetch_add(1, Ordering::Relaxed);
        self.hub.counters.watchers.fetch_add(1, Ordering::Relaxed);
        if behind {
            stream.behind.push(number);
            self.queue.behind.fetch_add(1, Ordering::SeqCst);
            self.hub.counters.slow_watchers.fetch_add(1, Ordering::Relaxed);
        } else {
            state.router.insert(&target, number);
        }
        Ok(id)
    }

    fn cancel(&self, watch_id: i64) {
        self.hub.pump();
        let mut state = self.hub.state.lock();
        let Some(number) = state.streams.at_mut(self.number).ids.remove(&watch_id) else {
            return;
        };
        self.forget(&mut state, number);
        let canceled = WatchAnswer {
            watch_id,
            revision: state.routed,
            canceled: true,
            ..WatchAnswer::default()
        };
        let wake = self.queue.push(canceled);
        drop(state);
        self.wake_if(wake);
    }

    /// Removes a watcher from wherever it is.
    fn forget(&self, state: &mut State, number: u32) {
        let watcher = state.watchers.remove(number);
        self.queue.watchers.fetch_sub(1, Ordering::Relaxed);
        self.hub.counters.watchers.fetch_sub(1, Ordering::Relaxed);
        match watcher.place {
            Place::Synced => state.router.remove(&watcher.target, number),
            Place::Behind => {
                let behind = &mut state.streams.at_mut(self.number).behind;
                behind.retain(|other| *other != number);
                self.queue.behind.fetch_sub(1, Ordering::SeqCst);
                self.hub.counters.slow_watchers.fetch_sub(1, Ordering::Relaxed);
            }
            Place::Compacted => {}
        }
    }

    /// A progress request: answered for all watchers of the stream at once, if all are synced, and else not at all.
    fn request_progress(&self) {
        self.hub.pump();
        let state = self.hub.state.lock();
        let stream = state.streams.at(self.number);
        let all_synced = stream
            .ids
            .values()
            .all(|number| is_synced(state.watchers.at(*number), state.routed));
        if stream.ids.is_empty() || !all_synced {
            return;
        }
        let wake = self.queue.push_progress(NO_WATCHER, state.routed);
        drop(state);
        self.wake_if(wake);
    }

    /// The stream's progress interval has passed: tells every idle, synced watcher that asked for it how far it is.
    pub fn notify_progress(&self) {
        self.hub.pump();
        let mut state = self.hub.state.lock();
        let State {
            watchers, streams, routed, ..
        } = &mut *state;
        let stream = streams.at(self.number);
        let mut numbers: Vec<_> = stream
            .ids
            .values()
            .copied()
            .filter(|number| watchers.at(*number).progress)
            .collect();
        numbers.sort_unstable();
        let mut wake = false;
        for number in numbers {
            let watcher = watchers.at_mut(number);
            if std::mem::replace(&mut watcher.idle, true) && is_synced(watcher, *routed) {
                wake |= self.queue.push_progress(watcher.id, *routed);
            }
        }
        drop(state);
        self.wake_if(wake);
    }

    /// Appends ready answers to `out`: about 1 MiB at most, but always some if there are any. Reads history when the stream is behind.
    /// For one task at a time.
    ///
    /// # Errors
    /// History cannot be read: end the stream.
    pub fn poll(&self, history: &dyn History, header: &ResponseHeader, out: &mut Vec<WatchAnswer>) -> Result<Polled, HistoryError> {
        loop {
            let Some(items) = self.queue.take(POLL_ANSWERS, POLL_BYTES) else {
                return Ok(Polled::Idle);
            };
            if !items.is_empty() {
                for item in items {
                    match item {
                        Item::Control(answer) => out.push(*answer),
                        Item::Events(events) => self.send(events, history, header, out),
                    }
                }
                return Ok(Polled::More);
            }
            self.hub.catch_up(self.number, history)?;
        }
    }

    fn send(&self, item: EventsItem, history: &dyn History, header: &ResponseHeader, out: &mut Vec<WatchAnswer>) {
        let EventsItem {
            watch_id,
            revision,
            list,
            previous,
            fragment,
        } = item;
        let events = if previous {
            list.with_previous(history, self.hub.compact_revision())
        } else {
            list.plain()
        };
        let answer = WatchAnswer {
            watch_id,
            revision,
            events: events.into(),
            ..WatchAnswer::default()
        };
        let count = list.len() as u64;
        self.hub.counters.pending_events.fetch_sub(count, Ordering::Relaxed);
        self.hub.counters.events_total.fetch_add(count, Ordering::Relaxed);
        if fragment {
            out.extend(answer.fragments(header, self.hub.fragment_bytes));
        } else {
            out.push(answer);
        }
    }

    fn wake_if(&self, wake: bool) {
        if wake {
            self.queue.wake();
        }
    }
}

/// Whether a watcher has seen everything up to `routed`, so that this can be told to the client. Not before the revision it
/// starts from: the client would go on from below it.
fn is_synced(watcher: &Watcher, routed: i64) -> bool {
    watcher.place == Place::Synced && watcher.start <= routed
}

impl Stream {
    /// The id a watcher gets: the client's if it chose one, else the next free one. `None` if it is taken.
    fn choose_id(&mut self, wanted: i64) -> Option<i64> {
        if wanted != 0 {
            return (!self.ids.contains_key(&wanted)).then_some(wanted);
        }
        while self.ids.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        let stream = state.streams.at_mut(self.number);
        let numbers: Vec<u32> = stream.ids.values().copied().collect();
        stream.behind.clear();
        for number in numbers {
            self.forget(&mut state, number);
        }
        state.streams.remove(self.number);
        drop(state);
        self.hub.counters.streams.fetch_sub(1, Ordering::Relaxed);
        let unsent = self.queue.drain();
        self.hub.counters.pending_events.fetch_sub(unsent, Ordering::Relaxed);
    }
}
