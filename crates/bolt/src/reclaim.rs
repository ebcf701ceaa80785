//! Gives space back while the database is in use.
//!
//! A plan lists the pages in use at the end of the file, each with the bucket and key that lead to it.
//! A step takes the first of them and rewrites the paths to them, which is an ordinary copy on write, only that the new pages
//! are the lowest free ones. The pages left behind are free once no reader sees them; then the high-water mark falls over them
//! and the file is cut. A page that somebody has rewritten since the plan was made is not found any more and passed over.
//!
//! A big value needs a long free run. Where there is none, a step first moves what lies between the free pages of the most
//! promising place, and the next one moves the value there.
//!
//! What is cut was free: in no tree of an open reader, and not of the older meta either. That meta's mark must stay inside the
//! file too, so the file is cut only down to the higher of the two marks.

use std::sync::Arc;

use crate::commit::Placement;
use crate::db::Writer;
use crate::freelist::Run;
use crate::open::PROBE_BYTES;
use crate::page::{BUCKET_FLAG, MAX_DEPTH, PageId};
use crate::tree::{Body, Child, Tree};
use crate::version::{Root, Version};
use crate::{CommitError, Db, PageError, TxError, WriteTx};

/// Free pages that are not worth a plan: each step leaves some behind for the paths it copies.
const SPARE_PAGES: u64 = 16;
/// In a big file, this part of it is not worth one either: as much comes and goes with ordinary commits.
const SPARE_PART: u64 = 256;
/// What moving a page may copy besides it: the branches above, which must find room below too.
const PATH_PAGES: u64 = 6;
/// Under load the file may refill as fast as it is emptied; after this many plans in vain it is time to stop.
const FRUITLESS_PLANS: u32 = 3;
/// A plan lists at most this many pages; the next one has the rest.
const PLAN_PAGES: usize = 50_000;

/// What one step of [`Db::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Pages moved down.
    pub moved: u64,
    /// Bytes cut off the file.
    pub truncated: u64,
    /// Nothing is left that another step could do now (later, when readers have closed, there may be).
    pub done: bool,
}

/// A page with its overflow pages, to be moved, and the way to it.
struct Victim {
    run: Run,
    /// An index into [`Plan::buckets`].
    bucket: usize,
    /// The first key of the page; empty if it has none.
    key: Vec<u8>,
}

/// The pages to move. They are taken from the end: big ones first, while long runs are still free, then from the last page down.
#[derive(Default)]
pub(crate) struct Plan {
    /// The path of names of each bucket that has victims.
    buckets: Vec<Vec<Vec<u8>>>,
    victims: Vec<Victim>,
    /// A page that found no room: those below it stay too.
    blocked: PageId,
    /// A page for which room was made by the last step.
    cleared: Option<PageId>,
    /// The page after the last one in use when the plan was made.
    end: PageId,
    /// The free pages before it then.
    free_below: u64,
    /// The commit of the last step.
    txid: u64,
    /// Plans before this one that gained nothing because others wrote in between.
    fruitless: u32,
}

impl Db {
    /// One small step: moves at most `max_pages` pages from the end of the file into free ones in one commit, lowers the
    /// high-water mark over what is free at the end, and cuts the file. To be called again until it says `done`.
    ///
    /// # Errors
    /// As [`WriteTx::commit`].
    pub fn reclaim(&self, max_pages: usize) -> Result<Reclaimed, CommitError> {
        let mut tx = self.begin_write();
        if let Some(reason) = &tx.writer.poisoned {
            let (path, reason) = (self.handle.path.clone(), reason.clone());
            return Err(CommitError::Poisoned { path, reason });
        }
        let max_pages = max_pages as u64;
        let mut last = tx.writer.plan.take();
        let (mut moved, mut avoid) = match &mut last {
            Some(plan) => tx.move_pages(plan, max_pages)?,
            None => (0, Run::NONE),
        };
        let mut plan = match last {
            Some(plan) if moved > 0 => plan,
            last => tx.next_plan(last)?,
        };
        if moved == 0 {
            (moved, avoid) = tx.move_pages(&mut plan, max_pages)?;
        }
        let limit = tx.writer.freelist.end_in_use(tx.tree.base.meta.mark);
        if moved == 0 {
            tx.rollback();
        } else if tx.commit_placed(Placement::Lowest { limit, avoid })?.is_none() {
            // The paths to the pages take up more room than there is.
            plan.victims.clear();
            moved = 0;
        }
        let done = moved == 0 && !self.lower_marks()?;
        let mut writer = self.writer.lock();
        plan.txid = self.current().meta.txid;
        writer.plan = Some(plan).filter(|_| !done);
        let truncated = self.cut(&mut writer)?;
        Ok(Reclaimed { moved, truncated, done })
    }

