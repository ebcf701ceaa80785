//! The course of a member's life: what its log holds, its snapshots, its leases' end, a full database, and what is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::pb::etcdserverpb as pb;
use api::pb::raftpb::EntryType;
use api::pb::walpb;
use api::{Error, LeaseId};
use bytes::Bytes;
use member::apply::Response;
use member::bootstrap::{Config, Note, OpenError};
use member::cluster::{Member, MemberChange};
use member::propose::Body;
use member::replicate::EntryKind;
use member::request::{Request, decode};
use world::sim::SimDisk;

use crate::node::Node;

fn config() -> Config {
    let mut config = Config::single("m0", PathBuf::from("/data"), "http://127.0.0.1:14002", "http://127.0.0.1:14001");
    config.initial_cluster_token = "fx".into();
    config.wal_options.segment_bytes = 1 << 20;
    config
}

fn put(node: &mut Node, key: &str, lease: i64) -> Result<i64, api::Status> {
    let put = pb::PutRequest {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from_static(b"v"),
        lease,
        ..Default::default()
    };
    match node.request(Body::Put, &put)? {
        Response::Put(answer) => Ok(answer.header.expect("a header").revision),
        other => panic!("{other:?}"),
    }
}

fn count(node: &Node) -> i64 {
    let all = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        count_only: true,
        ..Default::default()
    };
    node.parts.store.range(&all).expect("a range").count
}

