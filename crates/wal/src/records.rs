//! Reads records one by one, through all segments, checking frames and the running checksum. Changes nothing.
//!
//! A zero length field, or the end of a file, ends a segment. In the last segment a record that the file is too short for, and one
//! whose checksum fails while one of its 512-byte sectors is all zero, is what a power cut leaves: `UnexpectedEof`
//! (`contract/data-dir.md` 2.6).

use std::path::Path;

use api::pb::walpb;
use bytes::Bytes;
use prost::Message;
use world::{DiskFile, DynDisk, OpenMode};

use crate::WalError;
use crate::codec::{FRAME_BYTES, Frame, kind};
use crate::error::At;
use crate::names::SegmentName;

/// The unit a disk writes whole.
const SECTOR: u64 = 512;
/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// One record and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// See [`kind`].
    pub kind: i64,
    /// The running checksum after this record's data, as written in it.
    pub crc: u32,
    pub data: Bytes,
    /// Which of the files read, see [`Records::file_name`].
    pub file: usize,
    /// Where its frame begins.
    pub offset: u64,
    /// The record's bytes without length field and padding.
    pub len: u64,
    pub pad: u64,
}

/// Segments open for reading.
pub struct Records {
    files: Vec<(SegmentName, Box<dyn DiskFile>)>,
    /// The file being read, its size, and the end of its last good record.
    current: usize,
    size: u64,
    offset: u64,
    crc: u32,
    /// The bytes of the file from `chunk_start` on.
    chunk: Vec<u8>,
    chunk_start: u64,
    done: bool,
}

