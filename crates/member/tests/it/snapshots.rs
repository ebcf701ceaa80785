//! A leader's snapshot from one member to another: what it holds, what it changes in the receiver, and power cuts at every step of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::RaftIndex;
use api::pb::etcdserverpb as pb;
use api::pb::raftpb::{self, MessageType};
use bytes::Bytes;
use member::bootstrap::{Config, ExistingCluster};
use member::cluster::{Member, MemberChange};
use member::database::DatabaseFile;
use member::propose::Body;
use member::replicate::{EntryKind, Input};
use member::snapshot::{Incoming, Outgoing, ReceiveError};
use world::os::SplitMix;
use world::sim::{Fault, SimDisk};
use world::{DynDisk, OpenMode};

use crate::crash::{picture, random_request};
use crate::node::{Node, Stopped};

const LEARNER: u64 = 0x1ea2;

fn config(name: &str, port: u16) -> Config {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut config = Config::single(name, PathBuf::from("/data"), &url(port), &url(port + 1));
    config.wal_options.segment_bytes = 16 << 10;
    config.compaction_batch_limit = 7;
    config
}

/// A member alone, with a learner that it has added.
fn leader() -> Node {
    let mut node = Node::start(&SimDisk::new().dyn_disk(), &config("m0", 1000), 1_000_000).expect("starts");
    let learner = Member {
        id: LEARNER,
        peer_urls: vec!["http://127.0.0.1:2000".into()],
        is_learner: true,
        ..Member::default()
    };
    let id = node.parts.ids.next();
    let added = node.propose(id, EntryKind::ConfChange, MemberChange::Add(learner).to_entry(id));
    added.expect("goes on").expect("is added");
    node
}

/// How the learner is started, for the first time and later.
fn learner_config(leader: &Node) -> Config {
    let mut config = config("m1", 2000);
    config.initial_cluster.push(("m0".into(), "http://127.0.0.1:1000".into()));
    config.join_existing = true;
    config.existing = Some(ExistingCluster {
        cluster_id: leader.parts.cluster_id,
        members: leader.parts.cluster.members(),
    });
    config
}

fn file(disk: &DynDisk, config: &Config) -> DatabaseFile {
    DatabaseFile {
        disk: disk.clone(),
        snap_dir: config.snap_dir(),
        options: backend::Options::default(),
    }
}

fn work(leader: &mut Node, rng: &mut SplitMix, requests: usize) {
    for _ in 0..requests {
        let (body, raw) = random_request(rng, leader.parts.store.revision());
        if matches!(body, Body::Alarm) {
            // Would close the store to what the tests write later.
            continue;
        }
        let _ = leader.try_request(body, &raw).expect("the leader goes on");
    }
    leader.finish_compactions();
}

fn put(node: &mut Node, key: &str) {
    let put = pb::PutRequest {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from_static(b"v"),
        ..Default::default()
    };
    node.request(Body::Put, &put).expect("is put");
}

/// What the leader's shell does: a commit, and the snapshot of it.
fn take(leader: &mut Node) -> Outgoing {
    leader.commit().expect("commits");
    Outgoing::take(&leader.parts.backend).expect("a snapshot")
}

/// What the receiver's shell does with the image.
fn write_image(disk: &DynDisk, outgoing: &Outgoing, config: &Config) -> std::io::Result<()> {
    let (tmp, index) = (config.snap_dir().join("tmp1"), outgoing.index().0);
    let image = disk.open(&tmp, OpenMode::CreateIfMissing(0o600))?;
    let mut at = 0;
    let mut write = |chunk: &[u8]| {
        image.write_at(chunk, at)?;
        at += chunk.len() as u64;
        Ok(())
    };
    outgoing.write_image(&mut write).map_err(std::io::Error::other)?;
    assert_eq!(at, outgoing.image_size());
    image.sync_data()?;
    disk.rename(&tmp, &wal::snap::database_path(&config.snap_dir(), index))?;
    disk.sync_dir(&config.snap_dir())
}

fn message(leader: &Node, outgoing: &Outgoing) -> Input {
    Input::FromPeer(Box::new(raftpb::Message {
        r#type: Some(MessageType::MsgSnap as i32),
        to: Some(LEARNER),
        from: Some(leader.parts.member_id.0),
        term: Some(leader.parts.progress.term().0),
        snapshot: Some(outgoing.snapshot().clone()),
        ..raftpb::Message::default()
    }))
}

fn receive(node: &mut Node, disk: &DynDisk, config: &Config, leader: &Node, outgoing: &Outgoing) -> Result<(), Stopped> {
    let failed = |error: &dyn std::fmt::Display| Stopped(error.to_string());
    write_image(disk, outgoing, config).map_err(|error| failed(&error))?;
    let incoming = Incoming::new(outgoing.snapshot().clone());
    incoming.check(&file(disk, config)).map_err(|error| failed(&error))?;
    node.step(message(leader, outgoing))
}

