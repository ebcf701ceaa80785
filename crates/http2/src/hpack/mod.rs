//! HPACK (RFC 7541): header compression. The tables live as long as their connection; a fault in either direction ends it.

mod decode;
mod encode;
mod huffman;
mod table;

pub(crate) use decode::{Decoder, HeaderSink, HpackError, Text};
pub(crate) use encode::{Encoder, Indexing};
pub(crate) use table::Known;

/// The table size both sides start with.
pub(crate) const DEFAULT_TABLE_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
