//! The tree under the index: a B+tree whose inner nodes know how many live keys every child holds.
//!
//! Changes go down by recursion and come back with what has to be mended above: a split, a live key more or less. Long
//! walks (ranges, compaction) stop at a leaf's end when their budget is used up and say where to go on, so that the lock
//! around the tree is never held for long.

use api::Revision;

use super::keys::{CAPACITY, SortedKeys, separator};
use super::versions::Versions;
use super::{Entered, NoSuchKey, Until};

/// Most keys in a leaf, and most children of an inner node, after a change; during one there is one more.
const WIDTH: usize = CAPACITY - 1;
/// Neighbours that together are no larger than this are merged when compaction passes.
const MERGED: usize = WIDTH * 3 / 4;

#[derive(Debug)]
pub(super) struct Tree {
    root: Child,
    len: usize,
}

#[derive(Debug)]
struct Child {
    /// Live keys below.
    live: u64,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// Keys and their versions stand side by side in one piece of memory: a lookup in a large index is as slow as the number of pages it touches.
#[derive(Debug)]
struct Leaf {
    keys: SortedKeys,
    /// As many as there are keys; the rest is vacant.
    versions: [Versions; CAPACITY],
}

/// `children[i]` holds the keys from `separators[i - 1]` up to, but without, `separators[i]`.
#[derive(Debug)]
struct Inner {
    separators: SortedKeys,
    children: Vec<Child>,
}

/// What to do with a key: gets its versions, or gives it some if it has none.
type Act<'a, T> = dyn FnMut(Option<&mut Versions>) -> (T, Option<Versions>) + 'a;

/// What a change further down means for the nodes above.
struct Mend<T> {
    result: T,
    live: i64,
    added: bool,
    split: Option<(Vec<u8>, Child)>,
}

/// Where a walk with a budget goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// The end of the range.
    Done,
    /// The visitor wanted no more.
    Stopped,
    /// The budget is used up; go on from this key.
    From(Vec<u8>),
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            root: Child {
                live: 0,
                node: Node::Leaf(Box::default()),
            },
            len: 0,
        }
    }
}

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn live(&self) -> u64 {
        self.root.live
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Versions> {
        let mut node = &self.root.node;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.child_of(key)].node,
                Node::Leaf(leaf) => return leaf.keys.search(key).ok().map(|at| &leaf.versions[at]),
            }
        }
    }

    pub(super) fn put(&mut self, key: &[u8], revision: Revision) -> Entered {
        self.change(key, &mut |versions| match versions {
            Some(versions) => (versions.put(revision), None),
            None => (
                Entered {
                    created: revision.main,
                    version: 1,
                    previous: None,
                },
                Some(Versions::first(revision)),
            ),
        })
    }

    pub(super) fn tombstone(&mut self, key: &[u8], revision: Revision) -> Result<Revision, NoSuchKey> {
        self.change(key, &mut |versions| {
            (versions.ok_or(NoSuchKey).and_then(|v| v.tombstone(revision)), None)
        })
    }

    /// Finds the key and has `act` change its versions, or give it some if it has none.
    pub(super) fn change<T>(&mut self, key: &[u8], act: &mut Act<'_, T>) -> T {
        let mend = self.root.change(key, act);
        self.len += usize::from(mend.added);
        if let Some((key, right)) = mend.split {
            let mut separators = SortedKeys::default();
            separators.insert(0, &key);
            let live = self.root.live + right.live;
            let left = std::mem::replace(&mut self.root, Tree::default().root);
            let inner = Inner {
                separators,
                children: vec![left, right],
            };
            self.root = Child {
                live,
                node: Node::Inner(Box::new(inner)),
            };
        }
        mend.result
    }

    /// Live keys of a range, at the newest revision.
    pub(super) fn count(&self, from: &[u8], until: Until<'_>) -> u64 {
        match until {
            Until::Single => u64::from(self.get(from).is_some_and(Versions::live)),
            Until::Before(end) if end <= from => 0,
            Until::Before(end) => self.root.count(Some(from), Some(end)),
            Until::Unbounded => self.root.count(Some(from), None),
        }
    }

    /// Visits keys from `from` on until `end`, about `budget` of them. `live_only` passes over subtrees without live keys.
    pub(super) fn visit(&self, from: &[u8], end: Option<&[u8]>, live_only: bool, budget: usize, visit: Visit<'_>) -> Walk {
        let mut visitor = Visitor {
            end,
            live_only,
            left: budget,
            scratch: Vec::new(),
            visit,
        };
        self.root.visit(Some(from), &mut visitor)
    }

    /// Compacts about `budget` keys from `from` on. `Walk::Stopped` does not occur.
    pub(super) fn compact(&mut self, from: &[u8], at: i64, budget: usize, kept: &mut dyn FnMut(Revision)) -> Walk {
        let mut compactor = Compactor {
            at,
            left: budget,
            removed: 0,
            kept,
        };
        let walk = self.root.compact(Some(from), &mut compactor);
        self.len -= compactor.removed;
        while let Node::Inner(inner) = &mut self.root.node {
            match inner.children.len() {
                0 => *self = Tree::default(),
                1 => self.root = inner.children.remove(0),
                _ => break,
            }
        }
        walk
    }
}

