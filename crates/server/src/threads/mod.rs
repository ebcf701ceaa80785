//! The threads of a member and the queues between them: who drives which machine.
//!
//! Stands at steps 5 to 12 of the life of a Put. `raft` owns the replicator, `log` the write-ahead log, `apply` the applier,
//! `commit` the database file, `compact` the slices of compactions, `chores` what may take its time. A failed write or sync
//! of the log or the database ends the process here; nothing is retried.

mod apply;
mod baton;
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
use member::replicate::{Effects, Input, Replicator};
use world::DynDisk;

use self::apply::{ApplyCommand, ApplyMachine, DUTY_INTERVAL};
use self::baton::{Machine, Tick};
use self::chores::chores;
use self::commit::CommitThread;
use self::compact::compact;
use self::log::{Gathered, LogCommand, LogMachine};
use crate::gauges::Applied;
use crate::log::field;
use crate::node::Node;

pub(crate) use self::baton::Baton;
pub use self::commit::CommitCommand;
pub use self::raft::RaftCommand;
pub(crate) use self::raft::RaftMachine;

/// The queues that the node holds the sending ends of: made before it, taken over by [`start`].
pub struct Queues {
    raft: Arc<Baton<RaftMachine>>,
    commit: (Sender<CommitCommand>, Receiver<CommitCommand>),
}

impl Queues {
    pub fn new() -> Queues {
        Queues {
            raft: Arc::new(Baton::new()),
            commit: unbounded(),
        }
    }

    pub(crate) fn raft(&self) -> Arc<Baton<RaftMachine>> {
        self.raft.clone()
    }

    pub(crate) fn committer(&self) -> Sender<CommitCommand> {
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
    raft: Arc<Baton<RaftMachine>>,
    log: Arc<Baton<LogMachine>>,
    apply: Arc<Baton<ApplyMachine>>,
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

fn spawn_driver<M: Machine + 'static>(name: &str, baton: &Arc<Baton<M>>, machine: M, tick: Option<Tick<M::Command>>) {
    let baton = baton.clone();
    spawn(name, move || baton.run(machine, tick));
}

/// Starts all threads.
pub fn start(node: Arc<Node>, machines: Machines, queues: Queues, settings: Settings) -> Threads {
    let (raft, log, apply) = (queues.raft(), Arc::new(Baton::new()), Arc::new(Baton::new()));
    let (compact_sender, compact_receiver) = unbounded();
    let (chore_sender, chore_receiver) = unbounded();
    let (published_sender, published) = tokio::sync::watch::channel(false);
    let commit = queues.committer();
    if let Some(unfinished) = machines.unfinished_compaction {
        let _ = compact_sender.send(unfinished);
    }
    let mut applier = machines.applier;
    applier.observe(Box::new(Applied::new(node.metrics.clone(), settings.warning_apply)));

    let raft_machine = RaftMachine {
        node: node.clone(),
        replicator: machines.replicator,
        log: log.clone(),
        apply: apply.clone(),
        chores: chore_sender.clone(),
        commit: commit.clone(),
        effects: Effects::new(),
    };
    let ticks = Tick {
        interval: settings.tick,
        command: || RaftCommand::Input(Input::Tick),
    };
    spawn_driver("raft", &raft, raft_machine, Some(ticks));

    let log_machine = LogMachine {
        node: node.clone(),
        wal: Some(machines.wal),
        queue: log.clone(),
        apply: apply.clone(),
        chores: chore_sender,
        disk: settings.disk.clone(),
        snap_dir: settings.snap_dir.clone(),
        gathered: Gathered::default(),
    };
    spawn_driver("log", &log, log_machine, None);

    let apply_machine = ApplyMachine {
        node: node.clone(),
        applier,
        duties: machines.duties,
        commit: commit.clone(),
        compact: compact_sender,
        published: published_sender,
        outcome: ApplyOutcome::default(),
    };
    let duties = Tick {
        interval: DUTY_INTERVAL,
        command: || ApplyCommand::Duty,
    };
    spawn_driver("apply", &apply, apply_machine, Some(duties));

    let commit_receiver = queues.commit.1;
    let commit_thread = CommitThread {
        node: node.clone(),
        committer: machines.committer,
        settings: settings.clone(),
    };
    spawn("commit", move || commit_thread.run(&commit_receiver));

    let pause = settings.compaction_pause;
    let compact_node = node;
    spawn("compact", move || compact(&compact_node, &compact_receiver, pause));
    let chore_log = log.clone();
    spawn("chores", move || chores(&chore_receiver, &chore_log, &settings));
    Threads {
        raft,
        log,
        apply,
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
        self.raft.bring(RaftCommand::Input(Input::Leave));
        let (done, closed) = crossbeam_channel::bounded(1);
        let limit = Duration::from_secs(10);
        self.log.leave(LogCommand::Close(done.clone()));
        let _ = closed.recv_timeout(limit);
        self.apply.leave(ApplyCommand::Close(done.clone()));
        let _ = closed.recv_timeout(limit);
        if self.commit.send(CommitCommand::Close(done)).is_ok() {
            let _ = closed.recv_timeout(limit);
        }
    }
}
