//! The threads of a member and the queues between them: who drives which machine.
//!
//! Stands at steps 5 to 12 of the life of a Put. `raft` owns the replicator, `log` the write-ahead log, `apply` the applier,
//! `commit` the database file, `compact` the slices of compactions, `chores` what may take its time. A failed write or sync
//! of the log or the database ends the process here; nothing is retried.

mod apply;
mod chores;
mod commit;
mod compact;
mod log;
mod raft;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use member::apply::{Applier, ApplyOutcome, Compaction};
use member::duties::Duties;
use member::replicate::{Input, Replicator};
use world::DynDisk;

use self::apply::{ApplyCommand, ApplyThread};
use self::chores::chores;
use self::commit::CommitThread;
use self::compact::compact;
use self::log::{LogCommand, LogThread};
use self::raft::RaftThread;
use crate::log::field;
use crate::node::Node;

pub use self::commit::CommitCommand;
pub use self::raft::RaftCommand;

/// The receiving ends that [`start`] takes over, made before the node so that the node can hold the sending ones.
pub struct Queues {
    raft: (Sender<RaftCommand>, Receiver<RaftCommand>),
    commit: (Sender<CommitCommand>, Receiver<CommitCommand>),
}

impl Queues {
    pub fn new() -> Queues {
        Queues {
            raft: unbounded(),
            commit: unbounded(),
        }
    }

    pub fn raft(&self) -> Sender<RaftCommand> {
        self.raft.0.clone()
    }

    pub fn committer(&self) -> Sender<CommitCommand> {
        self.commit.0.clone()
    }
}

impl Default for Queues {
    fn default() -> Queues {
        Queues::new()
    }
}

/// The machines, as bootstrap made them.
pub struct Machines {
    pub replicator: Replicator,
    pub applier: Applier,
    pub duties: Duties,
    pub wal: wal::Wal,
    pub committer: backend::Committer,
    pub unfinished_compaction: Option<Compaction>,
}

/// What the threads are told.
#[derive(Clone)]
pub struct Settings {
    pub disk: DynDisk,
    pub wal_dir: std::path::PathBuf,
    pub snap_dir: std::path::PathBuf,
    pub max_wals: usize,
    pub max_snapshots: usize,
    pub tick: Duration,
    pub batch_interval: Duration,
    pub compaction_pause: Duration,
    pub warning_apply: Duration,
}

/// The running threads.
pub struct Threads {
    raft: Sender<RaftCommand>,
    log: Sender<LogCommand>,
    apply: Sender<ApplyCommand>,
    commit: Sender<CommitCommand>,
    published: tokio::sync::watch::Receiver<bool>,
}

/// Ends the process: what was to be made durable may not be.
fn fatal(message: &str, error: &dyn std::fmt::Display) -> ! {
    crate::log::fatal(message, &[field("error", error.to_string())]);
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    if let Err(error) = started {
        fatal("failed to start a thread", &error);
    }
}

/// Starts all threads.
pub fn start(node: Arc<Node>, machines: Machines, queues: Queues, settings: Settings) -> Threads {
    let (log_sender, log_receiver) = unbounded();
    let (apply_sender, apply_receiver) = unbounded();
    let (compact_sender, compact_receiver) = unbounded();
    let (chore_sender, chore_receiver) = unbounded();
    let (published_sender, published) = tokio::sync::watch::channel(false);
    let raft = queues.raft();
    let commit = queues.committer();

    let raft_thread = RaftThread {
        node: node.clone(),
        replicator: machines.replicator,
        log: log_sender.clone(),
        apply: apply_sender.clone(),
        chores: chore_sender.clone(),
        tick: settings.tick,
    };
    let raft_receiver = queues.raft.1;
    spawn("raft", move || raft_thread.run(&raft_receiver));

    let log_thread = LogThread {
        node: node.clone(),
        wal: machines.wal,
        raft: raft.clone(),
        chores: chore_sender,
    };
    spawn("log", move || log_thread.run(&log_receiver));

    if let Some(unfinished) = machines.unfinished_compaction {
        let _ = compact_sender.send(unfinished);
    }
    let apply_thread = ApplyThread {
        node: node.clone(),
        applier: machines.applier,
        duties: machines.duties,
        raft: raft.clone(),
        commit: commit.clone(),
        compact: compact_sender,
        published: published_sender,
        warning: settings.warning_apply,
        outcome: ApplyOutcome::default(),
    };
    spawn("apply", move || apply_thread.run(&apply_receiver));

    let commit_receiver = queues.commit.1;
    let commit_thread = CommitThread {
        node: node.clone(),
        committer: machines.committer,
        raft: raft.clone(),
        settings: settings.clone(),
    };
    spawn("commit", move || commit_thread.run(&commit_receiver));

    let pause = settings.compaction_pause;
    let compact_node = node;
    spawn("compact", move || compact(&compact_node, &compact_receiver, pause));
    let chore_log = log_sender.clone();
    spawn("chores", move || chores(&chore_receiver, &chore_log, &settings));
    Threads {
        raft,
        log: log_sender,
        apply: apply_sender,
        commit,
        published,
    }
}

impl Threads {
    /// Ends when the member's attributes are applied: it is ready to serve.
    pub async fn ready(&self) {
        let mut published = self.published.clone();
        // The sender lives as long as the apply thread, whose end is the process's.
        let _ = published.wait_for(|ready| *ready).await;
    }

    /// Ends the work in order: no new proposals, what is applied goes into the file, the log is closed.
    pub fn stop(&self) {
        let _ = self.raft.send(RaftCommand::Input(Input::Leave));
        let (done, closed) = crossbeam_channel::bounded(1);
        let limit = Duration::from_secs(10);
        if self.log.send(LogCommand::Close(done.clone())).is_ok() {
            let _ = closed.recv_timeout(limit);
        }
        if self.apply.send(ApplyCommand::Close(done.clone())).is_ok() {
            let _ = closed.recv_timeout(limit);
        }
        if self.commit.send(CommitCommand::Close(done)).is_ok() {
            let _ = closed.recv_timeout(limit);
        }
    }
}
