//! Writes header blocks. A connection sends few different fields, so they enter the dynamic table once and cost a byte after that.

use bytes::Bytes;

use super::DEFAULT_TABLE_BYTES;
use super::huffman;
use super::table::{Dynamic, Entry, Known, STATIC};

/// Whether a field goes to the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexing {
    /// Worth a place: it will come again.
    Index,
    /// Different each time.
    Plain,
    /// Secret: not even intermediaries may index it.
    Never,
}

/// One direction's state.
pub(crate) struct Encoder {
    table: Dynamic,
    /// A smaller table that the peer asked for, to be announced in the next block, and the smallest on the way.
    resize: Option<(usize, usize)>,
}

impl Encoder {
    pub(crate) fn new() -> Encoder {
        Encoder {
            table: Dynamic::new(DEFAULT_TABLE_BYTES),
            resize: None,
        }
    }

    /// The peer's `SETTINGS_HEADER_TABLE_SIZE`. We never use more than the default.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        let target = limit.min(DEFAULT_TABLE_BYTES);
        let smallest = self.resize.map_or(target, |(smallest, _)| smallest.min(target));
        self.resize = Some((smallest, target));
    }

    /// Starts a block: announces a changed table.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((smallest, target)) = self.resize.take() else { return };
        if smallest < self.table.max_size() && smallest < target {
            self.table.resize(smallest);
            integer(out, 0x20, 5, smallest);
        }
        if target != self.table.max_size() {
            self.table.resize(target);
            integer(out, 0x20, 5, target);
        }
    }

    /// Appends a field.
    pub(crate) fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], indexing: Indexing) {
        let mut name_index = 0;
        if indexing == Indexing::Index {
            for (position, entry) in self.table.iter().enumerate() {
                if entry.name == name {
                    let index = position + STATIC.len() + 1;
                    if entry.value == value {
                        integer(out, 0x80, 7, index);
                        return;
                    }
                    name_index = index;
                }
            }
        }
        for (position, entry) in STATIC.iter().enumerate().skip(static_start(name)) {
            if entry.name != name {
                break;
            }
            if indexing != Indexing::Never && entry.value == value {
                integer(out, 0x80, 7, position + 1);
                return;
            }
            name_index = position + 1;
        }
        match indexing {
            Indexing::Index => integer(out, 0x40, 6, name_index),
            Indexing::Plain => integer(out, 0x00, 4, name_index),
            Indexing::Never => integer(out, 0x10, 4, name_index),
        }
        if name_index == 0 {
            string(out, name);
        }
        string(out, value);
        if indexing == Indexing::Index {
            self.table.insert(Entry {
                known: Known::Other,
                name: Bytes::copy_from_slice(name),
                value: Bytes::copy_from_slice(value),
            });
        }
    }
}

/// Where a name's entries start in the static table, for the names that we send; the table's length for all others.
fn static_start(name: &[u8]) -> usize {
    match name {
        b":authority" => 0,
        b":method" => 1,
        b":path" => 3,
        b":scheme" => 5,
        b":status" => 7,
        b"authorization" => 22,
        b"cache-control" => 23,
        b"content-encoding" => 25,
        b"content-length" => 27,
        b"content-type" => 30,
        b"date" => 32,
        b"location" => 45,
        b"server" => 53,
        b"user-agent" => 57,
        _ => STATIC.len(),
    }
}

fn integer(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let coded = huffman::coded_len(text);
    if coded < text.len() {
        integer(out, 0x80, 7, coded);
        huffman::encode(text, out);
    } else {
        integer(out, 0x00, 7, text.len());
        out.extend_from_slice(text);
    }
}
