//! Revisions: the key index, ranges, transactions, compaction, and watch.
//!
//! Stands at step 9 of the life of a Put: [`Writer`], owned by apply, gives a change its revision, encodes its key-value
//! pair once, enters it in the index and in the entry's batch; [`Store`] answers reads on any thread. Never touches the
//! log, a clock or a thread, and knows nothing of who may do what.

pub mod check;
mod error;
pub mod index;
mod store;
pub mod watch;
mod writer;

pub use error::MvccError;
pub use store::{HashKv, RangeAnswer, RangeChunk, RangeStream, Store, StoreOptions};
pub use writer::{CompactJob, LeaseSink, Step, Writer};