struct Visitor<'a, 'v> {
    end: Option<&'a [u8]>,
    live_only: bool,
    left: usize,
    scratch: Vec<u8>,
    visit: Visit<'v>,
}

/// What a walk calls for every key: with the key put together, or, cheaper, without it.
pub(super) enum Visit<'a> {
    Keys(&'a mut dyn FnMut(&[u8], &Versions) -> bool),
    Versions(&'a mut dyn FnMut(&Versions) -> bool),
}

struct Compactor<'a> {
    at: i64,
    left: usize,
    removed: usize,
    kept: &'a mut dyn FnMut(Revision),
}

impl Child {
    fn change<T>(&mut self, key: &[u8], act: &mut Act<'_, T>) -> Mend<T> {
        let mut mend = match &mut self.node {
            Node::Leaf(leaf) => leaf.change(key, act),
            Node::Inner(inner) => inner.change(key, act),
        };
        self.live = self.live.checked_add_signed(mend.live).expect("live keys below zero");
        if let Some((_, right)) = &mut mend.split {
            right.live = right.node.counted();
            self.live -= right.live;
        }
        mend
    }

    fn count(&self, from: Option<&[u8]>, end: Option<&[u8]>) -> u64 {
        if from.is_none() && end.is_none() {
            return self.live;
        }
        match &self.node {
            Node::Leaf(leaf) => {
                let range = leaf.between(from, end);
                leaf.versions()[range].iter().filter(|v| v.live()).count() as u64
            }
            Node::Inner(inner) => {
                let first = from.map_or(0, |key| inner.child_of(key));
                let last = end.map_or(inner.children.len() - 1, |key| inner.child_of(key));
                if first == last {
                    return inner.children[first].count(from, end);
                }
                let between: u64 = inner.children[first + 1..last].iter().map(|child| child.live).sum();
                inner.children[first].count(from, None) + between + inner.children[last].count(None, end)
            }
        }
    }

    fn visit(&self, from: Option<&[u8]>, visitor: &mut Visitor<'_, '_>) -> Walk {
        match &self.node {
            Node::Leaf(leaf) => leaf.visit(from, visitor),
            Node::Inner(inner) => {
                let first = from.map_or(0, |key| inner.child_of(key));
                for (i, child) in inner.children.iter().enumerate().skip(first) {
                    if i > first && visitor.end.is_some_and(|end| inner.begins_at_or_above(i, end)) {
                        return Walk::Done;
                    }
                    if i > first && visitor.left == 0 {
                        return Walk::From(inner.separators.key(i - 1));
                    }
                    if visitor.live_only && child.live == 0 {
                        continue;
                    }
                    match child.visit(if i == first { from } else { None }, visitor) {
                        Walk::Done => {}
                        other => return other,
                    }
                }
                Walk::Done
            }
        }
    }

