//! The first start of members of a cluster: one that begins, and one that runs already.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::pb::{raftpb, walpb};
use api::{ClusterId, MemberId};
use member::bootstrap::{self, Config, ExistingCluster, Note, OpenError, Opened};
use member::cluster::Member;
use world::sim::{Fault, SimDisk};

use crate::data_dirs::{self, unpack};

/// The members of the recorded clusters.
fn config(name: &str) -> Config {
    let url = |number: u16, last: u16| format!("http://127.0.0.1:{}", 14290 + 10 * number + last);
    let number: u16 = name[1..].parse().expect("m1 to m4");
    let mut config = Config::single(name, PathBuf::from("/data"), &url(number, 2), &url(number, 0));
    config.initial_cluster = (1..=3).map(|n| (format!("m{n}"), url(n, 2))).collect();
    config.initial_cluster_token = "fx-peer".into();
    config.wal_options.segment_bytes = 16 << 10;
    config
}

/// What a fourth member, added to them, is started with.
fn joiner() -> (Config, ExistingCluster) {
    let mut config = config("m4");
    config.initial_cluster.push(("m4".into(), config.peer_urls[0].clone()));
    config.join_existing = true;
    let begun = open(&SimDisk::new(), &self::config("m1")).expect("begins");
    let mut members = begun.initial_peers;
    for member in &mut members {
        member.client_urls = vec!["http://127.0.0.1:1".into()];
    }
    members.push(Member {
        id: 0x19aba25cdba0ab17,
        peer_urls: config.peer_urls.clone(),
        ..Member::default()
    });
    let existing = ExistingCluster {
        cluster_id: begun.cluster_id,
        members,
    };
    config.existing = Some(existing.clone());
    (config, existing)
}

fn open(disk: &SimDisk, config: &Config) -> Result<Opened, OpenError> {
    bootstrap::open(&disk.dyn_disk(), config, Duration::ZERO, 1)
}

