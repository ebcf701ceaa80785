//! A meta page: where the tree begins, how far the file is used, and which commit this is.

use crate::page::{HEADER, Header, META, PageId, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Bytes of a meta page that mean something: page header, fields, checksum.
pub(crate) const META_BYTES: usize = HEADER + 64;
const CHECKSUM_AT: usize = 56;

/// In place of a page number: the list of free pages is not stored.
pub(crate) const NO_FREELIST: PageId = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub page_size: u32,
    pub root: PageId,
    pub root_sequence: u64,
    /// The page of the free list, or [`NO_FREELIST`].
    pub freelist: PageId,
    /// The high-water mark: the first page number never used.
    pub mark: PageId,
    pub txid: u64,
}

/// Why bytes are no meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaFault {
    Magic,
    Version(u32),
    Checksum,
}

impl Meta {
    /// Reads a meta page. The page header's fields do not matter for this, in Go neither.
    ///
    /// # Panics
    /// If `page` is shorter than [`META_BYTES`].
    pub fn decode(page: &[u8]) -> Result<Meta, MetaFault> {
        let body = &page[HEADER..META_BYTES];
        if u32_at(body, 0) != MAGIC {
            return Err(MetaFault::Magic);
        }
        if u32_at(body, 4) != VERSION {
            return Err(MetaFault::Version(u32_at(body, 4)));
        }
        if u64_at(body, CHECKSUM_AT) != fnv1a(&body[..CHECKSUM_AT]) {
            return Err(MetaFault::Checksum);
        }
        Ok(Meta {
            page_size: u32_at(body, 8),
            root: u64_at(body, 16),
            root_sequence: u64_at(body, 24),
            freelist: u64_at(body, 32),
            mark: u64_at(body, 40),
            txid: u64_at(body, 48),
        })
    }

    /// The page this meta is written to: the two alternate.
    pub fn page(&self) -> PageId {
        self.txid % 2
    }

    /// Writes the page, header and checksum included, into `out`, and leaves the rest of it as it is.
    pub fn encode(&self, page: PageId, out: &mut [u8]) {
        let header = Header {
            id: page,
            flags: META,
            count: 0,
            overflow: 0,
        };
        header.encode(out);
        let body = &mut out[HEADER..META_BYTES];
        body[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        body[4..8].copy_from_slice(&VERSION.to_le_bytes());
        body[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        body[12..16].copy_from_slice(&0u32.to_le_bytes());
        for (index, field) in [self.root, self.root_sequence, self.freelist, self.mark, self.txid]
            .into_iter()
            .enumerate()
        {
            body[16 + index * 8..24 + index * 8].copy_from_slice(&field.to_le_bytes());
        }
        let checksum = fnv1a(&body[..CHECKSUM_AT]);
        body[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let meta = Meta {
            page_size: 4096,
            root: 7,
            root_sequence: 3,
            freelist: NO_FREELIST,
            mark: 99,
            txid: 12,
        };
        let mut page = vec![0; META_BYTES];
        meta.encode(meta.page(), &mut page);
        assert_eq!(Meta::decode(&page), Ok(meta));
        for at in HEADER..META_BYTES {
            page[at] ^= 0x10;
            assert!(Meta::decode(&page).is_err(), "byte {at}");
            page[at] ^= 0x10;
        }
    }

    #[test]
    fn fnv_of_known_text() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
