//! One life of a member: its machines, and actors with delays of their own where the server has threads.
//!
//! The replicator is stepped at once; the log, the applier and the committer are busy for a while with what they are given, and what
//! comes meanwhile waits. Any error of theirs ends the life: whoever holds it finds out whether the disk was to blame.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api::pb::{raftpb, walpb};
use api::{MemberId, RaftIndex};
use member::apply::{Answer, ApplyOutcome, Compaction};
use member::bootstrap::{self, Config, Opened};
use member::propose::Body;
use member::replicate::{Committed, Effect, Effects, EntryKind, Input, LogAck, LogBatch, Proposal, ProposalId, ReadContext, Replicator};
use member::snapshot::{self, DiskSnapshot};
use prost::Message;
use world::DynDisk;

use super::Micros;
use super::options::Planted;
use super::requests::{Reply, Request, read};

/// The state hash is taken at each multiple of this index.
const HASH_EVERY: u64 = 16;

/// Why a life ends: an error of the disk, or a reason of the member's own.
#[derive(Debug)]
pub struct Stop(pub String);

fn stop(error: impl std::fmt::Display) -> Stop {
    Stop(error.to_string())
}

/// What an actor will do when its time has come.
pub enum Work {
    Log,
    Apply,
    Commit,
    Compact,
    Duty,
    Prepare(wal::PrepareJob),
}

/// Who is busy, for the delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    Log,
    Apply,
    Commit,
    Other(Micros),
}

/// The state of a member at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    pub kv: u32,
    pub revision: i64,
    pub database: u32,
}

/// What a step of a life asks of the world around it.
#[derive(Default)]
pub struct Out {
    pub sends: Vec<raftpb::Message>,
    pub snapshots: Vec<raftpb::Message>,
    pub replies: Vec<(u64, Reply)>,
    pub work: Vec<(Work, Actor)>,
    /// Index, term and checksum of entries handed to the applier.
    pub committed: Vec<(u64, u64, u32)>,
    pub hashes: Vec<(u64, StateHash)>,
}

enum LogCommand {
    Append(LogBatch),
    RecordSnapshot(walpb::Snapshot),
    Prepared(Result<wal::Prepared, wal::WalError>),
}

enum ApplyCommand {
    Entries(Vec<Committed>),
    Reads(RaftIndex, Vec<ReadContext>),
}

pub struct Life {
    pub number: u64,
    pub member: MemberId,
    pub parts: Opened,
    replicator: Replicator,
    config: Config,
    disk: DynDisk,
    planted: Option<Planted>,
    pub now: Duration,
    effects: Effects,
    outcome: ApplyOutcome,
    log: VecDeque<LogCommand>,
    log_busy: bool,
    /// What the sync under way will cover.
    unsynced: Option<LogAck>,
    apply: VecDeque<ApplyCommand>,
    apply_busy: bool,
    snapshots: VecDeque<DiskSnapshot>,
    compactions: VecDeque<Compaction>,
    waiters: BTreeMap<u64, u64>,
    reads: BTreeMap<u64, (u64, Request)>,
    /// What the database held at the start: below it, states are not those of the entries.
    held: u64,
    heard: bool,
}

impl Life {
    /// Opens the member's directory; life number 0 is the first.
    pub fn open(disk: DynDisk, config: &Config, number: u64, unix_ms: u64, planted: Option<Planted>) -> Result<Life, Stop> {
        let mut parts = bootstrap::open(&disk, config, Duration::ZERO, unix_ms).map_err(stop)?;
        let replicator = Replicator::new(parts.start.clone(), parts.progress.clone()).map_err(stop)?;
        let compactions = parts.unfinished_compaction.take().into_iter().collect();
        let held = parts.backend.consistent_index().0;
        let mut life = Life {
            number,
            member: parts.member_id,
            parts,
            replicator,
            config: config.clone(),
            disk,
            planted,
            now: Duration::ZERO,
            effects: Effects::new(),
            outcome: ApplyOutcome::default(),
            log: VecDeque::new(),
            log_busy: false,
            unsynced: None,
            apply: VecDeque::new(),
            apply_busy: false,
            snapshots: VecDeque::new(),
            compactions,
            waiters: BTreeMap::new(),
            reads: BTreeMap::new(),
            held,
            heard: false,
        };
        if planted == Some(Planted::ApplyTwice) && number > 0 {
            life.apply_once_more()?;
        }
        Ok(life)
    }

