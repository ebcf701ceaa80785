//! The nodes of a script: raft over a log in memory, with an application that appends each entry's data to what it has.

use std::collections::VecDeque;
use std::sync::Arc;

use api::pb::raftpb::{ConfState, Entry, EntryType, HardState, Message, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use raft::conf_change::to_v2;
use raft::{Config, MemoryStorage, NO_LIMIT, RawNode, ReadOnlyOption, Storage, StorageError};

use super::{Environment, NodeIndex};
use crate::datadriven::Case;

/// One node, with the work that its append and apply threads have before them.
pub struct Node {
    pub raw: RawNode<Stored>,
    pub config: Config,
    pub append_work: VecDeque<Message>,
    pub apply_work: VecDeque<Message>,
}

/// A log in memory that gives out the application's newest state when it is asked for a snapshot.
pub struct Stored {
    pub memory: MemoryStorage,
    /// The application's state after each entry applied.
    pub history: Vec<Snapshot>,
}

impl Stored {
    fn newest(&self) -> &Snapshot {
        self.history.last().expect("begins with the snapshot that the node began with")
    }

    /// What the append thread does.
    pub fn append(&mut self, state: Option<HardState>, snapshot: Option<Snapshot>, entries: &[Entry]) -> Result<(), String> {
        if let Some(state) = state {
            self.memory.set_hard_state(state);
        }
        let stored = match snapshot {
            Some(_) if !entries.is_empty() => return Err("can't apply snapshot and entries at the same time".to_owned()),
            Some(snapshot) => self.memory.apply_snapshot(snapshot),
            None => self.memory.append(entries),
        };
        stored.map_err(|error| error.to_string())
    }
}

impl Storage for Stored {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        self.memory.initial_state()
    }

    fn entries(&self, lo: u64, hi: u64, max_size: u64) -> Result<Vec<Entry>, StorageError> {
        self.memory.entries(lo, hi, max_size)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.memory.term(index)
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        self.memory.last_index()
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        self.memory.first_index()
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(self.newest().clone())
    }
}

impl Node {
    /// What the apply thread does: changes of the configuration take effect, everything goes into the history.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let data = entry.data.clone().unwrap_or_default();
            let change = match entry.r#type() {
                EntryType::EntryNormal => None,
                EntryType::EntryConfChange => Some(to_v2(&decode(data.clone())?)),
                EntryType::EntryConfChangeV2 => Some(decode(data.clone())?),
            };
            let (update, conf_state) = match change {
                None => (data, None),
                Some(change) => {
                    let conf_state = self.raw.apply_conf_change(&change).map_err(|error| error.to_string())?;
                    (change.context.unwrap_or_default(), Some(conf_state))
                }
            };
            let before = self.raw.storage().newest();
            let metadata = before.metadata.clone().unwrap_or_default();
            let after = Snapshot {
                data: Some([before.data.as_deref().unwrap_or_default(), &update].concat().into()),
                metadata: Some(SnapshotMetadata {
                    conf_state: conf_state.or(metadata.conf_state),
                    index: Some(entry.index()),
                    term: Some(entry.term()),
                }),
            };
            self.raw.storage_mut().history.push(after);
        }
        Ok(())
    }
}

fn decode<M: prost::Message + Default>(data: Bytes) -> Result<M, String> {
    M::decode(data).map_err(|error| error.to_string())
}

impl Environment {
    /// `add-nodes <count> voters=(1,2,3) learners=(4,5) index=2 content=foo async-storage-writes=true`
    pub fn add_nodes(&mut self, case: &Case) -> Result<(), String> {
        let mut config = self.plain_config();
        let mut members = ConfState::default();
        let mut index = 0;
        let mut content = Bytes::new();
        for arg in &case.args[1..] {
            match arg.key.as_str() {
                "voters" => members.voters = arg.list(),
                "learners" => members.learners = arg.list(),
                "index" => index = arg.value(),
                "content" => content = arg.value::<String>().into(),
                _ => configure(&mut config, arg)?,
            }
        }
        config.applied = index;
        let bootstrap = index > 0 || !content.is_empty() || members != ConfState::default();
        if bootstrap && index <= 1 {
            return Err("index must be specified as > 1 due to bootstrap".to_owned());
        }
        let snapshot = Snapshot {
            data: (!content.is_empty()).then_some(content),
            metadata: Some(SnapshotMetadata {
                conf_state: Some(members),
                index: Some(index),
                term: Some(u64::from(bootstrap)),
            }),
        };
        for _ in 0..case.key::<usize>(0) {
            let mut memory = MemoryStorage::new();
            if bootstrap {
                memory.apply_snapshot(snapshot.clone()).map_err(|error| error.to_string())?;
            }
            config.id = self.nodes.len() as u64 + 1;
            let stored = Stored {
                memory,
                history: vec![snapshot.clone()],
            };
            let raw = RawNode::new(config.clone(), stored).map_err(|error| error.to_string())?;
            self.nodes.push(Node {
                raw,
                config: config.clone(),
                append_work: VecDeque::new(),
                apply_work: VecDeque::new(),
            });
        }
        Ok(())
    }

    /// `restart <id>`: what its threads have not done is gone, and so is the application's state. It begins anew from the stored snapshot.
    pub fn restart(&mut self, at: NodeIndex) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let memory = node.raw.storage().memory.clone();
        let snapshot = memory.snapshot().map_err(|error| error.to_string())?;
        node.config.applied = snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index);
        node.append_work.clear();
        node.apply_work.clear();
        let stored = Stored {
            memory,
            history: vec![snapshot],
        };
        node.raw = RawNode::new(node.config.clone(), stored).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn plain_config(&self) -> Config {
        Config {
            election_ticks: 3,
            heartbeat_ticks: 1,
            max_size_per_msg: NO_LIMIT,
            max_inflight_msgs: i32::MAX as usize,
            check_quorum: false,
            pre_vote: false,
            logger: Arc::new(self.output.clone()),
            ..Config::new(1)
        }
    }
}

fn configure(config: &mut Config, arg: &crate::datadriven::Arg) -> Result<(), String> {
    match arg.key.as_str() {
        "inflight" => config.max_inflight_msgs = arg.value(),
        "async-storage-writes" => config.async_storage_writes = arg.value(),
        "prevote" => config.pre_vote = arg.value(),
        "checkquorum" => config.check_quorum = arg.value(),
        "max-committed-size-per-ready" => config.max_committed_size_per_ready = arg.value(),
        "disable-conf-change-validation" => config.disable_conf_change_validation = arg.value(),
        "max-size-per-msg" => config.max_size_per_msg = arg.value(),
        "max-inflight-bytes" => config.max_inflight_bytes = arg.value(),
        "max-uncommitted-size" => config.max_uncommitted_entries_size = arg.value(),
        "disable-proposal-forwarding" => config.disable_proposal_forwarding = arg.value(),
        "step-down-on-removal" => config.step_down_on_removal = arg.value(),
        "read-only" => {
            config.read_only_option = match arg.value::<String>().as_str() {
                "safe" => ReadOnlyOption::Safe,
                "lease-based" => ReadOnlyOption::LeaseBased,
                unknown => return Err(format!("invalid read-only option {unknown:?}")),
            }
        }
        unknown => panic!("unknown setting {unknown}"),
    }
    Ok(())
}
