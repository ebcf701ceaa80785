//! Power cuts at random calls of the disk during a random history: whatever was acknowledged is there after the restart, and nothing
//! that was never asked for.
//!
//! A second member on a disk of its own, which is never cut off, gets the same requests. After a restart the first one must equal it, or
//! it with the one request that was under way. A failing run prints its seed.

use std::path::PathBuf;

use api::LeaseId;
use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use member::bootstrap::Config;
use member::propose::Body;
use prost::Message;
use world::Rng;
use world::os::SplitMix;
use world::sim::{Fault, SimDisk};

use crate::node::{Node, Stopped};

fn config() -> Config {
    let mut config = Config::single("m0", PathBuf::from("/data"), "http://127.0.0.1:2380", "http://127.0.0.1:2379");
    config.snapshot_count = 15;
    config.max_snapshots = 2;
    config.max_wals = 2;
    config.wal_options.segment_bytes = 16 << 10;
    config.compaction_batch_limit = 7;
    config
}

/// Requests that succeed or fail alike on both members.
pub fn random_request(rng: &mut SplitMix, revision: i64) -> (Body, Vec<u8>) {
    let mut below = |n: u64| rng.next_u64() % n;
    let key = Bytes::from(format!("key{:02}", below(30)));
    let lease = [0, 0, 1, 2, 3][below(5) as usize];
    let value = Bytes::from(vec![b'v'; below(300) as usize]);
    let put = pb::PutRequest {
        key: key.clone(),
        value,
        lease,
        ..Default::default()
    };
    match below(20) {
        0..10 => (Body::Put, put.encode_to_vec()),
        10..13 => {
            let delete = pb::DeleteRangeRequest {
                key,
                range_end: if below(3) == 0 {
                    Bytes::from_static(b"key99")
                } else {
                    Bytes::new()
                },
                ..Default::default()
            };
            (Body::DeleteRange, delete.encode_to_vec())
        }
        13..15 => {
            let op = |request| pb::RequestOp { request: Some(request) };
            let delete = pb::DeleteRangeRequest {
                key: Bytes::from(format!("key{:02}", below(30))),
                ..Default::default()
            };
            let other = pb::PutRequest {
                key: Bytes::from(format!("other{}", below(5))),
                ..put.clone()
            };
            let txn = pb::TxnRequest {
                success: vec![
                    op(pb::request_op::Request::RequestPut(put)),
                    op(pb::request_op::Request::RequestDeleteRange(delete)),
                ],
                failure: vec![op(pb::request_op::Request::RequestPut(other))],
                ..Default::default()
            };
            (Body::Txn, txn.encode_to_vec())
        }
        15..17 => {
            let grant = pb::LeaseGrantRequest {
                id: 1 + below(3) as i64,
                ttl: 1_000_000,
            };
            (Body::LeaseGrant, grant.encode_to_vec())
        }
        17 => (
            Body::LeaseRevoke,
            pb::LeaseRevokeRequest { id: 1 + below(3) as i64 }.encode_to_vec(),
        ),
        18 => {
            let compaction = pb::CompactionRequest {
                revision: (revision - below(5) as i64).max(1),
                physical: false,
            };
            (Body::Compaction, compaction.encode_to_vec())
        }
        _ => {
            let alarm = pb::AlarmRequest {
                action: 1 + below(2) as i32,
                member_id: 5,
                alarm: pb::AlarmType::Nospace as i32,
            };
            (Body::Alarm, alarm.encode_to_vec())
        }
    }
}

/// All that requests can change.
#[derive(Debug, PartialEq)]
pub struct Picture {
    revision: i64,
    hash: u32,
    compact_revision: i64,
    leases: Vec<(i64, Vec<Bytes>)>,
    alarms: Vec<pb::AlarmMember>,
}

pub fn picture(node: &mut Node) -> Picture {
    node.finish_compactions();
    let mut leases: Vec<LeaseId> = node.parts.lessor.leases();
    leases.sort_unstable();
    let keys = |id: LeaseId| node.parts.lessor.lookup(id, node.now, true).expect("listed").keys;
    let hash = node.parts.store.hash_kv(0).expect("a hash");
    Picture {
        revision: hash.revision,
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        leases: leases.into_iter().map(|id| (id.0, keys(id))).collect(),
        alarms: node.parts.alarms.list(pb::AlarmType::None),
    }
}

struct Run {
    seed: u64,
    rng: SplitMix,
    disk: SimDisk,
    twin: Node,
    lives: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let twin = Node::start(&SimDisk::new().dyn_disk(), &config(), 1_000_000).expect("the twin starts");
        Run {
            seed,
            rng: SplitMix(seed),
            disk: SimDisk::new(),
            twin,
            lives: 0,
        }
    }

    /// Restarts until the member is up; the power may go during that, too.
    fn restart(&mut self) -> Node {
        for attempt in 0..40 {
            self.disk = self.disk.crash(self.rng.next_u64());
            self.lives += 1;
            if attempt < 3 && self.rng.next_u64().is_multiple_of(3) {
                self.cut_within(60);
            }
            match Node::start(&self.disk.dyn_disk(), &config(), self.lives << 20) {
                Ok(node) => {
                    self.disk.clear_faults();
                    return node;
                }
                Err(error) => assert!(
                    self.disk.is_off(),
                    "seed {}: life {} does not start: {error}",
                    self.seed,
                    self.lives
                ),
            }
        }
        panic!("seed {}: never came up", self.seed);
    }

    fn cut_within(&mut self, calls: u64) {
        let at = self.disk.calls() + 1 + self.rng.next_u64() % calls;
        self.disk.fault_at(at, Fault::PowerCut);
    }

    /// One life: requests until the power goes. Gives the request that was under way.
    fn live(&mut self, node: &mut Node) -> Option<(Body, Vec<u8>)> {
        self.cut_within(400);
        loop {
            let (body, raw) = random_request(&mut self.rng, self.twin.parts.store.revision());
            match node.try_request(body, &raw) {
                Ok(answer) => {
                    let twin = self.twin.try_request(body, &raw).expect("the twin goes on");
                    assert_eq!(answer, twin, "seed {}: {body:?} is answered differently", self.seed);
                }
                Err(Stopped(_)) => return Some((body, raw)),
            }
            let went = match self.rng.next_u64() % 10 {
                0..2 => node.commit(),
                2..5 => node.tick(),
                _ => Ok(()),
            };
            if went.is_err() {
                return None;
            }
        }
    }

    fn go(mut self, lives: usize) {
        let mut node = self.restart();
        for _ in 0..lives {
            let under_way = self.live(&mut node);
            assert!(self.disk.is_off(), "seed {}: stopped with the power on", self.seed);
            drop(node);
            node = self.restart();
            let found = picture(&mut node);
            let expected = picture(&mut self.twin);
            if found == expected {
                continue;
            }
            let Some((body, raw)) = under_way else {
                panic!("seed {}: found {found:?}, expected {expected:?}", self.seed)
            };
            // Not acknowledged, but written: it may be there, and then has to stay.
            let _ = self.twin.try_request(body, &raw).expect("the twin goes on");
            assert_eq!(
                found,
                picture(&mut self.twin),
                "seed {}: after {body:?}; before it {expected:?}",
                self.seed
            );
        }
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    let seeds: Vec<u64> = match std::env::var("MEMBER_CRASH_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=12).collect(),
    };
    for seed in seeds {
        Run::new(seed).go(12);
    }
}
