//! The search for an order: Wing and Gong's algorithm with Lowe's memo of configurations, as porcupine has it.
//!
//! Knows nothing of keys. An operation may come next when no other open one ended before it began; the search takes one after the other
//! and goes back where the model refuses. A configuration (which operations are in, and the state) is visited once. An operation that
//! leaves the state as it is (a read) is taken as soon as it fits: whatever order follows could also begin with it. Operations whose end
//! is unknown are tried last, of equal ones the first, and need not be taken at all.

use std::collections::HashMap;
use std::hash::Hash;

use super::Nanos;

/// What an object does with one operation after the other.
pub trait Model {
    type Input: PartialEq;
    type State: Clone + Eq + Hash;

    fn start(&self) -> Self::State;

    /// The state after the operation; `None` when its answer does not fit the state.
    fn step(&self, state: &Self::State, input: &Self::Input) -> Option<Self::State>;
}

/// One operation. `end`: `None` when it may take effect at any time after `call`, or never.
#[derive(Clone, Copy, Debug)]
pub struct Interval<I> {
    pub call: Nanos,
    pub end: Option<Nanos>,
    pub input: I,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An order: places in the list that was given.
    Order(Vec<usize>),
    /// There is none. The last operations of the longest beginning of one, and those with an end that it lacks, by their calls.
    Nothing { tail: Vec<usize>, lacks: Vec<usize> },
    /// It took more steps than allowed.
    GaveUp,
}

/// A set of small numbers, kept as words from the first word that is not full to the last that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Window {
    full_words: usize,
    words: Vec<u64>,
}

impl Window {
    fn has(&self, number: usize) -> bool {
        match (number / 64).checked_sub(self.full_words) {
            None => true,
            Some(word) => self.words.get(word).is_some_and(|word| word >> (number % 64) & 1 == 1),
        }
    }

    fn word(&self, number: usize) -> u64 {
        match number.checked_sub(self.full_words) {
            None => u64::MAX,
            Some(word) => self.words.get(word).copied().unwrap_or_default(),
        }
    }

    fn is_subset(&self, other: &Window) -> bool {
        (0..self.full_words + self.words.len()).all(|number| self.word(number) & !other.word(number) == 0)
    }
}

/// Which operations are in: those with an end, in the order of their calls, and those without.
struct Taken {
    words: Vec<u64>,
    /// All below are in.
    first_open: usize,
    /// None above is in.
    top: usize,
}

impl Taken {
    fn new(size: usize) -> Taken {
        Taken {
            words: vec![0; size / 64 + 1],
            first_open: 0,
            top: 0,
        }
    }

    fn has(&self, place: usize) -> bool {
        self.words[place / 64] >> (place % 64) & 1 == 1
    }

    fn take(&mut self, place: usize) {
        assert!(!self.has(place), "taken twice");
        self.words[place / 64] |= 1 << (place % 64);
        self.top = self.top.max(place);
        while self.words[self.first_open / 64] >> (self.first_open % 64) & 1 == 1 {
            self.first_open += 1;
        }
    }

    fn give_back(&mut self, place: usize) {
        assert!(self.has(place), "given back what was not taken");
        self.words[place / 64] &= !(1 << (place % 64));
        self.first_open = self.first_open.min(place);
        while self.top > 0 && !self.has(self.top) {
            self.top -= 1;
        }
    }

    fn window(&self) -> Window {
        let full_words = self.first_open / 64;
        let words = self.words[full_words..].iter().take((self.top / 64 + 1).saturating_sub(full_words));
        Window {
            full_words,
            words: words.copied().collect(),
        }
    }
}

struct Frame<S> {
    /// The operation taken, counted over ended ones, then open ones.
    place: usize,
    before: S,
    /// Nothing else need be tried here.
    is_only: bool,
}

/// How many operations of the longest order are told.
const TAIL: usize = 3;

/// The configuration with the most ended operations in.
#[derive(Default)]
struct Longest {
    ended_taken: usize,
    /// Filled when the search goes back from it.
    at: Option<(Vec<usize>, Window)>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    list: &'a [Interval<M::Input>],
    /// Places in `list`, in the order of calls.
    ended: Vec<usize>,
    open: Vec<usize>,
    taken: Taken,
    taken_open: Taken,
    state: M::State,
    stack: Vec<Frame<M::State>>,
    /// Where the search has been: with which open operations in. One that got as far with fewer of them has more left to go on with.
    seen: HashMap<(Window, M::State), Vec<Window>>,
    ended_taken: usize,
    longest: Longest,
    /// For each open operation the one before it with the same input.
    same_before: Vec<Option<usize>>,
}

/// Searches for an order of all operations that have an end and some of the others. `steps` bounds the work.
pub fn search<M: Model>(model: &M, list: &[Interval<M::Input>], steps: u64) -> Found {
    let places = |has_end: bool| {
        let mut places: Vec<usize> = (0..list.len()).filter(|place| list[*place].end.is_some() == has_end).collect();
        places.sort_by_key(|place| list[*place].call);
        places
    };
    let (ended, open) = (places(true), places(false));
    let same_before = (0..open.len())
        .map(|at| (0..at).rfind(|other| list[open[*other]].input == list[open[at]].input))
        .collect();
    Search {
        model,
        list,
        // One place more than there are operations, never taken, so that the first open one is always in range.
        taken: Taken::new(ended.len() + 1),
        taken_open: Taken::new(open.len() + 1),
        ended,
        open,
        state: model.start(),
        stack: Vec::new(),
        seen: HashMap::new(),
        ended_taken: 0,
        longest: Longest::default(),
        same_before,
    }
    .run(steps)
}