impl Records {
    /// Opens these segments for reading, without locks.
    ///
    /// # Errors
    /// If one cannot be opened.
    pub fn open(disk: &DynDisk, dir: &Path, names: &[SegmentName]) -> Result<Records, WalError> {
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let path = dir.join(name.to_string());
            files.push((*name, disk.open(&path, OpenMode::Read).at("open", &path)?));
        }
        Records::over(files)
    }

    /// Reads files that are open already; at least one.
    pub(crate) fn over(files: Vec<(SegmentName, Box<dyn DiskFile>)>) -> Result<Records, WalError> {
        assert!(!files.is_empty(), "a log without a segment");
        let mut records = Records {
            files,
            current: 0,
            size: 0,
            offset: 0,
            crc: 0,
            chunk: Vec::new(),
            chunk_start: 0,
            done: false,
        };
        records.enter(0)?;
        Ok(records)
    }

    pub(crate) fn into_files(self) -> Vec<(SegmentName, Box<dyn DiskFile>)> {
        self.files
    }

    /// The name of a file read.
    pub fn file_name(&self, file: usize) -> String {
        self.files[file].0.to_string()
    }

    /// The file being read (counted from 0) and the end of its last good record.
    pub fn position(&self) -> (usize, u64) {
        (self.current, self.offset)
    }

    /// Whether the last segment is being read: only there a torn record is what a power cut leaves.
    pub fn in_last_file(&self) -> bool {
        self.current + 1 == self.files.len()
    }

    /// The running checksum after the last good record.
    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    fn enter(&mut self, file: usize) -> Result<(), WalError> {
        self.current = file;
        self.offset = 0;
        self.chunk.clear();
        self.chunk_start = 0;
        let file = &self.files[file].1;
        self.size = file.len().at("measure", file.path())?;
        Ok(())
    }

    /// The next record; `None` at a clean end of the last segment. After an error there is nothing more to read.
    ///
    /// # Errors
    /// Whatever is wrong at [`Records::position`].
    #[allow(clippy::should_implement_trait)] // an error ends it, and the position is asked between two records
    pub fn next(&mut self) -> Result<Option<Record>, WalError> {
        while !self.done {
            if let Some(frame) = self.frame()? {
                return self.record(frame).map(Some);
            }
            if self.in_last_file() {
                self.done = true;
            } else {
                self.enter(self.current + 1)?;
            }
        }
        Ok(None)
    }

    /// The length field at the position; `None` where the segment ends.
    fn frame(&mut self) -> Result<Option<Frame>, WalError> {
        let rest = self.size - self.offset;
        if rest == 0 {
            return Ok(None);
        }
        if rest < FRAME_BYTES {
            return Err(self.unexpected_eof(format!("the length field needs 8 bytes, the file has {rest} more")));
        }
        let field = self.bytes(self.offset, FRAME_BYTES)?;
        let field = u64::from_le_bytes(field.try_into().expect("eight bytes"));
        if field == 0 {
            return Ok(None);
        }
        let frame = Frame::decode(field);
        if frame.total() > rest {
            let detail = format!(
                "a record of {} bytes and {} of padding, the file has {rest} more",
                frame.len, frame.pad
            );
            return Err(self.unexpected_eof(detail));
        }
        Ok(Some(frame))
    }

    fn record(&mut self, frame: Frame) -> Result<Record, WalError> {
        let bytes = self.bytes(self.offset + FRAME_BYTES, frame.len + frame.pad)?;
        let record = match walpb::Record::decode(&bytes[..frame.len as usize]) {
            Ok(record) => record,
            Err(error) => {
                let undecodable = WalError::Undecodable {
                    what: "a record",
                    detail: error.to_string(),
                    file: self.file_name(self.current),
                    offset: self.offset,
                };
                return Err(self.torn(frame)?.unwrap_or(undecodable));
            }
        };
        let (kind, crc) = (record.r#type.unwrap_or(0), record.crc.unwrap_or(0));
        let data = record.data.unwrap_or_default();
        if kind == kind::CRC {
            // Nothing has been summed yet when reading starts at a later segment.
            if self.crc != 0 && self.crc != crc {
                return Err(self.crc_mismatch(crc, self.crc));
            }
            self.crc = crc;
        } else {
            let computed = crc32c::crc32c_append(self.crc, &data);
            if computed != crc {
                let mismatch = self.crc_mismatch(crc, computed);
                return Err(self.torn(frame)?.unwrap_or(mismatch));
            }
            self.crc = computed;
        }
        let offset = self.offset;
        self.offset += frame.total();
        Ok(Record {
            kind,
            crc,
            data,
            file: self.current,
            offset,
            len: frame.len,
            pad: frame.pad,
        })
    }

    /// Bytes of the file, which must be there. `len` is at most the file's length, so what is allocated is bounded by it.
    fn bytes(&mut self, offset: u64, len: u64) -> Result<&[u8], WalError> {
        let have = self.chunk_start + self.chunk.len() as u64;
        if offset < self.chunk_start || offset + len > have {
            let file = &self.files[self.current].1;
            let want = usize::try_from((self.size - offset).min(len.max(CHUNK as u64))).expect("a file fits into memory");
            self.chunk.resize(want, 0);
            self.chunk_start = offset;
            file.read_exact_at(&mut self.chunk, offset).at("read", file.path())?;
        }
        let from = (offset - self.chunk_start) as usize;
        Ok(&self.chunk[from..from + len as usize])
    }

    fn unexpected_eof(&self, detail: String) -> WalError {
        WalError::UnexpectedEof {
            detail,
            file: self.file_name(self.current),
            offset: self.offset,
        }
    }

    /// Whether the damaged record at the position is one that a power cut tore, and then the error that says so.
    fn torn(&mut self, frame: Frame) -> Result<Option<WalError>, WalError> {
        let start = self.offset + FRAME_BYTES;
        if !self.in_last_file() || !has_zero_sector(self.bytes(start, frame.len + frame.pad)?, start) {
            return Ok(None);
        }
        let detail = "a record with a sector of zeros, torn while it was written";
        Ok(Some(self.unexpected_eof(detail.to_owned())))
    }

    fn crc_mismatch(&self, expected: u32, computed: u32) -> WalError {
        WalError::CrcMismatch {
            expected,
            computed,
            file: self.file_name(self.current),
            offset: self.offset,
        }
    }
}

/// Splits the bytes, which stand at `offset` of the file, at sector borders; true if one piece is all zero.
fn has_zero_sector(bytes: &[u8], offset: u64) -> bool {
    let mut rest = bytes;
    let mut offset = offset;
    while !rest.is_empty() {
        let len = (SECTOR - offset % SECTOR).min(rest.len() as u64);
        let (piece, after) = rest.split_at(len as usize);
        if piece.iter().all(|b| *b == 0) {
            return true;
        }
        rest = after;
        offset += len;
    }
    false
}
