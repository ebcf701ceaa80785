//! What the core may ask of the outside: a disk, a clock, chance, and failpoints.
//!
//! The only door to the operating system for `wal`, `bolt`, `backend`, `mvcc` and `member`. `os` is the real one and the
//! only place where memory is mapped; `sim` is a disk in memory that loses, tears and rots what was not synced.
//! Never knows what the bytes mean.

mod disk;
pub mod fail;
pub mod os;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use disk::{DirEntry, Disk, DiskFile, Map, OpenMode};

use std::sync::Arc;

/// The disk as the core passes it around: one handle, shared.
pub type DynDisk = Arc<dyn Disk>;

/// Time since an arbitrary start, never going back. Only the shell and the simulator hold a clock; the core is told the time.
pub trait Clock: Send + Sync + 'static {
    /// Time since this clock's start.
    fn now(&self) -> std::time::Duration;
}

/// Chance, seeded by whoever owns the run.
pub trait Rng: Send + 'static {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;
}