    /// The planted fault: the newest put that the database holds has its effect again.
    fn apply_once_more(&mut self) -> Result<(), Stop> {
        let held = self.held;
        let entries = self.parts.start.entries.iter().rev();
        let mut puts = entries.filter(|entry| entry.index.unwrap_or(0) <= held).filter_map(|entry| {
            let decoded = member::request::decode(entry.data.clone()?).ok()?;
            match decoded.request {
                member::request::Request::Put(put) if put.lease == 0 => Some(put),
                _ => None,
            }
        });
        let Some(put) = puts.next() else { return Ok(()) };
        let term = self.parts.backend.term();
        let writer = self.parts.applier.writer();
        writer.put(&put, &mut mvcc::NoLeases).map_err(stop)?;
        writer.finish(RaftIndex(held), term);
        Ok(())
    }

    /// The work that goes on by itself from the start.
    pub fn begin(&mut self, out: &mut Out) {
        out.work.push((Work::Commit, Actor::Commit));
        out.work.push((Work::Compact, Actor::Other(20_000)));
        out.work.push((Work::Duty, Actor::Other(0)));
    }

    pub fn leader(&self) -> (u64, u64) {
        (self.parts.progress.term().0, self.parts.progress.leader())
    }

    pub fn applied(&self) -> u64 {
        self.parts.applier.applied().0.0
    }

    pub fn is_idle(&self) -> bool {
        self.apply.is_empty() && self.log.is_empty() && self.parts.duties.is_published()
    }

