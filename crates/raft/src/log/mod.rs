//! The log: what is stored, what is not stored yet, what is committed and applied.

mod memory;
mod size;
mod storage;

pub use memory::MemoryStorage;
pub use storage::{Storage, StorageError};
