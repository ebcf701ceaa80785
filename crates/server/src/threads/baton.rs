//! A machine that one thread at a time drives: its own thread, or whoever brings it something while it rests.
//!
//! Waking a thread costs more than most steps of a machine, so a guest that finds nobody driving steps the machine in place. Commands are
//! taken in the order in which they were left, by one driver at a time, and a driver does not go before it has seen under the
//! queue's lock that nothing waits, or has woken the machine's own thread for the rest: so nothing is left lying.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What is driven.
pub(crate) trait Machine: Send {
    type Command: Send;

    /// Takes all of `commands`, in order. Whoever drives is a guest here: this must not wait for another thread.
    fn take(&mut self, commands: &mut Vec<Self::Command>);
}

/// A machine, what waits for it, and whether somebody drives it.
pub(crate) struct Baton<M: Machine> {
    queue: Mutex<Queue<M::Command>>,
    /// Locked by the driver alone.
    seat: Mutex<Option<Seat<M>>>,
    wake: Condvar,
}

struct Queue<C> {
    waiting: Vec<C>,
    /// Somebody drives: whoever leaves a command may go. Also until the machine is there.
    driven: bool,
}

struct Seat<M: Machine> {
    machine: M,
    /// What the driver has in hand; kept for its space.
    hand: Vec<M::Command>,
}

/// Rounds after which a guest leaves the rest to the machine's own thread, so that nobody drives for the others for ever.
const GUEST_ROUNDS: usize = 8;

/// A command that comes again and again, whatever else waits.
pub(crate) struct Tick<C> {
    pub(crate) interval: Duration,
    pub(crate) command: fn() -> C,
}

impl<M: Machine> Baton<M> {
    /// Without its machine yet: what is left meanwhile waits for [`Baton::run`].
    pub(crate) fn new() -> Baton<M> {
        Baton {
            queue: Mutex::new(Queue {
                waiting: Vec::new(),
                driven: true,
            }),
            seat: Mutex::new(None),
            wake: Condvar::new(),
        }
    }

    /// Leaves a command to whoever drives, or to the machine's own thread.
    pub(crate) fn leave(&self, command: M::Command) {
        let mut queue = self.queue.lock();
        queue.waiting.push(command);
        let wake = !queue.driven;
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Leaves a command to whoever drives; if nobody does, drives in place.
    pub(crate) fn bring(&self, command: M::Command) {
        self.lay_down(command);
        self.attend();
    }

    /// Only puts a command with what waits: the caller will [`Baton::attend`] when it has laid down the rest.
    pub(crate) fn lay_down(&self, command: M::Command) {
        self.queue.lock().waiting.push(command);
    }

    /// Drives in place if something waits and nobody drives.
    pub(crate) fn attend(&self) {
        let mut queue = self.queue.lock();
        if queue.driven || queue.waiting.is_empty() {
            return;
        }
        queue.driven = true;
        drop(queue);
        self.drive(GUEST_ROUNDS);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Takes the baton of a machine that rests, so that the command which the caller is about to cause wakes nobody.
    pub(crate) fn claim(&self) -> Option<Claim<'_, M>> {
        let mut queue = self.queue.lock();
        if queue.driven || !queue.waiting.is_empty() {
            return None;
        }
        queue.driven = true;
        Some(Claim { baton: self })
    }

    /// The life of the machine's own thread: drives what was left to it, and ticks, the first time at once. Does not return.
    pub(crate) fn run(&self, machine: M, tick: Option<Tick<M::Command>>) {
        *self.seat.lock() = Some(Seat { machine, hand: Vec::new() });
        self.queue.lock().driven = false;
        let mut next_tick = Instant::now();
        loop {
            let mut queue = self.queue.lock();
            if let Some(tick) = &tick {
                let now = Instant::now();
                if now >= next_tick {
                    queue.waiting.push((tick.command)());
                    next_tick = now + tick.interval;
                }
            }
            if !queue.driven && !queue.waiting.is_empty() {
                queue.driven = true;
                drop(queue);
                self.drive(1);
            } else if tick.is_some() {
                self.wake.wait_until(&mut queue, next_tick);
            } else {
                self.wake.wait(&mut queue);
            }
        }
    }

    /// Takes what waits, round by round. The caller has set `driven`.
    fn drive(&self, rounds: usize) {
        let mut seat = self.seat.lock();
        let Seat { machine, hand } = seat.as_mut().expect("nobody drives before the machine is there");
        for _ in 0..rounds {
            if !self.pick_up(hand) {
                return;
            }
            machine.take(hand);
            assert!(hand.is_empty(), "a machine left commands lying");
        }
        drop(seat);
        self.rest();
    }

    /// Drives no longer; what waits is for the machine's own thread.
    fn rest(&self) {
        let mut queue = self.queue.lock();
        queue.driven = false;
        let wake = !queue.waiting.is_empty();
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes all that waits into `hand`. If there is nothing, the caller drives no longer.
    fn pick_up(&self, hand: &mut Vec<M::Command>) -> bool {
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.waiting, hand);
        queue.driven = !hand.is_empty();
        queue.driven
    }
}

/// The baton of a machine in the caller's hand. Dropped, it goes to the machine's own thread if something waits.
pub(crate) struct Claim<'b, M: Machine> {
    baton: &'b Baton<M>,
}

