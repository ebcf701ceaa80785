//! Moves over the elements of a bucket in key order.
//!
//! A damaged file cannot hold a cursor for ever: no path is longer than [`MAX_DEPTH`], and no run in one direction enters more
//! pages than the file has.

use crate::page::{Leaf, MAX_DEPTH, NodeRef};
use crate::{Bucket, PageError};

/// A key and its value. The value of a nested bucket is given as empty.
pub type Element<'t> = (&'t [u8], &'t [u8]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// A place in a bucket. Slices it gives live as long as the transaction.
pub struct Cursor<'t> {
    bucket: Bucket<'t>,
    /// From the root down to the leaf, each with the index taken; empty before the first move.
    stack: Vec<(NodeRef<'t>, usize)>,
    direction: Direction,
    /// Pages entered since the last seek or turn.
    entered: u64,
    at_bucket: bool,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(bucket: Bucket<'t>) -> Cursor<'t> {
        Cursor {
            bucket,
            stack: Vec::with_capacity(6),
            direction: Direction::Forward,
            entered: 0,
            at_bucket: false,
        }
    }

    /// Moves to the first element with a key not below this one; `None` if there is none.
    pub fn seek(&mut self, key: &[u8]) -> Result<Option<Element<'t>>, PageError> {
        self.restart(Direction::Forward)?;
        loop {
            let (node, index) = self.stack.last_mut().expect("restart pushed the root");
            if node.is_leaf {
                let found = node.lower_bound(key);
                *index = found.map_err(|at| self.bucket.version.element_fault(node, at))?.0;
                break;
            }
            *index = node.child_for(key).map_err(|at| self.bucket.version.element_fault(node, at))?;
            self.enter_child()?;
        }
        let (node, index) = self.stack.last().expect("a leaf");
        if *index < node.count { self.current() } else { self.next() }
    }

    pub fn first(&mut self) -> Result<Option<Element<'t>>, PageError> {
        self.restart(Direction::Forward)?;
        self.descend()?;
        if self.stack.last().expect("a leaf").0.count == 0 {
            return self.next();
        }
        self.current()
    }

    pub fn last(&mut self) -> Result<Option<Element<'t>>, PageError> {
        self.restart(Direction::Backward)?;
        self.descend()?;
        if self.stack.last().expect("a leaf").0.count == 0 {
            return self.prev();
        }
        self.current()
    }

    /// Moves to the next element; `None` at the end, where the cursor stays on the last one.
    #[allow(clippy::should_implement_trait)] // bbolt's word; an iterator could not lend errors and turn round
    pub fn next(&mut self) -> Result<Option<Element<'t>>, PageError> {
        if self.stack.is_empty() {
            return self.first();
        }
        self.turn(Direction::Forward);
        loop {
            let Some(level) = self.stack.iter().rposition(|(node, index)| index + 1 < node.count) else {
                return Ok(None);
            };
            self.stack.truncate(level + 1);
            self.stack[level].1 += 1;
            self.descend()?;
            if self.stack.last().expect("a leaf").0.count > 0 {
                return self.current();
            }
        }
    }

    /// Moves to the element before; `None` at the beginning, where the cursor stays on the first one.
    pub fn prev(&mut self) -> Result<Option<Element<'t>>, PageError> {
        self.turn(Direction::Backward);
        loop {
            let Some(level) = self.stack.iter().rposition(|(_, index)| *index > 0) else {
                return Ok(None);
            };
            self.stack.truncate(level + 1);
            self.stack[level].1 -= 1;
            self.descend()?;
            if self.stack.last().expect("a leaf").0.count > 0 {
                return self.current();
            }
        }
    }

    /// Whether the element last given is a nested bucket.
    pub fn at_bucket(&self) -> bool {
        self.at_bucket
    }

    /// Back to the root, at its first or last element.
    fn restart(&mut self, direction: Direction) -> Result<(), PageError> {
        self.stack.clear();
        self.direction = direction;
        self.entered = 0;
        let root = self.bucket.root_node()?;
        self.push(root);
        Ok(())
    }

    fn turn(&mut self, direction: Direction) {
        if self.direction != direction {
            self.direction = direction;
            self.entered = 0;
        }
    }

    #[inline]
    fn push(&mut self, node: NodeRef<'t>) {
        let index = match self.direction {
            Direction::Forward => 0,
            Direction::Backward => node.count.saturating_sub(1),
        };
        self.stack.push((node, index));
    }

    /// From the place the stack points to down to a leaf, along its first or last children.
    #[inline]
    fn descend(&mut self) -> Result<(), PageError> {
        while !self.stack.last().expect("never empty here").0.is_leaf {
            self.enter_child()?;
        }
        Ok(())
    }

    #[inline]
    fn enter_child(&mut self) -> Result<(), PageError> {
        let version = self.bucket.version;
        let (node, index) = self.stack.last().expect("never empty here");
        if *index >= node.count {
            return Err(version.element_fault(node, *index));
        }
        let child = node.child(*index);
        self.entered += 1;
        if self.stack.len() >= MAX_DEPTH || self.entered > version.meta.mark + MAX_DEPTH as u64 {
            return Err(version.circle(child, version.meta.mark));
        }
        let child = version.node(child)?;
        self.push(child);
        Ok(())
    }

    #[inline]
    fn current(&mut self) -> Result<Option<Element<'t>>, PageError> {
        let (node, index) = self.stack.last().expect("on an element");
        let leaf: Leaf<'t> = node.leaf(*index).ok_or_else(|| self.bucket.version.element_fault(node, *index))?;
        self.at_bucket = leaf.is_bucket();
        Ok(Some((leaf.key, if self.at_bucket { &[] } else { leaf.value })))
    }
}
