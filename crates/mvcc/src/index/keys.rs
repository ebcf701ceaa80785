//! A short sorted list of byte strings, laid out for searching: the keys of one tree node.
//!
//! What all keys begin with is stored once. Of what follows, the first eight bytes stand in an array of numbers, so that a
//! search touches few cache lines, most of them at once, and compares whole keys only where those numbers are equal. A search in a
//! large index costs what the memory takes to answer: hence arrays in place instead of vectors, and one allocation for the bytes.

use std::cmp::Ordering;
use std::ops::Range;

/// Most keys in a list.
pub(super) const CAPACITY: usize = 64;
/// Heads that are looked at together.
const BLOCK: usize = 8;

/// Where the rest of a key (after the prefix) lies in `bytes`.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    offset: u32,
    len: u32,
}

#[derive(Debug)]
pub(super) struct SortedKeys {
    len: usize,
    prefix_len: usize,
    /// The prefix, then the rests of keys in the order of their arrival.
    bytes: Vec<u8>,
    /// Bytes of removed keys.
    garbage: usize,
    /// First eight bytes of every rest; unused places hold the largest number.
    heads: [u64; CAPACITY],
    spans: [Span; CAPACITY],
}

/// The first eight bytes as a number; numbers that differ are ordered as the strings are.
fn head(rest: &[u8]) -> u64 {
    match rest.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(padded)
        }
    }
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl Default for SortedKeys {
    fn default() -> SortedKeys {
        SortedKeys {
            len: 0,
            prefix_len: 0,
            bytes: Vec::new(),
            garbage: 0,
            heads: [u64::MAX; CAPACITY],
            spans: [Span::default(); CAPACITY],
        }
    }
}

impl SortedKeys {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix_len]
    }

    fn rest(&self, at: usize) -> &[u8] {
        let Span { offset, len } = self.spans[at];
        &self.bytes[offset as usize..][..len as usize]
    }

    /// The place of `key`, or the place where it would have to be inserted.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(self.prefix()) else {
            return Err(if key < self.prefix() { 0 } else { self.len });
        };
        let head = head(rest);
        let mut low = self.heads_below(head).min(self.len);
        if low == self.len || self.heads[low] != head {
            return Err(low);
        }
        let mut high = low + self.heads[low..self.len].partition_point(|h| *h == head);
        while low < high {
            let middle = low.midpoint(high);
            match self.rest(middle).cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// How many heads are below this one: first by blocks, then within one, so that no load waits for another for long.
    fn heads_below(&self, head: u64) -> usize {
        let blocks = (1..CAPACITY / BLOCK)
            .map(|block| usize::from(self.heads[block * BLOCK] < head))
            .sum::<usize>();
        let start = blocks * BLOCK;
        start
            + self.heads[start..start + BLOCK]
                .iter()
                .map(|h| usize::from(*h < head))
                .sum::<usize>()
    }

    /// Visits the keys of `range` until `visit` breaks the loop by returning false.
    pub(super) fn visit(&self, range: Range<usize>, scratch: &mut Vec<u8>, mut visit: impl FnMut(usize, &[u8]) -> bool) -> bool {
        scratch.clear();
        scratch.extend_from_slice(self.prefix());
        for at in range {
            scratch.truncate(self.prefix_len);
            scratch.extend_from_slice(self.rest(at));
            if !visit(at, scratch) {
                return false;
            }
        }
        true
    }

    pub(super) fn key(&self, at: usize) -> Vec<u8> {
        [self.prefix(), self.rest(at)].concat()
    }

    /// Inserts `key` at the place that [`SortedKeys::search`] gave. There must be room.
    pub(super) fn insert(&mut self, at: usize, key: &[u8]) {
        assert!(self.len < CAPACITY, "more keys than a node holds");
        if self.len == 0 {
            *self = SortedKeys {
                prefix_len: key.len(),
                bytes: key.to_vec(),
                ..SortedKeys::default()
            };
        }
        let common = common_len(self.prefix(), key);
        if common < self.prefix_len {
            *self = self.rebuilt(0..self.len, common);
        }
        let rest = &key[common..];
        if self.bytes.capacity() - self.bytes.len() < rest.len() {
            // In small steps: doubling would leave a third of all memory unused.
            self.bytes.reserve_exact(rest.len().max(self.bytes.len() / 8));
        }
        // Keys come from requests, whose size is limited far below this.
        let offset = u32::try_from(self.bytes.len()).expect("keys of a node exceed 4 GiB");
        let len = u32::try_from(rest.len()).expect("key exceeds 4 GiB");
        self.bytes.extend_from_slice(rest);
        self.heads.copy_within(at..self.len, at + 1);
        self.spans.copy_within(at..self.len, at + 1);
        self.heads[at] = head(rest);
        self.spans[at] = Span { offset, len };
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) {
        assert!(at < self.len, "no such key in the node");
        self.garbage += self.spans[at].len as usize;
        self.heads.copy_within(at + 1..self.len, at);
        self.spans.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.heads[self.len] = u64::MAX;
        if self.garbage * 2 > self.bytes.len() {
            *self = self.tight(0..self.len);
        }
    }

    /// Splits off the keys from `at` on; both halves get the longest prefix they can.
    pub(super) fn split_off(&mut self, at: usize) -> SortedKeys {
        let right = self.tight(at..self.len);
        *self = self.tight(0..at);
        right
    }

    /// Appends all of `right`, whose keys are above all of these.
    pub(super) fn append(&mut self, right: &SortedKeys) {
        let mut scratch = Vec::new();
        right.visit(0..right.len, &mut scratch, |_, key| {
            self.insert(self.len, key);
            true
        });
    }

    /// A copy of `range` with the longest prefix possible.
    fn tight(&self, range: Range<usize>) -> SortedKeys {
        if range.is_empty() {
            return SortedKeys::default();
        }
        let more = common_len(self.rest(range.start), self.rest(range.end - 1));
        self.rebuilt(range, self.prefix_len + more)
    }

    /// A copy of `range` with a prefix of `prefix_len` bytes, which the keys must share.
    fn rebuilt(&self, range: Range<usize>, prefix_len: usize) -> SortedKeys {
        // Bytes that go from the rests to the prefix, or from the prefix to the rests.
        let cut = prefix_len.saturating_sub(self.prefix_len);
        let back = &self.prefix()[prefix_len.min(self.prefix_len)..];
        let rests: usize = self.spans[range.clone()].iter().map(|s| s.len as usize + back.len() - cut).sum();
        let mut new = SortedKeys {
            len: range.len(),
            prefix_len,
            bytes: Vec::with_capacity(prefix_len + rests),
            ..SortedKeys::default()
        };
        new.bytes.extend_from_slice(&self.prefix()[..prefix_len.min(self.prefix_len)]);
        new.bytes.extend_from_slice(&self.rest(range.start)[..cut]);
        for (to, from) in range.enumerate() {
            let offset = new.bytes.len();
            new.bytes.extend_from_slice(back);
            new.bytes.extend_from_slice(&self.rest(from)[cut..]);
            let rest = &new.bytes[offset..];
            new.heads[to] = head(rest);
            new.spans[to] = Span {
                offset: offset as u32,
                len: rest.len() as u32,
            };
        }
        new
    }
}

