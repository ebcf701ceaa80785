//! Databases with content that no etcd writes: errors that say where, and no panic.

mod common;

use std::path::Path;

use api::Revision;
use api::pb::etcdserverpb::{PutRequest, RangeRequest};
use backend::{Backend, Batch, Bucket, RevisionKey, schema};
use common::{DB, Member, options};
use mvcc::{MvccError, NoLeases, Store, StoreOptions};

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
