//! The threads of a member and the queues between them: who drives which machine.
//!
//! Stands at steps 5 to 12 of the life of a Put. `raft` owns the replicator, `log` the write-ahead log, `apply` the applier,
//! `committer` the database file, `compactor` the slices of compactions, `chores` what may take its time. A failed write or sync
//! of the log or the database ends the process here; nothing is retried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use member::apply::{Applier, ApplyOutcome, Compaction};
use member::duties::Duties;
use member::replicate::{Committed, Effect, Effects, Input, LogAck, LogBatch, Proposal, ProposalId, ReadContext, Replicator};
use member::snapshot::DiskSnapshot;
use tokio::sync::oneshot;
use world::{Clock, DynDisk};

use crate::gauges;
use crate::log::{self, field};
use crate::node::Node;

/// To the thread that owns the replicator.
pub enum RaftCommand {
    Propose(Proposal),
    Read(ReadContext),
    Input(Input),
}

/// To the thread that owns the log.
enum LogCommand {
    Append(LogBatch),
    RecordSnapshot(api::pb::walpb::Snapshot),
    Prepared(Result<wal::Prepared, wal::WalError>),
    Close(Sender<()>),
}

/// To the thread that applies.
enum ApplyCommand {
    Entries(Vec<Committed>),
    Reads(Vec<ReadContext>),
    Close(Sender<()>),
}

/// To the thread that owns the database file.
pub enum CommitCommand {
    /// A batch is full: do not wait for the interval.
    Full,
    Commit(oneshot::Sender<()>),
    Defragment(oneshot::Sender<()>),
    Snapshot(DiskSnapshot),
    Close(Sender<()>),
}

enum Chore {
    PrepareSegment(wal::PrepareJob),
    Purge,
}

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
    log::fatal(message, &[field("error", error.to_string())]);
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

struct RaftThread {
    node: Arc<Node>,
    replicator: Replicator,
    log: Sender<LogCommand>,
    apply: Sender<ApplyCommand>,
    chores: Sender<Chore>,
    tick: Duration,
}

/// Most commands taken into one step, so that ticks and acknowledgements are never far.
const STEP_COMMANDS: usize = 4096;

impl RaftThread {
    fn run(mut self, commands: &Receiver<RaftCommand>) {
        let mut effects = Effects::new();
        // The first tick comes at once: a member alone need not wait to campaign.
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                self.replicator.step(Input::Tick, &mut effects);
                next_tick = now + self.tick;
            }
            match commands.recv_timeout(next_tick.saturating_duration_since(now)) {
                Ok(command) => self.take(command, commands, &mut effects),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.carry_out(&mut effects);
        }
    }

    /// Takes a command and all that wait behind it; proposals that follow each other become one batch.
    fn take(&mut self, first: RaftCommand, commands: &Receiver<RaftCommand>, effects: &mut Effects) {
        let mut proposals = Vec::new();
        for command in std::iter::once(first).chain(commands.try_iter()).take(STEP_COMMANDS) {
            match command {
                RaftCommand::Propose(proposal) => {
                    proposals.push(proposal);
                    continue;
                }
                other => {
                    if !proposals.is_empty() {
                        self.replicator.step(Input::Propose(std::mem::take(&mut proposals)), effects);
                    }
                    let input = match other {
                        RaftCommand::Read(context) => Input::Read(context),
                        RaftCommand::Input(input) => input,
                        RaftCommand::Propose(_) => continue,
                    };
                    self.replicator.step(input, effects);
                }
            }
        }
        if !proposals.is_empty() {
            self.replicator.step(Input::Propose(proposals), effects);
        }
    }

    fn carry_out(&mut self, effects: &mut Effects) {
        for effect in effects.drain() {
            match effect {
                Effect::Append(batch) => {
                    world::fail::point("raftBeforeSave");
                    drop(self.log.send(LogCommand::Append(batch)));
                }
                Effect::RecordSnapshot(record) => drop(self.log.send(LogCommand::RecordSnapshot(record))),
                Effect::Apply(entries) => drop(self.apply.send(ApplyCommand::Entries(entries))),
                // Behind the entries it waits for: commands are taken in order.
                Effect::ReadAt(_, contexts) => drop(self.apply.send(ApplyCommand::Reads(contexts))),
                Effect::Refuse(ProposalId(id), refusal) => {
                    self.node.metrics.server_proposals_failed_total.inc();
                    self.node.answer(id, Err(refusal.into()));
                }
                Effect::BecameLeader(term) => {
                    let (id, term) = (self.node.member_id.to_string(), term.0);
                    log::info("raft.node: elected leader", &[field("leader", id), field("term", term)]);
                }
                Effect::Purge => drop(self.chores.send(Chore::Purge)),
            }
        }
    }
}

