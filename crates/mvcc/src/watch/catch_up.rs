//! Watchers that are behind: reading what they missed, from the log if it reaches back far enough, else from the store's history.
//!
//! One step takes some of a stream's watchers and one bounded batch of revisions, reads them once for all those watchers, and
//! queues what each of them wants. It runs in the poll of the stream, when its queue is empty, so it needs no room of its own, and
//! holds no lock while it reads.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::event::{SharedEvent, stored_event};
use super::hub::{Filters, Lists, Place, State, WatchHub, Watcher};
use super::router::{Router, Target};
use super::slots::Ticket;
use super::{History, HistoryError, WatchAnswer};

/// Watchers served by one step.
const MOST_WATCHERS: usize = 512;
/// Revisions read by one step.
const MOST_REVISIONS: usize = 1000;
/// Bytes of events read by one step (and what the transaction that exceeds them brings).
const MOST_BYTES: usize = 4 << 20;

/// A watcher being served.
struct Chosen {
    ticket: Ticket,
    target: Target,
    next: i64,
    filters: Filters,
}

/// What was read.
#[derive(Default)]
struct Batch {
    /// Events by group of [`Batch::router`], with repetitions of the event in every group that it concerns.
    matched: Vec<(u32, Arc<SharedEvent>)>,
    /// Everything up to here has been read.
    upto: i64,
    /// The newest revision when the reading began.
    head: i64,
}

impl WatchHub {
    /// Does one step for a stream with watchers that are behind.
    pub(super) fn catch_up(&self, stream: u32, history: &dyn History) -> Result<(), HistoryError> {
        let chosen = self.choose(stream);
        let Some(from) = chosen.iter().map(|watcher| watcher.next).min() else {
            return Ok(());
        };
        let mut router = Router::default();
        for (member, watcher) in chosen.iter().enumerate() {
            router.insert(&watcher.target, member as u32);
        }
        let batch = self.read(from, &router, history)?;
        self.settle(stream, &chosen, &router, batch);
        Ok(())
    }