impl<M: Model> Search<'_, M> {
    fn run(mut self, mut steps: u64) -> Found {
        let mut from = Some(self.taken.first_open);
        while self.ended_taken < self.ended.len() {
            if steps == 0 {
                return Found::GaveUp;
            }
            steps -= 1;
            from = match self.next(from) {
                Some((place, after)) => {
                    self.take(place, after);
                    Some(self.taken.first_open)
                }
                None => match self.stack.pop() {
                    Some(frame) => self.take_back(frame),
                    None => return self.nothing(),
                },
            };
        }
        Found::Order(self.order())
    }

    /// Ended operations that may come next: no other open one ended before they began.
    fn candidates(&self) -> (Vec<usize>, Nanos) {
        let mut first_end = Nanos::MAX;
        let mut candidates = Vec::new();
        for place in (self.taken.first_open..self.ended.len()).filter(|place| !self.taken.has(*place)) {
            let interval = &self.list[self.ended[place]];
            if interval.call > first_end {
                break;
            }
            first_end = first_end.min(interval.end.unwrap_or(Nanos::MAX));
            candidates.push(place);
        }
        (candidates, first_end)
    }

    /// The first operation at or after `from` that may come next, fits, and leads to where the search has not been.
    fn next(&mut self, from: Option<usize>) -> Option<(usize, M::State)> {
        let from = from?;
        let (candidates, first_end) = self.candidates();
        if from == self.taken.first_open
            && let Some(place) = candidates.iter().find(|place| self.step(**place).as_ref() == Some(&self.state))
        {
            return self.fits(*place).map(|after| (*place, after));
        }
        let fitting = candidates
            .into_iter()
            .filter(|place| *place >= from)
            .find_map(|place| Some((place, self.fits(place)?)));
        if fitting.is_some() {
            return fitting;
        }
        let count = self.ended.len();
        let begin = from.saturating_sub(count);
        for at in begin..self.open.len() {
            if self.list[self.open[at]].call > first_end {
                break;
            }
            let is_first_of_its_kind = self.same_before[at].is_none_or(|other| self.taken_open.has(other));
            if !self.taken_open.has(at)
                && is_first_of_its_kind
                && let Some(after) = self.fits(count + at)
            {
                return Some((count + at, after));
            }
        }
        None
    }

    fn step(&self, place: usize) -> Option<M::State> {
        self.model.step(&self.state, &self.list[self.in_list(place)].input)
    }

    fn fits(&mut self, place: usize) -> Option<M::State> {
        let after = self.step(place)?;
        // Taking an operation that nobody waited for and that changes nothing is the same as leaving it.
        if place >= self.ended.len() && after == self.state {
            return None;
        }
        // If the one just before made no difference to this one, it is the same as left.
        if let Some(last) = self.stack.last().filter(|last| last.place >= self.ended.len())
            && self.model.step(&last.before, &self.list[self.in_list(place)].input).as_ref() == Some(&after)
        {
            return None;
        }
        self.mark(place, true);
        let been = self.seen.entry((self.taken.window(), after.clone())).or_default();
        let open = self.taken_open.window();
        let is_new = !been.iter().any(|fewer| fewer.is_subset(&open));
        if is_new {
            been.push(open);
        }
        self.mark(place, false);
        is_new.then_some(after)
    }

    fn take(&mut self, place: usize, after: M::State) {
        self.mark(place, true);
        let is_only = place < self.ended.len() && after == self.state;
        let before = std::mem::replace(&mut self.state, after);
        self.stack.push(Frame { place, before, is_only });
        self.ended_taken += usize::from(place < self.ended.len());
        if self.ended_taken > self.longest.ended_taken {
            self.longest = Longest {
                ended_taken: self.ended_taken,
                at: None,
            };
        }
    }

    /// Where the search goes on after it took an operation back.
    fn take_back(&mut self, frame: Frame<M::State>) -> Option<usize> {
        if self.ended_taken == self.longest.ended_taken && self.longest.at.is_none() {
            let before = self.stack[self.stack.len().saturating_sub(TAIL - 1)..]
                .iter()
                .map(|frame| frame.place);
            let tail = before.chain([frame.place]).map(|place| self.in_list(place)).collect();
            self.longest.at = Some((tail, self.taken.window()));
        }
        self.mark(frame.place, false);
        self.ended_taken -= usize::from(frame.place < self.ended.len());
        self.state = frame.before;
        (!frame.is_only).then_some(frame.place + 1)
    }

    fn nothing(self) -> Found {
        let (tail, window) = self.longest.at.unwrap_or_default();
        let lacks = (0..self.ended.len())
            .filter(|place| !window.has(*place))
            .map(|place| self.ended[place])
            .collect();
        Found::Nothing { tail, lacks }
    }

    fn mark(&mut self, place: usize, is_in: bool) {
        let count = self.ended.len();
        let (set, place) = if place < count {
            (&mut self.taken, place)
        } else {
            (&mut self.taken_open, place - count)
        };
        if is_in { set.take(place) } else { set.give_back(place) }
    }

    fn in_list(&self, place: usize) -> usize {
        match place.checked_sub(self.ended.len()) {
            None => self.ended[place],
            Some(open) => self.open[open],
        }
    }

    fn order(&self) -> Vec<usize> {
        self.stack.iter().map(|frame| self.in_list(frame.place)).collect()
    }
}
