//! Which calls of a connection were woken: their wakers put a number on a list, and the connection's task is woken once for all.
//!
//! While the task runs, a wake-up only adds to the list: the task looks at it again before it sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// Numbers above all streams' slots.
pub(crate) const SHUTDOWN: u32 = u32::MAX;
pub(crate) const TIMER: u32 = u32::MAX - 1;
pub(crate) const COMMANDS: u32 = u32::MAX - 2;

/// The list of one connection.
#[derive(Default)]
pub(crate) struct Ready {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    woken: Vec<u32>,
    running: bool,
    task: Option<Waker>,
}

impl Ready {
    /// The task starts to run.
    pub(crate) fn begin(&self, waker: &Waker) {
        let mut state = self.state.lock();
        state.running = true;
        match &mut state.task {
            Some(task) => task.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Swaps the list with an empty one.
    pub(crate) fn take(&self, into: &mut Vec<u32>) {
        assert!(into.is_empty(), "the last list was not worked off");
        std::mem::swap(&mut self.state.lock().woken, into);
    }

    /// The task wants to sleep; false if something was woken meanwhile.
    pub(crate) fn sleep(&self) -> bool {
        let mut state = self.state.lock();
        state.running = !state.woken.is_empty();
        !state.running
    }

    fn push(&self, slot: u32) {
        let mut state = self.state.lock();
        state.woken.push(slot);
        if state.running {
            return;
        }
        // One wake-up is enough until the task runs.
        state.running = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Wakes one slot. Made once a slot and used by all calls that come to live there: a wake-up that is too late costs an idle look.
pub(crate) struct SlotWaker {
    ready: Arc<Ready>,
    slot: u32,
    queued: AtomicBool,
}

impl SlotWaker {
    pub(crate) fn new(ready: &Arc<Ready>, slot: u32) -> Arc<SlotWaker> {
        Arc::new(SlotWaker {
            ready: ready.clone(),
            slot,
            queued: AtomicBool::new(false),
        })
    }

    /// Called by the task before it looks at the slot.
    pub(crate) fn rearm(&self) {
        self.queued.store(false, Ordering::Release);
    }

    pub(crate) fn notify(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(self.slot);
        }
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}
