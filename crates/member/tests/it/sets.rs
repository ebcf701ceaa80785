//! Data directories of whole clusters that real etcd left (3.5.33, 3.6.14, 3.7.1): what each member starts from, who may not start any
//! more, and `--force-new-cluster`.

use std::path::PathBuf;
use std::time::Duration;

use api::pb::raftpb;
use api::{MemberId, RaftIndex, Term};
use backend::{Backend, Batch, Bucket, schema};
use member::apply::ApplyOutcome;
use member::bootstrap::{self, Config, Note, OpenError, Opened};
use member::cluster::Member;
use member::propose::Body;
use member::replicate::{Committed, EntryKind};
use prost::Message;
use serde_json::Value;

use crate::data_dirs::{disk, expectation, is_at_hand, unpack};
use crate::json::lines;
use crate::node::Node;

/// The recordings of a kind that are at hand, by the version that made them.
fn versions(kind: &str) -> impl Iterator<Item = &'static str> {
    let all = ["3.5.33", "3.6.14", "3.7.1"].into_iter();
    all.filter(move |version| is_at_hand(&format!("{version}-set-{kind}")))
}

fn config(dir: PathBuf, name: &str) -> Config {
    let number: u16 = name[1..].parse().expect("m1 to m4");
    let url = |last: u16| format!("http://127.0.0.1:{}", 14290 + 10 * number + last);
    let mut config = Config::single(name, dir, &url(2), &url(0));
    config.snapshot_count = 60;
    config
}

fn open(config: &Config) -> Result<Opened, OpenError> {
    bootstrap::open(&disk(), config, Duration::ZERO, 1_800_000_000_000)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn id(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().expect("an id"), 16).expect("an id")
}

fn members_of(db: &Value) -> Vec<Member> {
    let stored = db["members"].as_object().expect("members");
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| v.as_str().expect("text").into())
            .collect()
    };
    let member = |member: &Value| Member {
        id: number(&member["id"]),
        peer_urls: texts(&member["peerURLs"]),
        is_learner: member["isLearner"] == true,
        name: member["name"].as_str().unwrap_or("").into(),
        client_urls: texts(&member["clientURLs"]),
    };
    let mut members: Vec<Member> = stored.values().map(member).collect();
    members.sort_by_key(|member| member.id);
    members
}

/// What a member starts from is what its files say at rest.
fn compare(name: &str, opened: &Opened, rest: &Value) {
    let (wal, db) = (&rest["wal"], &rest["db"]);
    assert_eq!(opened.member_id.0, id(&wal["metadata"]["node_id"]), "{name}");
    assert_eq!(opened.cluster_id.0, id(&wal["metadata"]["cluster_id"]), "{name}");
    let start = &opened.start;
    let expected = raftpb::HardState {
        term: Some(number(&wal["last_hard_state"]["term"])),
        vote: Some(id(&wal["last_hard_state"]["vote"])),
        commit: Some(number(&wal["last_hard_state"]["commit"])),
    };
    assert_eq!(start.hard_state, expected, "{name}");
    let record = wal["snapshot_records_term_index"]
        .as_array()
        .and_then(|all| all.last())
        .expect("a record");
    let (term, index) = (number(&record[0]), number(&record[1]));
    assert_eq!(start.snapshot, (RaftIndex(index), Term(term)), "{name}");
    let last = number(&wal["last_entry_in_file_order"]["index"]);
    let indexes: Vec<u64> = start.entries.iter().map(|entry| entry.index.unwrap_or(0)).collect();
    assert_eq!(indexes, (index + 1..=last).collect::<Vec<_>>(), "{name}");
    let members = members_of(db);
    let ids = |learners: bool| -> Vec<u64> { members.iter().filter(|m| m.is_learner == learners).map(|m| m.id).collect() };
    assert_eq!(
        (&start.conf_state.voters, &start.conf_state.learners),
        (&ids(false), &ids(true)),
        "{name}"
    );
    assert_eq!(opened.members_at_commit, members.len(), "{name}");
    assert_eq!(opened.cluster.members(), members, "{name}");
    let removed: Vec<u64> = db["members_removed"].as_array().expect("a list").iter().map(id).collect();
    assert_eq!(
        opened.cluster.removed().iter().map(|id| id.0).collect::<Vec<_>>(),
        removed,
        "{name}"
    );
    assert!(
        opened.initial_peers.is_empty(),
        "{name}: an old member knows the others from its database"
    );
    if let Some(hash) = rest["etcdutl_hashkv_of_db"]["hash"].as_u64() {
        assert_eq!(u64::from(opened.store.hash_kv(0).expect("a hash").hash), hash, "{name}");
    }
}