    fn compact(&mut self, from: Option<&[u8]>, compactor: &mut Compactor<'_>) -> Walk {
        let inner = match &mut self.node {
            Node::Leaf(leaf) => {
                leaf.compact(from, compactor);
                return Walk::Done;
            }
            Node::Inner(inner) => inner,
        };
        let first = from.map_or(0, |key| inner.child_of(key));
        let mut walk = Walk::Done;
        let mut end = first;
        while end < inner.children.len() {
            if end > first && compactor.left == 0 {
                walk = Walk::From(inner.separators.key(end - 1));
                break;
            }
            walk = inner.children[end].compact(if end == first { from } else { None }, compactor);
            end += 1;
            if walk != Walk::Done {
                break;
            }
        }
        inner.tidy(first, end);
        walk
    }
}

impl Node {
    fn counted(&self) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.versions().iter().filter(|v| v.live()).count() as u64,
            Node::Inner(inner) => inner.children.iter().map(|child| child.live).sum(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.keys.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }
}

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf {
            keys: SortedKeys::default(),
            versions: [Versions::VACANT; CAPACITY],
        }
    }
}

impl Leaf {
    fn versions(&self) -> &[Versions] {
        &self.versions[..self.keys.len()]
    }

    fn change<T>(&mut self, key: &[u8], act: &mut Act<'_, T>) -> Mend<T> {
        let at = match self.keys.search(key) {
            Ok(at) => {
                let versions = &mut self.versions[at];
                let before = versions.live();
                let (result, _) = act(Some(versions));
                let live = i64::from(versions.live()) - i64::from(before);
                return Mend {
                    result,
                    live,
                    added: false,
                    split: None,
                };
            }
            Err(at) => at,
        };
        let (result, fresh) = act(None);
        let Some(versions) = fresh else {
            return Mend {
                result,
                live: 0,
                added: false,
                split: None,
            };
        };
        let live = i64::from(versions.live());
        self.keys.insert(at, key);
        let len = self.keys.len();
        self.versions[at..len].rotate_right(1);
        self.versions[at] = versions;
        let split = (len > WIDTH).then(|| self.split(at));
        Mend {
            result,
            live,
            added: true,
            split,
        }
    }

    /// Splits in the middle, or, when keys come in ascending order, so that this leaf stays full.
    fn split(&mut self, inserted: usize) -> (Vec<u8>, Child) {
        let len = self.keys.len();
        let middle = if inserted + 1 == len { len - 1 } else { len / 2 };
        let separator = separator(&self.keys.key(middle - 1), &self.keys.key(middle)).to_vec();
        let mut right = Box::new(Leaf {
            keys: self.keys.split_off(middle),
            ..Leaf::default()
        });
        self.versions[middle..len].swap_with_slice(&mut right.versions[..len - middle]);
        (
            separator,
            Child {
                live: 0,
                node: Node::Leaf(right),
            },
        )
    }

    fn between(&self, from: Option<&[u8]>, end: Option<&[u8]>) -> std::ops::Range<usize> {
        let place = |key| self.keys.search(key).unwrap_or_else(|at| at);
        let start = from.map_or(0, place);
        start..end.map_or(self.keys.len(), place).max(start)
    }

    fn visit(&self, from: Option<&[u8]>, visitor: &mut Visitor<'_, '_>) -> Walk {
        let range = self.between(from, visitor.end);
        let at_end = range.end < self.keys.len();
        visitor.left = visitor.left.saturating_sub(range.len());
        let Visitor { scratch, visit, .. } = visitor;
        let whole = match visit {
            Visit::Keys(visit) => self.keys.visit(range, scratch, |at, key| visit(key, &self.versions[at])),
            Visit::Versions(visit) => self.versions[range].iter().all(visit),
        };
        match (whole, at_end) {
            // The range ends within this leaf: nothing to the right is of interest.
            (false, _) | (true, true) => Walk::Stopped,
            (true, false) => Walk::Done,
        }
    }

    fn compact(&mut self, from: Option<&[u8]>, compactor: &mut Compactor<'_>) {
        compactor.left = compactor.left.saturating_sub(self.keys.len());
        // What is below was compacted before the leaf was merged or split.
        let mut at = self.between(from, None).start;
        while at < self.keys.len() {
            let live = self.versions[at].live();
            if self.versions[at].compact(compactor.at, compactor.kept) {
                at += 1;
                continue;
            }
            assert!(!live, "compaction removes a live key");
            self.versions[at..self.keys.len()].rotate_left(1);
            self.keys.remove(at);
            self.versions[self.keys.len()] = Versions::VACANT;
            compactor.removed += 1;
        }
    }
}

