//! Databases with content that no etcd writes: errors that say where, and no panic.

mod common;

use std::path::Path;

use api::Revision;
use api::pb::etcdserverpb::{PutRequest, RangeRequest};
use api::pb::mvccpb::KeyValue;
use backend::{Backend, Batch, Bucket, RevisionKey, schema};
use bytes::Bytes;
use common::{DB, Member, options};
use mvcc::{MvccError, NoLeases, Store, StoreOptions};
use prost::Message;

fn start(member: Member) -> Result<(), MvccError> {
    let Member { disk, mut committer, .. } = member;
    committer.commit().unwrap();
    drop(committer);
    let disk = disk.kill();
    let (backend, _committer) = Backend::open(&disk.dyn_disk(), Path::new(DB), options()).unwrap();
    Store::open(backend, StoreOptions::default(), &mut |_, _| {}).map(|_| ())
}

fn message(damage: impl FnOnce(&mut Batch)) -> String {
    let member = Member::new();
    let mut batch = Batch::new();
    damage(&mut batch);
    member.backend.append(batch);
    start(member).unwrap_err().to_string()
}

#[test]
fn a_start_names_what_is_wrong() {
    let at = RevisionKey::put(Revision::new(7, 1));
    let text = message(|batch| batch.put_revision(at, vec![0xff; 3].into()));
    assert_eq!(
        text,
        "bucket key: the value of revision RevisionKey { revision: Revision { main: 7, sub: 1 }, tombstone: false } is not a key-value pair"
    );
    let text = message(|batch| batch.put(Bucket::Meta, schema::FINISHED_COMPACT, "short"));
    assert_eq!(text, "bucket meta, key finishedCompactRev: not a revision");
    let text = message(|batch| batch.put(Bucket::Meta, schema::SCHEDULED_COMPACT, vec![b'x'; 17]));
    assert_eq!(text, "bucket meta, key scheduledCompactRev: not a revision");
}

/// Found by fuzzing: each ended the process in the index.
#[test]
fn revisions_that_cannot_be_are_refused() {
    let kv = |create_revision, version| {
        let pair = KeyValue {
            key: "k".into(),
            create_revision,
            mod_revision: 7,
            version,
            ..Default::default()
        };
        Bytes::from(pair.encode_to_vec())
    };
    let at = Revision::new(7, 0);
    let not_a_revision = |damage: &dyn Fn(&mut Batch)| {
        let text = message(|batch| damage(batch));
        assert!(text.contains("is not a revision"), "{text}");
    };
    not_a_revision(&|batch| batch.put_revision(RevisionKey::put(Revision::new(7, 1 << 32)), kv(7, 1)));
    not_a_revision(&|batch| batch.put_revision(RevisionKey::put(Revision::new(i64::MAX, 0)), kv(7, 1)));
    not_a_revision(&|batch| {
        batch.put_revision(RevisionKey::put(at), kv(7, 1));
        batch.put_revision(RevisionKey::tombstone(at), kv(0, 0));
    });
    let text = message(|batch| batch.put(Bucket::Meta, schema::FINISHED_COMPACT, Revision::new(i64::MAX, 0).to_key().to_vec()));
    assert_eq!(text, "bucket meta, key finishedCompactRev: not a revision");
    for pair in [kv(8, 1), kv(-1, 1), kv(7, i64::MAX), kv(7, -1)] {
        let text = message(|batch| batch.put_revision(RevisionKey::put(at), pair));
        assert!(text.contains("is not a key-value pair"), "{text}");
    }
}

#[test]
fn a_value_that_is_gone_is_an_error() {
    let mut member = Member::new();
    let request = PutRequest {
        key: "k".into(),
        ..Default::default()
    };
    member.writer.put(&request, &mut NoLeases).unwrap();
    member.finish();
    let mut batch = Batch::new();
    batch.delete_revisions(vec![RevisionKey::put(Revision::new(2, 0))]);
    member.backend.append(batch);
    let range = RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    for end in ["", "l"] {
        let range = RangeRequest {
            range_end: end.into(),
            ..range.clone()
        };
        let error = member.store.range(&range).unwrap_err();
        assert!(matches!(error, MvccError::Missing(_)), "{error}");
        assert_eq!(error.api(), None);
    }
    // What the index knows by itself is still there.
    let keys = RangeRequest { keys_only: true, ..range };
    assert_eq!(member.store.range(&keys).unwrap().count, 1);
}