    /// Takes the watchers to serve, and cancels those that compaction has overtaken.
    fn choose(&self, stream: u32) -> Vec<Chosen> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let numbers: Vec<u32> = state.streams.at(stream).behind.iter().copied().take(MOST_WATCHERS).collect();
        let compacted = self.compact_revision();
        let mut chosen = Vec::with_capacity(numbers.len());
        for number in numbers {
            if self.cancel_if_compacted(state, number, compacted) {
                continue;
            }
            let watcher = state.watchers.at(number);
            let ticket = state.watchers.ticket(number);
            chosen.push(Chosen {
                ticket,
                target: watcher.target.clone(),
                next: watcher.next,
                filters: watcher.filters,
            });
        }
        state.sweep(stream);
        chosen
    }

    /// A watcher that needs what is compacted is told so and gets no more. True if that was the case.
    fn cancel_if_compacted(&self, state: &mut State, number: u32, compact_revision: i64) -> bool {
        let watcher = state.watchers.at_mut(number);
        if watcher.next >= compact_revision {
            return false;
        }
        // The stream is being polled: it need not be woken.
        watcher.queue.push(WatchAnswer {
            watch_id: watcher.id,
            canceled: true,
            compact_revision,
            ..WatchAnswer::default()
        });
        self.leave(watcher, Place::Compacted);
        true
    }

    /// Ends the catching up of a watcher. The caller sweeps the list it is on.
    fn leave(&self, watcher: &mut Watcher, place: Place) {
        watcher.place = place;
        watcher.queue.behind.fetch_sub(1, Ordering::SeqCst);
        self.counters.slow_watchers.fetch_sub(1, Ordering::Relaxed);
    }

    fn read(&self, from: i64, router: &Router, history: &dyn History) -> Result<Batch, HistoryError> {
        let log = self.log.lock();
        let (begin, head) = (log.begin(), log.head());
        let mut batch = Batch {
            upto: head,
            head,
            ..Batch::default()
        };
        if from <= begin {
            drop(log);
            batch.upto = begin;
            batch.read_history(from, router, history)?;
            return Ok(batch);
        }
        let txns = log.read(from, MOST_REVISIONS, MOST_BYTES);
        drop(log);
        for event in txns.iter().flat_map(|txn| &txn.events) {
            batch.add(router, event.clone());
        }
        // Nothing in the log from there on: it is all seen.
        batch.upto = txns.last().map_or(head, |txn| txn.revision);
        Ok(batch)
    }

    /// Queues what was read, and moves watchers that have seen everything back to routing.
    fn settle(&self, stream: u32, chosen: &[Chosen], router: &Router, mut batch: Batch) {
        // Stable: events of a group stay in order.
        batch.matched.sort_by_key(|(group, _)| *group);
        let mut state = self.state.lock();
        let state = &mut *state;
        // Deletes begin only after this number has been raised: what was read for watchers above it is complete.
        let compacted = self.compact_revision();
        for run in batch.matched.chunk_by(|a, b| a.0 == b.0) {
            let mut lists = Lists::default();
            let mut cut = None;
            for member in router.members(run[0].0) {
                let watcher = &chosen[*member as usize];
                let seen = run.partition_point(|(_, event)| event.revision < watcher.next);
                if cut != Some(seen) {
                    lists.begin(run[seen..].iter().map(|(_, event)| event));
                    cut = Some(seen);
                }
                if watcher.next >= compacted {
                    self.give(state, watcher, &mut lists, batch.head);
                }
            }
        }
        for watcher in chosen {
            self.advance(state, watcher, batch.upto, compacted);
        }
        state.sweep(stream);
    }

    fn give(&self, state: &mut State, chosen: &Chosen, lists: &mut Lists, head: i64) {
        // It may have been cancelled while history was read without a lock.
        if !state.watchers.has(chosen.ticket) {
            return;
        }
        let Some(list) = lists.passing(chosen.filters) else { return };
        let watcher = state.watchers.at_mut(chosen.ticket.slot);
        watcher.idle = false;
        self.counters.pending_events.fetch_add(list.len() as u64, Ordering::Relaxed);
        watcher.queue.push_anyway(watcher.item(list, head));
    }

    fn advance(&self, state: &mut State, chosen: &Chosen, upto: i64, compacted: i64) {
        let number = chosen.ticket.slot;
        if !state.watchers.has(chosen.ticket) || self.cancel_if_compacted(state, number, compacted) {
            return;
        }
        let routed = state.routed;
        let watcher = state.watchers.at_mut(number);
        assert!(
            watcher.place == Place::Behind && watcher.next == chosen.next,
            "two tasks serve one stream"
        );
        watcher.next = watcher.next.max(upto + 1);
        if watcher.next > routed {
            self.leave(watcher, Place::Synced);
            state.router.insert(&chosen.target, number);
        }
    }
}

impl State {
    /// Takes those watchers of a stream off its list that are no longer behind.
    fn sweep(&mut self, stream: u32) {
        let State { streams, watchers, .. } = self;
        streams
            .at_mut(stream)
            .behind
            .retain(|number| watchers.at(*number).place == Place::Behind);
    }
}

impl Batch {
    fn add(&mut self, router: &Router, event: Arc<SharedEvent>) {
        router.groups_of(&event.event.key, &mut |group| self.matched.push((group, event.clone())));
    }

    /// Reads from `from` to `upto`, or less: then `upto` is lowered. Never ends within a transaction.
    fn read_history(&mut self, from: i64, router: &Router, history: &dyn History) -> Result<(), HistoryError> {
        let (mut revisions, mut last, mut bytes) = (0, 0, 0);
        let (mut end, mut malformed) = (None, None);
        history.scan(from, self.upto, &mut |revision, tombstone, kv| {
            if revision.main != last {
                if revisions == MOST_REVISIONS || bytes >= MOST_BYTES {
                    end = Some(last);
                    return ControlFlow::Break(());
                }
                revisions += 1;
                last = revision.main;
            }
            let Some(event) = stored_event(tombstone, kv) else {
                malformed = Some(revision);
                return ControlFlow::Break(());
            };
            let before = self.matched.len();
            let event = SharedEvent::new(revision.main, event);
            let size = event.size();
            self.add(router, Arc::new(event));
            if self.matched.len() > before {
                bytes += size;
            }
            ControlFlow::Continue(())
        })?;
        if let Some(revision) = malformed {
            return Err(HistoryError(format!(
                "revision {}_{} is not a key-value pair",
                revision.main, revision.sub
            )));
        }
        self.upto = end.unwrap_or(self.upto);
        Ok(())
    }
}
