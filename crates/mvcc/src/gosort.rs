//! Sorting with Go's order among equal elements.
//!
//! A range sorted by version, lease or revision often has ties, and etcd leaves their order to Go's `sort.Sort`, which is
//! neither stable nor random: pattern-defeating quicksort with a seed taken from the length. Answers, and the bytes of a
//! role's permissions, can only be the same with the same sequence of comparisons and swaps. So this is that algorithm
//! (Orson Peters' pdqsort in the variant of Go 1.19 and newer), and nothing else should be sorted with it.

/// Up to this length, insertion sort (and so a stable one).
const SHORT: usize = 12;
/// From this length on the pivot is a median of medians, and nearly sorted runs are worth shifting.
const LONG: usize = 50;
/// Pairs out of order that are put right before a run no longer counts as nearly sorted.
const MAX_SHIFTS: usize = 5;

/// Sorts like Go's `sort.Sort` with this `Less`.
pub fn sort<T>(items: &mut [T], less: impl FnMut(&T, &T) -> bool) {
    let length = items.len();
    if length <= 1 {
        return;
    }
    Sorter { items, less }.quick(0, length, usize::BITS - length.leading_zeros());
}

struct Sorter<'a, T, L> {
    items: &'a mut [T],
    less: L,
}

#[derive(PartialEq)]
enum Looks {
    Ascending,
    Descending,
    Mixed,
}

