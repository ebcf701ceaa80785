//! The settings of a node, with Go raft's names and rules.

use std::sync::Arc;

use crate::logger::{Logger, Silent};
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NO_LIMIT, NONE, StorageError};

/// How a leader makes sure that it still leads before it answers a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOnlyOption {
    /// It asks a quorum.
    #[default]
    Safe,
    /// It trusts its lease (`check_quorum`), and with it that clocks do not drift too far.
    LeaseBased,
}

/// The settings of a node. `Config::new(id)` gives etcd's defaults.
#[derive(Clone)]
pub struct Config {
    /// Who we are; not 0 and not one of the two local targets.
    pub id: u64,
    /// Ticks without a leader's word after which an election begins (with jitter: up to twice as many).
    pub election_ticks: u64,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u64,
    /// Storage is written by message (`MsgStorageAppend`, `MsgStorageApply` with their responses), not between `ready` and `advance`.
    pub async_storage_writes: bool,
    /// The last index the application has applied; entries up to it are not given out again.
    pub applied: u64,
    /// The most bytes of entries in one `MsgApp`; 0 means one entry a message.
    pub max_size_per_msg: u64,
    /// The most bytes of committed entries being applied at a time, one entry at least; 0 means as `max_size_per_msg`. If that is 0 too,
    /// nothing is ever applied on a node that starts with something applied: so it is in Go raft.
    pub max_committed_size_per_ready: u64,
    /// The most bytes of payload in a leader's uncommitted entries before proposals are dropped; 0 means no limit.
    pub max_uncommitted_entries_size: u64,
    /// The most `MsgApp` under way to one peer.
    pub max_inflight_msgs: usize,
    /// The most bytes of payload under way to one peer; 0 means no limit.
    pub max_inflight_bytes: u64,
    /// A leader that has not heard of a quorum for an election timeout steps down.
    pub check_quorum: bool,
    /// An election begins with asking whether it could be won (thesis 9.6).
    pub pre_vote: bool,
    pub read_only_option: ReadOnlyOption,
    /// Followers drop proposals and do not send them on to the leader.
    pub disable_proposal_forwarding: bool,
    /// Configuration changes are not checked against the current configuration when they are proposed.
    pub disable_conf_change_validation: bool,
    /// A leader that is removed, or made a learner, steps down.
    pub step_down_on_removal: bool,
    pub logger: Arc<dyn Logger>,
    /// Feeds the jitter of election timeouts.
    pub seed: u64,
}

impl Config {
    /// etcd's settings for a member.
    pub fn new(id: u64) -> Config {
        Config {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            async_storage_writes: false,
            applied: 0,
            max_size_per_msg: 1024 * 1024,
            max_committed_size_per_ready: 0,
            max_uncommitted_entries_size: 0,
            max_inflight_msgs: 512,
            max_inflight_bytes: 0,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            disable_proposal_forwarding: false,
            disable_conf_change_validation: false,
            step_down_on_removal: false,
            logger: Arc::new(Silent),
            seed: id,
        }
    }

    /// Checks the settings and puts in what 0 stands for.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(crate) fn validate(mut self) -> Result<Config, ConfigError> {
        if self.id == NONE {
            return Err(ConfigError::NoId);
        }
        if self.id == LOCAL_APPEND_THREAD || self.id == LOCAL_APPLY_THREAD {
            return Err(ConfigError::LocalTarget);
        }
        if self.heartbeat_ticks == 0 {
            return Err(ConfigError::HeartbeatTick);
        }
        if self.election_ticks <= self.heartbeat_ticks {
            return Err(ConfigError::ElectionTick);
        }
        if self.max_uncommitted_entries_size == 0 {
            self.max_uncommitted_entries_size = NO_LIMIT;
        }
        if self.max_committed_size_per_ready == 0 {
            self.max_committed_size_per_ready = self.max_size_per_msg;
        }
        if self.max_inflight_msgs == 0 {
            return Err(ConfigError::InflightMessages);
        }
        if self.max_inflight_bytes == 0 {
            self.max_inflight_bytes = NO_LIMIT;
        } else if self.max_inflight_bytes < self.max_size_per_msg {
            return Err(ConfigError::InflightBytes);
        }
        if self.read_only_option == ReadOnlyOption::LeaseBased && !self.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        Ok(self)
    }
}

/// Why a node can not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot use none as id")]
    NoId,
    #[error("cannot use local target as id")]
    LocalTarget,
    #[error("heartbeat tick must be greater than 0")]
    HeartbeatTick,
    #[error("election tick must be greater than heartbeat tick")]
    ElectionTick,
    #[error("max inflight messages must be greater than 0")]
    InflightMessages,
    #[error("max inflight bytes must be >= max message size")]
    InflightBytes,
    #[error("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased")]
    LeaseWithoutCheckQuorum,
    /// The storage could not say what it holds.
    #[error("reading the stored state: {0}")]
    Storage(#[from] StorageError),
    /// What the storage holds can not be: a commit index beyond the log, a configuration that no change leads to.
    #[error("{0}")]
    Stored(String),
}
