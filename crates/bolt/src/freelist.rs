//! Which pages are free, which will be once no reader sees them, and which to take next.
//!
//! A page freed by commit F and written by commit B is seen by readers of commits B to F-1. It waits in `pending` until none of
//! those is open. All steps cost the logarithm of the number of free runs; nothing is copied as a whole, so 100 000 free pages
//! cost a commit nothing (unless the list is stored with every commit, which etcd does not do).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::page::{FREELIST, HEADER, PageId, u64_at};
use crate::version::Version;
use crate::{PageError, PageFault};

/// Contiguous pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub start: PageId,
    pub len: u64,
}

impl Run {
    /// No pages.
    pub const NONE: Run = Run { start: 0, len: 0 };

    /// The page after the last one.
    pub fn end(&self) -> PageId {
        self.start + self.len
    }

    pub fn overlaps(&self, other: Run) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// Pages freed by one commit.
struct Pending {
    /// The commit that freed them.
    freed: u64,
    /// Each with the commit that wrote it; 0 if unknown.
    runs: Vec<(Run, u64)>,
}

#[derive(Default)]
pub(crate) struct Freelist {
    /// Free runs, none touching another: start to length.
    runs: BTreeMap<PageId, u64>,
    /// The same, by length.
    by_len: BTreeSet<(u64, PageId)>,
    free_pages: u64,
    pending: VecDeque<Pending>,
    pending_pages: HashSet<PageId>,
    /// The commit that wrote a page, for those written while a reader was open.
    born: HashMap<PageId, u64>,
    /// The readers open at the last release, ascending.
    readers: Vec<u64>,
    /// Commits up to this one have been through a release.
    released_to: u64,
}

impl Freelist {
    /// # Panics
    /// If the runs overlap.
    pub fn from_runs(runs: impl Iterator<Item = Run>) -> Freelist {
        let mut list = Freelist::default();
        runs.for_each(|run| list.give(run));
        list
    }

    /// Pages free to be taken.
    pub fn free_pages(&self) -> u64 {
        self.free_pages
    }

    pub fn pending_pages(&self) -> u64 {
        self.pending_pages.len() as u64
    }

