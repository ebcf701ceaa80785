//! Writing: the bytes of a message into JSON text.
//!
//! Proto names, fields by number, nothing that is not there, 64-bit integers and bytes as strings. Compact: Go's encoder adds a space
//! here and there, by a coin toss of its build.

use std::borrow::Cow;

use super::scalar::base64_encode;
use super::table::{Field, Kind, MessageType, Tables, tables};
use super::wire::{Item, Reader};

/// Messages nest as deeply as transactions do (`--max-txn-ops`); what decodes requests stops at 100.
const MAX_DEPTH: usize = 512;

/// Whether texts are safe inside HTML: Go's gateway escapes `<`, `>`, `&` in the lines of a stream, not in single answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    Plain,
    Html,
}

/// Bytes that are not those of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("bytes of {0} are no protobuf")]
    Wire(String),
    #[error("string field {0} contains invalid UTF-8")]
    Text(String),
    #[error("{0} is nested too deeply")]
    Depth(String),
}

/// Appends the JSON of a message to `out`.
///
/// # Errors
/// When the bytes are not those of such a message; `out` then ends anywhere.
pub fn encode(message: MessageType, bytes: &[u8], escape: Escape, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Encoder {
        tables: tables(),
        escape,
        items: Vec::new(),
        out,
    }
    .message(message.0, bytes, 0)
}

