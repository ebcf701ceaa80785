//! etcd's database file: the bbolt format, version 2, byte for byte what Go reads and writes.
//!
//! One file of pages: two metas that alternate, a B+tree of buckets, nested buckets, and a list of free pages that is stored
//! or found again by walking the tree. Changes are copy on write: a commit writes new pages, syncs, then writes the older of
//! the two metas, and syncs again; a power cut leaves the last commit or the one before it, never a mixture.
//!
//! Stands at step 10 of the life of a Put, under `backend`. Readers ([`ReadTx`]) hold a commit and its map for as long as they
//! live, and neither wait for the writer nor make it wait. There is one writer ([`WriteTx`]) at a time. The crate never opens a
//! file but through [`world::Disk`], never spawns, sleeps or reads a clock, never retries: after a failed write or sync the
//! state of the file is unknown and the [`Db`] takes no more commits. Bytes of a damaged file make errors that name the file
//! and the page, never a panic.
//!
//! | module | its one job |
//! | --- | --- |
//! | `page`, `meta` | the bytes of a page and of a meta, checked |
//! | `version` | what a reader holds: a meta, a map, and how a page is found in them |
//! | `read`, `cursor`, `stats` | buckets, keys and cursors of a committed state |
//! | `walk`, `check` | every page from the roots down; the faults that may be found |
//! | `freelist` | which pages are free, which will be, and which to take |
//! | `open`, `db` | opening, creating, the one writer |
//! | `write`, `tree`, `spill`, `commit` | the changes of a transaction, and their way to the disk |
//! | `reclaim`, `compact`, `image` | giving space back, copying into a new file, the snapshot image |

mod check;
mod commit;
mod compact;
mod cursor;
mod db;
mod error;
mod freelist;
mod image;
mod meta;
mod open;
mod page;
mod read;
mod reclaim;
mod spill;
mod stats;
mod tree;
mod version;
mod walk;
mod write;

pub use check::{CheckReport, Fault, Hex, PageCounts, Stack};
pub use compact::{CompactError, compact_into};
pub use cursor::{Cursor, Element};
pub use db::{Db, Options, Verify};
pub use error::{CommitError, OpenError, PageError, PageFault, TxError};
pub use read::{Bucket, ReadTx};
pub use reclaim::Reclaimed;
pub use stats::BucketStats;
pub use write::{BucketId, CommitStats, WriteTx};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 32768;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = (1 << 31) - 2;
