//! Lives of one key, and how they are kept.

use api::Revision;

use super::super::versions::Versions;
use super::super::{Entered, NoSuchKey};

#[test]
fn the_usual_key_takes_forty_bytes() {
    assert_eq!(size_of::<Versions>(), 40);
}

fn rev(main: i64) -> Revision {
    Revision::new(main, 0)
}

/// etcd's own example: put 1, put 2, tombstone 3, put 4, tombstone 5.
fn example() -> Versions {
    let mut versions = Versions::first(rev(1));
    versions.put(rev(2));
    versions.tombstone(rev(3)).unwrap();
    versions.put(rev(4));
    versions.tombstone(rev(5)).unwrap();
    versions
}

#[test]
fn lives_and_gaps() {
    let versions = example();
    let at = |at| versions.get(at).map(|k| (k.modified.main, k.created, k.version));
    assert_eq!(
        (0..7).map(at).collect::<Vec<_>>(),
        [None, Some((1, 1, 1)), Some((2, 1, 2)), None, Some((4, 4, 1)), None, None]
    );
    assert_eq!(versions.since(2), [rev(2), rev(3), rev(4), rev(5)]);
}

#[test]
fn compaction_of_the_example() {
    for (at, keeps, hash_keeps, left) in [
        (1, Some(1), Some(1), true),
        (2, Some(2), Some(2), true),
        (3, Some(3), None, true),
        (4, Some(4), Some(4), true),
        (5, Some(5), None, true),
        (6, None, None, false),
    ] {
        let mut versions = example();
        assert_eq!(versions.keep(at).map(|r| r.main), hash_keeps, "keep at {at}");
        let mut kept = Vec::new();
        assert_eq!(versions.compact(at, &mut |r| kept.push(r.main)), left, "compact at {at}");
        assert_eq!(kept, Vec::from_iter(keeps));
    }
}

#[test]
fn far_revisions_leave_the_inline_form_and_come_back() {
    let mut versions = Versions::first(Revision::new(1, 7));
    let far = 1 << 40;
    let entered = versions.put(Revision::new(far, 3));
    assert_eq!(
        entered,
        Entered {
            created: 1,
            version: 2,
            previous: Some(Revision::new(1, 7))
        }
    );
    assert!(matches!(versions, Versions::Many { .. }));
    assert_eq!(versions.get(5).unwrap().modified, Revision::new(1, 7));
    versions.tombstone(Revision::new(far + 1, 0)).unwrap();
    assert_eq!(versions.tombstone(Revision::new(far + 2, 0)), Err(NoSuchKey));
    let entered = versions.put(Revision::new(far + 2, 1));
    assert_eq!(
        entered,
        Entered {
            created: far + 2,
            version: 1,
            previous: None
        }
    );
    assert!(versions.compact(far + 2, &mut |_| ()));
    assert!(matches!(versions, Versions::Inline { .. }));
    assert_eq!(versions.get(far + 2).unwrap().modified, Revision::new(far + 2, 1));
}

#[test]
fn deleted_and_put_again_in_one_transaction() {
    let mut versions = Versions::first(rev(2));
    versions.tombstone(rev(4)).unwrap();
    versions.put(Revision::new(4, 1));
    for at in [4, 5] {
        assert_eq!(versions.keep(at), Some(Revision::new(4, 1)));
        let mut kept = Vec::new();
        assert!(versions.compact(at, &mut |r| kept.push(r)));
        assert_eq!(kept, [Revision::new(4, 1)]);
        assert_eq!(
            versions.get(at).map(|k| (k.modified, k.created, k.version)),
            Some((Revision::new(4, 1), 4, 1))
        );
    }
}