impl Inner {
    /// The child that holds `key`, if any does.
    fn child_of(&self, key: &[u8]) -> usize {
        match self.separators.search(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    fn begins_at_or_above(&self, child: usize, end: &[u8]) -> bool {
        child > self.separators.search(end).unwrap_or_else(|at| at)
    }

    fn change<T>(&mut self, key: &[u8], act: &mut Act<'_, T>) -> Mend<T> {
        let at = self.child_of(key);
        let mut mend = self.children[at].change(key, act);
        if let Some((separator, right)) = mend.split.take() {
            self.separators.insert(at, &separator);
            self.children.insert(at + 1, right);
            mend.split = (self.children.len() > WIDTH).then(|| self.split(at + 1));
        }
        mend
    }

    fn split(&mut self, inserted: usize) -> (Vec<u8>, Child) {
        let len = self.children.len();
        let middle = if inserted + 1 == len { len - 1 } else { len / 2 };
        let children = self.children.split_off(middle);
        let separators = self.separators.split_off(middle);
        let separator = self.separators.key(middle - 1);
        self.separators.remove(middle - 1);
        (
            separator,
            Child {
                live: 0,
                node: Node::Inner(Box::new(Inner { separators, children })),
            },
        )
    }

    /// After compaction of the children `first..end`: takes out empty ones and merges small neighbours.
    fn tidy(&mut self, first: usize, end: usize) {
        for at in (first..end).rev() {
            if self.children[at].node.width() == 0 {
                self.children.remove(at);
                if self.separators.len() > 0 {
                    self.separators.remove(at.saturating_sub(1));
                }
            } else if at + 1 < self.children.len() {
                self.merge(at);
            }
        }
        if first > 0 && first < self.children.len() {
            self.merge(first - 1);
        }
    }

    /// Merges child `at + 1` into child `at` if both together are small.
    fn merge(&mut self, at: usize) {
        if self.children[at].node.width() + self.children[at + 1].node.width() > MERGED {
            return;
        }
        let right = self.children.remove(at + 1);
        let separator = self.separators.key(at);
        self.separators.remove(at);
        self.children[at].live += right.live;
        match (&mut self.children[at].node, right.node) {
            (Node::Leaf(left), Node::Leaf(mut right)) => {
                let (len, more) = (left.keys.len(), right.keys.len());
                left.keys.append(&right.keys);
                left.versions[len..len + more].swap_with_slice(&mut right.versions[..more]);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                left.separators.insert(left.separators.len(), &separator);
                left.separators.append(&right.separators);
                left.children.extend(right.children);
            }
            _ => unreachable!("neighbours have the same height"),
        }
    }
}

#[cfg(test)]
impl Tree {
    /// Panics unless the tree is in order.
    pub(super) fn check(&self) {
        fn walk(child: &Child, low: Option<&[u8]>, high: Option<&[u8]>, depth: usize, depths: &mut Vec<usize>) -> usize {
            assert_eq!(child.live, child.node.counted());
            match &child.node {
                Node::Leaf(leaf) => {
                    depths.push(depth);
                    for at in 0..leaf.keys.len() {
                        let key = leaf.keys.key(at);
                        assert!(low.is_none_or(|low| *low <= *key) && high.is_none_or(|high| *key < *high));
                        assert!(at == 0 || leaf.keys.key(at - 1) < key);
                    }
                    leaf.keys.len()
                }
                Node::Inner(inner) => {
                    assert_eq!(inner.separators.len() + 1, inner.children.len());
                    let separators: Vec<_> = (0..inner.separators.len()).map(|at| inner.separators.key(at)).collect();
                    let mut len = 0;
                    for (i, child) in inner.children.iter().enumerate() {
                        let low = if i == 0 { low } else { Some(separators[i - 1].as_slice()) };
                        let high = separators.get(i).map(Vec::as_slice).or(high);
                        len += walk(child, low, high, depth + 1, depths);
                    }
                    len
                }
            }
        }
        let mut depths = Vec::new();
        assert_eq!(walk(&self.root, None, None, 0, &mut depths), self.len);
        assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "uneven");
    }
}
