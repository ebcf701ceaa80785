//! Opens and creates database files: lock, metas, size, map, free pages.

use std::io;
use std::path::Path;
use std::sync::Arc;

use world::{DiskFile, DynDisk, OpenMode};

use crate::check::Fault;
use crate::db::{Db, Options, Verify};
use crate::freelist::{Freelist, Run, stored};
use crate::meta::{META_BYTES, Meta, MetaFault, NO_FREELIST};
use crate::page::{FREELIST, Header, LEAF, MAX_PAGE_SIZE, MIN_PAGE_SIZE};
use crate::version::{FileHandle, Version};
use crate::walk::{Keep, PageSet, Walk};
use crate::{OpenError, PageFault};

/// Go reads this much to look for a meta; a shorter file has none for it.
pub(crate) const PROBE_BYTES: u64 = 4096;
/// A new file: two metas, an empty free list, an empty root.
const FRESH_PAGES: usize = 4;
/// A disk may tear a write between these.
const SECTOR: usize = 512;

impl Db {
    /// Opens or creates the database at `path`.
    ///
    /// # Errors
    /// `Locked` at once if another process has it; the others tell what is wrong with the file.
    pub fn open(disk: &DynDisk, path: &Path, options: Options) -> Result<Db, OpenError> {
        let fresh_page_size = options.page_size.unwrap_or_else(|| disk.page_size());
        check_page_size(path, fresh_page_size as u64)?;
        let mode = if options.read_only {
            OpenMode::Read
        } else {
            OpenMode::CreateIfMissing(0o600)
        };
        let file = disk.open(path, mode).map_err(at(path, "open"))?;
        if !file.try_flock(!options.read_only).map_err(at(path, "lock"))? {
            return Err(OpenError::Locked);
        }
        if !options.read_only {
            create_if_new(disk, path, &*file, fresh_page_size)?;
        }
        let len = file.len().map_err(at(path, "length"))?;
        let found = find_metas(path, &*file, len, disk.page_size())?;
        let meta = found.current;
        let used = meta.mark.saturating_mul(u64::from(meta.page_size));
        // The rest of the last page of memory reads as zeros under a map, so Go opens a file that lacks less than that.
        let readable = len.next_multiple_of(disk.page_size() as u64);
        if used > readable || meta.mark < 2 || usize::try_from(used).is_err() {
            let (path, size, needed) = (path.to_owned(), len, used);
            return Err(OpenError::TooSmall { path, size, needed });
        }
        if used > len && !options.read_only {
            file.set_len(used).map_err(at(path, "extend"))?;
        }
        let len = if options.read_only { len } else { len.max(used) };
        let map_len = options.initial_map.max(map_size(used.max(len)));
        let map = file.map(map_len).map_err(at(path, "map"))?;
        let handle = Arc::new(FileHandle {
            file,
            path: path.to_owned(),
            page_size: meta.page_size as usize,
        });
        let version = Arc::new(Version { meta, map, handle });
        let walked = if options.verify == Verify::Always || (meta.freelist == NO_FREELIST && !options.read_only) {
            Some(walk(&version)?)
        } else {
            None
        };
        let freelist = if options.read_only {
            Freelist::default()
        } else {
            load_freelist(&version, walked)?
        };
        Ok(Db::assemble(version, freelist, options, len, found.older_mark))
    }
}

fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Disk { path, action, source }
}

fn check_page_size(path: &Path, size: u64) -> Result<(), OpenError> {
    if size.is_power_of_two() && (MIN_PAGE_SIZE as u64..=MAX_PAGE_SIZE as u64).contains(&size) {
        return Ok(());
    }
    let path = path.to_owned();
    Err(OpenError::PageSize { path, size })
}

/// bbolt's steps: doubling from 32 KiB to 1 GiB, then by 1 GiB.
pub(crate) fn map_size(bytes: u64) -> usize {
    const GIB: u64 = 1 << 30;
    let size = match bytes {
        0..=GIB => bytes.max(32 << 10).next_power_of_two(),
        _ => bytes.next_multiple_of(GIB),
    };
    usize::try_from(size).expect("a file that fits the address space")
}

/// What a new file holds.
fn fresh_image(page_size: usize) -> Vec<u8> {
    let mut image = vec![0; FRESH_PAGES * page_size];
    for (page, bytes) in image.chunks_exact_mut(page_size).enumerate() {
        let id = page as u64;
        let meta = Meta {
            page_size: page_size as u32,
            root: 3,
            root_sequence: 0,
            freelist: 2,
            mark: FRESH_PAGES as u64,
            txid: id,
        };
        match page {
            0 | 1 => meta.encode(id, bytes),
            _ => Header {
                id,
                flags: if page == 2 { FREELIST } else { LEAF },
                count: 0,
                overflow: 0,
            }
            .encode(bytes),
        }
    }
    image
}

