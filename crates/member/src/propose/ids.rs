//! Request ids: unique in a cluster without asking anybody.

use std::sync::atomic::{AtomicU64, Ordering};

use api::{LeaseId, MemberId};

const SUFFIX_BITS: u32 = 48;
const SUFFIX_MASK: u64 = (1 << SUFFIX_BITS) - 1;

/// Gives out request ids: the low 16 bits of the member id, then 40 bits of the clock at the start, then a count that carries into
/// the clock's bits. Two members differ in the first part, two lives of one member in the second.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

impl RequestIds {
    /// `unix_ms` is the wall clock at the start, in milliseconds since 1970.
    pub fn new(member: MemberId, unix_ms: u64) -> RequestIds {
        RequestIds {
            prefix: member.0 << SUFFIX_BITS,
            suffix: AtomicU64::new((unix_ms << 8) & SUFFIX_MASK),
        }
    }

    /// The next id. Never 0 in practice: the member id's low bits or the clock's are set.
    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.prefix | (suffix & SUFFIX_MASK)
    }

    /// An id for a lease whose client left the choice to the server.
    pub fn next_lease(&self) -> LeaseId {
        LeaseId((self.next() & (u64::MAX >> 1)) as i64)
    }

    /// Whether an id was given out by this member (in this or an earlier life), as far as its first 16 bits tell.
    pub fn is_own(&self, id: u64) -> bool {
        id >> SUFFIX_BITS == self.prefix >> SUFFIX_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_carry() {
        let ids = RequestIds::new(MemberId(0x1234_5678), 0x00AB_CDEF_0123);
        assert_eq!(ids.next(), 0x5678_ABCD_EF01_2301);
        for _ in 0..254 {
            ids.next();
        }
        assert_eq!(ids.next(), 0x5678_ABCD_EF01_2400, "the count carries into the clock's bits");
        assert!(ids.is_own(0x5678_0000_0000_0000));
        assert!(!ids.is_own(0x5679_0000_0000_0000));
    }

    #[test]
    fn wraps_inside_its_48_bits() {
        let ids = RequestIds::new(MemberId(0xFFFF), 0xFF_FFFF_FFFF);
        for _ in 0..255 {
            ids.next();
        }
        assert_eq!(ids.next(), 0xFFFF_0000_0000_0000);
    }

    #[test]
    fn lease_ids_are_positive() {
        let ids = RequestIds::new(MemberId(0xFFFF), 1);
        assert!(ids.next_lease().0 > 0);
    }
}