struct LogThread {
    node: Arc<Node>,
    wal: wal::Wal,
    raft: Sender<RaftCommand>,
    chores: Sender<Chore>,
}

impl LogThread {
    fn run(mut self, commands: &Receiver<LogCommand>) {
        while let Ok(first) = commands.recv() {
            let (mut ack, mut must_sync, mut closed): (Option<LogAck>, bool, Option<Sender<()>>) = (None, false, None);
            for command in std::iter::once(first).chain(commands.try_iter()) {
                match command {
                    LogCommand::Append(batch) => {
                        self.append(&batch);
                        must_sync |= batch.must_sync;
                        if batch.must_sync {
                            ack = Some(batch.ack);
                        }
                    }
                    LogCommand::RecordSnapshot(record) => self.record_snapshot(&record),
                    LogCommand::Prepared(prepared) => self.wal.prepared(prepared),
                    LogCommand::Close(done) => closed = Some(done),
                }
            }
            if must_sync || closed.is_some() {
                self.sync();
            }
            if let Some(ack) = ack {
                let _ = self.raft.send(RaftCommand::Input(Input::LogSynced(ack)));
            }
            if let Some(job) = self.wal.segment_to_prepare() {
                let _ = self.chores.send(Chore::PrepareSegment(job));
            }
            if let Some(done) = closed {
                let _ = self.wal.close();
                let _ = done.send(());
                return;
            }
        }
    }

    fn append(&mut self, batch: &LogBatch) {
        let begun = Instant::now();
        let written = self.wal.append(&wal::LogBatch {
            entries: &batch.entries,
            hard_state: batch.hard_state.as_ref(),
        });
        if let Err(error) = written {
            fatal("failed to save raft entries", &error);
        }
        self.node.metrics.disk_wal_write_duration_seconds.observe_duration(begun.elapsed());
    }

    fn sync(&mut self) {
        let begun = Instant::now();
        if let Err(error) = self.wal.sync() {
            fatal("failed to sync the write-ahead log", &error);
        }
        let took = begun.elapsed();
        self.node.metrics.disk_wal_fsync_duration_seconds.observe_duration(took);
        if took > Duration::from_secs(1) {
            log::warn(
                "slow fdatasync",
                &[field("took", took), field("expected-duration", Duration::from_secs(1))],
            );
        }
    }

    fn record_snapshot(&mut self, record: &api::pb::walpb::Snapshot) {
        if let Err(error) = self.wal.save_snapshot(record) {
            fatal("failed to save a snapshot record", &error);
        }
        self.wal.release_locks_to(record.index.unwrap_or(0));
    }
}

struct ApplyThread {
    node: Arc<Node>,
    applier: Applier,
    duties: Duties,
    raft: Sender<RaftCommand>,
    commit: Sender<CommitCommand>,
    compact: Sender<Compaction>,
    published: tokio::sync::watch::Sender<bool>,
    warning: Duration,
    outcome: ApplyOutcome,
}

/// Between two looks at what the member itself has to do; shorter until it is ready.
const DUTY_INTERVAL: Duration = Duration::from_millis(500);

