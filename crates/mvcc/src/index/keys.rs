//! A short sorted list of byte strings, laid out for searching: the keys of one tree node.
//!
//! What all keys begin with is stored once. Of what follows, the first eight bytes stand in an array of numbers, so that a
//! binary search touches a few cache lines and compares whole keys only where those are equal. Never more than some
//! dozens of keys: inserting moves the arrays.

use std::cmp::Ordering;
use std::ops::Range;

/// Where the rest of a key (after the prefix) lies in `bytes`.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u32,
    len: u32,
}

#[derive(Debug, Default)]
pub(super) struct SortedKeys {
    prefix: Vec<u8>,
    heads: Vec<u64>,
    spans: Vec<Span>,
    /// Rests of keys in the order of their arrival.
    bytes: Vec<u8>,
    /// Bytes of removed keys.
    garbage: usize,
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

/// Room for one more in small steps: doubling would leave a third of all memory unused.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(8);
    }
}

impl SortedKeys {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    fn rest(&self, at: usize) -> &[u8] {
        let Span { offset, len } = self.spans[at];
        &self.bytes[offset as usize..][..len as usize]
    }

    /// The place of `key`, or the place where it would have to be inserted.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(self.prefix.as_slice()) else {
            return Err(if key < self.prefix.as_slice() { 0 } else { self.len() });
        };
        let head = head(rest);
        let low = self.heads.partition_point(|h| *h < head);
        if self.heads.get(low) != Some(&head) {
            return Err(low);
        }
        let high = low + self.heads[low..].partition_point(|h| *h == head);
        let (mut low, mut high) = (low, high);
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

    /// Writes the key at `at` into `out`, replacing what was there.
    pub(super) fn read(&self, at: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(self.rest(at));
    }

    /// Visits the keys of `range` until `visit` breaks the loop by returning false.
    pub(super) fn visit(&self, range: Range<usize>, scratch: &mut Vec<u8>, mut visit: impl FnMut(usize, &[u8]) -> bool) -> bool {
        scratch.clear();
        scratch.extend_from_slice(&self.prefix);
        for at in range {
            scratch.truncate(self.prefix.len());
            scratch.extend_from_slice(self.rest(at));
            if !visit(at, scratch) {
                return false;
            }
        }
        true
    }

    pub(super) fn key(&self, at: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + self.spans[at].len as usize);
        self.read(at, &mut key);
        key
    }

    /// Inserts `key` at the place that [`SortedKeys::search`] gave.
    pub(super) fn insert(&mut self, at: usize, key: &[u8]) {
        if self.heads.is_empty() {
            self.prefix = key.to_vec();
        }
        let common = common_len(&self.prefix, key);
        if common < self.prefix.len() {
            *self = self.rebuilt(0..self.len(), common);
        }
        let rest = &key[common..];
        if self.bytes.capacity() - self.bytes.len() < rest.len() {
            self.bytes.reserve_exact(rest.len().max(self.bytes.len() / 8));
        }
        grow(&mut self.heads);
        grow(&mut self.spans);
        // Keys come from requests, whose size is limited far below this.
        let offset = u32::try_from(self.bytes.len()).expect("keys of a node exceed 4 GiB");
        let len = u32::try_from(rest.len()).expect("key exceeds 4 GiB");
        self.bytes.extend_from_slice(rest);
        self.heads.insert(at, head(rest));
        self.spans.insert(at, Span { offset, len });
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.heads.remove(at);
        self.garbage += self.spans.remove(at).len as usize;
        if self.garbage * 2 > self.bytes.len() {
            *self = self.tight(0..self.len());
        }
    }

    /// Splits off the keys from `at` on; both halves get the longest prefix they can.
    pub(super) fn split_off(&mut self, at: usize) -> SortedKeys {
        let right = self.tight(at..self.len());
        *self = self.tight(0..at);
        right
    }

    /// Appends all of `right`, whose keys are above all of these.
    pub(super) fn append(&mut self, right: &SortedKeys) {
        let mut scratch = Vec::new();
        right.visit(0..right.len(), &mut scratch, |_, key| {
            self.insert(self.len(), key);
            true
        });
    }

    /// A copy of `range` with the longest prefix possible.
    fn tight(&self, range: Range<usize>) -> SortedKeys {
        if range.is_empty() {
            return SortedKeys::default();
        }
        let more = common_len(self.rest(range.start), self.rest(range.end - 1));
        let prefix_len = self.prefix.len() + more;
        self.rebuilt(range, prefix_len)
    }

    /// A copy of `range` with a prefix of `prefix_len` bytes, which the keys must share.
    fn rebuilt(&self, range: Range<usize>, prefix_len: usize) -> SortedKeys {
        let mut prefix = Vec::with_capacity(prefix_len);
        prefix.extend_from_slice(&self.prefix[..self.prefix.len().min(prefix_len)]);
        let cut = prefix_len.saturating_sub(self.prefix.len());
        if cut > 0 {
            prefix.extend_from_slice(&self.rest(range.start)[..cut]);
        }
        let back = &self.prefix[prefix_len.min(self.prefix.len())..];
        let size = self.spans[range.clone()].iter().map(|s| s.len as usize + back.len() - cut).sum();
        let mut new = SortedKeys {
            prefix,
            heads: Vec::with_capacity(range.len() + 1),
            spans: Vec::with_capacity(range.len() + 1),
            bytes: Vec::with_capacity(size),
            garbage: 0,
        };
        for at in range {
            let offset = new.bytes.len();
            new.bytes.extend_from_slice(back);
            new.bytes.extend_from_slice(&self.rest(at)[cut..]);
            let rest = &new.bytes[offset..];
            new.heads.push(head(rest));
            new.spans.push(Span {
                offset: offset as u32,
                len: rest.len() as u32,
            });
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