fn check(kind: &str) {
    for version in versions(kind) {
        let name = format!("{version}-set-{kind}");
        let dir = tempfile::tempdir().expect("a folder");
        let set = unpack(&name, dir.path());
        let expect = expectation(&name);
        let mut refused = 0;
        for (member, rest) in expect["at_rest"].as_object().expect("members") {
            let own = &rest["wal"]["metadata"]["node_id"];
            let name = format!("{name} {member}");
            match open(&config(set.join(member), member)) {
                Ok(opened) => compare(&name, &opened, rest),
                Err(error) => {
                    assert!(
                        rest["db"]["members_removed"].as_array().expect("a list").contains(own),
                        "{name}: {error}"
                    );
                    assert!(
                        error.to_string().contains("has been permanently removed from the cluster"),
                        "{name}: {error}"
                    );
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, usize::from(kind == "removed"), "{name}");
    }
}

#[test]
fn members_of_a_plain_cluster() {
    check("plain");
}

#[test]
fn members_of_a_cluster_with_a_learner() {
    check("learner");
}

#[test]
fn members_of_a_cluster_that_removed_one() {
    check("removed");
}

/// The membership changes behind the commit index that Go's forced start wrote, as text.
fn forced_by_go(version: &str, after: u64) -> Vec<(u64, u64, raftpb::ConfChange)> {
    let records = lines(&format!("wal/{version}-forced.jsonl.gz"));
    let changes = records
        .iter()
        .filter(|record| record["kind"] == "entry" && record["index"].as_u64() > Some(after));
    let changes = changes.filter(|record| record["entry_type"] == "EntryConfChange");
    let read = |record: &Value| {
        let change = &record["conf_change"];
        assert_eq!(change["type"], "ConfChangeRemoveNode");
        let change = raftpb::ConfChange {
            r#type: Some(raftpb::ConfChangeType::ConfChangeRemoveNode as i32),
            node_id: Some(id(&change["node_id"])),
            ..raftpb::ConfChange::default()
        };
        (number(&record["index"]), number(&record["term"]), change)
    };
    changes.map(read).collect()
}

/// The committed entries as the replicator hands them over.
fn committed(opened: &Opened) -> Vec<Committed> {
    let commit = opened.start.hard_state.commit.unwrap_or(0);
    let entries = opened.start.entries.iter().filter(|entry| entry.index.unwrap_or(0) <= commit);
    let hand_over = |entry: &raftpb::Entry| Committed {
        index: RaftIndex(entry.index.unwrap_or(0)),
        term: Term(entry.term.unwrap_or(0)),
        kind: if entry.r#type == Some(raftpb::EntryType::EntryConfChange as i32) {
            EntryKind::ConfChange
        } else {
            EntryKind::Normal
        },
        data: entry.data.clone().unwrap_or_default(),
    };
    entries.map(hand_over).collect()
}

#[test]
fn a_forced_new_cluster_is_the_one_that_go_makes() {
    for version in versions("plain") {
        let name = format!("{version}-set-plain");
        let dir = tempfile::tempdir().expect("a folder");
        let set = unpack(&name, dir.path());
        let expect = expectation(&name);
        let member = expect["info"]["killed_last"].as_str().expect("a name");
        let rest = &expect["at_rest"][member];
        let commit = number(&rest["wal"]["last_hard_state"]["commit"]);
        let mut config = config(set.join(member), member);
        config.force_new_cluster = true;
        let opened = open(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            opened.notes.contains(&Note::ForcedNewCluster { dropped: 1, changed: 2 }),
            "{name}: {:?}",
            opened.notes
        );
        let read = |entry: &raftpb::Entry| {
            let change = raftpb::ConfChange::decode(entry.data.clone().unwrap_or_default()).expect("a change");
            (entry.index.unwrap_or(0), entry.term.unwrap_or(0), change)
        };
        let written: Vec<_> = opened
            .start
            .entries
            .iter()
            .filter(|entry| entry.index > Some(commit))
            .map(read)
            .collect();
        assert_eq!(written, forced_by_go(version, commit), "{name}");
        assert_eq!(opened.start.hard_state.commit, Some(commit + 2), "{name}");
        assert_eq!(opened.members_at_commit, 1, "{name}");

        drop(opened);

        // Asked for again, nothing is left to do; without the flag, it stays a cluster of one.
        let again = open(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            again.notes.contains(&Note::ForcedNewCluster { dropped: 0, changed: 0 }),
            "{name}: {:?}",
            again.notes
        );
        drop(again);
        let forced = Node::start(&disk(), &config, 1_900_000_000_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((forced.parts.cluster.members().len(), forced.removed_self), (1, false), "{name}");
        forced.stop().expect("stops");
        config.force_new_cluster = false;
        let mut node = Node::start(&disk(), &config, 2_000_000_000_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        let put = api::pb::etcdserverpb::PutRequest {
            key: "after".into(),
            ..Default::default()
        };
        node.request(Body::Put, &put).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let members: Vec<u64> = node.parts.cluster.members().iter().map(|member| member.id).collect();
        assert_eq!(members, [id(&rest["wal"]["metadata"]["node_id"])], "{name}");
    }
}

#[test]
fn a_learner_becomes_the_voter_of_its_own_forced_cluster() {
    let name = "3.7.1-set-learner";
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = config(unpack(name, dir.path()).join("m4"), "m4");
    config.force_new_cluster = true;
    let mut opened = open(&config).expect("opens");
    let mut done = ApplyOutcome::default();
    opened
        .applier
        .apply(Duration::ZERO, &committed(&opened), &mut done)
        .expect("applies");
    let members = opened.cluster.members();
    assert_eq!(
        members.iter().map(|m| (m.id(), m.is_learner)).collect::<Vec<_>>(),
        [(opened.member_id, false)]
    );
    assert_eq!(opened.cluster.removed().len(), 3);
    // Its promotion comes first: there is no moment without a voter.
    let kinds: Vec<Option<i32>> = done.conf_changes.iter().map(|change| change.changes[0].r#type).collect();
    let (add, remove) = (
        raftpb::ConfChangeType::ConfChangeAddNode as i32,
        raftpb::ConfChangeType::ConfChangeRemoveNode as i32,
    );
    assert_eq!(kinds, [Some(add), Some(remove), Some(remove), Some(remove)]);
}

#[test]
fn who_was_removed_cannot_force_a_cluster() {
    let name = "3.7.1-set-removed";
    let dir = tempfile::tempdir().expect("a folder");
    let member = expectation(name)["info"]["removed"].as_str().expect("a name").to_owned();
    let mut config = config(unpack(name, dir.path()).join(&member), &member);
    config.force_new_cluster = true;
    let Err(error) = open(&config) else { panic!("started") };
    assert!(error.to_string().contains("permanently removed"), "{error}");
}

/// Changes the database of a directory of 3.5 as its faults have done, and starts on it.
fn start_on_changed(change: impl Fn(&mut Batch, Member)) -> Result<Vec<Note>, OpenError> {
    let dir = tempfile::tempdir().expect("a folder");
    let config = config(unpack("3.5.33-set-plain", dir.path()).join("m1"), "m1");
    let members = open(&config).expect("opens").cluster.members();
    let (backend, mut committer) = Backend::open(&disk(), &config.db_path(), backend::Options::default()).expect("opens");
    let mut batch = Batch::new();
    change(&mut batch, members[0].clone());
    backend.append(batch);
    committer.commit().expect("commits");
    drop((backend, committer));
    let opened = open(&config)?;
    assert!(opened.start.conf_state.learners.is_empty() && opened.start.conf_state.voters.len() == 3);
    assert_eq!(opened.cluster.members(), members);
    Ok(opened.notes)
}

#[test]
fn a_database_of_3_5_that_differs_from_its_v2_store() {
    let put = |batch: &mut Batch, member: &Member| batch.put(Bucket::Members, schema::member_key(member.id()), member.to_json());
    let promoted = start_on_changed(|batch, mut member| {
        member.is_learner = true;
        put(batch, &member);
    });
    assert_eq!(promoted.expect("mended"), [Note::PromotedVoter(MemberId(0x62b63c6d19d2cc5f))]);
    let zombie = start_on_changed(|batch, mut member| {
        member.id = 7;
        put(batch, &member);
    });
    let Err(OpenError::Refused(text)) = zombie else {
        panic!("{zombie:?}")
    };
    assert!(
        text.contains("the database has the members 7, 62b63c6d19d2cc5f") && text.contains("3.5.26"),
        "{text}"
    );
    let lost = start_on_changed(|batch, member| batch.delete(Bucket::Members, schema::member_key(member.id())));
    assert!(matches!(lost, Err(OpenError::Refused(text)) if text.contains("v2 store")));
}