impl ApplyThread {
    fn run(mut self, commands: &Receiver<ApplyCommand>) {
        let mut next_duty = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_duty || !*self.published.borrow() {
                self.duty();
                next_duty = now + DUTY_INTERVAL;
            }
            match commands.recv_timeout(next_duty.saturating_duration_since(now)) {
                Ok(ApplyCommand::Entries(entries)) => self.apply(&entries),
                Ok(ApplyCommand::Reads(contexts)) => {
                    for ReadContext(id) in contexts {
                        if let Some(waiter) = self.node.reads.take(id) {
                            let _ = waiter.send(());
                        }
                    }
                }
                Ok(ApplyCommand::Close(done)) => {
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn apply(&mut self, entries: &[Committed]) {
        let begun = Instant::now();
        if let Err(error) = self.applier.apply(self.node.clock.now(), entries, &mut self.outcome) {
            fatal("failed to apply", &error);
        }
        let took = begun.elapsed();
        if took > self.warning {
            self.node.metrics.server_slow_apply_total.inc();
            log::warn(
                "apply request took too long",
                &[
                    field("took", took),
                    field("expected-duration", self.warning),
                    field("entries", entries.len()),
                ],
            );
        }
        self.hand_out();
    }

    /// Gives the outcome to whom it concerns.
    fn hand_out(&mut self) {
        for answer in self.outcome.answers.drain(..) {
            if let Ok(response) = &answer.result {
                gauges::count(&self.node.metrics, response);
            }
            self.node.answer(answer.id, answer.result);
        }
        self.node.store.watch_hub().pump();
        let conf_changes = std::mem::take(&mut self.outcome.conf_changes);
        let _ = self
            .raft
            .send(RaftCommand::Input(Input::Applied(self.outcome.applied, conf_changes)));
        for proposal in self.outcome.proposals.drain(..) {
            let _ = self.raft.send(RaftCommand::Propose(proposal));
        }
        for compaction in self.outcome.compactions.drain(..) {
            let _ = self.compact.send(compaction);
        }
        if let Some(snapshot) = self.outcome.snapshot.take() {
            let _ = self.commit.send(CommitCommand::Snapshot(snapshot));
        }
        if self.node.backend.should_commit() {
            let _ = self.commit.send(CommitCommand::Full);
        }
        if self.outcome.removed_self {
            log::warn("this member was removed from the cluster: stopping", &[]);
            std::process::exit(0);
        }
    }

    fn duty(&mut self) {
        let now = self.node.clock.now();
        if let Err(error) = self.applier.tick(now, &mut self.outcome) {
            fatal("failed to apply", &error);
        }
        // While old entries are still being gone through, proposals are refused, and each would be made again only after its time-out:
        // a start behind a long log would be late by that.
        if !self.node.progress.is_overloaded() {
            let mut proposals = Vec::new();
            self.duties.step(now, &mut proposals);
            for proposal in proposals {
                let _ = self.raft.send(RaftCommand::Propose(proposal));
            }
        }
        if self.duties.is_published() && !*self.published.borrow() {
            self.published.send_replace(true);
        }
    }
}

struct CommitThread {
    node: Arc<Node>,
    committer: backend::Committer,
    raft: Sender<RaftCommand>,
    settings: Settings,
}

/// Pages that one step of giving space back moves: some milliseconds of work between two commits.
const RECLAIM_PAGES: usize = 512;

impl CommitThread {
    fn run(mut self, commands: &Receiver<CommitCommand>) {
        let mut next = Instant::now() + self.settings.batch_interval;
        loop {
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(CommitCommand::Commit(done)) => {
                    self.commit();
                    let _ = done.send(());
                }
                Ok(CommitCommand::Full) => {
                    // Several such calls may have queued up for the same operations.
                    if self.node.backend.should_commit() {
                        self.commit();
                    }
                }
                Ok(CommitCommand::Defragment(done)) => {
                    self.defragment();
                    let _ = done.send(());
                }
                Ok(CommitCommand::Snapshot(snapshot)) => self.snapshot(&snapshot),
                Ok(CommitCommand::Close(done)) => {
                    self.commit();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next {
                next = Instant::now() + self.settings.batch_interval;
            }
        }
    }

    fn commit(&mut self) {
        if self.node.backend.pending_ops() == 0 && self.node.backend.committed_index() == self.node.backend.consistent_index() {
            return;
        }
        let begun = Instant::now();
        if let Err(error) = self.committer.commit() {
            fatal("failed to commit the database", &error);
        }
        self.node
            .metrics
            .disk_backend_commit_duration_seconds
            .observe_duration(begun.elapsed());
    }

    fn defragment(&mut self) {
        let begun = Instant::now();
        let before = self.node.backend.size();
        log::info("defragmenting", &[field("current-db-size-bytes", before)]);
        self.node.metrics.disk_defrag_inflight.set(1);
        loop {
            match self.committer.reclaim(RECLAIM_PAGES) {
                Ok(step) if step.done => break,
                Ok(_) => {}
                Err(error) => fatal("failed to defragment the database", &error),
            }
            // Writers go on meanwhile: what they hand over must not pile up.
            if self.node.backend.pending_ops() > 0 {
                self.commit();
            }
        }
        self.node.metrics.disk_defrag_inflight.set(0);
        self.node
            .metrics
            .disk_backend_defrag_duration_seconds
            .observe_duration(begun.elapsed());
        let after = self.node.backend.size();
        log::info(
            "finished defragmenting",
            &[
                field("current-db-size-bytes-diff", after as i64 - before as i64),
                field("current-db-size-bytes", after),
                field("took", begun.elapsed()),
            ],
        );
    }

    fn snapshot(&mut self, snapshot: &DiskSnapshot) {
        self.commit();
        let begun = Instant::now();
        if let Err(error) = snapshot.write_file(&self.settings.disk, &self.settings.snap_dir) {
            fatal("failed to save a snapshot", &error);
        }
        self.node
            .metrics
            .debugging_snap_save_total_duration_seconds
            .observe_duration(begun.elapsed());
        log::info("saved snapshot to disk", &[field("snapshot-index", snapshot.index().0)]);
        let _ = self.raft.send(RaftCommand::Input(Input::SnapshotSaved(snapshot.record())));
    }
}

/// Carries out compactions slice by slice, one after another.
fn compact(node: &Node, jobs: &Receiver<Compaction>, pause: Duration) {
    while let Ok(mut compaction) = jobs.recv() {
        let begun = Instant::now();
        let revision = compaction.job.revision();
        let hash = loop {
            match compaction.job.step() {
                Ok(mvcc::Step::More) => std::thread::sleep(pause),
                Ok(mvcc::Step::Done(hash)) => break hash,
                Err(error) => fatal("failed to compact", &error),
            }
        };
        node.metrics
            .debugging_mvcc_db_compaction_total_duration_milliseconds
            .observe(begun.elapsed().as_secs_f64() * 1e3);
        log::info(
            "finished scheduled compaction",
            &[
                field("compact-revision", revision),
                field("took", begun.elapsed()),
                field("hash", hash.hash),
                field("current-db-size-bytes", node.backend.size()),
            ],
        );
        if let Some(answer) = compaction.answer_when_done {
            // A physical compaction is answered when its deletes are in the file.
            let (done, committed) = oneshot::channel();
            if node.committer.send(CommitCommand::Commit(done)).is_ok() {
                let _ = committed.blocking_recv();
            }
            node.answer(answer.id, answer.result);
        }
    }
}

/// What may take its time, away from everybody else.
fn chores(chores: &Receiver<Chore>, log: &Sender<LogCommand>, settings: &Settings) {
    while let Ok(chore) = chores.recv() {
        match chore {
            Chore::PrepareSegment(job) => drop(log.send(LogCommand::Prepared(job.run(&settings.disk)))),
            Chore::Purge => {
                let (wals, snapshots) = (settings.max_wals, settings.max_snapshots);
                match member::snapshot::purge(&settings.disk, &settings.wal_dir, &settings.snap_dir, wals, snapshots) {
                    Ok(purged) => {
                        for file in purged {
                            log::info("purged", &[field("path", file)]);
                        }
                    }
                    Err(error) => log::warn("failed to purge old files", &[field("error", error.to_string())]),
                }
            }
        }
    }
}
