//! Makes a transaction durable: page images, sync, meta, sync; and only then visible.
//!
//! Until the first write everything can be undone. After a write or sync has failed nobody knows what the file holds, so the
//! database takes no more commits (and is not asked again: an error of fdatasync may be reported once and forgotten).

use std::io;
use std::sync::Arc;

use crate::db::Writer;
use crate::freelist::{self, Run};
use crate::meta::{Meta, NO_FREELIST};
use crate::open::map_size;
use crate::page::{BUCKET_FLAG, BucketHeader, FREELIST, Header, PageId};
use crate::spill::{Segment, Spill};
use crate::tree::{Child, NodeId, Tree};
use crate::version::Version;
use crate::write::{CommitStats, OpenBucket, ROOT, WriteTx};
use crate::{CommitError, PageError, PageFault};

/// bbolt grows files above this size by this much at once.
const GROWTH_BYTES: u64 = 16 << 20;
/// One call writes at most this much: beyond, nothing is gained.
const KEEP_BYTES: usize = 64 << 20;

/// How the pages of a commit are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Long runs first.
    Runs,
    /// The lowest pages first, and the high-water mark falls over what is free below it, to `limit` or lower; else there is no
    /// commit. Pages in `avoid` are not taken.
    Lowest { limit: PageId, avoid: Run },
}

/// A commit whose bytes are ready and whose pages are taken.
struct Prepared {
    meta: Meta,
    segments: Vec<Segment>,
    out: Vec<u8>,
    freed: Vec<Run>,
    taken: Vec<Run>,
}

impl WriteTx<'_> {
    /// Makes the changes durable and visible to new readers: data, sync, meta, sync.
    ///
    /// # Errors
    /// `Page` if the file is damaged where it had to be read: nothing was written. After `Disk` the database is poisoned.
    pub fn commit(self) -> Result<CommitStats, CommitError> {
        let committed = self.commit_placed(Placement::Runs)?;
        Ok(committed.expect("long runs may raise the mark, so there is room"))
    }

    /// `None` if the pages did not fit below the mark where they had to; nothing was done then.
    pub(crate) fn commit_placed(mut self, placement: Placement) -> Result<Option<CommitStats>, CommitError> {
        let handle = Arc::clone(&self.db.handle);
        if let Some(reason) = &self.writer.poisoned {
            let (path, reason) = (handle.path.clone(), reason.clone());
            return Err(CommitError::Poisoned { path, reason });
        }
        let Some(mut prepared) = self.prepare(placement)? else {
            return Ok(None);
        };
        let base = Arc::clone(&self.tree.base);
        let writer: &mut Writer = &mut self.writer;
        let written = write_out(writer, &base, &mut prepared);
        if let Err(error) = &written {
            writer.poisoned = Some(error.to_string());
        }
        let map = written?;
        let meta = prepared.meta;
        writer.freelist.retire(meta.txid, &prepared.freed);
        prepared.taken.iter().for_each(|run| writer.freelist.wrote(meta.txid, run.start));
        writer.older_mark = base.meta.mark;
        let stats = CommitStats {
            txid: meta.txid,
            pages_written: prepared.segments.iter().map(|segment| segment.run.len).sum(),
            writes: prepared.segments.len() as u64,
            pages_freed: prepared.freed.iter().map(|run| run.len).sum(),
        };
        if prepared.out.capacity() <= KEEP_BYTES {
            writer.out = prepared.out;
        }
        self.db.publish(writer, Arc::new(Version { meta, map, handle }));
        self.db.note_free_pages(writer);
        Ok(Some(stats))
    }

    /// Lays out all pages. On an error, and if they do not fit, nothing is taken.
    fn prepare(&mut self, placement: Placement) -> Result<Option<Prepared>, PageError> {
        let base = Arc::clone(&self.tree.base);
        let sync_freelist = self.db.options.freelist_sync;
        let writer: &mut Writer = &mut self.writer;
        let out = std::mem::take(&mut writer.out);
        let mut to = Spill::new(&mut writer.freelist, base.handle.page_size, base.meta.mark, out);
        if let Placement::Lowest { avoid, .. } = placement {
            to.lowest = Some(avoid);
            to.lower_mark();
        }
        let mut trees = Trees {
            tree: &mut self.tree,
            buckets: &mut self.buckets,
            path: Vec::new(),
        };
        let laid_out = trees.lay_out(&mut to, sync_freelist);
        let (root, freelist) = match laid_out {
            Ok(pages) => pages,
            Err(error) => {
                to.undo();
                return Err(error);
            }
        };
        to.give_back_rest();
        if matches!(placement, Placement::Lowest { limit, .. } if to.mark > limit) {
            to.undo();
            return Ok(None);
        }
        let meta = Meta {
            root,
            root_sequence: self.buckets[ROOT].sequence,
            freelist,
            mark: to.mark,
            txid: base.meta.txid + 1,
            page_size: base.meta.page_size,
        };
        Ok(Some(Prepared {
            meta,
            freed: std::mem::take(&mut self.tree.freed),
            taken: std::mem::take(&mut to.taken),
            segments: std::mem::take(&mut to.segments),
            out: std::mem::take(&mut to.out),
        }))
    }
}

