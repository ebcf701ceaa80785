//! From records to what raft starts with: metadata, hard state, entries. Reading only.

use std::path::Path;

use api::pb::raftpb::{Entry, EntryType, HardState};
use api::pb::walpb;
use bytes::Bytes;
use prost::Message;
use world::DynDisk;

use crate::WalError;
use crate::codec::kind;
use crate::names::{choose, segments};
use crate::records::{Record, Records};

/// What reading found, without changing anything.
#[derive(Clone, Debug)]
pub struct ReadOutcome {
    pub metadata: Option<Bytes>,
    pub hard_state: HardState,
    /// Those with an index above the start's, without gap.
    pub entries: Vec<Entry>,
    /// Whether the start snapshot has a record. Etcd insists on it when it only reads, and not when it goes on writing.
    pub start_found: bool,
    pub end: End,
}

/// Where and why reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The name of the last file read.
    pub file: String,
    /// The end of its last good record.
    pub offset: u64,
    /// `None`: a clean end. Else what is wrong there: the file ends inside a record, or a power cut tore it.
    pub torn: Option<String>,
}

/// Reads a log without changing or locking anything. A torn end of the last segment is no error.
///
/// # Errors
/// Damage, and what the disk says; the text names file and offset.
pub fn read(disk: &DynDisk, dir: &Path, start: &walpb::Snapshot) -> Result<ReadOutcome, WalError> {
    let names = choose(segments(disk, dir)?, start.index.unwrap_or(0), dir)?;
    let mut records = Records::open(disk, dir, &names)?;
    let mut replay = Replay::new(start);
    let torn = replay.run(&mut records)?;
    let (file, offset) = records.position();
    Ok(ReadOutcome {
        metadata: replay.metadata,
        hard_state: replay.hard_state,
        entries: replay.entries,
        start_found: replay.start_found,
        end: End {
            file: records.file_name(file),
            offset,
            torn,
        },
    })
}

/// The snapshot records of all segments, in file order, that raft may start from: those not above the last committed index. The last
/// one is the disk snapshot that 3.7 starts from.
///
/// # Errors
/// As [`read`]; also if there is no segment.
pub fn valid_snapshots(disk: &DynDisk, dir: &Path) -> Result<Vec<walpb::Snapshot>, WalError> {
    let names = segments(disk, dir)?;
    if names.is_empty() {
        return Err(WalError::FileNotFound {
            index: 0,
            dir: dir.to_owned(),
        });
    }
    let mut records = Records::open(disk, dir, &names)?;
    let mut snapshots: Vec<walpb::Snapshot> = Vec::new();
    let mut commit = 0;
    while let Some(record) = next_or_torn(&mut records)?.0 {
        match record.kind {
            kind::SNAPSHOT => snapshots.push(decode("a snapshot record", &record, &records)?),
            kind::HARD_STATE => {
                let state: HardState = decode("a hard state", &record, &records)?;
                commit = state.commit.unwrap_or(0);
            }
            _ => {}
        }
    }
    snapshots.retain(|snapshot| snapshot.index.unwrap_or(0) <= commit);
    Ok(snapshots)
}

/// The next record. The second is set instead if the last segment ends torn.
fn next_or_torn(records: &mut Records) -> Result<(Option<Record>, Option<String>), WalError> {
    match records.next() {
        Ok(record) => Ok((record, None)),
        Err(WalError::UnexpectedEof { detail, .. }) if records.in_last_file() => Ok((None, Some(detail))),
        Err(error) => Err(error),
    }
}

fn decode<M: Message + Default>(what: &'static str, record: &Record, records: &Records) -> Result<M, WalError> {
    M::decode(record.data.clone()).map_err(|error| WalError::Undecodable {
        what,
        detail: error.to_string(),
        file: records.file_name(record.file),
        offset: record.offset,
    })
}

/// Gathers what the records say, in file order.
pub(crate) struct Replay {
    start_index: u64,
    start_term: u64,
    pub(crate) metadata: Option<Bytes>,
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    pub(crate) start_found: bool,
    /// The index of the last entry record, even one at or below the start.
    pub(crate) last_index: u64,
}

impl Replay {
    pub(crate) fn new(start: &walpb::Snapshot) -> Replay {
        Replay {
            start_index: start.index.unwrap_or(0),
            start_term: start.term.unwrap_or(0),
            metadata: None,
            hard_state: HardState::default(),
            entries: Vec::new(),
            start_found: false,
            last_index: 0,
        }
    }

    /// Reads to the end; gives what is wrong with it if the last segment ends torn.
    pub(crate) fn run(&mut self, records: &mut Records) -> Result<Option<String>, WalError> {
        loop {
            match next_or_torn(records)? {
                (Some(record), _) => self.feed(&record, records)?,
                (None, torn) => return Ok(torn),
            }
        }
    }

    fn feed(&mut self, record: &Record, records: &Records) -> Result<(), WalError> {
        let here = || (records.file_name(record.file), record.offset);
        match record.kind {
            kind::CRC => {}
            kind::METADATA => match &self.metadata {
                Some(first) if *first != record.data => {
                    let (file, offset) = here();
                    return Err(WalError::MetadataConflict { file, offset });
                }
                _ => self.metadata = Some(record.data.clone()),
            },
            kind::ENTRY => self.entry(record, records)?,
            kind::HARD_STATE => self.hard_state = decode("a hard state", record, records)?,
            kind::SNAPSHOT => {
                let snapshot: walpb::Snapshot = decode("a snapshot record", record, records)?;
                let (index, term) = (snapshot.index.unwrap_or(0), snapshot.term.unwrap_or(0));
                if index == self.start_index {
                    if term != self.start_term {
                        let (file, offset) = here();
                        return Err(WalError::SnapshotMismatch {
                            index,
                            wanted: self.start_term,
                            found: term,
                            file,
                            offset,
                        });
                    }
                    self.start_found = true;
                }
            }
            kind => {
                let (file, offset) = here();
                return Err(WalError::UnknownRecord { kind, file, offset });
            }
        }
        Ok(())
    }

    /// An index already there is replaced, with everything after it: raft overwrote its tail.
    fn entry(&mut self, record: &Record, records: &Records) -> Result<(), WalError> {
        let mut entry: Entry = decode("an entry", record, records)?;
        // 3.7 leaves out what is zero; whoever gets the entry from us may be a 3.5, which does not.
        let index = *entry.index.get_or_insert(0);
        let term = *entry.term.get_or_insert(0);
        let kind = *entry.r#type.get_or_insert(0);
        if EntryType::try_from(kind).is_err() {
            // The checksum does not cover a record's type: this may be a hard state whose type byte has rotted.
            return Err(WalError::Undecodable {
                what: "an entry",
                detail: format!("there is no entry type {kind}"),
                file: records.file_name(record.file),
                offset: record.offset,
            });
        }
        self.last_index = index;
        if index <= self.start_index {
            return Ok(());
        }
        let position = index - self.start_index - 1;
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if position > self.entries.len() {
            return Err(WalError::Gap {
                start_index: self.start_index,
                start_term: self.start_term,
                index,
                term,
                entries: self.entries.len(),
                file: records.file_name(record.file),
                offset: record.offset,
            });
        }
        self.entries.truncate(position);
        self.entries.push(entry);
        Ok(())
    }
}
