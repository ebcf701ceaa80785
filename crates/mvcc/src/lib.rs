//! Revisions: the key index, ranges, transactions, compaction, and watch.
//!
//! Stands at step 9 of the life of a Put: [`Writer`], owned by apply, gives a change its revision, encodes its key-value
//! pair once, enters it in the index and in the entry's batch; [`Store`] answers reads on any thread. Never touches the
//! log, a clock or a thread, and knows nothing of who may do what.

//!
//! | module | its one job |
//! | --- | --- |
//! | `check` | what can be wrong with a request, whatever the state |
//! | `kv` | the stored form of a key-value pair |
//! | `index` | which revisions a key has |
//! | `store`, `range`, `stream`, `hash` | reads at one moment |
//! | `writer`, `txn` | changes, an entry of the log at a time |
//! | `compact` | deleting what nobody can see any more |
//! | `restore` | start |
//! | `watch` | events to those who wait for them |
//! | `gosort` | the order in which Go leaves equal elements |

pub mod check;
mod compact;
mod error;
pub mod gosort;
mod hash;
pub mod index;
pub mod kv;
mod range;
mod restore;
mod store;
mod stream;
mod txn;
pub mod watch;
mod writer;

pub use compact::{CompactJob, Step};
pub use error::MvccError;
pub use hash::HashKv;
pub use range::RangeAnswer;
pub use store::{Store, StoreOptions};
pub use stream::{RangeChunk, RangeStream};
pub use writer::{LeaseSink, NoLeases, Writer};