    /// Makes a run free, joined with its neighbours.
    ///
    /// # Panics
    /// If a page of it is free already: then two owners would write to it.
    pub fn give(&mut self, run: Run) {
        let Run { mut start, mut len } = run;
        assert!(len > 0, "an empty run");
        self.free_pages += len;
        if let Some((&before, &before_len)) = self.runs.range(..start).next_back() {
            assert!(before + before_len <= start, "page {start} freed twice");
            if before + before_len == start {
                self.forget(before, before_len);
                (start, len) = (before, before_len + len);
            }
        }
        if let Some((&after, &after_len)) = self.runs.range(start..).next() {
            assert!(start + len <= after, "page {after} freed twice");
            if start + len == after {
                self.forget(after, after_len);
                len += after_len;
            }
        }
        self.runs.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn forget(&mut self, start: PageId, len: u64) {
        let known = self.runs.remove(&start) == Some(len) && self.by_len.remove(&(len, start));
        assert!(known, "the two orders of the free list differ at page {start}");
    }

    fn take_whole(&mut self, start: PageId, len: u64) -> Run {
        self.forget(start, len);
        self.free_pages -= len;
        Run { start, len }
    }

    /// Takes a run of at least `need` pages: the smallest that has `want`, else the largest.
    pub fn take(&mut self, need: u64, want: u64) -> Option<Run> {
        debug_assert!(need > 0 && need <= want);
        let fitting = self.by_len.range((want, 0)..).next().copied();
        let (len, start) = fitting.or_else(|| self.by_len.last().copied().filter(|(len, _)| *len >= need))?;
        Some(self.take_whole(start, len))
    }

    /// Takes exactly `need` pages, the lowest there are, if they end at or below `limit`. Free runs that reach into `avoid` are
    /// passed over.
    pub fn take_lowest(&mut self, need: u64, limit: PageId, avoid: Run) -> Option<Run> {
        let (start, len) = self.lowest(need, limit, avoid)?;
        self.take_whole(start, len);
        if len > need {
            self.give(Run {
                start: start + need,
                len: len - need,
            });
        }
        Some(Run { start, len: need })
    }

    /// Whether [`Freelist::take_lowest`] would find a run.
    pub fn has_lowest(&self, need: u64, limit: PageId, avoid: Run) -> bool {
        self.lowest(need, limit, avoid).is_some()
    }

    fn lowest(&self, need: u64, limit: PageId, avoid: Run) -> Option<(PageId, u64)> {
        let below = self.runs.range(..limit).take_while(|(start, _)| *start + need <= limit);
        let mut runs = below.map(|(start, len)| (*start, *len));
        runs.find(|(start, len)| *len >= need && !avoid.overlaps(Run { start: *start, len: *len }))
    }

    /// The `len` pages below `limit`, beginning with a free one, among which the most are free; and how many those are.
    pub fn best_window(&self, len: u64, limit: PageId) -> Option<(Run, u64)> {
        let runs: Vec<Run> = self
            .runs
            .range(..limit)
            .map(|(start, len)| Run { start: *start, len: *len })
            .collect();
        let mut best: Option<(Run, u64)> = None;
        let (mut until, mut whole) = (0, 0);
        for (index, run) in runs.iter().enumerate() {
            let window = Run { start: run.start, len };
            if window.end() > limit {
                break;
            }
            while runs.get(until).is_some_and(|run| run.end() <= window.end()) {
                whole += runs[until].len;
                until += 1;
            }
            let part = runs.get(until).map_or(0, |run| window.end().saturating_sub(run.start));
            if best.is_none_or(|(_, free)| free < whole + part) {
                best = Some((window, whole + part));
            }
            if until > index {
                whole -= run.len;
            } else {
                until = index + 1;
            }
        }
        best
    }

    /// The page after the last one below the mark that is not free.
    pub fn end_in_use(&self, mark: PageId) -> PageId {
        match self.runs.last_key_value() {
            Some((start, len)) if start + len == mark => *start,
            _ => mark,
        }
    }

    /// Takes the free run that ends at the mark, if there is one; the mark falls to its start.
    pub fn take_tail(&mut self, mark: PageId) -> Option<Run> {
        let (&start, &len) = self.runs.last_key_value()?;
        (start + len == mark).then(|| self.take_whole(start, len))
    }

    /// Whether no page of the run is free or pending.
    pub fn is_in_use(&self, run: Run) -> bool {
        let touches = self
            .runs
            .range(..run.start + run.len)
            .next_back()
            .is_some_and(|(start, len)| start + len > run.start);
        !touches && (run.start..run.start + run.len).all(|id| !self.pending_pages.contains(&id))
    }

    /// Notes the runs that commit `txid` gave up. They must be in use.
    pub fn retire(&mut self, txid: u64, freed: &[Run]) {
        let mut runs = Vec::with_capacity(freed.len());
        for run in freed {
            (run.start..run.start + run.len).for_each(|id| {
                let new = self.pending_pages.insert(id);
                assert!(new, "page {id} retired twice");
            });
            runs.push((*run, self.born.remove(&run.start).unwrap_or(0)));
        }
        if !runs.is_empty() {
            self.pending.push_back(Pending { freed: txid, runs });
        }
    }

    /// Notes that commit `txid` wrote pages from `start` on.
    pub fn wrote(&mut self, txid: u64, start: PageId) {
        self.born.insert(start, txid);
    }

    /// Frees what no open reader sees. `readers` are the commits that readers hold, ascending.
    pub fn release(&mut self, latest: u64, readers: Vec<u64>) {
        if readers.is_empty() {
            self.born.clear();
        }
        // A reader opened later than a commit does not see what that freed. So a group of pages looked at before need be looked
        // at again only if a reader below it has closed.
        let closed = self.readers.iter().copied().find(|reader| readers.binary_search(reader).is_err());
        let again_from = closed.map_or(self.released_to, |closed| closed.min(self.released_to));
        let mut free = Vec::new();
        let first = self.pending.partition_point(|group| group.freed <= again_from);
        for group in self.pending.iter_mut().skip(first) {
            let freed = group.freed;
            group.runs.retain(|(run, born)| {
                let seen = readers
                    .get(readers.partition_point(|reader| reader < born))
                    .is_some_and(|reader| *reader < freed);
                if !seen {
                    free.push(*run);
                }
                seen
            });
        }
        self.pending.retain(|group| !group.runs.is_empty());
        self.readers = readers;
        self.released_to = latest;
        for run in &free {
            (run.start..run.start + run.len).for_each(|id| {
                self.pending_pages.remove(&id);
            });
        }
        join(&mut free);
        free.into_iter().for_each(|run| self.give(run));
    }

    /// All free and pending pages, ascending: what a stored list holds.
    pub fn all(&self) -> Vec<PageId> {
        let mut ids: Vec<PageId> = self.runs.iter().flat_map(|(start, len)| *start..start + len).collect();
        ids.extend(self.pending_pages.iter().copied());
        ids.sort_unstable();
        ids
    }
}

/// Sorts runs and joins those that touch.
fn join(runs: &mut Vec<Run>) {
    runs.sort_unstable();
    runs.dedup_by(|next, kept| {
        let touches = kept.start + kept.len == next.start;
        if touches {
            kept.len += next.len;
        }
        touches
    });
}

/// Reads the list of free pages that is stored with a commit, as it stands there.
pub(crate) fn stored(version: &Version) -> Result<Vec<PageId>, PageError> {
    let id = version.meta.freelist;
    let (header, data) = version.raw(id)?;
    if header.flags != FREELIST {
        return Err(version.fault(id, PageFault::InvalidType { flags: header.flags }));
    }
    let body = &data[HEADER..];
    let room = body.len() as u64 / 8;
    let (count, first) = match header.count {
        0xFFFF => (u64_at(body, 0), 1),
        count => (u64::from(count), 0),
    };
    if count > room - first {
        let text = format!("a free list of {count} pages where {room} have room");
        return Err(version.fault(id, PageFault::Other(text)));
    }
    Ok((first..first + count).map(|index| u64_at(body, index as usize * 8)).collect())
}

/// Bytes of a stored list of `count` pages, page header included.
pub(crate) fn stored_bytes(count: usize) -> usize {
    HEADER + 8 * (count + usize::from(count >= 0xFFFF))
}

/// Writes the body and the count of a stored list; returns the count for the page header.
pub(crate) fn encode(ids: &[PageId], body: &mut [u8]) -> u16 {
    let (count, first) = match u16::try_from(ids.len()) {
        Ok(count) if count < 0xFFFF => (count, 0),
        _ => {
            body[..8].copy_from_slice(&(ids.len() as u64).to_le_bytes());
            (0xFFFF, 8)
        }
    };
    for (place, id) in body[first..].chunks_exact_mut(8).zip(ids) {
        place.copy_from_slice(&id.to_le_bytes());
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u64, len: u64) -> Run {
        Run { start, len }
    }

    #[test]
    fn runs_join_and_the_best_fit_is_taken() {
        let mut list = Freelist::from_runs([run(10, 2), run(20, 5), run(12, 3)].into_iter());
        assert_eq!(list.free_pages(), 10);
        assert_eq!(list.take(1, 3), Some(run(10, 5)));
        assert_eq!(list.take(1, 100), Some(run(20, 5)));
        assert_eq!(list.take(1, 1), None);
    }

    #[test]
    fn the_lowest_and_the_tail() {
        let mut list = Freelist::from_runs([run(5, 1), run(8, 4), run(30, 10)].into_iter());
        assert_eq!(list.take_lowest(2, 40, Run::NONE), Some(run(8, 2)));
        assert_eq!(list.take_lowest(3, 30, Run::NONE), None);
        assert_eq!(list.take_tail(40), Some(run(30, 10)));
        assert_eq!(list.take_tail(30), None);
        assert_eq!(list.free_pages(), 3);
    }

    #[test]
    fn the_window_with_the_most_free_pages() {
        let list = Freelist::from_runs([run(5, 1), run(8, 4), run(14, 2), run(17, 1), run(30, 10)].into_iter());
        assert_eq!(list.best_window(10, 30), Some((run(8, 10), 7)));
        assert_eq!(list.best_window(10, 40), Some((run(30, 10), 10)));
        assert_eq!(list.best_window(3, 12), Some((run(8, 3), 3)));
        assert_eq!(list.best_window(8, 12), None);
        assert_eq!(list.best_window(2, 7), Some((run(5, 2), 1)));
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_page_is_free_once() {
        Freelist::from_runs([run(5, 3), run(6, 1)].into_iter());
    }

    #[test]
    fn a_reader_keeps_what_it_sees_and_no_more() {
        let mut list = Freelist::default();
        list.release(4, vec![3]);
        list.wrote(5, 100);
        list.retire(5, &[run(7, 2)]);
        list.release(5, vec![3]);
        list.retire(6, &[run(100, 1), run(50, 1)]);
        // Page 100 was written by 5 and given up by 6: the reader of 3 never saw it.
        list.release(6, vec![3]);
        assert_eq!((list.free_pages(), list.pending_pages()), (1, 3));
        list.release(7, vec![]);
        assert_eq!((list.free_pages(), list.pending_pages()), (4, 0));
    }

    #[test]
    fn a_reader_between_the_two_keeps_the_page() {
        let mut list = Freelist::default();
        list.release(4, vec![3]);
        list.wrote(5, 100);
        list.release(5, vec![3, 5]);
        list.retire(6, &[run(100, 1)]);
        list.release(6, vec![3, 5]);
        assert_eq!(list.free_pages(), 0);
        list.release(7, vec![3]);
        assert_eq!(list.free_pages(), 1);
    }

    #[test]
    fn long_lists_put_their_count_first() {
        for count in [0usize, 1, 0xFFFE, 0xFFFF, 70_000] {
            let ids: Vec<u64> = (2..2 + count as u64).collect();
            let mut body = vec![0; stored_bytes(count) - HEADER];
            let header = encode(&ids, &mut body);
            assert_eq!(header == 0xFFFF, count >= 0xFFFF);
            let first = if header == 0xFFFF { 8 } else { 0 };
            let read: Vec<u64> = body[first..].chunks_exact(8).map(|id| u64_at(id, 0)).collect();
            assert_eq!(read, ids);
        }
    }
}
