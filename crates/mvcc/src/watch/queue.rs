//! What waits to be sent on one stream.
//!
//! Bounded for events, by number and by bytes: who finds it full falls behind. Answers to requests always find room; the server
//! stops reading requests when there are too many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::event::EventList;
use super::{NO_WATCHER, WatchAnswer};

/// Answers with events that a stream may have waiting, beyond two for each of its watchers.
const MOST_ANSWERS: usize = 256;
/// Bytes of events that a stream may have waiting. Events shared by neighbouring answers count once.
const MOST_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) enum Item {
    /// An answer to a request, a cancellation, progress.
    Control(Box<WatchAnswer>),
    Events(EventsItem),
}

#[derive(Debug)]
pub(super) struct EventsItem {
    pub watch_id: i64,
    /// `header.revision`.
    pub revision: i64,
    pub list: Arc<EventList>,
    pub previous: bool,
    pub fragment: bool,
}

/// The queue is full.
pub(super) struct Full;

#[derive(Default)]
struct State {
    items: VecDeque<(Item, usize)>,
    answers: usize,
    bytes: usize,
    /// The shell has been woken and has not yet found the queue empty.
    woken: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Watchers of the stream.
    pub watchers: AtomicUsize,
    /// Those that are behind.
    pub behind: AtomicUsize,
}

impl State {
    fn push(&mut self, item: EventsItem) {
        let same = matches!(self.items.back(), Some((Item::Events(last), _)) if Arc::ptr_eq(&last.list, &item.list));
        let charge = if same { 0 } else { item.list.size() };
        self.answers += 1;
        self.bytes += charge;
        self.items.push_back((Item::Events(item), charge));
    }
}

impl Queue {
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Queue {
        Queue {
            state: Mutex::default(),
            wake,
            watchers: AtomicUsize::new(0),
            behind: AtomicUsize::new(0),
        }
    }

    /// Queues events; true if the shell has to be woken.
    pub fn push_events(&self, item: EventsItem) -> Result<bool, Full> {
        let mut state = self.state.lock();
        if state.answers >= MOST_ANSWERS + 2 * self.watchers.load(Ordering::Relaxed) || state.bytes >= MOST_BYTES {
            return Err(Full);
        }
        state.push(item);
        Ok(!std::mem::replace(&mut state.woken, true))
    }

    /// Queues events that were read for a stream whose queue was empty. The stream is awake.
    pub fn push_anyway(&self, item: EventsItem) {
        self.state.lock().push(item);
    }

    /// Queues anything else; true if the shell has to be woken.
    pub fn push(&self, answer: WatchAnswer) -> bool {
        let mut state = self.state.lock();
        state.items.push_back((Item::Control(Box::new(answer)), 0));
        !std::mem::replace(&mut state.woken, true)
    }

    pub fn push_progress(&self, watch_id: i64, revision: i64) -> bool {
        self.push(WatchAnswer {
            watch_id,
            revision,
            ..WatchAnswer::default()
        })
    }

    pub fn push_refusal(&self, revision: i64, reason: &str) -> bool {
        let cancel_reason = reason.to_owned();
        self.push(WatchAnswer {
            watch_id: NO_WATCHER,
            revision,
            created: true,
            canceled: true,
            cancel_reason,
            ..WatchAnswer::default()
        })
    }

    /// There is something to do besides the queue; true if the shell has to be woken.
    pub fn stir(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().woken, true)
    }

    /// Takes what waits: up to `most` items, not many more than `bytes` bytes. `None` if there is nothing and no watcher is behind
    /// either: then the next push will wake.
    pub fn take(&self, most: usize, bytes: usize) -> Option<Vec<Item>> {
        let mut state = self.state.lock();
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < most && size < bytes {
            let Some((item, charge)) = state.items.pop_front() else { break };
            state.bytes -= charge;
            if let Item::Events(events) = &item {
                state.answers -= 1;
                size += events.list.size();
            }
            taken.push(item);
        }
        if taken.is_empty() && self.behind.load(Ordering::SeqCst) == 0 {
            state.woken = false;
            return None;
        }
        Some(taken)
    }

    /// Empties the queue; gives the number of events that were in it.
    pub fn drain(&self) -> u64 {
        let items = std::mem::take(&mut self.state.lock().items);
        let events = items.iter().map(|(item, _)| {
            if let Item::Events(events) = item {
                events.list.len() as u64
            } else {
                0
            }
        });
        events.sum()
    }

    pub fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    pub fn wake(&self) {
        (self.wake)();
    }
}
