//! The stored form of a key-value pair: `mvccpb.KeyValue`, encoded once and never again.
//!
//! The bytes are hashed and compared between members, so the encoding is the canonical one: fields in order, defaults left
//! out, shortest numbers. Reading takes any valid encoding.

use std::ops::Range;

use api::pb::mvccpb;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use crate::MvccError;

const KEY: u64 = 1;
const CREATE_REVISION: u64 = 2;
const MOD_REVISION: u64 = 3;
const VERSION: u64 = 4;
const VALUE: u64 = 5;
const LEASE: u64 = 6;

/// A key-value pair in its stored form, read where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kv<'a> {
    pub key: &'a [u8],
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub value: &'a [u8],
    pub lease: i64,
}

/// What is wrong with a stored pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key-value pair")]
pub struct Malformed;

impl<'a> Kv<'a> {
    /// Reads a stored pair. No bytes at all are a pair too: what a restore with a revision bump leaves (data-dir contract 7.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Kv<'a>, Malformed> {
        let mut kv = Kv::default();
        let mut fields = Fields { bytes, at: 0 };
        while let Some(field) = fields.next()? {
            match field {
                (KEY, Field::Bytes(range)) => kv.key = &bytes[range],
                (CREATE_REVISION, Field::Number(n)) => kv.create_revision = n as i64,
                (MOD_REVISION, Field::Number(n)) => kv.mod_revision = n as i64,
                (VERSION, Field::Number(n)) => kv.version = n as i64,
                (VALUE, Field::Bytes(range)) => kv.value = &bytes[range],
                (LEASE, Field::Number(n)) => kv.lease = n as i64,
                (KEY..=LEASE, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(kv)
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Appends the stored form.
    pub fn encode_into(&self, out: &mut BytesMut) {
        put_bytes(out, KEY, self.key);
        put_number(out, CREATE_REVISION, self.create_revision);
        put_number(out, MOD_REVISION, self.mod_revision);
        put_number(out, VERSION, self.version);
        put_bytes(out, VALUE, self.value);
        put_number(out, LEASE, self.lease);
    }

    /// Length of the stored form.
    pub fn encoded_len(&self) -> usize {
        let bytes = [self.key, self.value].map(|b| if b.is_empty() { 0 } else { field_len(b.len()) });
        let numbers = [self.create_revision, self.mod_revision, self.version, self.lease];
        let numbers = numbers.map(|n| if n == 0 { 0 } else { 1 + encoded_len_varint(n as u64) });
        bytes.iter().sum::<usize>() + numbers.iter().sum::<usize>()
    }
}

fn put_bytes(out: &mut BytesMut, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.put_u8((field << 3 | 2) as u8);
        encode_varint(bytes.len() as u64, out);
        out.put_slice(bytes);
    }
}

fn put_number(out: &mut BytesMut, field: u64, number: i64) {
    if number != 0 {
        out.put_u8((field << 3) as u8);
        encode_varint(number as u64, out);
    }
}

/// The message, sharing the stored bytes.
pub fn message(stored: &Bytes) -> Result<mvccpb::KeyValue, MvccError> {
    mvccpb::KeyValue::decode(stored.clone()).map_err(|_| MvccError::Malformed)
}

/// The key of a stored pair, sharing its bytes.
pub fn key_of(stored: &Bytes) -> Result<Bytes, Malformed> {
    let key = Kv::parse(stored)?.key;
    Ok(if key.is_empty() { Bytes::new() } else { stored.slice_ref(key) })
}

/// Appends a stored pair without its value (`keys_only`).
pub fn put_without_value(stored: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
    let mut fields = Fields { bytes: stored, at: 0 };
    let mut from = 0;
    while let Some((field, _)) = fields.next()? {
        if field != VALUE {
            out.put_slice(&stored[from..fields.at]);
        }
        from = fields.at;
    }
    Ok(())
}

/// Length of a stored pair as a field of an answer: tag, length and bytes.
pub fn field_len(stored: usize) -> usize {
    1 + encoded_len_varint(stored as u64) + stored
}

enum Field {
    Number(u64),
    Bytes(Range<usize>),
    Fixed,
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let rest = &self.bytes[self.at..];
        match rest.first() {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => {
                let mut cursor = rest;
                let number = decode_varint(&mut cursor).map_err(|_| Malformed)?;
                self.at = self.bytes.len() - cursor.len();
                Ok(number)
            }
        }
    }

    fn next(&mut self) -> Result<Option<(u64, Field)>, Malformed> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Field::Bytes(self.skip(length)?)
            }
            1 => {
                self.skip(8)?;
                Field::Fixed
            }
            5 => {
                self.skip(4)?;
                Field::Fixed
            }
            _ => return Err(Malformed),
        };
        if tag >> 3 == 0 {
            return Err(Malformed);
        }
        Ok(Some((tag >> 3, field)))
    }

    fn skip(&mut self, length: usize) -> Result<Range<usize>, Malformed> {
        let from = self.at;
        let to = from.checked_add(length).filter(|to| *to <= self.bytes.len()).ok_or(Malformed)?;
        self.at = to;
        Ok(from..to)
    }
}