impl<M: Machine> Claim<'_, M> {
    /// Drives what came meanwhile, if it `suits`.
    pub(crate) fn drive_if(&self, suits: impl FnOnce(&[M::Command]) -> bool) {
        let mut seat = self.baton.seat.lock();
        let Seat { machine, hand } = seat.as_mut().expect("nobody drives before the machine is there");
        let mut queue = self.baton.queue.lock();
        if !queue.waiting.is_empty() && suits(&queue.waiting) {
            std::mem::swap(&mut queue.waiting, hand);
            drop(queue);
            machine.take(hand);
        }
    }
}

impl<M: Machine> Drop for Claim<'_, M> {
    fn drop(&mut self) {
        self.baton.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Barrier, mpsc};

    use super::*;

    const GUESTS: usize = 4;
    /// Many ends: only the last command of all can be left lying, any other is found with the next one.
    const ROUNDS: u64 = 300;
    /// Commands of a guest in a round.
    const PER_ROUND: u64 = 50;
    const LIMIT: Duration = Duration::from_secs(60);

    enum Note {
        From(usize, u64),
        Tick,
    }

    /// Notes what it is given, and tells when it has been given all of a round.
    struct Model {
        driven: Arc<AtomicBool>,
        next: [u64; GUESTS],
        rounds: u64,
        ticks: u64,
        done: mpsc::Sender<u64>,
    }

    impl Machine for Model {
        type Command = Note;

        fn take(&mut self, commands: &mut Vec<Note>) {
            assert!(!self.driven.swap(true, Ordering::SeqCst), "two drive at a time");
            assert!(!commands.is_empty(), "driven for nothing");
            for command in commands.drain(..) {
                match command {
                    Note::From(guest, number) => {
                        assert_eq!(number, self.next[guest], "guest {guest}'s commands were lost or reordered");
                        self.next[guest] += 1;
                    }
                    Note::Tick => self.ticks += 1,
                }
            }
            self.driven.store(false, Ordering::SeqCst);
            if self.next == [(self.rounds + 1) * PER_ROUND; GUESTS] {
                self.rounds += 1;
                let _ = self.done.send(self.ticks);
            }
        }
    }

    fn model() -> (Model, mpsc::Receiver<u64>) {
        let (done, all) = mpsc::channel();
        let model = Model {
            driven: Arc::default(),
            next: [0; GUESTS],
            rounds: 0,
            ticks: 0,
            done,
        };
        (model, all)
    }

    /// How a guest gives its command.
    #[derive(Clone, Copy)]
    enum Way {
        Leave,
        Bring,
        /// Laid down, and attended to after some more.
        LayDown,
        /// Left while the guest holds the baton, and driven by it every second time, but not the last.
        Claim,
    }

    fn give(baton: &Baton<Model>, guest: usize, number: u64, way: Way) {
        let command = Note::From(guest, number);
        match way {
            Way::Leave => baton.leave(command),
            Way::Bring => baton.bring(command),
            Way::LayDown => {
                baton.lay_down(command);
                if number.is_multiple_of(3) || (number + 1).is_multiple_of(PER_ROUND) {
                    baton.attend();
                }
            }
            Way::Claim => {
                let claim = baton.claim();
                baton.leave(command);
                if let Some(claim) = claim {
                    claim.drive_if(|_| number.is_multiple_of(2));
                }
            }
        }
    }

    /// Runs the guests against a machine whose own thread is there; how often it ticked.
    fn stress(tick: Option<Tick<Note>>, way: fn(usize, u64) -> Way) -> u64 {
        let baton = Arc::new(Baton::new());
        let (model, all) = model();
        let begin = Arc::new(Barrier::new(GUESTS + 1));
        for guest in 0..GUESTS {
            let (baton, begin) = (baton.clone(), begin.clone());
            std::thread::spawn(move || {
                for number in 0..ROUNDS * PER_ROUND {
                    if number.is_multiple_of(PER_ROUND) {
                        begin.wait();
                    }
                    give(&baton, guest, number, way(guest, number));
                }
            });
        }
        begin.wait();
        // Its own thread comes last: what was left before has to wait for it.
        let own = baton.clone();
        std::thread::spawn(move || own.run(model, tick));
        let mut ticks = 0;
        for round in 1..=ROUNDS {
            ticks = all.recv_timeout(LIMIT).expect("commands were left lying");
            if round < ROUNDS {
                begin.wait();
            }
        }
        ticks
    }

    const WAYS: [Way; 4] = [Way::Leave, Way::Bring, Way::LayDown, Way::Claim];

    #[test]
    fn nothing_is_lost_reordered_or_left_lying() {
        assert_eq!(stress(None, |_, _| Way::Leave), 0);
        assert_eq!(stress(None, |_, _| Way::Bring), 0);
        assert_eq!(stress(None, |_, _| Way::LayDown), 0);
        assert_eq!(stress(None, |_, _| Way::Claim), 0);
        assert_eq!(stress(None, |guest, _| WAYS[guest % WAYS.len()]), 0, "each in its way");
        assert_eq!(stress(None, |guest, number| WAYS[(guest + number as usize / 7) % WAYS.len()]), 0);
    }

    #[test]
    fn ticks_come_whatever_guests_do() {
        let tick = Tick {
            interval: Duration::from_micros(50),
            command: || Note::Tick,
        };
        assert!(stress(Some(tick), |guest, _| WAYS[guest % WAYS.len()]) > 0);
    }

    /// A guest in the middle of a step does not hold up who comes: its command is left, and taken by the one who drives.
    #[test]
    fn who_finds_it_driven_may_go() {
        struct Slow {
            begun: mpsc::Sender<u64>,
            go_on: mpsc::Receiver<()>,
        }
        impl Machine for Slow {
            type Command = u64;
            fn take(&mut self, commands: &mut Vec<u64>) {
                for command in commands.drain(..) {
                    self.begun.send(command).expect("the test ended");
                    self.go_on.recv().expect("the test ended");
                }
            }
        }
        let (begun, steps) = mpsc::channel();
        let (go_on, gate) = mpsc::channel();
        let baton = Arc::new(Baton::new());
        let own = baton.clone();
        std::thread::spawn(move || own.run(Slow { begun, go_on: gate }, None));
        baton.leave(1);
        assert_eq!(steps.recv_timeout(LIMIT), Ok(1));
        // Would wait for the gate for ever if it drove in place or waited for the driver.
        baton.bring(2);
        baton.leave(3);
        for next in [2, 3] {
            go_on.send(()).expect("the machine is gone");
            assert_eq!(steps.recv_timeout(LIMIT), Ok(next));
        }
    }
}