impl<T, L: FnMut(&T, &T) -> bool> Sorter<'_, T, L> {
    fn less(&mut self, a: usize, b: usize) -> bool {
        (self.less)(&self.items[a], &self.items[b])
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
    }

    /// Sorts `[from, to)`; `bad_pivots` more unbalanced partitions and it is heap sort's turn.
    fn quick(&mut self, mut from: usize, mut to: usize, mut bad_pivots: u32) {
        let (mut balanced, mut in_place) = (true, true);
        loop {
            let length = to - from;
            if length <= SHORT {
                return self.insertion(from, to);
            }
            if bad_pivots == 0 {
                return self.heap(from, to);
            }
            if !balanced {
                self.shuffle_some(from, length);
                bad_pivots -= 1;
            }
            let (mut pivot, mut looks) = self.choose_pivot(from, to);
            if looks == Looks::Descending {
                self.items[from..to].reverse();
                pivot = (to - 1) - (pivot - from);
                looks = Looks::Ascending;
            }
            if balanced && in_place && looks == Looks::Ascending && self.nearly_sorted(from, to) {
                return;
            }
            // What stands before is not above anything here. If it is not below the pivot either, the pivot is the least:
            // put all its equals in front and go on with the rest.
            if from > 0 && !self.less(from - 1, pivot) {
                from = self.split_equal(from, to, pivot);
                continue;
            }
            let (middle, was_in_place) = self.split(from, to, pivot);
            in_place = was_in_place;
            let (left, right) = (middle - from, to - middle);
            balanced = left.min(right) >= length / 8;
            // The shorter side by recursion, so that the stack stays logarithmic.
            if left < right {
                self.quick(from, middle, bad_pivots);
                from = middle + 1;
            } else {
                self.quick(middle + 1, to, bad_pivots);
                to = middle;
            }
        }
    }

    fn insertion(&mut self, from: usize, to: usize) {
        for i in from + 1..to {
            let mut j = i;
            while j > from && self.less(j, j - 1) {
                self.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    fn heap(&mut self, from: usize, to: usize) {
        let length = to - from;
        for root in (0..=(length - 1) / 2).rev() {
            self.sift_down(root, length, from);
        }
        for end in (0..length).rev() {
            self.swap(from, from + end);
            self.sift_down(0, end, from);
        }
    }

    fn sift_down(&mut self, mut root: usize, end: usize, first: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= end {
                return;
            }
            if child + 1 < end && self.less(first + child, first + child + 1) {
                child += 1;
            }
            if !self.less(first + root, first + child) {
                return;
            }
            self.swap(first + root, first + child);
            root = child;
        }
    }

    /// Moves elements until the two sides meet: those for which `left` holds stay left, those for which `right` holds stay
    /// right. Gives the first index of the right part and whether no pair had to be swapped. The pivot waits at `from`.
    fn converge(
        &mut self,
        from: usize,
        to: usize,
        left: fn(&mut Self, usize, usize) -> bool,
        right: fn(&mut Self, usize, usize) -> bool,
    ) -> (usize, bool) {
        let (mut i, mut j) = (from + 1, to - 1);
        let mut untouched = true;
        loop {
            while i <= j && left(self, i, from) {
                i += 1;
            }
            while i <= j && right(self, j, from) {
                j -= 1;
            }
            if i > j {
                return (i, untouched);
            }
            self.swap(i, j);
            untouched = false;
            i += 1;
            j -= 1;
        }
    }

    /// Partitions into below the pivot, the pivot, and the rest; gives the pivot's place.
    fn split(&mut self, from: usize, to: usize, pivot: usize) -> (usize, bool) {
        self.swap(from, pivot);
        let (right, untouched) = self.converge(from, to, |s, i, p| s.less(i, p), |s, j, p| !s.less(j, p));
        self.swap(right - 1, from);
        (right - 1, untouched)
    }

    /// Partitions into equal to the pivot and above it (nothing here is below); gives the first index above.
    fn split_equal(&mut self, from: usize, to: usize, pivot: usize) -> usize {
        self.swap(from, pivot);
        self.converge(from, to, |s, i, p| !s.less(p, i), |s, j, p| s.less(p, j)).0
    }

    /// Puts a few neighbours right. True if that sorted everything.
    fn nearly_sorted(&mut self, from: usize, to: usize) -> bool {
        let mut i = from + 1;
        for _ in 0..MAX_SHIFTS {
            while i < to && !self.less(i, i - 1) {
                i += 1;
            }
            if i == to {
                return true;
            }
            if to - from < LONG {
                return false;
            }
            self.swap(i, i - 1);
            if i - from >= 2 {
                // Go runs this down to the start of the whole slice, not of the part; below the part nothing is greater.
                for j in (1..i).rev() {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
            if to - i >= 2 {
                for j in i + 1..to {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
        }
        false
    }

    /// Breaks up patterns that make bad pivots, with chance seeded by the length.
    fn shuffle_some(&mut self, from: usize, length: usize) {
        let mut random = length as u64;
        let mask = (1u64 << (usize::BITS - length.leading_zeros())) - 1;
        let middle = from + (length / 4) * 2;
        for index in middle - 1..=middle + 1 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut other = (random & mask) as usize;
            if other >= length {
                other -= length;
            }
            self.swap(index, from + other);
        }
    }

    fn choose_pivot(&mut self, from: usize, to: usize) -> (usize, Looks) {
        let length = to - from;
        let quarter = length / 4;
        let (mut i, mut j, mut k) = (from + quarter, from + quarter * 2, from + quarter * 3);
        let mut swaps = 0;
        if length >= LONG {
            i = self.median(i - 1, i, i + 1, &mut swaps);
            j = self.median(j - 1, j, j + 1, &mut swaps);
            k = self.median(k - 1, k, k + 1, &mut swaps);
        }
        j = self.median(i, j, k, &mut swaps);
        let looks = match swaps {
            0 => Looks::Ascending,
            12 => Looks::Descending,
            _ => Looks::Mixed,
        };
        (j, looks)
    }

    fn median(&mut self, mut a: usize, mut b: usize, mut c: usize, swaps: &mut u32) -> usize {
        self.order(&mut a, &mut b, swaps);
        self.order(&mut b, &mut c, swaps);
        self.order(&mut a, &mut b, swaps);
        b
    }

    fn order(&mut self, a: &mut usize, b: &mut usize, swaps: &mut u32) {
        if self.less(*b, *a) {
            *swaps += 1;
            std::mem::swap(a, b);
        }
    }
}