    /// Makes a commit that only lowers the mark over the free pages at the end, or takes a lowered mark to the other meta too,
    /// if there is cause; returns whether there was.
    fn lower_marks(&self) -> Result<bool, CommitError> {
        let tx = self.begin_write();
        let mark = tx.tree.base.meta.mark;
        let limit = match tx.writer.freelist.end_in_use(mark) < mark {
            true => mark - 1,
            false if tx.writer.older_mark > mark => mark,
            false => return Ok(false),
        };
        let avoid = Run::NONE;
        Ok(tx.commit_placed(Placement::Lowest { limit, avoid })?.is_some())
    }

    /// Cuts the file down to what both metas need.
    fn cut(&self, writer: &mut Writer) -> Result<u64, CommitError> {
        let mark = self.current().meta.mark.max(writer.older_mark);
        let needed = (mark * self.handle.page_size as u64).max(PROBE_BYTES);
        if writer.file_len <= needed {
            return Ok(0);
        }
        if let Err(source) = self.handle.file.set_len(needed) {
            writer.poisoned = Some(source.to_string());
            let (path, action, offset) = (self.handle.path.clone(), "cut", needed);
            return Err(CommitError::Disk {
                path,
                action,
                offset,
                source,
            });
        }
        let cut = writer.file_len - needed;
        writer.file_len = needed;
        Ok(cut)
    }
}

impl WriteTx<'_> {
    /// A plan for what is in use now. An empty one if the last plan has not brought the end down nor has room come up since:
    /// copying paths costs pages too, and where the two are even it is time to stop.
    fn next_plan(&mut self, last: Option<Plan>) -> Result<Plan, PageError> {
        let mark = self.tree.base.meta.mark;
        let end = self.writer.freelist.end_in_use(mark);
        let free_below = self.writer.freelist.free_pages() - (mark - end);
        let mut fruitless = 0;
        if let Some(last) = last.filter(|last| last.end <= end && last.free_below >= free_below) {
            if last.txid == self.tree.base.meta.txid || last.fruitless == FRUITLESS_PLANS {
                return Ok(last);
            }
            fruitless = last.fruitless + 1;
        }
        let spare = SPARE_PAGES.max(end / SPARE_PART);
        let threshold = end.saturating_sub(free_below) + spare;
        let plan = match threshold < end {
            true => Plan::make(&self.tree.base, |run| run.end() > threshold)?,
            false => Plan::default(),
        };
        let txid = self.tree.base.meta.txid;
        Ok(Plan {
            end,
            free_below,
            txid,
            fruitless,
            ..plan
        })
    }

    /// Marks the paths to the next victims for rewriting, as far as there is room below them. Returns how many pages those have,
    /// and a run that the commit is to keep clear.
    fn move_pages(&mut self, plan: &mut Plan, max_pages: u64) -> Result<(u64, Run), PageError> {
        let mut moved = 0;
        let mut room = self.writer.freelist.free_pages();
        while moved < max_pages
            && let Some(victim) = plan.victims.pop()
        {
            let cleared = plan.cleared == Some(victim.run.start);
            if victim.run.start < plan.blocked {
                continue;
            }
            let need = victim.run.len;
            if room >= need + PATH_PAGES && self.writer.freelist.has_lowest(need, victim.run.start, Run::NONE) {
                if self.touch(&plan.buckets[victim.bucket], &victim)? {
                    moved += need;
                    room -= need + PATH_PAGES;
                }
                if cleared {
                    // Alone, so that nothing else is put where room was made for it.
                    break;
                }
            } else if moved > 0 {
                plan.victims.push(victim);
                break;
            } else {
                let window = if cleared { None } else { self.clear_window(victim.run)? };
                if let Some((occupants, window)) = window {
                    plan.cleared = Some(victim.run.start);
                    plan.victims.push(victim);
                    return Ok((occupants, window));
                }
                // What lies below it cannot be cut off while it stays.
                plan.blocked = victim.run.start;
            }
        }
        Ok((moved, Run::NONE))
    }

    /// Marks what is in the way of a long free run for a victim of several pages. Returns how many pages that are, and the run.
    fn clear_window(&mut self, victim: Run) -> Result<Option<(u64, Run)>, PageError> {
        let freelist = &self.writer.freelist;
        if victim.len == 1 {
            return Ok(None);
        }
        let Some((window, free)) = freelist.best_window(victim.len, victim.start) else {
            return Ok(None);
        };
        let room = freelist.free_pages() - free;
        let found = Plan::make(&self.tree.base, |run| run.overlaps(window))?;
        let pages: u64 = found.victims.iter().map(|victim| victim.run.len).sum();
        let paths = PATH_PAGES * found.victims.len() as u64;
        let fit = |occupant: &Victim| freelist.has_lowest(occupant.run.len, victim.start, window);
        if pages == 0 || room < pages + paths || !found.victims.iter().all(fit) {
            return Ok(None);
        }
        for victim in &found.victims {
            self.touch(&found.buckets[victim.bucket], victim)?;
        }
        Ok(Some((pages, window)))
    }

    /// Makes nodes on the way to a page, so that the commit rewrites it. False if it is not there any more.
    fn touch(&mut self, path: &[Vec<u8>], victim: &Victim) -> Result<bool, PageError> {
        let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let at = match self.open_path(&names) {
            Ok(Some(at)) => at,
            Ok(None) => return Ok(false),
            Err(TxError::Page(error)) => return Err(error),
            Err(error) => unreachable!("opening a bucket gives errors of pages only: {error}"),
        };
        let bucket = &mut self.buckets[at];
        let touched = self.tree.touch(&mut bucket.root, victim.run.start, &victim.key)?;
        bucket.dirty |= touched;
        Ok(touched)
    }
}

