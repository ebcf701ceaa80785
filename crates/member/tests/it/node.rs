//! Drives the machines of one member in one thread, as the shell's threads do in several.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use api::pb::etcdserverpb::RequestHeader;
use api::pb::raftpb;
use api::{Status, Term};
use member::apply::{Answer, ApplyOutcome, Compaction, Response};
use member::bootstrap::{self, Config, OpenError, Opened};
use member::propose::{Body, wrap};
use member::replicate::{Effect, Effects, EntryKind, Input, Proposal, ProposalId, Replicator};
use member::snapshot::Incoming;
use prost::Message;
use world::DynDisk;

/// A step of the simulated clock.
pub const TICK: Duration = Duration::from_millis(100);

/// Why the member has stopped: what would end the process.
#[derive(Debug)]
pub struct Stopped(#[allow(dead_code)] pub String);

/// One life of a member.
pub struct Node {
    disk: DynDisk,
    config: Config,
    pub parts: Opened,
    replicator: Replicator,
    pub now: Duration,
    effects: Effects,
    outcome: ApplyOutcome,
    answers: HashMap<u64, Result<Response, Status>>,
    refused: HashMap<u64, Status>,
    compactions: Vec<Compaction>,
    pub term: Option<Term>,
    pub removed_self: bool,
    /// What this member sent to others, who do not hear it.
    pub sent: Vec<raftpb::Message>,
}

impl Node {
    /// Opens the member's directory. Nothing is applied yet.
    pub fn open(disk: &DynDisk, config: &Config, unix_ms: u64) -> Result<Node, OpenError> {
        let mut parts = bootstrap::open(disk, config, Duration::ZERO, unix_ms)?;
        let replicator = Replicator::new(parts.start.clone(), parts.progress.clone())?;
        let compactions = parts.unfinished_compaction.take().into_iter().collect();
        Ok(Node {
            disk: disk.clone(),
            config: config.clone(),
            parts,
            replicator,
            now: Duration::ZERO,
            effects: Effects::new(),
            outcome: ApplyOutcome::default(),
            answers: HashMap::new(),
            refused: HashMap::new(),
            compactions,
            term: None,
            removed_self: false,
            sent: Vec::new(),
        })
    }

    /// Opens it and runs until its attributes are applied.
    pub fn start(disk: &DynDisk, config: &Config, unix_ms: u64) -> Result<Node, String> {
        let mut node = Node::open(disk, config, unix_ms).map_err(|e| e.to_string())?;
        node.run_to_ready().map_err(|e| e.0)?;
        Ok(node)
    }

    pub fn run_to_ready(&mut self) -> Result<(), Stopped> {
        for _ in 0..50 {
            self.tick()?;
            if self.parts.duties.is_published() && self.parts.cluster.version().is_some() && self.compactions.is_empty() {
                return Ok(());
            }
        }
        Err(Stopped("never became ready".into()))
    }

    /// A heartbeat interval passes.
    pub fn tick(&mut self) -> Result<(), Stopped> {
        self.now += TICK;
        self.step(Input::Tick)?;
        self.duties()?;
        self.parts.applier.tick(self.now, &mut self.outcome).map_err(stopped)?;
        self.take_outcome()?;
        if let Some(job) = self.compactions.first_mut()
            && let mvcc::Step::Done(_) = job.job.step().map_err(stopped)?
        {
            let finished = self.compactions.remove(0);
            self.give(finished.answer_when_done.into_iter().collect());
        }
        Ok(())
    }

    fn duties(&mut self) -> Result<(), Stopped> {
        let mut proposals = Vec::new();
        self.parts.duties.step(self.now, &mut proposals);
        if proposals.is_empty() {
            Ok(())
        } else {
            self.step(Input::Propose(proposals))
        }
    }

    /// Hands an input to the replicator and carries out all that follows from it.
    pub fn step(&mut self, input: Input) -> Result<(), Stopped> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.replicator.step(input, &mut self.effects);
            let effects: Vec<Effect> = self.effects.drain().collect();
            for effect in effects {
                self.carry_out(effect, &mut inputs)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) -> Result<(), Stopped> {
        match effect {
            Effect::Append(batch) => {
                let wal_batch = wal::LogBatch {
                    entries: &batch.entries,
                    hard_state: batch.hard_state.as_ref(),
                };
                match batch.snapshot {
                    Some(snapshot) => Incoming::new(snapshot)
                        .save(&self.disk, &self.config.snap_dir(), &mut self.parts.wal, &wal_batch)
                        .map_err(stopped)?,
                    None => self.parts.wal.append(&wal_batch).map_err(stopped)?,
                }
                if batch.must_sync {
                    self.parts.wal.sync().map_err(stopped)?;
                    inputs.push_back(Input::LogSynced(batch.ack));
                }
            }
            Effect::Apply(entries) => {
                self.parts.applier.apply(self.now, &entries, &mut self.outcome).map_err(stopped)?;
                inputs.push_back(Input::Applied(self.outcome.applied, std::mem::take(&mut self.outcome.conf_changes)));
                self.take_outcome_into(inputs)?;
            }
            Effect::RecordSnapshot(record) => {
                self.parts.wal.save_snapshot(&record).map_err(stopped)?;
                self.parts.wal.release_locks_to(record.index.unwrap_or(0));
            }
            Effect::Refuse(id, refusal) => {
                self.refused.insert(id.0, refusal.into());
            }
            Effect::BecameLeader(term) => {
                self.term = Some(term);
                let mut proposals = Vec::new();
                self.parts.duties.step(self.now, &mut proposals);
                inputs.push_back(Input::Propose(proposals));
            }
            Effect::Purge => {
                let config = &self.config;
                member::snapshot::purge(
                    &self.disk,
                    &config.wal_dir(),
                    &config.snap_dir(),
                    config.max_wals,
                    config.max_snapshots,
                )
                .map_err(stopped)?;
            }
            Effect::Send(messages) => self.sent.extend(messages),
            Effect::ReadAt(..) | Effect::LeaderChanged(_) | Effect::SendSnapshot(_) => {}
            Effect::Stop(reason) => return Err(Stopped(reason)),
            Effect::InstallSnapshot(snapshot) => {
                self.parts
                    .applier
                    .install(&Incoming::new(snapshot), &mut self.outcome)
                    .map_err(stopped)?;
                inputs.push_back(Input::Applied(self.outcome.applied, Vec::new()));
                self.take_outcome_into(inputs)?;
            }
        }
        Ok(())
    }

    fn take_outcome(&mut self) -> Result<(), Stopped> {
        let mut inputs = VecDeque::new();
        self.take_outcome_into(&mut inputs)?;
        for input in inputs {
            self.step(input)?;
        }
        Ok(())
    }

    fn take_outcome_into(&mut self, inputs: &mut VecDeque<Input>) -> Result<(), Stopped> {
        let answers = std::mem::take(&mut self.outcome.answers);
        self.give(answers);
        self.compactions.append(&mut self.outcome.compactions);
        self.removed_self |= self.outcome.removed_self;
        let proposals = std::mem::take(&mut self.outcome.proposals);
        if !proposals.is_empty() {
            inputs.push_back(Input::Propose(proposals));
        }
        if let Some(snapshot) = self.outcome.snapshot.take() {
            self.commit()?;
            snapshot.write_file(&self.disk, &self.config.snap_dir()).map_err(stopped)?;
            inputs.push_back(Input::SnapshotSaved(snapshot.record()));
        }
        Ok(())
    }

    fn give(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let twice = self.answers.insert(answer.id, answer.result);
            assert!(twice.is_none(), "request {:x} answered twice", answer.id);
        }
    }

    /// What the committer's thread does every 100 ms.
    pub fn commit(&mut self) -> Result<(), Stopped> {
        self.parts.committer.commit().map(|_| ()).map_err(stopped)
    }

    /// Proposes a request and waits for its answer.
    pub fn request(&mut self, body: Body, message: &impl Message) -> Result<Response, Status> {
        self.try_request(body, &message.encode_to_vec()).expect("the member goes on")
    }

    /// The same; the outer error is the end of the member.
    pub fn try_request(&mut self, body: Body, raw: &[u8]) -> Result<Result<Response, Status>, Stopped> {
        let id = self.parts.ids.next();
        let header = RequestHeader {
            id,
            ..RequestHeader::default()
        };
        self.propose(id, EntryKind::Normal, wrap(&header, body, raw))
    }

    pub fn propose(&mut self, id: u64, kind: EntryKind, data: bytes::Bytes) -> Result<Result<Response, Status>, Stopped> {
        let proposal = Proposal {
            id: ProposalId(id),
            kind,
            data,
        };
        self.step(Input::Propose(vec![proposal]))?;
        for _ in 0..1000 {
            if let Some(answer) = self.answers.remove(&id) {
                return Ok(answer);
            }
            if let Some(refusal) = self.refused.remove(&id) {
                return Ok(Err(refusal));
            }
            self.tick()?;
        }
        Err(Stopped(format!("request {id:x} was never answered")))
    }

    /// Runs compactions to their end.
    pub fn finish_compactions(&mut self) {
        while !self.compactions.is_empty() {
            self.tick().expect("the member goes on");
        }
    }

    /// A clean stop.
    pub fn stop(mut self) -> Result<(), Stopped> {
        self.step(Input::Leave)?;
        self.commit()?;
        self.parts.wal.close().map_err(stopped)
    }
}

fn stopped(error: impl std::fmt::Display) -> Stopped {
    Stopped(error.to_string())
}