/// The shortest key that is above `left` and not above `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    assert!(left < right, "keys out of order");
    &right[..common_len(left, right) + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_among_keys_that_share_heads() {
        let mut keys = SortedKeys::default();
        let mut model: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"\0".to_vec(),
            b"\0\0".to_vec(),
            b"/registry/pods/a".to_vec(),
            b"/registry/pods/ab".to_vec(),
            b"/registry/pods/b".to_vec(),
            b"/registry/pods/b\0".to_vec(),
            b"/registry/pods/b\0\0\0\0\0\0\0\0\0".to_vec(),
            b"\xff".to_vec(),
            b"\xff\xff".to_vec(),
            vec![0xff; 8],
            vec![0xff; 9],
        ];
        for key in model.iter().rev() {
            let at = keys.search(key).unwrap_err();
            keys.insert(at, key);
        }
        model.sort();
        for (i, key) in model.iter().enumerate() {
            assert_eq!(keys.search(key), Ok(i));
            assert_eq!(&keys.key(i), key);
        }
        assert_eq!(keys.search(b"/registry/pods/aa"), Err(4));
        assert_eq!(keys.search(&[0xff; 10]), Err(12));
        let right = keys.split_off(3);
        assert_eq!(keys.len(), 3);
        assert_eq!(right.search(b"/registry/pods/b"), Ok(2));
        assert_eq!(right.search(b""), Err(0));
        keys.append(&right);
        for (i, key) in model.iter().enumerate() {
            assert_eq!(keys.search(key), Ok(i));
        }
        while keys.len() > 1 {
            keys.remove(1);
            model.remove(1);
            assert_eq!(keys.key(keys.len() - 1), model[model.len() - 1]);
        }
    }

    #[test]
    fn separators_lie_between() {
        assert_eq!(separator(b"abc", b"abd"), b"abd");
        assert_eq!(separator(b"abc", b"b123"), b"b");
        assert_eq!(separator(b"a", b"a\0\0"), b"a\0");
        assert_eq!(separator(b"", b"\0"), b"\0");
    }
}