    /// Hands an input to the replicator and carries out what follows from it.
    pub fn step(&mut self, input: Input, out: &mut Out) -> Result<(), Stop> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.replicator.step(input, &mut self.effects);
            let effects: Vec<Effect> = self.effects.drain().collect();
            for effect in effects {
                self.carry_out(effect, &mut inputs, out)?;
            }
        }
        Ok(())
    }

    /// A message of another member.
    pub fn hear(&mut self, message: raftpb::Message, out: &mut Out) -> Result<(), Stop> {
        if !std::mem::replace(&mut self.heard, true) {
            self.step(Input::PeerActive, out)?;
        }
        self.step(Input::FromPeer(Box::new(message)), out)
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>, out: &mut Out) -> Result<(), Stop> {
        match effect {
            Effect::Append(batch) => self.give_log(LogCommand::Append(batch), inputs, out)?,
            Effect::RecordSnapshot(record) => self.give_log(LogCommand::RecordSnapshot(record), inputs, out)?,
            Effect::Apply(entries) => {
                let sum = |entry: &Committed| (entry.index.0, entry.term.0, crc32c::crc32c(&entry.data) ^ entry.kind as u32);
                out.committed.extend(entries.iter().map(sum));
                self.give_apply(ApplyCommand::Entries(entries), out);
            }
            Effect::ReadAt(index, contexts) => self.give_apply(ApplyCommand::Reads(index, contexts), out),
            Effect::Refuse(id, _) => {
                let waiter = self.waiters.remove(&id.0);
                out.replies.extend(waiter.map(|operation| (operation, Reply::NotDone)));
            }
            Effect::BecameLeader(_) => inputs.extend(self.duties()),
            Effect::Send(messages) => out.sends.extend(messages),
            Effect::SendSnapshot(message) => out.snapshots.push(message),
            Effect::Purge => {
                let (wal, snap) = (self.config.wal_dir(), self.config.snap_dir());
                snapshot::purge(&self.disk, &wal, &snap, self.config.max_wals, self.config.max_snapshots).map_err(stop)?;
            }
            Effect::LeaderChanged(_) => {}
            Effect::InstallSnapshot(_) => return Err(Stop("a snapshot came that nobody sent".into())),
            Effect::Stop(reason) => return Err(Stop(reason)),
        }
        Ok(())
    }

    fn duties(&mut self) -> Option<Input> {
        let mut proposals = Vec::new();
        self.parts.duties.step(self.now, &mut proposals);
        (!proposals.is_empty()).then_some(Input::Propose(proposals))
    }

    fn give_log(&mut self, command: LogCommand, inputs: &mut VecDeque<Input>, out: &mut Out) -> Result<(), Stop> {
        self.log.push_back(command);
        self.write_log(inputs, out)
    }

    /// Writes all that waits; the sync comes when the log's time is over.
    fn write_log(&mut self, inputs: &mut VecDeque<Input>, out: &mut Out) -> Result<(), Stop> {
        if self.log_busy {
            return Ok(());
        }
        for command in std::mem::take(&mut self.log) {
            self.log_busy = true;
            match command {
                LogCommand::Append(batch) => {
                    let records = wal::LogBatch {
                        entries: &batch.entries,
                        hard_state: batch.hard_state.as_ref(),
                    };
                    self.parts.wal.append(&records).map_err(stop)?;
                    self.unsynced = batch.must_sync.then_some(batch.ack).or(self.unsynced);
                }
                LogCommand::RecordSnapshot(record) => {
                    self.parts.wal.save_snapshot(&record).map_err(stop)?;
                    self.parts.wal.release_locks_to(record.index.unwrap_or(0));
                }
                LogCommand::Prepared(prepared) => self.parts.wal.prepared(prepared),
            }
        }
        if self.log_busy {
            out.work.push((Work::Log, Actor::Log));
        }
        if self.planted == Some(Planted::AckBeforeSync) {
            inputs.extend(self.unsynced.map(Input::LogSynced));
        }
        Ok(())
    }

    fn sync_log(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.log_busy = false;
        let mut inputs = VecDeque::new();
        if let Some(ack) = self.unsynced.take() {
            self.parts.wal.sync().map_err(stop)?;
            if self.planted != Some(Planted::AckBeforeSync) {
                inputs.push_back(Input::LogSynced(ack));
            }
        }
        if let Some(job) = self.parts.wal.segment_to_prepare() {
            out.work.push((Work::Prepare(job), Actor::Other(3_000)));
        }
        self.write_log(&mut inputs, out)?;
        self.step_all(inputs, out)
    }

    fn step_all(&mut self, inputs: VecDeque<Input>, out: &mut Out) -> Result<(), Stop> {
        for input in inputs {
            self.step(input, out)?;
        }
        Ok(())
    }

    fn give_apply(&mut self, command: ApplyCommand, out: &mut Out) {
        self.apply.push_back(command);
        self.begin_apply(out);
    }

    fn begin_apply(&mut self, out: &mut Out) {
        if !self.apply_busy && !self.apply.is_empty() {
            self.apply_busy = true;
            out.work.push((Work::Apply, Actor::Apply));
        }
    }

    /// An actor's time has come.
    pub fn work(&mut self, work: Work, out: &mut Out) -> Result<(), Stop> {
        match work {
            Work::Log => self.sync_log(out),
            Work::Apply => self.apply_next(out),
            Work::Commit => {
                out.work.push((Work::Commit, Actor::Commit));
                self.commit(out)
            }
            Work::Compact => {
                out.work.push((Work::Compact, Actor::Other(20_000)));
                self.compact(out)
            }
            Work::Duty => self.duty(out),
            Work::Prepare(job) => {
                let prepared = job.run(&self.disk);
                let mut inputs = VecDeque::new();
                self.give_log(LogCommand::Prepared(prepared), &mut inputs, out)?;
                self.step_all(inputs, out)
            }
        }
    }

    fn apply_next(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.apply_busy = false;
        match self.apply.pop_front() {
            Some(ApplyCommand::Entries(entries)) => {
                self.apply_entries(&entries, out)?;
                self.hand_out(out)?;
            }
            Some(ApplyCommand::Reads(index, contexts)) => {
                assert!(
                    index.0 <= self.applied(),
                    "reads at {} while {} is applied",
                    index.0,
                    self.applied()
                );
                for context in contexts {
                    if let Some((operation, request)) = self.reads.remove(&context.0) {
                        out.replies.push((operation, read(&self.parts.store, &request).map_err(stop)?));
                    }
                }
            }
            None => {}
        }
        self.begin_apply(out);
        Ok(())
    }

    /// Applies, with stops where all members take the hash of their state.
    fn apply_entries(&mut self, entries: &[Committed], out: &mut Out) -> Result<(), Stop> {
        for part in entries.chunk_by(|a, _| !a.index.0.is_multiple_of(HASH_EVERY)) {
            self.parts.applier.apply(self.now, part, &mut self.outcome).map_err(stop)?;
            let index = self.applied();
            if index.is_multiple_of(HASH_EVERY) && index > self.held {
                out.hashes.push((index, self.state_hash()?));
            }
        }
        Ok(())
    }

    pub fn state_hash(&self) -> Result<StateHash, Stop> {
        let kv = self.parts.store.hash_kv(0).map_err(stop)?;
        Ok(StateHash {
            kv: kv.hash,
            revision: kv.revision,
            database: self.parts.backend.view().hash().map_err(stop)?,
        })
    }

    fn hand_out(&mut self, out: &mut Out) -> Result<(), Stop> {
        for answer in std::mem::take(&mut self.outcome.answers) {
            self.answer(answer, out);
        }
        self.parts.store.watch_hub().pump();
        let conf_changes = std::mem::take(&mut self.outcome.conf_changes);
        let applied = self.parts.applier.applied().0;
        self.step(Input::Applied(applied, conf_changes), out)?;
        self.compactions.extend(std::mem::take(&mut self.outcome.compactions));
        self.snapshots.extend(self.outcome.snapshot.take());
        let proposals = std::mem::take(&mut self.outcome.proposals);
        if !proposals.is_empty() {
            self.step(Input::Propose(proposals), out)?;
        }
        if self.outcome.removed_self {
            return Err(Stop("removed from the cluster".into()));
        }
        Ok(())
    }

    fn answer(&mut self, answer: Answer, out: &mut Out) {
        if let Some(operation) = self.waiters.remove(&answer.id) {
            out.replies.push((operation, Reply::Applied(answer.result)));
        }
    }

    fn commit(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.parts.committer.commit().map_err(stop)?;
        while let Some(snapshot) = self.snapshots.pop_front() {
            self.parts.committer.commit().map_err(stop)?;
            snapshot.write_file(&self.disk, &self.config.snap_dir()).map_err(stop)?;
            self.step(Input::SnapshotSaved(snapshot.record()), out)?;
        }
        Ok(())
    }

    fn compact(&mut self, out: &mut Out) -> Result<(), Stop> {
        if let Some(first) = self.compactions.front_mut()
            && let mvcc::Step::Done(_) = first.job.step().map_err(stop)?
            && let Some(answer) = self.compactions.pop_front().and_then(|finished| finished.answer_when_done)
        {
            self.answer(answer, out);
        }
        Ok(())
    }

    fn duty(&mut self, out: &mut Out) -> Result<(), Stop> {
        let again = if self.parts.duties.is_published() { 500_000 } else { 100_000 };
        out.work.push((Work::Duty, Actor::Other(again)));
        self.parts.applier.tick(self.now, &mut self.outcome).map_err(stop)?;
        if !self.parts.progress.is_overloaded()
            && let Some(input) = self.duties()
        {
            self.step(input, out)?;
        }
        self.agree_on_version(out)
    }

    /// All members run this version: what the leader's shell finds out by asking them.
    fn agree_on_version(&mut self, out: &mut Out) -> Result<(), Stop> {
        let lowest = Some(member::cluster::Version::server_minor());
        let cluster = &self.parts.cluster;
        let agreed = member::duties::agreement(lowest, cluster.version(), &cluster.downgrade());
        if self.parts.progress.leader() != self.member.0 {
            return Ok(());
        }
        let Some((body, raw)) = agreed.map(member::duties::Agreement::request) else {
            return Ok(());
        };
        let id = self.parts.ids.next();
        self.propose(id, body, &raw, out)
    }

    fn propose(&mut self, id: u64, body: Body, raw: &[u8], out: &mut Out) -> Result<(), Stop> {
        let header = api::pb::etcdserverpb::RequestHeader { id, ..Default::default() };
        let proposal = Proposal {
            id: ProposalId(id),
            kind: EntryKind::Normal,
            data: member::propose::wrap(&header, body, raw),
        };
        self.step(Input::Propose(vec![proposal]), out)
    }

    /// A client's request has arrived.
    pub fn request(&mut self, operation: u64, request: Request, out: &mut Out) -> Result<(), Stop> {
        let id = self.parts.ids.next();
        match request {
            Request::Propose { body, raw } => {
                self.waiters.insert(id, operation);
                self.propose(id, body, &raw, out)
            }
            Request::Read { linearizable: false, .. } => {
                out.replies.push((operation, read(&self.parts.store, &request).map_err(stop)?));
                Ok(())
            }
            Request::Read { .. } => {
                self.reads.insert(id, (operation, request));
                let leads = self.parts.progress.leader() == self.member.0;
                if self.planted == Some(Planted::ReadOfTheDeposed) && leads {
                    let index = self.parts.applier.applied().0;
                    self.give_apply(ApplyCommand::Reads(index, vec![ReadContext(id)]), out);
                    return Ok(());
                }
                self.step(Input::Read(ReadContext(id)), out)
            }
        }
    }

    /// A clean stop.
    pub fn leave(mut self, out: &mut Out) -> Result<(), Stop> {
        self.step(Input::Leave, out)?;
        self.parts.committer.commit().map_err(stop)?;
        self.parts.wal.close().map_err(stop)
    }
}

/// The size of a message on the wire, which the trace records.
pub fn wire_len(message: &raftpb::Message) -> u64 {
    message.encoded_len() as u64
}
