//! The bytes of one simulated file: reserved address space that never moves, so that a map can show later writes.
#![allow(unsafe_code)] // anonymous memory shared between the file and its maps; each use says why it holds

use std::io;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Address space per file. Untouched pages cost nothing; a file longer than this is refused with `FileTooLarge`.
pub(super) const RESERVED: usize = 32 << 30;

/// Reserved memory, zero until written.
pub(super) struct Region {
    address: *mut u8,
}

// SAFETY: plain memory that lives until drop. Writers hold the disk's lock; readers of a map promise (see `Map::slice`) that
// nobody writes where they look, as on a real disk.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    pub(super) fn new() -> io::Result<Region> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe { mmap_anonymous(std::ptr::null_mut(), RESERVED, protection, flags)? };
        Ok(Region { address: address.cast() })
    }

    fn check(offset: u64, len: usize) -> usize {
        let offset = usize::try_from(offset).expect("offset fits");
        assert!(offset <= RESERVED && len <= RESERVED - offset, "beyond the region");
        offset
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) {
        let offset = Region::check(offset, bytes.len());
        // SAFETY: inside the mapping (checked); the source is another allocation. Writers are serialised by the disk's lock.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.add(offset), bytes.len()) };
    }

    pub(super) fn zero(&self, offset: u64, len: u64) {
        let len = usize::try_from(len).expect("length fits");
        let offset = Region::check(offset, len);
        // SAFETY: inside the mapping (checked). Writers are serialised by the disk's lock.
        unsafe { std::ptr::write_bytes(self.address.add(offset), 0, len) };
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let offset = Region::check(offset, into.len());
        // SAFETY: inside the mapping (checked); `into` is another allocation.
        unsafe { std::ptr::copy_nonoverlapping(self.address.add(offset), into.as_mut_ptr(), into.len()) };
    }

    pub(super) fn slice(&self, offset: usize, len: usize) -> &[u8] {
        let offset = Region::check(offset as u64, len);
        // SAFETY: inside the mapping (checked), which lives as long as self. That nobody writes there meanwhile is the promise of
        // whoever calls `Map::slice`.
        unsafe { std::slice::from_raw_parts(self.address.add(offset), len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` made, unmapped once; slices borrow from self and are gone by now.
        let result = unsafe { munmap(self.address.cast(), RESERVED) };
        debug_assert!(result.is_ok());
    }
}
