//! The faults that a walk over all pages may find, in bbolt's words, and the check of a whole file.

use std::fmt;

use crate::freelist::stored;
use crate::meta::{META_BYTES, NO_FREELIST};
use crate::page::{Header, META};
use crate::version::Version;
use crate::walk::{Keep, PageSet, Walk};
use crate::{PageError, PageFault};

/// All that a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// In the order they were found, at most [`CheckReport::MAX_FAULTS`].
    pub faults: Vec<Fault>,
    pub pages: PageCounts,
    /// The free pages in ascending order: stored with this commit (those still pending then included), or found by the walk.
    pub free: Vec<u64>,
}

impl CheckReport {
    /// A file may be all faults; nobody reads more than these.
    pub const MAX_FAULTS: usize = 10_000;

    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// How many pages of each kind the walk has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    pub branch: u64,
    pub leaf: u64,
    pub freelist: u64,
    /// Continuations of the others.
    pub overflow: u64,
}

/// One fault. Its text is bbolt's where bbolt has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("page {page}: already freed")]
    AlreadyFreed { page: u64 },
    #[error("page {page}: out of bounds: {mark} (stack: {stack})")]
    OutOfBounds { page: u64, mark: u64, stack: Stack },
    #[error("page {page}: multiple references (stack: {stack})")]
    MultipleReferences { page: u64, stack: Stack },
    #[error("page {page}: reachable freed")]
    ReachableFreed { page: u64 },
    #[error("page {page}: unreachable unfreed")]
    UnreachableUnfreed { page: u64 },
    #[error("page {page}: invalid type: {kind} (stack: {stack})")]
    InvalidType { page: u64, kind: String, stack: Stack },
    #[error("unexpected page type (flags: {flags:x}) for pgId:{page}")]
    UnexpectedType { page: u64, flags: u16 },
    /// Page 0 or 1 does not say that it is a meta.
    #[error("page {page}: has unexpected type/flags: {flags:x}")]
    MetaType { page: u64, flags: u16 },
    #[error("the first key[0]=(hex){key} on {kind} page({page}) needs to be >= the key in the ancestor ({ancestor}). Stack: {stack}")]
    FirstKeyTooLow {
        page: u64,
        kind: &'static str,
        key: Hex,
        ancestor: Hex,
        stack: Stack,
    },
    #[error(
        "key[{index}]=(hex){key} on {kind} page({page}) needs to be > (found {found}) than previous element (hex){previous}. Stack: {stack}"
    )]
    KeyOrder {
        page: u64,
        kind: &'static str,
        index: usize,
        key: Hex,
        found: char,
        previous: Hex,
        stack: Stack,
    },
    #[error(
        "key[{index}]=(hex){key} on {kind} page({page}) needs to be < than key of the next element in ancestor (hex){next}. Pages stack: {stack}"
    )]
    KeyTooHigh {
        page: u64,
        kind: &'static str,
        index: usize,
        key: Hex,
        next: Hex,
        stack: Stack,
    },
    #[error("key[{index}] on leaf page({page}) is empty")]
    EmptyKey { page: u64, index: usize },
    /// A page that cannot be read as what it should be.
    #[error("page {page}: {fault} (stack: {stack})")]
    Page { page: u64, fault: PageFault, stack: Stack },
    #[error("page {page}: {text}")]
    Unreadable { page: u64, text: String },
}

/// Bytes shown in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The pages from a bucket's root down to where a fault is, shown as Go shows a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack(pub Vec<u64>);

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, page) in self.0.iter().enumerate() {
            write!(f, "{}{page}", if index > 0 { " " } else { "" })?;
        }
        f.write_str("]")
    }
}

/// Checks the metas, the stored free list, every page that the tree reaches, and that no page is lost.
pub(crate) fn check(version: &Version) -> CheckReport {
    let mut report = CheckReport::default();
    check_metas(version, &mut report.faults);
    let mark = version.meta.mark;
    let freed = stored_free_pages(version, &mut report);
    let mut walk = Walk::new(version, freed.as_ref(), |fault| {
        report.faults.push(fault);
        if report.faults.len() < CheckReport::MAX_FAULTS {
            Keep::Going
        } else {
            Keep::Stop
        }
    });
    if version.meta.freelist != NO_FREELIST {
        walk.mark_freelist(version.meta.freelist);
    }
    walk.tree();
    let (reached, pages, finished) = walk.finish();
    report.pages = pages;
    match freed {
        None => report.free = reached.gaps(2, mark).flat_map(|(start, len)| start..start + len).collect(),
        Some(freed) if finished => {
            let lost = reached
                .gaps(2, mark)
                .flat_map(|(start, len)| start..start + len)
                .filter(|page| !freed.contains(*page));
            let room = CheckReport::MAX_FAULTS - report.faults.len();
            report.faults.extend(lost.take(room).map(|page| Fault::UnreachableUnfreed { page }));
        }
        Some(_) => {}
    }
    report
}

/// The metas are read by way of the file: the writer may be at one of them, and the map must not be looked at while it is.
fn check_metas(version: &Version, faults: &mut Vec<Fault>) {
    for page in 0..2 {
        let mut bytes = [0; META_BYTES];
        if let Err(error) = version
            .handle
            .file
            .read_exact_at(&mut bytes, page * version.handle.page_size as u64)
        {
            faults.push(Fault::Unreadable {
                page,
                text: error.to_string(),
            });
            continue;
        }
        let header = Header::decode(&bytes);
        if header.flags != META {
            faults.push(Fault::MetaType { page, flags: header.flags });
        } else if header.id != page {
            let fault = PageFault::WrongId {
                expected: page,
                found: header.id,
            };
            faults.push(Fault::Page {
                page,
                fault,
                stack: Stack(Vec::new()),
            });
        }
    }
}

/// The set of stored free pages; `None` if this file does not store them.
fn stored_free_pages(version: &Version, report: &mut CheckReport) -> Option<PageSet> {
    if version.meta.freelist == NO_FREELIST {
        return None;
    }
    let mut freed = PageSet::new(version.meta.mark);
    match stored(version) {
        Err(error) => report.faults.push(page_fault(&error, &[])),
        Ok(ids) => {
            for page in ids {
                if page >= version.meta.mark {
                    let (mark, stack) = (version.meta.mark, Stack(Vec::new()));
                    report.faults.push(Fault::OutOfBounds { page, mark, stack });
                } else if freed.insert(page) {
                    report.faults.push(Fault::AlreadyFreed { page });
                } else {
                    report.free.push(page);
                }
                if report.faults.len() >= CheckReport::MAX_FAULTS {
                    break;
                }
            }
        }
    }
    report.free.sort_unstable();
    Some(freed)
}

/// An unreadable page as a fault of the check.
pub(crate) fn page_fault(error: &PageError, stack: &[u64]) -> Fault {
    let (page, stack) = (error.page(), Stack(stack.to_vec()));
    match error.fault() {
        PageFault::OutOfBounds { mark } => Fault::OutOfBounds { page, mark: *mark, stack },
        fault => Fault::Page {
            page,
            fault: fault.clone(),
            stack,
        },
    }
}