#[test]
fn a_new_member_writes_what_go_writes() {
    let disk = SimDisk::new();
    let node = Node::start(&disk.dyn_disk(), &config(), 0x014A_C0DE_0000).expect("starts");
    assert!(node.parts.notes.contains(&Note::Created));
    assert_eq!(
        (node.parts.member_id.0, node.parts.cluster_id.0),
        (0x8633bdd0743213ae, 0x19b226e891c9b846)
    );
    assert_eq!(node.term, Some(api::Term(2)));
    node.stop().expect("stops");
    let log = wal::read(&disk.dyn_disk(), Path::new("/data/member/wal"), &walpb::Snapshot::default()).expect("a log");
    let kinds: Vec<(u64, u64)> = log.entries.iter().map(|e| (e.term.unwrap_or(0), e.index.unwrap_or(0))).collect();
    assert_eq!(kinds, [(1, 1), (2, 2), (2, 3), (2, 4)]);
    let first = &log.entries[0];
    assert_eq!(first.r#type, Some(EntryType::EntryConfChange as i32));
    assert_eq!(first.data.as_ref().map(Bytes::len), Some(91), "as long as Go's");
    assert_eq!(log.entries[1].data, None);
    let request = |at: usize| decode(log.entries[at].data.clone().expect("a request")).expect("a request");
    let ids = (request(2).id, request(3).id);
    assert_eq!(ids.0 >> 48, 0x13ae, "the member's low 16 bits");
    assert_eq!(ids.0 + 1, ids.1);
    assert!(matches!(request(2).request, Request::ClusterMemberAttrSet(set) if set.member_attributes.clone().expect("them").name == "m0"));
    assert!(matches!(request(3).request, Request::ClusterVersionSet(set) if set.ver == "3.7.0"));
    assert_eq!(log.hard_state.commit, Some(4));
    let again = Node::start(&disk.dyn_disk(), &config(), 1).expect("starts again");
    assert_eq!(again.term, Some(api::Term(3)));
}

#[test]
fn a_log_without_its_first_entry_is_begun_again() {
    let disk = SimDisk::new();
    let config = config();
    // Cut the power at each of the first calls: the next start goes on from wherever that was.
    for call in 1..60 {
        disk.fault_at(call, world::sim::Fault::PowerCut);
        let cut = SimDisk::new();
        cut.fault_at(call, world::sim::Fault::PowerCut);
        let _ = Node::start(&cut.dyn_disk(), &config, 1);
        for after in [cut.crash_losing_all(), cut.crash(call)] {
            let mut node = Node::start(&after.dyn_disk(), &config, 2).unwrap_or_else(|e| panic!("after call {call}: {e}"));
            put(&mut node, "a", 0).expect("serves");
            assert_eq!(node.parts.cluster.members().len(), 1);
        }
    }
}

#[test]
fn disk_snapshots_let_the_log_go() {
    let disk = SimDisk::new();
    let mut config = config();
    config.snapshot_count = 20;
    config.max_wals = 2;
    config.max_snapshots = 2;
    config.wal_options.segment_bytes = 4 << 10;
    let mut node = Node::start(&disk.dyn_disk(), &config, 1).expect("starts");
    for n in 0..400 {
        put(&mut node, &format!("key{n}"), 0).expect("puts");
    }
    assert_eq!(node.parts.progress.snapshot_index(), 399, "every 21 entries, as Go counts");
    for _ in 0..301 {
        node.tick().expect("goes on");
    }
    let names = |path: &str| -> Vec<String> {
        let list = disk.dyn_disk().list(Path::new(path)).expect("a folder");
        list.into_iter().map(|entry| entry.name).collect()
    };
    let snaps: Vec<String> = names("/data/member/snap")
        .into_iter()
        .filter(|name| name.ends_with(".snap"))
        .collect();
    assert_eq!(snaps.len(), 2, "{snaps:?}");
    let segments = names("/data/member/wal").iter().filter(|name| name.ends_with(".wal")).count();
    assert!(segments <= 3, "{segments} segments");
    node.stop().expect("stops");
    let again = Node::start(&disk.dyn_disk(), &config, 2).expect("starts from the snapshot");
    assert_eq!(count(&again), 400);
}

#[test]
fn leases_end_with_their_keys() {
    let disk = SimDisk::new();
    let mut node = Node::start(&disk.dyn_disk(), &config(), 1).expect("starts");
    for (id, ttl) in [(7, 5), (8, 100)] {
        node.request(Body::LeaseGrant, &pb::LeaseGrantRequest { id, ttl }).expect("grants");
    }
    for key in ["c", "a", "b"] {
        put(&mut node, key, 7).expect("puts");
    }
    put(&mut node, "kept", 8).expect("puts");
    let before = node.parts.store.revision();
    for _ in 0..100 {
        node.tick().expect("goes on");
    }
    assert_eq!(node.parts.lessor.leases(), [LeaseId(8)]);
    assert_eq!(count(&node), 1);
    assert_eq!(node.parts.store.revision(), before + 1, "one revision for the whole lease");
    node.stop().expect("stops");
    let node = Node::start(&disk.dyn_disk(), &config(), 2).expect("starts again");
    let left = node.parts.lessor.lookup(LeaseId(8), node.now, true).expect("still there");
    assert_eq!((left.granted_ttl, left.keys.len()), (100, 1));
    assert!(left.remaining >= 99, "its time begins anew with each leader: {}", left.remaining);
}

#[test]
fn checkpoints_outlive_a_restart() {
    let disk = SimDisk::new();
    let mut config = config();
    config.lease_checkpoint = true;
    let mut node = Node::start(&disk.dyn_disk(), &config, 1).expect("starts");
    node.request(Body::LeaseGrant, &pb::LeaseGrantRequest { id: 7, ttl: 1000 })
        .expect("grants");
    for _ in 0..3100 {
        node.tick().expect("goes on");
    }
    node.stop().expect("stops");
    let node = Node::start(&disk.dyn_disk(), &config, 2).expect("starts again");
    let left = node.parts.lessor.lookup(LeaseId(7), node.now, false).expect("there");
    assert!((690..=701).contains(&left.remaining), "{}", left.remaining);
}

#[test]
fn a_full_database_raises_its_alarm() {
    let disk = SimDisk::new();
    let mut config = config();
    config.quota_backend_bytes = 200 << 10;
    let mut node = Node::start(&disk.dyn_disk(), &config, 1).expect("starts");
    let big = pb::PutRequest {
        key: Bytes::from_static(b"big"),
        value: Bytes::from(vec![1; 20 << 10]),
        ..Default::default()
    };
    let mut refused = None;
    for _ in 0..40 {
        let answer = node.request(Body::Put, &big);
        node.commit().expect("commits");
        if let Err(error) = answer {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(Error::NoSpace.into()));
    assert!(node.parts.alarms.no_space(), "raised before the answer is given");
    let revision = node.parts.store.revision();
    assert_eq!(put(&mut node, "small", 0), Err(Error::NoSpace.into()));
    assert_eq!(node.parts.store.revision(), revision, "the alarm stops it before any effect");
    let delete = pb::DeleteRangeRequest {
        key: Bytes::from_static(b"big"),
        ..Default::default()
    };
    node.request(Body::DeleteRange, &delete).expect("deletes pass");
    node.stop().expect("stops");
    let node = Node::start(&disk.dyn_disk(), &config, 2).expect("starts again");
    assert!(node.parts.alarms.no_space(), "alarms are kept");
}

#[test]
fn membership_of_one() {
    let disk = SimDisk::new();
    let mut node = Node::start(&disk.dyn_disk(), &config(), 1).expect("starts");
    let own = node.parts.member_id.0;
    let mut change = |change: MemberChange| {
        let id = node.parts.ids.next();
        node.propose(id, EntryKind::ConfChange, change.to_entry(id)).expect("goes on")
    };
    let other = Member {
        id: 7,
        peer_urls: vec!["http://other".into()],
        is_learner: true,
        ..Member::default()
    };
    let Ok(Response::Members(members)) = change(MemberChange::Add(other)) else {
        panic!("a learner costs no quorum, though it can't be reached")
    };
    assert_eq!(members.len(), 2);
    change(MemberChange::Remove(7)).expect("a learner goes freely");
    assert_eq!(change(MemberChange::Remove(9)), Err(Error::MemberNotFound.into()));
    let moved = Member {
        id: own,
        peer_urls: vec!["http://127.0.0.1:15002".into()],
        ..Member::default()
    };
    let Ok(Response::Members(members)) = change(MemberChange::Update(moved)) else {
        panic!("an update passes")
    };
    assert_eq!(
        (members[0].peer_urls[0].as_str(), members[0].name.as_str()),
        ("http://127.0.0.1:15002", "m0")
    );
    change(MemberChange::Remove(own)).expect("even oneself");
    assert!(node.removed_self);
}

#[test]
fn starts_that_are_refused() {
    let refused = |config: &Config| match Node::open(&SimDisk::new().dyn_disk(), config, 1) {
        Err(OpenError::Refused(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("started"),
    };
    let mut nameless = config();
    nameless.name = "other".into();
    assert_eq!(
        refused(&nameless),
        "couldn't find local name \"other\" in the initial cluster configuration"
    );
    let mut twice = config();
    twice.initial_cluster.push(("m1".into(), "http://127.0.0.1:14002".into()));
    assert!(refused(&twice).contains("has duplicate url"));
    let disk = SimDisk::new();
    disk.dyn_disk().create_dir_all(Path::new("/data/member"), 0o700).expect("a folder");
    disk.dyn_disk().create_dir_all(Path::new("/data/proxy"), 0o700).expect("a folder");
    assert!(matches!(Node::open(&disk.dyn_disk(), &config(), 1), Err(OpenError::Refused(text)) if text.contains("proxy")));
}

#[test]
fn a_second_process_finds_the_database_locked() {
    let disk = SimDisk::new();
    let _first = Node::open(&disk.dyn_disk(), &config(), 1).expect("opens");
    assert!(matches!(
        Node::open(&disk.dyn_disk(), &config(), 1),
        Err(OpenError::DatabaseLocked(_) | OpenError::Wal(_))
    ));
}

#[test]
fn request_timeouts_follow_the_election() {
    assert_eq!(config().request_timeout(), Duration::from_secs(7));
}