#[test]
fn a_snapshot_is_of_one_commit() {
    let (mut leader, mut rng) = (leader(), SplitMix(5));
    work(&mut leader, &mut rng, 30);
    let outgoing = take(&mut leader);
    let applied = leader.parts.progress.applied();
    assert_eq!(outgoing.index(), applied);
    let metadata = outgoing.snapshot().metadata.clone().expect("metadata");
    assert_eq!(metadata.term, Some(leader.parts.progress.term().0));
    let conf_state = metadata.conf_state.expect("who votes");
    assert_eq!(
        (conf_state.voters, conf_state.learners),
        (vec![leader.parts.member_id.0], vec![LEARNER])
    );
    assert!(outgoing.is_for(api::MemberId(LEARNER)) && !outgoing.is_for(api::MemberId(7)));
    let v2 = wal::v2store::decode(&outgoing.snapshot().data.clone().expect("data")).expect("a v2 store");
    assert_eq!(v2.members.len(), 2);
    // What is applied meanwhile is not in it, committed or not.
    put(&mut leader, "later");
    leader.commit().expect("commits");
    put(&mut leader, "later still");
    let disk = SimDisk::new();
    let mut image = Vec::new();
    let mut keep = |chunk: &[u8]| {
        image.extend_from_slice(chunk);
        Ok(())
    };
    outgoing.write_image(&mut keep).expect("an image");
    disk.install_file(Path::new("/db"), &image).expect("a file");
    let (backend, _committer) = backend::Backend::open(&disk.dyn_disk(), Path::new("/db"), backend::Options::default()).expect("opens");
    assert_eq!(backend.consistent_index(), applied);
    // And before the next commit a snapshot lacks what is not in the file.
    let behind = Outgoing::take(&leader.parts.backend).expect("a snapshot");
    assert_eq!(behind.index(), RaftIndex(applied.0 + 1));
}

#[test]
fn every_handle_shows_the_new_state() {
    let (mut leader, mut rng) = (leader(), SplitMix(7));
    work(&mut leader, &mut rng, 40);
    let (disk, config) = (SimDisk::new(), learner_config(&leader));
    let mut node = Node::open(&disk.dyn_disk(), &config, 1).expect("opens");
    let first = take(&mut leader);
    receive(&mut node, &disk.dyn_disk(), &config, &leader, &first).expect("goes on");
    assert_eq!(node.parts.progress.applied(), first.index());
    let answer = node
        .sent
        .iter()
        .find(|message| message.r#type == Some(MessageType::MsgAppResp as i32));
    assert_eq!(
        answer.and_then(|message| message.index),
        Some(first.index().0),
        "the leader is told"
    );
    assert_eq!(picture(&mut node), picture(&mut leader));

    let stream = node.parts.store.watch_hub().open_stream(Arc::new(|| {}));
    let watch = pb::WatchCreateRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    };
    let create = pb::watch_request::RequestUnion::CreateRequest(watch);
    stream.handle(pb::WatchRequest {
        request_union: Some(create),
    });
    let hear = |node: &Node| {
        let mut answers = Vec::new();
        node.parts.store.watch_hub().pump();
        let header = pb::ResponseHeader::default();
        while let mvcc::watch::Polled::More = stream.poll(&node.parts.store, &header, &mut answers).expect("history") {}
        answers
    };
    hear(&node);
    put(&mut leader, "while it was away");
    let second = take(&mut leader);
    receive(&mut node, &disk.dyn_disk(), &config, &leader, &second).expect("goes on");
    assert_eq!(picture(&mut node), picture(&mut leader));
    let (own, other) = (&node.parts, &leader.parts);
    assert_eq!(own.cluster.members(), other.cluster.members());
    assert_eq!(own.cluster.version(), other.cluster.version());
    assert_eq!(own.backend.consistent_index(), second.index());
    assert_eq!(
        own.backend.view().hash().expect("a hash"),
        other.backend.view().hash().expect("a hash")
    );
    let seen: Vec<i64> = hear(&node).iter().map(|answer| answer.revision).collect();
    let revision = node.parts.store.revision();
    assert_eq!(seen.last(), Some(&revision), "the watcher has seen what it missed");

    // Entries go on behind the snapshot, into the new file.
    let entry = member::replicate::Committed {
        index: RaftIndex(second.index().0 + 1),
        term: node.parts.progress.applied_term(),
        kind: EntryKind::Normal,
        data: wrapped_put(&leader, "behind"),
    };
    let mut done = member::apply::ApplyOutcome::default();
    node.parts.applier.apply(Duration::ZERO, &[entry], &mut done).expect("applies");
    node.commit().expect("commits");
    assert_eq!(node.parts.backend.committed_index(), RaftIndex(second.index().0 + 1));
    drop(node);
    let (backend, _committer) =
        backend::Backend::open(&disk.kill().dyn_disk(), &config.db_path(), backend::Options::default()).expect("opens");
    assert_eq!(backend.consistent_index(), RaftIndex(second.index().0 + 1));
}

