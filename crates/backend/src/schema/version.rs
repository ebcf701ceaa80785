//! The storage version: which etcd the content of the database is made for (data-dir contract 6.4).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{STORAGE_VERSION, TERM};
use crate::{BackendError, Batch, Bucket, ReadView};

/// Major and minor; the patch is always 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageVersion {
    pub major: u32,
    pub minor: u32,
}

impl StorageVersion {
    pub const V3_5: StorageVersion = StorageVersion { major: 3, minor: 5 };
    pub const V3_6: StorageVersion = StorageVersion { major: 3, minor: 6 };
    pub const V3_7: StorageVersion = StorageVersion { major: 3, minor: 7 };
    /// What this server writes.
    pub const OWN: StorageVersion = StorageVersion::V3_7;
}

impl fmt::Display for StorageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

impl FromStr for StorageVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<StorageVersion, ()> {
        let mut parts = text.splitn(3, '.').map(|p| p.split(['-', '+']).next().unwrap_or(p).parse::<u32>());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) => Ok(StorageVersion { major, minor }),
            _ => Err(()),
        }
    }
}

/// Why a database cannot be used by this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("version \"{0}\" is not supported")]
    Unsupported(StorageVersion),
    #[error("storage version {0:?} is not a version")]
    Malformed(String),
    #[error("storage version is not known yet: wait for a snapshot of the log")]
    Unknown,
}

/// The storage version of a database; `None` if nothing in it tells (a new one, or one older than 3.5's first snapshot).
pub fn detect(view: &ReadView) -> Result<Option<StorageVersion>, BackendError> {
    if let Some(text) = view.get(Bucket::Meta, STORAGE_VERSION)? {
        let text = String::from_utf8_lossy(&text);
        let version = text.parse().map_err(|()| VersionError::Malformed(text.into_owned()))?;
        return Ok(Some(version));
    }
    // 3.5 writes no version, but it is the first that writes the term.
    Ok(view.get(Bucket::Meta, TERM)?.map(|_| StorageVersion::V3_5))
}

/// Refuses databases that this server must not touch: made for 3.8 or newer, or for something before 3.5.
pub fn check(view: &ReadView) -> Result<Option<StorageVersion>, BackendError> {
    let version = detect(view)?;
    match version {
        Some(v) if !(StorageVersion::V3_5..=StorageVersion::OWN).contains(&v) => Err(VersionError::Unsupported(v).into()),
        _ => Ok(version),
    }
}

/// Adds the migration of the database from `current` to `target` to a batch; false if there is nothing to do. Whether a lower
/// version is allowed is for the caller to find out first: the log may hold entries that it cannot read.
pub fn set_storage_version(batch: &mut Batch, current: Option<StorageVersion>, target: StorageVersion) -> Result<bool, VersionError> {
    let current = current.ok_or(VersionError::Unknown)?;
    if current == target {
        return Ok(false);
    }
    if !(StorageVersion::V3_5..=StorageVersion::OWN).contains(&target) {
        return Err(VersionError::Unsupported(target));
    }
    if target == StorageVersion::V3_5 {
        batch.delete(Bucket::Meta, STORAGE_VERSION);
    } else {
        batch.put(Bucket::Meta, STORAGE_VERSION, Bytes::from(target.to_string()));
    }
    Ok(true)
}
