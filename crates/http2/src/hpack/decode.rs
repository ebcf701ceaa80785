//! Reads header blocks. Every byte comes from outside: lengths are checked, and the dynamic table is bounded by what we announced.

use bytes::Bytes;

use super::huffman;
use super::table::{Dynamic, Entry, Known, STATIC};

/// Why a header block cannot be read; the connection ends with `COMPRESSION_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HpackError {
    #[error("header block ends inside a field")]
    Truncated,
    #[error("integer too large")]
    Integer,
    #[error("no such index")]
    Index,
    #[error("bad Huffman code")]
    Huffman,
    #[error("table size update out of place or too large")]
    TableSize,
}

/// A name or value: shared with a table, or lying in the block.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Bytes>,
}

impl<'a> Text<'a> {
    fn shared(bytes: &'a Bytes) -> Text<'a> {
        Text {
            bytes,
            shared: Some(bytes),
        }
    }

    fn plain(bytes: &'a [u8]) -> Text<'a> {
        Text { bytes, shared: None }
    }

    pub(crate) fn as_slice(self) -> &'a [u8] {
        self.bytes
    }

    /// Copies only what no table holds.
    pub(crate) fn to_bytes(self) -> Bytes {
        self.shared.map_or_else(|| Bytes::copy_from_slice(self.bytes), Bytes::clone)
    }
}

/// Takes the fields of a block in their order.
pub(crate) trait HeaderSink {
    fn field(&mut self, known: Known, name: Text<'_>, value: Text<'_>);
}

/// One direction's state.
pub(crate) struct Decoder {
    table: Dynamic,
    /// The largest table that the peer may use.
    table_limit: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(table_limit: usize) -> Decoder {
        Decoder {
            table: Dynamic::new(table_limit),
            table_limit,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Decodes a whole block. `Ok(false)`: the list is larger than `list_limit` (as RFC 9113 6.5.2 counts); then the sink has
    /// seen only its beginning, but the table is in step with the peer's.
    ///
    /// # Errors
    /// When the block is malformed: the connection cannot go on.
    pub(crate) fn decode(&mut self, mut block: &[u8], list_limit: usize, sink: &mut impl HeaderSink) -> Result<bool, HpackError> {
        let mut left = list_limit;
        let mut within = true;
        let mut at_start = true;
        while let Some(&first) = block.first() {
            let size = if first & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                let entry = self.entry(index)?;
                if within && entry.size() <= left {
                    sink.field(entry.known, Text::shared(&entry.name), Text::shared(&entry.value));
                }
                entry.size()
            } else if first & 0xe0 == 0x20 {
                let size = integer(&mut block, 5)?;
                if !at_start || size > self.table_limit {
                    return Err(HpackError::TableSize);
                }
                self.table.resize(size);
                continue;
            } else {
                let indexed = first & 0x40 != 0;
                self.literal(&mut block, indexed, left, within, sink)?
            };
            at_start = false;
            within &= size <= left;
            left = left.saturating_sub(size);
        }
        Ok(within)
    }

    /// A literal field; gives its size.
    fn literal(
        &mut self,
        block: &mut &[u8],
        indexed: bool,
        left: usize,
        within: bool,
        sink: &mut impl HeaderSink,
    ) -> Result<usize, HpackError> {
        let index = integer(block, if indexed { 6 } else { 4 })?;
        self.name.clear();
        self.value.clear();
        let from_table = if index == 0 {
            string(block, &mut self.name)?;
            None
        } else {
            Some(self.entry(index)?.name.clone())
        };
        string(block, &mut self.value)?;
        let name = from_table.as_ref().map_or(Text::plain(&self.name), Text::shared);
        let known = Known::of(name.as_slice(), &self.value);
        let size = name.as_slice().len() + self.value.len() + 32;
        let wanted = within && size <= left;
        if !indexed {
            if wanted {
                sink.field(known, name, Text::plain(&self.value));
            }
            return Ok(size);
        }
        let entry = Entry {
            known,
            name: name.to_bytes(),
            value: Bytes::copy_from_slice(&self.value),
        };
        if wanted {
            sink.field(known, Text::shared(&entry.name), Text::shared(&entry.value));
        }
        self.table.insert(entry);
        Ok(size)
    }

    fn entry(&self, index: usize) -> Result<&Entry, HpackError> {
        let from_zero = index.checked_sub(1).ok_or(HpackError::Index)?;
        match from_zero.checked_sub(STATIC.len()) {
            None => STATIC.get(from_zero),
            Some(dynamic) => self.table.get(dynamic),
        }
        .ok_or(HpackError::Index)
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }
}

/// An integer with a prefix of `prefix` bits (RFC 7541 5.1), up to 2^28.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, HpackError> {
    let (&first, mut rest) = block.split_first().ok_or(HpackError::Truncated)?;
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, tail) = rest.split_first().ok_or(HpackError::Truncated)?;
            rest = tail;
            if shift > 21 {
                return Err(HpackError::Integer);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// A string (RFC 7541 5.2), appended to `out`.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let huffman = block.first().ok_or(HpackError::Truncated)? & 0x80 != 0;
    let len = integer(block, 7)?;
    if len > block.len() {
        return Err(HpackError::Truncated);
    }
    let (text, rest) = block.split_at(len);
    *block = rest;
    if huffman {
        huffman::decode(text, out)?;
    } else {
        out.extend_from_slice(text);
    }
    Ok(())
}
