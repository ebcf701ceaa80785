//! Gives space back while the database is in use.

use crate::{CommitError, Db};

/// Placeholder.
pub(crate) struct Plan;

/// What one step of [`Db::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Pages moved down.
    pub moved: u64,
    /// Bytes cut off the file.
    pub truncated: u64,
    /// Nothing is left that another step could do now.
    pub done: bool,
}

impl Db {
    /// One small step: moves at most `max_pages` pages from the end of the file into free ones in one commit, lowers the
    /// high-water mark over what is free at the end, and cuts the file.
    pub fn reclaim(&self, _max_pages: usize) -> Result<Reclaimed, CommitError> {
        Ok(Reclaimed::default())
    }
}