/// The trees of a transaction on their way to pages.
struct Trees<'t> {
    tree: &'t mut Tree,
    buckets: &'t mut Vec<OpenBucket>,
    path: Vec<(NodeId, usize)>,
}

impl Trees<'_> {
    /// Lays out all changed buckets and the free list; returns the pages of the root and of the list.
    fn lay_out(&mut self, to: &mut Spill<'_>, sync_freelist: bool) -> Result<(PageId, PageId), PageError> {
        self.spill_bucket(ROOT, to)?;
        let Child::Page(root) = self.buckets[ROOT].root else {
            unreachable!("the root was laid out")
        };
        let old_list = self.tree.base.meta.freelist;
        if old_list != NO_FREELIST {
            let (header, _) = self.tree.base.raw(old_list)?;
            let len = u64::from(header.overflow) + 1;
            self.tree.freed.push(Run { start: old_list, len });
        }
        self.check_freed(to)?;
        let list = if sync_freelist {
            lay_out_freelist(to, &self.tree.freed)
        } else {
            NO_FREELIST
        };
        Ok((root, list))
    }

    /// Lays out a bucket and those nested in it. Returns its new value for its parent if it changed.
    fn spill_bucket(&mut self, at: usize, to: &mut Spill<'_>) -> Result<Option<Vec<u8>>, PageError> {
        let nested: Vec<(Vec<u8>, usize)> = self.buckets[at].children.iter().map(|(name, id)| (name.clone(), *id)).collect();
        for (name, id) in nested {
            if let Some(value) = self.spill_bucket(id, to)? {
                let bucket = &mut self.buckets[at];
                self.tree.path_to(&mut bucket.root, &name, &mut self.path)?;
                let entry = self.tree.keep(&name, &value, BUCKET_FLAG);
                self.tree.insert(&mut bucket.root, &self.path, entry);
                bucket.dirty = true;
            }
        }
        let bucket = &mut self.buckets[at];
        if !bucket.dirty {
            // Nodes that were made and not changed keep the pages they were made from.
            if let Child::Node(node) = bucket.root {
                bucket.root = self.tree.nodes[node].page.map_or(bucket.root, |run| Child::Page(run.start));
            }
            return Ok(None);
        }
        bucket.dirty = false;
        let (fill, sequence) = (bucket.fill, bucket.sequence);
        if let Child::Node(root) = bucket.root {
            let root = self.tree.rebalance(root, fill)?;
            if at != ROOT
                && let Some(value) = self.tree.inline_value(root, sequence)
            {
                self.tree.discard(root);
                return Ok(Some(value));
            }
            bucket.root = Child::Page(self.tree.spill(root, fill, to));
        }
        let Child::Page(root) = bucket.root else {
            unreachable!("a root is a node or a page")
        };
        Ok(Some(BucketHeader { root, sequence }.encode().to_vec()))
    }

    /// In a sound file each page given up was in use, once. If not, two parents share it, and giving it to a third would
    /// lose data.
    fn check_freed(&mut self, to: &Spill<'_>) -> Result<(), PageError> {
        let mut taken: Vec<Run> = to.taken.clone();
        taken.sort_unstable();
        self.tree.freed.sort_unstable();
        let mut end = 2;
        for run in &self.tree.freed {
            let after = taken.partition_point(|taken| taken.start < run.start + run.len);
            let retaken = after
                .checked_sub(1)
                .is_some_and(|last| taken[last].start + taken[last].len > run.start);
            if run.start < end || retaken || !to.freelist.is_in_use(*run) {
                return Err(self.tree.base.fault(run.start, PageFault::AlreadyFreed));
            }
            end = run.start + run.len;
        }
        Ok(())
    }
}

