//! Consensus as a pure state machine, equal in behaviour to go.etcd.io/raft v3.7.
//!
//! Step 4 of the life of a Put: a proposal becomes a log entry and messages to the peers, answers of the peers become commits. What
//! happened goes in (`tick`, `step`, `propose`), what must be done comes out (`Ready`). It has no clock but ticks, no chance but the
//! seed in its [`Config`], and it never touches a disk or a socket: reading the log goes through [`Storage`], writing it is asked of
//! the caller.

pub mod conf_change;
mod config;
pub mod describe;
mod error;
mod log;
pub mod logger;
mod message;
pub mod progress;
pub mod quorum;
mod raft;
mod raw_node;
mod ready;
mod status;

pub use config::{Config, ConfigError, ReadOnlyOption};
pub use error::StepError;
pub use log::{MemoryStorage, Storage, StorageError};
pub use logger::{Level, Logger};
pub use raw_node::RawNode;
pub use ready::{ReadState, Ready, Role, SoftState};
pub use status::{BasicStatus, Status};

/// No node: the leader of a term that has none, the vote of who has not voted.
pub const NONE: u64 = 0;
/// The target of `MsgStorageAppend`: whoever writes the log, with asynchronous storage writes.
pub const LOCAL_APPEND_THREAD: u64 = u64::MAX;
/// The target of `MsgStorageApply`: whoever applies committed entries, with asynchronous storage writes.
pub const LOCAL_APPLY_THREAD: u64 = u64::MAX - 1;
/// For the size limits of [`Config`].
pub const NO_LIMIT: u64 = u64::MAX;
