//! Key ranges, found by a key inside them: a treap ordered by the ranges' beginnings, in which every node knows how far
//! the ranges below it reach.
//!
//! A lookup costs the tree's height and the number of ranges found. The tree's shape comes from a fixed sequence of numbers, so
//! that a simulation that repeats itself does so here too.

use bytes::Bytes;

/// Where a range ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Upper {
    /// Before this key.
    Before(Bytes),
    /// Never.
    Unbounded,
}

impl Upper {
    fn is_above(&self, key: &[u8]) -> bool {
        match self {
            Upper::Before(end) => end.as_ref() > key,
            Upper::Unbounded => true,
        }
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    from: Bytes,
    until: Upper,
    value: u32,
    priority: u64,
    left: u32,
    right: u32,
    /// The node at or below this one whose range reaches furthest.
    furthest: u32,
}

#[derive(Debug)]
pub(super) struct Intervals {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
    noise: u64,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals {
            nodes: Vec::new(),
            free: Vec::new(),
            root: NONE,
            noise: 0,
        }
    }
}

impl Intervals {
    /// Calls `visit` with the value of every range that holds `key`.
    pub fn stab(&self, key: &[u8], visit: &mut dyn FnMut(u32)) {
        self.stab_below(self.root, key, visit);
    }

    fn stab_below(&self, at: u32, key: &[u8], visit: &mut dyn FnMut(u32)) {
        let mut at = at;
        while at != NONE {
            let node = &self.nodes[at as usize];
            if !self.nodes[node.furthest as usize].until.is_above(key) {
                return;
            }
            if node.from.as_ref() > key {
                at = node.left;
                continue;
            }
            self.stab_below(node.left, key, visit);
            if node.until.is_above(key) {
                visit(node.value);
            }
            at = node.right;
        }
    }

    /// The value of exactly this range.
    pub fn get(&self, from: &Bytes, until: &Upper) -> Option<u32> {
        let mut at = self.root;
        while at != NONE {
            let node = &self.nodes[at as usize];
            at = match (from, until).cmp(&(&node.from, &node.until)) {
                std::cmp::Ordering::Less => node.left,
                std::cmp::Ordering::Equal => return Some(node.value),
                std::cmp::Ordering::Greater => node.right,
            };
        }
        None
    }

    /// Adds a range that is not there yet.
    pub fn insert(&mut self, from: Bytes, until: Upper, value: u32) {
        // splitmix64
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.noise ^ (self.noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let priority = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let (left, right) = self.split(self.root, &from, &until);
        let node = Node {
            from,
            until,
            value,
            priority,
            left: NONE,
            right: NONE,
            furthest: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("more than 2^32 ranges")
            }
        };
        self.nodes[at as usize].furthest = at;
        let left = self.merge(left, at);
        self.root = self.merge(left, right);
    }

    /// Removes a range.
    pub fn remove(&mut self, from: &Bytes, until: &Upper) {
        self.root = self.remove_below(self.root, from, until);
    }

    fn remove_below(&mut self, at: u32, from: &Bytes, until: &Upper) -> u32 {
        assert!(at != NONE, "removing a range that is not there");
        let node = &self.nodes[at as usize];
        let (left, right) = (node.left, node.right);
        match (from, until).cmp(&(&node.from, &node.until)) {
            std::cmp::Ordering::Less => self.nodes[at as usize].left = self.remove_below(left, from, until),
            std::cmp::Ordering::Greater => self.nodes[at as usize].right = self.remove_below(right, from, until),
            std::cmp::Ordering::Equal => {
                self.nodes[at as usize].from = Bytes::new();
                self.free.push(at);
                return self.merge(left, right);
            }
        }
        self.mend(at);
        at
    }

    fn mend(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let below = [node.left, node.right]
            .into_iter()
            .filter(|child| *child != NONE)
            .map(|child| self.nodes[child as usize].furthest);
        let furthest = below.fold(at, |best, other| {
            if self.nodes[other as usize].until > self.nodes[best as usize].until {
                other
            } else {
                best
            }
        });
        self.nodes[at as usize].furthest = furthest;
    }

    /// Splits a subtree into what is below the range and what is above it.
    fn split(&mut self, at: u32, from: &Bytes, until: &Upper) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        let node = &self.nodes[at as usize];
        assert!((&node.from, &node.until) != (from, until), "range is there already");
        let parts = if (&node.from, &node.until) < (from, until) {
            let (left, right) = self.split(node.right, from, until);
            self.nodes[at as usize].right = left;
            (at, right)
        } else {
            let (left, right) = self.split(node.left, from, until);
            self.nodes[at as usize].left = right;
            (left, at)
        };
        self.mend(at);
        parts
    }

    /// Joins two subtrees, the second of which is above the first.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE || right == NONE {
            return if left == NONE { right } else { left };
        }
        let top = if self.nodes[left as usize].priority > self.nodes[right as usize].priority {
            self.nodes[left as usize].right = self.merge(self.nodes[left as usize].right, right);
            left
        } else {
            self.nodes[right as usize].left = self.merge(left, self.nodes[right as usize].left);
            right
        };
        self.mend(top);
        top
    }
}