fn lay_out_freelist(to: &mut Spill<'_>, freed: &[Run]) -> PageId {
    to.give_back_rest();
    let freed_pages: u64 = freed.iter().map(|run| run.len).sum();
    // The list's own pages may come out of it, so it can only become shorter than this.
    let most = to.freelist.free_pages() + to.freelist.pending_pages() + freed_pages;
    let bytes = freelist::stored_bytes(usize::try_from(most).expect("a list of pages in memory"));
    let page_size = to.page_size;
    let (id, image) = to.place(bytes, 1);
    let overflow = (image.len() / page_size - 1) as u32;
    to.give_back_rest();
    let mut ids = to.freelist.all();
    ids.extend(freed.iter().flat_map(|run| run.start..run.start + run.len));
    ids.sort_unstable();
    let image = to.last_image(bytes.div_ceil(page_size));
    let count = freelist::encode(&ids, &mut image[crate::page::HEADER..]);
    let header = Header {
        id,
        flags: FREELIST,
        count,
        overflow,
    };
    header.encode(image);
    id
}

/// Writes and syncs the pages, then the meta. Returns the map for the new commit.
fn write_out(writer: &mut Writer, base: &Version, prepared: &mut Prepared) -> Result<Arc<dyn world::Map>, CommitError> {
    let handle = &base.handle;
    let page_size = handle.page_size as u64;
    let failed = |action, offset| {
        move |source: io::Error| CommitError::Disk {
            path: handle.path.clone(),
            action,
            offset,
            source,
        }
    };
    let meta = &prepared.meta;
    let used = meta.mark * page_size;
    let map = match map_size(used + page_size) {
        size if size > base.map.len() && used + page_size > base.map.len() as u64 => handle.file.map(size).map_err(failed("map", 0))?,
        _ => Arc::clone(&base.map),
    };
    if used > writer.file_len {
        let len = match map.len() as u64 {
            small if small <= GROWTH_BYTES => small,
            _ => used + page_size + GROWTH_BYTES,
        };
        handle.file.set_len(len).map_err(failed("extend", len))?;
        writer.file_len = len;
    }
    prepared.segments.sort_unstable_by_key(|segment| segment.run.start);
    for segment in &prepared.segments {
        let (offset, len) = (segment.run.start * page_size, segment.run.len as usize * handle.page_size);
        let bytes = &prepared.out[segment.at..segment.at + len];
        handle.file.write_at(bytes, offset).map_err(failed("write", offset))?;
    }
    handle.file.sync_data().map_err(failed("sync of data", 0))?;
    let mut page = vec![0; handle.page_size];
    meta.encode(meta.page(), &mut page);
    let offset = meta.page() * page_size;
    handle.file.write_at(&page, offset).map_err(failed("write of a meta", offset))?;
    handle.file.sync_data().map_err(failed("sync of a meta", offset))?;
    Ok(map)
}
