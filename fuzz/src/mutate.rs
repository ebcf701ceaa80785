//! Chance, and what it does to bytes.

use world::Rng;
use world::os::SplitMix;

/// Chance of one iteration.
pub struct Chance<'a>(&'a mut SplitMix);

/// Numbers at which code goes wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

impl<'a> Chance<'a> {
    pub fn new(seed: &'a mut SplitMix) -> Chance<'a> {
        Chance(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Less than `n`; 0 when `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.number() as u8).collect()
    }

    /// Damages bytes in one to a few places. `words` are pieces that mean something in the format.
    pub fn damage(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        let most = *self.pick(&[1, 3, 8]);
        let times = 1 + self.below(most);
        for _ in 0..times {
            self.damage_once(bytes, words);
        }
    }

    fn damage_once(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        let most = *self.pick(&[1, 4, 16, 200]);
        let end = (at + 1 + self.below(most)).min(bytes.len());
        match self.below(12) {
            0..=2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            3 if at < bytes.len() => bytes[at] = self.number() as u8,
            4 => {
                let edge = *self.pick(&EDGES);
                let width = *self.pick(&[1, 2, 4, 8]);
                let piece = if self.one_in(2) {
                    edge.to_le_bytes()[..width].to_vec()
                } else {
                    edge.to_be_bytes()[8 - width..].to_vec()
                };
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, piece);
            }
            5 if at < end => drop(bytes.drain(at..end)),
            6 => bytes.truncate(at),
            7 if at < end => {
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            8 if at < end => bytes[at..end].fill(0),
            9 => {
                let piece = self.bytes(most);
                bytes.splice(at..at, piece);
            }
            _ => {
                if let Some(word) = words.get(self.below(words.len())) {
                    let end = if self.one_in(2) { end.max(at) } else { at };
                    bytes.splice(at..end, word.iter().copied());
                }
            }
        }
    }

    /// One of the seeds, damaged; once in a while two of them put together.
    pub fn damaged(&mut self, seeds: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = self.pick(seeds).clone();
        if self.one_in(8) {
            let other = self.pick(seeds);
            let (cut, from) = (self.below(bytes.len() + 1), self.below(other.len() + 1));
            bytes.truncate(cut);
            bytes.extend_from_slice(&other[from..]);
        }
        self.damage(&mut bytes, words);
        bytes
    }
}