fn wrapped_put(leader: &Node, key: &str) -> Bytes {
    use prost::Message;
    let header = pb::RequestHeader {
        id: leader.parts.ids.next(),
        ..Default::default()
    };
    let put = pb::PutRequest {
        key: Bytes::from(key.to_owned()),
        ..Default::default()
    };
    member::propose::wrap(&header, Body::Put, &put.encode_to_vec())
}

/// A power cut at any call of the disk: the member comes up with what it had or with the snapshot, with the snapshot if it has told the
/// leader of it, and can receive it again.
#[test]
fn receiving_survives_power_cuts() {
    let (mut leader, mut rng) = (leader(), SplitMix(11));
    work(&mut leader, &mut rng, 40);
    let config = learner_config(&leader);
    let (first, before) = (take(&mut leader), picture(&mut leader));
    work(&mut leader, &mut rng, 40);
    let (second, after) = (take(&mut leader), picture(&mut leader));
    let begin = || {
        let disk = SimDisk::new();
        let mut node = Node::open(&disk.dyn_disk(), &config, 1).expect("opens");
        receive(&mut node, &disk.dyn_disk(), &config, &leader, &first).expect("goes on");
        node.sent.clear();
        (disk, node)
    };
    let (whole, mut node) = begin();
    let from = whole.calls();
    receive(&mut node, &whole.dyn_disk(), &config, &leader, &second).expect("goes on");
    assert_eq!(picture(&mut node), after);
    let (mut old, mut new) = (0, 0);
    for at in from + 1..=whole.calls() {
        let (disk, mut node) = begin();
        assert_eq!(disk.calls(), from);
        disk.fault_at(at, Fault::PowerCut);
        assert!(
            receive(&mut node, &disk.dyn_disk(), &config, &leader, &second).is_err(),
            "call {at}"
        );
        let told = !node.sent.is_empty();
        drop(node);
        let disk = disk.crash(at);
        let mut node = Node::open(&disk.dyn_disk(), &config, 2).unwrap_or_else(|error| panic!("call {at}: {error}"));
        node.tick().unwrap_or_else(|error| panic!("call {at}: {error:?}"));
        let found = picture(&mut node);
        if found == after {
            new += 1;
            continue;
        }
        assert_eq!(found, before, "call {at}");
        assert!(!told, "call {at}: the leader was told of what is lost");
        old += 1;
        receive(&mut node, &disk.dyn_disk(), &config, &leader, &second).unwrap_or_else(|error| panic!("call {at}: {error:?}"));
        assert_eq!(picture(&mut node), after, "call {at}");
    }
    assert!(old > 5 && new > 2, "{old} ended before the snapshot, {new} with it");
}

#[test]
fn a_bad_image_costs_nothing() {
    let (mut leader, mut rng) = (leader(), SplitMix(3));
    work(&mut leader, &mut rng, 20);
    let (disk, config) = (SimDisk::new(), learner_config(&leader));
    let node = Node::open(&disk.dyn_disk(), &config, 1).expect("opens");
    let outgoing = take(&mut leader);
    write_image(&disk.dyn_disk(), &outgoing, &config).expect("written");
    let file = file(&disk.dyn_disk(), &config);
    let mut newer = outgoing.snapshot().clone();
    if let Some(metadata) = &mut newer.metadata {
        metadata.index = Some(outgoing.index().0 + 1);
    }
    let newer = Incoming::new(newer);
    assert!(matches!(newer.check(&file), Err(ReceiveError::Snap(_))), "no such file");
    let path = file.received(outgoing.index().0);
    file.disk.rename(&path, &file.received(newer.index().0)).expect("renames");
    assert!(matches!(newer.check(&file), Err(ReceiveError::Behind { .. })));
    file.disk.rename(&file.received(newer.index().0), &path).expect("renames");
    let incoming = Incoming::new(outgoing.snapshot().clone());
    assert!(incoming.check(&file).is_ok());
    // The pages of the trees, torn.
    for page in 2..outgoing.image_size() / 4096 {
        disk.rot(&path, page * 4096 + 8, 0xff);
    }
    assert!(matches!(incoming.check(&file), Err(ReceiveError::Backend(_))));
    drop(node);
}