/// Writes a new file if there is none yet, or if a power cut ended the writing of one: then each sector is either still zero or
/// as a new file has it, and nobody has stored anything in it.
fn create_if_new(disk: &DynDisk, path: &Path, file: &dyn DiskFile, page_size: usize) -> Result<(), OpenError> {
    let image = fresh_image(page_size);
    let len = file.len().map_err(at(path, "length"))?;
    if len > image.len() as u64 {
        return Ok(());
    }
    let mut found = vec![0; len as usize];
    file.read_exact_at(&mut found, 0).map_err(at(path, "read"))?;
    if found == image {
        return Ok(());
    }
    let torn = found
        .chunks(SECTOR)
        .zip(image.chunks(SECTOR))
        .all(|(found, fresh)| found == &fresh[..found.len()] || found.iter().all(|byte| *byte == 0));
    if !torn {
        return Ok(());
    }
    file.write_at(&image, 0).map_err(at(path, "write"))?;
    file.sync_data().map_err(at(path, "sync"))?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => disk.sync_dir(parent).map_err(at(parent, "sync")),
        _ => Ok(()),
    }
}

struct Found {
    current: Meta,
    /// The mark of the meta that is not current; that meta must stay readable too.
    older_mark: u64,
}

/// Reads both metas and takes the newer valid one, as Go does.
fn find_metas(path: &Path, file: &dyn DiskFile, len: u64, default_page_size: usize) -> Result<Found, OpenError> {
    let page_size = find_page_size(path, file, len, default_page_size)?;
    if len < 2 * page_size {
        let (path, needed) = (path.to_owned(), 2 * page_size);
        return Err(OpenError::TooSmall { path, size: len, needed });
    }
    let first = read_meta(path, file, 0)?;
    let second = read_meta(path, file, page_size)?;
    let (current, other) = match (first, second) {
        (Ok(first), Ok(second)) if first.txid > second.txid => (first, Ok(second)),
        (first, Ok(second)) => (second, first),
        (Ok(first), second) => (first, second),
        (Err(fault), Err(_)) => {
            let (path, offset) = (path.to_owned(), 0);
            return Err(match fault {
                MetaFault::Magic => OpenError::Invalid { path, offset },
                MetaFault::Version(found) => OpenError::VersionMismatch { path, offset, found },
                MetaFault::Checksum => OpenError::Checksum { path, offset },
            });
        }
    };
    check_page_size(path, u64::from(current.page_size))?;
    if u64::from(current.page_size) != page_size {
        let (path, offset) = (path.to_owned(), 0);
        return Err(OpenError::Invalid { path, offset });
    }
    let older_mark = other.map_or(current.mark, |meta| meta.mark);
    Ok(Found { current, older_mark })
}

/// The page size as page 0 says; if that is no meta, as the first of the places says where page 1 may be.
fn find_page_size(path: &Path, file: &dyn DiskFile, len: u64, default_page_size: usize) -> Result<u64, OpenError> {
    if len < PROBE_BYTES {
        let (path, offset) = (path.to_owned(), 0);
        return Err(OpenError::Invalid { path, offset });
    }
    let places = [0].into_iter().chain((0..=14).map(|shift| (MIN_PAGE_SIZE as u64) << shift));
    for offset in places.take_while(|offset| *offset + MIN_PAGE_SIZE as u64 <= len) {
        if let Ok(meta) = read_meta(path, file, offset)? {
            check_page_size(path, u64::from(meta.page_size))?;
            return Ok(u64::from(meta.page_size));
        }
    }
    Ok(default_page_size as u64)
}

fn read_meta(path: &Path, file: &dyn DiskFile, offset: u64) -> Result<Result<Meta, MetaFault>, OpenError> {
    let mut bytes = [0; META_BYTES];
    file.read_exact_at(&mut bytes, offset).map_err(at(path, "read"))?;
    Ok(Meta::decode(&bytes))
}

/// Walks the whole tree and refuses the file at any fault, as Go does when it has no stored list. Returns the pages reached.
fn walk(version: &Version) -> Result<PageSet, OpenError> {
    version.map.advise_sequential(true);
    let mut faults: Vec<Fault> = Vec::new();
    let mut walk = Walk::new(version, None, |fault| {
        faults.push(fault);
        if faults.len() < 100 { Keep::Going } else { Keep::Stop }
    });
    if version.meta.freelist != NO_FREELIST {
        walk.mark_freelist(version.meta.freelist);
    }
    walk.tree();
    let (reached, ..) = walk.finish();
    version.map.advise_sequential(false);
    match faults.first() {
        None => Ok(reached),
        Some(first) => Err(OpenError::Faulty {
            path: version.handle.path.clone(),
            count: faults.len(),
            first: first.to_string(),
        }),
    }
}

fn load_freelist(version: &Version, walked: Option<PageSet>) -> Result<Freelist, OpenError> {
    let mark = version.meta.mark;
    if version.meta.freelist == NO_FREELIST {
        let reached = walked.expect("a file without a stored list was walked");
        return Ok(Freelist::from_runs(reached.gaps(2, mark).map(|(start, len)| Run { start, len })));
    }
    let mut ids = stored(version)?;
    ids.sort_unstable();
    ids.dedup();
    if let Some(wrong) = ids.iter().find(|id| **id < 2 || **id >= mark) {
        let text = format!("lists page {wrong} as free, and the high-water mark is {mark}");
        return Err(version.fault(version.meta.freelist, PageFault::Other(text)).into());
    }
    Ok(Freelist::from_runs(ids.into_iter().map(|start| Run { start, len: 1 })))
}
