//! One member's store on a disk in memory, with a lessor that does just enough.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use api::{LeaseId, RaftIndex, Term};
use backend::{Backend, Committer, Options};
use bytes::Bytes;
use mvcc::{CompactJob, LeaseSink, Step, Store, StoreOptions, Writer};
use world::sim::SimDisk;

/// Keys by lease, and the lease of each key.
#[derive(Default)]
pub struct Lessor {
    pub leases: BTreeMap<i64, BTreeSet<Bytes>>,
    pub keys: HashMap<Bytes, i64>,
}

impl LeaseSink for Lessor {
    fn exists(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease.0)
    }
    fn lease_of(&self, key: &[u8]) -> Option<LeaseId> {
        self.keys.get(key).copied().map(LeaseId)
    }
    fn attach(&mut self, lease: LeaseId, key: &Bytes) {
        self.leases
            .get_mut(&lease.0)
            .expect("attached to a lease that exists")
            .insert(key.clone());
        self.keys.insert(key.clone(), lease.0);
    }
    fn detach(&mut self, lease: LeaseId, key: &[u8]) {
        assert_eq!(self.keys.remove(key), Some(lease.0));
        assert!(self.leases.get_mut(&lease.0).expect("lease of a key").remove(key));
    }
}

pub struct Member {
    pub disk: SimDisk,
    pub backend: Backend,
    pub committer: Committer,
    pub store: Store,
    pub writer: Writer,
    pub lessor: Lessor,
    pub index: u64,
    /// Attachments that the start reported.
    pub attached: BTreeMap<Bytes, i64>,
}

pub const DB: &str = "/member/snap/db";

pub fn options() -> Options {
    Options {
        initial_map: 1 << 20,
        page_size: Some(4096),
        ..Options::default()
    }
}

impl Member {
    pub fn new() -> Member {
        let disk = SimDisk::with_page_size(4096);
        disk.dyn_disk().create_dir_all(Path::new("/member/snap"), 0o700).unwrap();
        Member::open(disk, StoreOptions::default())
    }

    pub fn open(disk: SimDisk, store: StoreOptions) -> Member {
        let (backend, committer) = Backend::open(&disk.dyn_disk(), Path::new(DB), options()).unwrap();
        let mut attached = BTreeMap::new();
        let (store, writer) = Store::open(backend.clone(), store, &mut |lease, key| {
            assert!(attached.insert(key, lease.0).is_none());
        })
        .unwrap();
        let mut lessor = Lessor::default();
        for (key, lease) in &attached {
            lessor.leases.entry(*lease).or_default();
            lessor.attach(LeaseId(*lease), key);
        }
        Member {
            disk,
            index: backend.consistent_index().0,
            backend,
            committer,
            store,
            writer,
            lessor,
            attached,
        }
    }

    /// Ends a log entry.
    pub fn finish(&mut self) {
        self.index += 1;
        self.writer.finish(RaftIndex(self.index), Term(2));
    }

    /// Runs a compaction to its end.
    pub fn run(&mut self, mut job: CompactJob) {
        while job.step().unwrap() == Step::More {}
    }
}

pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

pub fn gunzip(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(data(path)).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Chance from a seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
