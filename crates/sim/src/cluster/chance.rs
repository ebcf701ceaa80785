//! Chance from a seed, and the few questions that are put to it.

use world::Rng;
use world::os::SplitMix;

/// All chance of a run comes from one of these; the same seed asks the same questions and gets the same answers.
#[derive(Clone, Debug)]
pub struct Chance(SplitMix);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        let mut chance = Chance(SplitMix(seed));
        // Neighbouring seeds begin far from each other.
        chance.0 = SplitMix(chance.next());
        chance
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number of `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}