impl Tree {
    /// Makes nodes from the root down to the page, if the key leads to it.
    fn touch(&mut self, root: &mut Child, page: PageId, key: &[u8]) -> Result<bool, PageError> {
        let mut way = Vec::new();
        let mut at = *root;
        loop {
            let (id, index, next) = match at {
                Child::Page(id) => {
                    let node = self.base.node(id)?;
                    match node.is_leaf || id == page {
                        true => (id, 0, None),
                        false if node.count == 0 => return Err(self.base.element_fault(&node, 0)),
                        false => {
                            let index = node.child_for(key).map_err(|index| self.base.element_fault(&node, index))?;
                            (id, index, Some(Child::Page(node.child(index))))
                        }
                    }
                }
                Child::Node(node) => {
                    let id = self.nodes[node].page.map_or(0, |run| run.start);
                    match &self.nodes[node].body {
                        Body::Leaf(_) => (id, 0, None),
                        Body::Branch(entries) => {
                            let index = self.place_in_branch(entries, key);
                            (id, index, Some(entries[index].child))
                        }
                    }
                }
            };
            way.push(index);
            if id == page {
                break;
            }
            match next {
                None => return Ok(false),
                Some(_) if way.len() > MAX_DEPTH => return Err(self.base.circle(id, MAX_DEPTH as u64)),
                Some(child) => at = child,
            }
        }
        let mut node = self.root_node(root)?;
        for index in &way[..way.len() - 1] {
            node = self.child_node(node, *index)?;
        }
        Ok(true)
    }
}

impl Plan {
    /// Finds the pages that are wanted.
    fn make(version: &Arc<Version>, wanted: impl Fn(Run) -> bool) -> Result<Plan, PageError> {
        let mut plan = Plan::default();
        let mut visited = 0;
        let mut buckets = vec![(Root::Page(version.meta.root), Vec::new())];
        while let Some((root, names)) = buckets.pop() {
            let Root::Page(root) = root else { continue };
            let mut known = None;
            let mut pages = vec![root];
            while let Some(id) = pages.pop() {
                visited += 1;
                if visited > version.meta.mark {
                    return Err(version.circle(id, version.meta.mark));
                }
                let node = version.node(id)?;
                let len = (node.bytes().len() / version.handle.page_size) as u64;
                let run = Run { start: id, len };
                if wanted(run) {
                    let bucket = *known.get_or_insert_with(|| {
                        plan.buckets.push(names.clone());
                        plan.buckets.len() - 1
                    });
                    let key = if node.count == 0 { Some(&[][..]) } else { node.key(0) };
                    let key = key.ok_or_else(|| version.element_fault(&node, 0))?.to_vec();
                    plan.victims.push(Victim { run, bucket, key });
                }
                if !node.is_leaf {
                    pages.extend((0..node.count).map(|index| node.child(index)));
                    continue;
                }
                for index in (0..node.count).filter(|index| node.leaf_flags(*index) & BUCKET_FLAG != 0) {
                    let leaf = node.leaf(index).ok_or_else(|| version.element_fault(&node, index))?;
                    let names = names.iter().cloned().chain([leaf.key.to_vec()]).collect();
                    buckets.push((version.bucket_root(id, leaf.value)?.0, names));
                }
            }
        }
        plan.victims.sort_unstable_by_key(|victim| (victim.run.len, victim.run.start));
        let more = plan.victims.len().saturating_sub(PLAN_PAGES);
        plan.victims.drain(..more);
        Ok(plan)
    }
}
