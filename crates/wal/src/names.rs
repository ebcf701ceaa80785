//! The files of a log and their names.

use std::fmt;
use std::path::Path;

use world::DynDisk;

use crate::WalError;
use crate::error::At;

/// The name of a segment: its number, and the raft index first expected in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    pub sequence: u64,
    pub index: u64,
}

impl SegmentName {
    /// Reads `{sequence:016x}-{index:016x}.wal`.
    pub fn parse(name: &str) -> Option<SegmentName> {
        let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
        Some(SegmentName {
            sequence: parse_hex16(sequence)?,
            index: parse_hex16(index)?,
        })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.index)
    }
}

/// Sixteen lower-case hex digits.
pub(crate) fn parse_hex16(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// The segments in a folder, oldest first. All other names are passed over.
///
/// # Errors
/// If the folder cannot be read.
pub fn segments(disk: &DynDisk, dir: &Path) -> Result<Vec<SegmentName>, WalError> {
    let entries = disk.list(dir).at("list", dir)?;
    let mut names: Vec<SegmentName> = entries.iter().filter_map(|entry| SegmentName::parse(&entry.name)).collect();
    names.sort_unstable();
    Ok(names)
}

/// True if the folder holds a log: at least one name that ends in `.wal`, even a misnamed one. A folder that does not exist holds none.
///
/// # Errors
/// If the folder cannot be read.
pub fn exists(disk: &DynDisk, dir: &Path) -> Result<bool, WalError> {
    if !disk.exists(dir).at("look for", dir)? {
        return Ok(false);
    }
    let entries = disk.list(dir).at("list", dir)?;
    Ok(entries.iter().any(|entry| entry.name.ends_with(".wal")))
}

/// The segments needed to read from a snapshot's index on: from the last whose index is not above it.
pub(crate) fn choose(mut names: Vec<SegmentName>, index: u64, dir: &Path) -> Result<Vec<SegmentName>, WalError> {
    let Some(first) = names.iter().rposition(|name| name.index <= index) else {
        return Err(WalError::FileNotFound {
            index,
            dir: dir.to_owned(),
        });
    };
    let chosen = names.split_off(first);
    for pair in chosen.windows(2) {
        // As in etcd, checked only after a nonzero number.
        if pair[0].sequence != 0 && Some(pair[1].sequence) != pair[0].sequence.checked_add(1) {
            return Err(WalError::NotContinuous {
                before: pair[0].to_string(),
                after: pair[1].to_string(),
            });
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        let name = SegmentName { sequence: 2, index: 0xf0 };
        assert_eq!(name.to_string(), "0000000000000002-00000000000000f0.wal");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for odd in [
            "",
            "0.tmp",
            "zz.txt",
            "0000000000000002-00000000000000f0.wal.broken",
            "0000000000000002-00000000000000F0.wal",
            "2-f0.wal",
        ] {
            assert_eq!(SegmentName::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn reading_starts_at_the_last_segment_not_above_the_snapshot() {
        let name = |sequence, index| SegmentName { sequence, index };
        let dir = Path::new("/wal");
        let names = vec![name(0, 0), name(1, 10), name(2, 20)];
        assert_eq!(choose(names.clone(), 9, dir).unwrap(), names);
        assert_eq!(choose(names.clone(), 10, dir).unwrap(), names[1..]);
        assert_eq!(choose(names.clone(), 1000, dir).unwrap(), names[2..]);
        assert!(matches!(
            choose(names[1..].to_vec(), 9, dir),
            Err(WalError::FileNotFound { index: 9, .. })
        ));
        let hole = vec![name(3, 10), name(5, 20)];
        assert!(matches!(choose(hole, 12, dir), Err(WalError::NotContinuous { .. })));
    }
}