/// Appends a JSON string in quotes.
pub fn encode_text(text: &str, escape: Escape, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut clean = 0;
    for (i, c) in text.char_indices() {
        let short: Option<&[u8]> = match c {
            '"' => Some(b"\\\""),
            '\\' => Some(b"\\\\"),
            '\u{8}' => Some(b"\\b"),
            '\u{c}' => Some(b"\\f"),
            '\n' => Some(b"\\n"),
            '\r' => Some(b"\\r"),
            '\t' => Some(b"\\t"),
            '\0'..' ' => None,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escape == Escape::Html => None,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[clean..i]);
        match short {
            Some(short) => out.extend_from_slice(short),
            None => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
        }
        clean = i + c.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
    out.push(b'"');
}

struct Encoder<'a, 'o> {
    tables: &'static Tables,
    escape: Escape,
    /// The fields of the messages that are open, each with its index in its message's table.
    items: Vec<(u8, Item<'a>)>,
    out: &'o mut Vec<u8>,
}

impl<'a> Encoder<'a, '_> {
    fn message(&mut self, index: u16, bytes: &'a [u8], depth: usize) -> Result<(), EncodeError> {
        let message = self.tables.message(index);
        if depth > MAX_DEPTH {
            return Err(EncodeError::Depth(message.name.clone()));
        }
        let base = self.items.len();
        let mut reader = Reader(bytes);
        while !reader.is_empty() {
            let (number, item) = reader.field().ok_or_else(|| EncodeError::Wire(message.name.clone()))?;
            let Some(field) = message.by_number(number) else { continue };
            let kind = &message.fields[field];
            let packed = kind.repeated && item.wire_type() == 2;
            if item.wire_type() == kind.kind.wire_type() || packed {
                self.items.push((u8::try_from(field).expect("few fields"), item));
            }
        }
        if !self.items[base..].is_sorted_by_key(|(field, _)| *field) {
            self.items[base..].sort_by_key(|(field, _)| *field);
        }
        self.out.push(b'{');
        let mut first = true;
        let mut at = base;
        while at < self.items.len() {
            let index = self.items[at].0;
            let end = at + self.items[at..].iter().take_while(|(i, _)| *i == index).count();
            self.field(&message.fields[usize::from(index)], at, end, &mut first, depth)?;
            at = end;
        }
        self.items.truncate(base);
        self.out.push(b'}');
        Ok(())
    }

    /// Writes the field whose values are `items[at..end]`, unless it is an implicit zero.
    fn field(&mut self, field: &'static Field, at: usize, end: usize, first: &mut bool, depth: usize) -> Result<(), EncodeError> {
        // Of a field that is there more than once and may not be, the last counts.
        let last = self.items[end - 1].1;
        if !field.repeated && !field.presence && is_zero(field.kind, last) {
            return Ok(());
        }
        if field.repeated
            && self.items[at..end]
                .iter()
                .all(|(_, i)| *i == Item::Bytes(&[]) && field.kind.wire_type() != 2)
        {
            return Ok(());
        }
        if !std::mem::take(first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(field.name.as_bytes());
        self.out.extend_from_slice(b"\":");
        if !field.repeated {
            return self.value(field, last, depth);
        }
        self.out.push(b'[');
        let mut separator = false;
        for i in at..end {
            let item = self.items[i].1;
            let Item::Bytes(packed) = item else {
                self.element(field, item, &mut separator, depth)?;
                continue;
            };
            if field.kind.wire_type() == 2 {
                self.element(field, item, &mut separator, depth)?;
                continue;
            }
            let mut reader = Reader(packed);
            while !reader.is_empty() {
                let item = reader
                    .item(field.kind.wire_type())
                    .ok_or_else(|| EncodeError::Wire(field.name.clone()))?;
                self.element(field, item, &mut separator, depth)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn element(&mut self, field: &'static Field, item: Item<'a>, separator: &mut bool, depth: usize) -> Result<(), EncodeError> {
        if std::mem::replace(separator, true) {
            self.out.push(b',');
        }
        self.value(field, item, depth)
    }

    fn value(&mut self, field: &'static Field, item: Item<'a>, depth: usize) -> Result<(), EncodeError> {
        let text: Cow<'_, str> = match (field.kind, item) {
            (Kind::Message(index), Item::Bytes(bytes)) => return self.message(index, bytes, depth + 1),
            (Kind::Bytes, Item::Bytes(bytes)) => {
                self.out.push(b'"');
                base64_encode(bytes, self.out);
                self.out.push(b'"');
                return Ok(());
            }
            (Kind::String, Item::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| EncodeError::Text(field.name.clone()))?;
                encode_text(text, self.escape, self.out);
                return Ok(());
            }
            (Kind::Bool, Item::Varint(v)) => Cow::Borrowed(if v != 0 { "true" } else { "false" }),
            (Kind::Enum(index), Item::Varint(v)) => match self.tables.enumeration(index).name(v as i32) {
                Some(name) => format!("\"{name}\"").into(),
                None => (v as i32).to_string().into(),
            },
            (Kind::Int32, Item::Varint(v)) => (v as i32).to_string().into(),
            (Kind::Uint32, Item::Varint(v)) => (v as u32).to_string().into(),
            (Kind::Sint32, Item::Varint(v)) => (unzigzag(v) as i32).to_string().into(),
            (Kind::Fixed32, Item::Fixed32(v)) => v.to_string().into(),
            (Kind::Sfixed32, Item::Fixed32(v)) => (v as i32).to_string().into(),
            (Kind::Int64, Item::Varint(v)) => format!("\"{}\"", v as i64).into(),
            (Kind::Uint64, Item::Varint(v)) => format!("\"{v}\"").into(),
            (Kind::Sint64, Item::Varint(v)) => format!("\"{}\"", unzigzag(v)).into(),
            (Kind::Fixed64, Item::Fixed64(v)) => format!("\"{v}\"").into(),
            (Kind::Sfixed64, Item::Fixed64(v)) => format!("\"{}\"", v as i64).into(),
            (kind, item) => unreachable!("{} does not travel as {item:?}", kind.name()),
        };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Of a number of 32 bits only those count.
fn is_zero(kind: Kind, item: Item<'_>) -> bool {
    match item {
        Item::Varint(v) if matches!(kind, Kind::Enum(_) | Kind::Int32 | Kind::Uint32 | Kind::Sint32) => v as u32 == 0,
        item => matches!(item, Item::Varint(0) | Item::Fixed64(0) | Item::Fixed32(0) | Item::Bytes([])),
    }
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}
