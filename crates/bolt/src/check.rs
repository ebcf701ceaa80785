//! The faults that a walk over all pages may find, in bbolt's words.

/// All that a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    pub faults: Vec<Fault>,
}

impl CheckReport {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One fault. Its text is bbolt's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("page {page}: reachable freed")]
    ReachableFreed { page: u64 },
    #[error("page {page}: unreachable unfreed")]
    UnreachableUnfreed { page: u64 },
}
