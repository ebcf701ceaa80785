//! What the machines of a member cost without a network and without syncs: nanoseconds for each put applied and each lease renewed.
//!
//! `cargo run --release -p member --example apply -- [puts] [batch]`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::LeaseId;
use api::pb::etcdserverpb::{LeaseGrantRequest, PutRequest, RequestHeader};
use bytes::Bytes;
use member::apply::ApplyOutcome;
use member::bootstrap::{self, Config};
use member::propose::{Body, wrap};
use member::replicate::{Effect, Effects, EntryKind, Input, Proposal, ProposalId, Replicator};
use prost::Message;

type Failure = Box<dyn Error>;

struct Bench {
    parts: bootstrap::Opened,
    replicator: Replicator,
    outcome: ApplyOutcome,
    now: Duration,
    applying: Duration,
}

impl Bench {
    fn step(&mut self, input: Input) -> Result<(), Failure> {
        let mut effects = Effects::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.replicator.step(input, &mut effects);
            for effect in effects.drain() {
                match effect {
                    Effect::Append(batch) => {
                        self.parts.wal.append(&wal::LogBatch {
                            entries: &batch.entries,
                            hard_state: batch.hard_state.as_ref(),
                        })?;
                        if batch.must_sync {
                            self.parts.wal.sync()?;
                            inputs.push(Input::LogSynced(batch.ack));
                        }
                    }
                    Effect::Apply(entries) => {
                        let begun = Instant::now();
                        self.parts.applier.apply(self.now, &entries, &mut self.outcome)?;
                        self.applying += begun.elapsed();
                        inputs.push(Input::Applied(self.outcome.applied, Vec::new()));
                        self.outcome.answers.clear();
                        self.outcome.snapshot = None;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn proposal(&self, body: Body, request: &impl Message) -> Proposal {
        let id = self.parts.ids.next();
        let header = RequestHeader {
            id,
            ..RequestHeader::default()
        };
        Proposal {
            id: ProposalId(id),
            kind: EntryKind::Normal,
            data: wrap(&header, body, &request.encode_to_vec()),
        }
    }
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let puts = args.next().transpose()?.unwrap_or(500_000);
    let batch = args.next().transpose()?.unwrap_or(100);
    let dir = tempfile::tempdir()?;
    let disk: world::DynDisk = Arc::new(world::os::OsDisk::without_sync());
    let config = Config::single("m0", dir.path().join("m0"), "http://127.0.0.1:2380", "http://127.0.0.1:2379");
    let parts = bootstrap::open(&disk, &config, Duration::ZERO, 1)?;
    let mut bench = Bench {
        replicator: Replicator::new(parts.start.clone(), parts.progress.clone())?,
        parts,
        outcome: ApplyOutcome::default(),
        now: Duration::ZERO,
        applying: Duration::ZERO,
    };
    bench.step(Input::Tick)?;
    bench.parts.duties.step(Duration::ZERO, &mut Vec::new());
    bench.applying = Duration::ZERO;
    let begun = Instant::now();
    for round in 0..puts / batch {
        let proposals = (0..batch).map(|n| {
            let put = PutRequest {
                key: Bytes::from(format!("key-{:032}", (round * batch + n) % 100_000)),
                value: Bytes::from(vec![b'v'; 100]),
                ..PutRequest::default()
            };
            bench.proposal(Body::Put, &put)
        });
        let proposals = proposals.collect();
        bench.step(Input::Propose(proposals))?;
        if round % 100 == 0 {
            bench.parts.committer.commit()?;
        }
    }
    let per = |time: Duration| time.as_nanos() / puts as u128;
    println!(
        "put: {} ns applied, {} ns with proposing, log and commits",
        per(bench.applying),
        per(begun.elapsed())
    );

    let leases = 10_000;
    let grants = (1..=leases)
        .map(|id| bench.proposal(Body::LeaseGrant, &LeaseGrantRequest { id, ttl: 60 }))
        .collect();
    bench.step(Input::Propose(grants))?;
    let renewals = 5_000_000;
    let begun = Instant::now();
    for n in 0..renewals {
        bench.parts.lessor.renew(LeaseId(1 + n * 7919 % leases), bench.now)?;
    }
    println!("lease renewed: {} ns", begun.elapsed().as_nanos() / renewals as u128);
    Ok(())
}