fn refusal(config: &Config) -> String {
    match open(&SimDisk::new(), config) {
        Err(OpenError::Refused(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("started"),
    }
}

/// The first entries of a log that Go began.
fn begun_by_go() -> Vec<raftpb::Entry> {
    let dir = tempfile::tempdir().expect("a folder");
    let wal = unpack("3.7.1-set-plain", dir.path()).join("m1/member/wal");
    let read = wal::read(&data_dirs::disk(), &wal, &walpb::Snapshot::default()).expect("reads");
    read.entries.into_iter().take(3).collect()
}

#[test]
fn first_members_begin_with_the_same_log_as_gos() {
    let expected = begun_by_go();
    for (name, id) in [("m1", 0x62b63c6d19d2cc5f), ("m2", 0xa21f09aab1e50907), ("m3", 0x9ebbb35fb5d0f512)] {
        let disk = SimDisk::new();
        let opened = open(&disk, &config(name)).expect("begins");
        assert_eq!(opened.member_id, MemberId(id), "{name}");
        assert_eq!(opened.cluster_id, ClusterId(0xa0b6fc727d4ba0d6), "{name}");
        assert_eq!(opened.start.entries, expected, "{name}");
        let hard_state = raftpb::HardState {
            term: Some(1),
            vote: Some(0),
            commit: Some(3),
        };
        assert_eq!(opened.start.hard_state, hard_state, "{name}");
        assert!(opened.start.conf_state.voters.is_empty(), "{name}: the entries bring them");
        assert_eq!((opened.members_at_commit, opened.initial_peers.len()), (3, 3), "{name}");
        assert!(opened.cluster.members().is_empty(), "{name}");
        assert_eq!(opened.notes, [Note::Created], "{name}");
        drop(opened);
        let again = open(&disk, &config(name)).expect("opens");
        assert_eq!(again.start.entries, expected, "{name}");
        assert!(again.initial_peers.is_empty(), "{name}: no new member any more");
    }
}

/// A power cut at any call of the disk leaves a directory that begins as if nothing had happened.
#[test]
fn beginnings_survive_power_cuts() {
    let (joiner, _) = joiner();
    for config in [config("m2"), joiner] {
        let whole = SimDisk::new();
        let expected = open(&whole, &config).expect("begins").start;
        for at in 1..=whole.calls() {
            let disk = SimDisk::new();
            disk.fault_at(at, Fault::PowerCut);
            assert!(open(&disk, &config).is_err(), "call {at}");
            let opened = open(&disk.crash(at), &config).unwrap_or_else(|error| panic!("call {at}: {error}"));
            assert_eq!(opened.start.entries, expected.entries, "call {at}");
            assert_eq!(opened.start.hard_state, expected.hard_state, "call {at}");
            assert_eq!(opened.start.member, expected.member, "call {at}");
        }
    }
}

#[test]
fn a_member_that_runs_already_does_not_begin_again() {
    let mut config = config("m1");
    let running = |urls: &[&str]| ExistingCluster {
        cluster_id: ClusterId(0xa0b6fc727d4ba0d6),
        members: vec![Member {
            id: 0x62b63c6d19d2cc5f,
            client_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Member::default()
        }],
    };
    config.existing = Some(running(&["http://127.0.0.1:14300"]));
    assert_eq!(refusal(&config), "member 62b63c6d19d2cc5f has already been bootstrapped");
    // The others may have begun before this member's first start.
    config.existing = Some(running(&[]));
    assert!(open(&SimDisk::new(), &config).is_ok());
}

#[test]
fn one_who_joins_waits_for_the_leader() {
    let (config, existing) = joiner();
    let disk = SimDisk::new();
    for first in [true, false] {
        let opened = open(&disk, &config).expect("joins");
        assert_eq!(opened.member_id, MemberId(0x19aba25cdba0ab17));
        assert_eq!(opened.cluster_id, existing.cluster_id);
        assert!(opened.start.entries.is_empty() && opened.start.conf_state.voters.is_empty());
        assert_eq!(opened.start.hard_state, raftpb::HardState::default());
        assert_eq!(opened.members_at_commit, 0);
        assert_eq!(opened.initial_peers.len(), if first { 4 } else { 0 });
    }
    let mut begins = config;
    begins.join_existing = false;
    match open(&disk, &begins) {
        Err(OpenError::Refused(text)) => assert!(text.contains("is empty and was begun for member 19aba25cdba0ab17"), "{text}"),
        _ => panic!("the log of one who joined became that of a first member"),
    }
}

#[test]
fn joining_is_refused_in_gos_words() {
    let (config, existing) = joiner();
    let with = |change: &dyn Fn(&mut Config, &mut ExistingCluster)| {
        let (mut config, mut existing) = (config.clone(), existing.clone());
        change(&mut config, &mut existing);
        config.existing = Some(existing);
        refusal(&config)
    };
    let fewer = with(&|_, existing| existing.members.truncate(1));
    assert_eq!(
        fewer,
        "error validating peerURLs {ClusterID:a0b6fc727d4ba0d6 Members:[&{ID:62b63c6d19d2cc5f RaftAttributes:{PeerURLs:[http://127.0.0.1:14302] \
         IsLearner:false} Attributes:{Name:m1 ClientURLs:[http://127.0.0.1:1]}}] RemovedMemberIDs:[]}: member count is unequal"
    );
    let other_url = with(&|_, existing| existing.members[0].peer_urls = vec!["http://127.0.0.1:9".into()]);
    let expected = "PeerURLs: no match found for existing member (62b63c6d19d2cc5f, [http://127.0.0.1:9]), last resolver error (resolved urls: \
                    \"http://127.0.0.1:9\" != \"http://127.0.0.1:14332\")";
    assert!(other_url.ends_with(expected), "{other_url}");
    let more_urls = with(&|_, existing| existing.members[0].peer_urls.push("http://127.0.0.1:9".into()));
    assert!(
        more_urls.ends_with("(len([\"http://127.0.0.1:14302\" \"http://127.0.0.1:9\"]) != len([\"http://127.0.0.1:14332\"]))"),
        "{more_urls}"
    );
    let learners = with(&|_, existing| existing.members.iter_mut().for_each(|member| member.is_learner = true));
    assert_eq!(learners, "membership: too many learner members in cluster");
    let lost = with(&|_, existing| existing.members[3].name = "m4".into());
    assert!(
        lost.contains("has been started before") && lost.contains("etcdctl member remove 19aba25cdba0ab17"),
        "{lost}"
    );
    let mut nobody = config.clone();
    nobody.existing = None;
    assert_eq!(
        refusal(&nobody),
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
    );
    let mut nameless = config;
    nameless.name = "m5".into();
    assert_eq!(
        refusal(&nameless),
        "couldn't find local name \"m5\" in the initial cluster configuration"
    );
}

#[test]
fn only_a_directory_with_a_log_has_been_started() {
    let disk = SimDisk::new();
    let config = config("m1");
    assert!(!bootstrap::has_log(&disk.dyn_disk(), &config).expect("looks"));
    drop(open(&disk, &config).expect("begins"));
    assert!(bootstrap::has_log(&disk.dyn_disk(), &config).expect("looks"));
    assert!(disk.dyn_disk().exists(Path::new("/data/member/snap/db")).expect("looks"));
}
