use super::*;
use backend::Batch;
use mvcc::LeaseSink;

const SECOND: Duration = Duration::from_secs(1);

fn config(checkpoints: bool) -> LessorConfig {
    LessorConfig {
        min_ttl_seconds: 2,
        checkpoints,
        revoke_retry: 7 * SECOND,
    }
}

fn leader() -> (Lessor, LeaseWriter) {
    let lessor = Lessor::new(config(false));
    lessor.promote(Duration::ZERO, Duration::ZERO);
    (lessor.clone(), LeaseWriter::new(lessor))
}

#[test]
fn the_least_ttl_is_go_s() {
    assert_eq!(LessorConfig::min_ttl(10, Duration::from_millis(100)), 2);
    assert_eq!(
        LessorConfig::min_ttl(3, Duration::from_millis(100)),
        1,
        "4 ticks, the half is cut off"
    );
    assert_eq!(LessorConfig::min_ttl(10, Duration::from_millis(1000)), 15);
}

#[test]
fn grants_as_go_checks_them() {
    let (lessor, mut writer) = leader();
    let mut batch = Batch::new();
    let mut grant = |id, ttl| writer.grant(LeaseId(id), ttl, SECOND, &mut batch);
    assert_eq!(grant(0, 10), Err(LeaseError::NotFound));
    assert_eq!(grant(1, 9_000_000_001), Err(LeaseError::TtlTooLarge));
    assert_eq!(grant(1, 9_000_000_000), Ok(9_000_000_000));
    assert_eq!(grant(1, 10), Err(LeaseError::Exists));
    assert_eq!(grant(-5, 0), Ok(2), "raised to the least");
    assert_eq!(lessor.leases(), [LeaseId(-5), LeaseId(1)], "the next to run out first");
    let info = lessor.lookup(LeaseId(-5), SECOND + SECOND / 2, false).unwrap();
    assert_eq!((info.granted_ttl, info.remaining), (2, 1));
    assert_eq!(lessor.lookup(LeaseId(9), SECOND, false), Err(LeaseError::NotFound));
}

#[test]
fn expiry_waits_for_renewals_and_asks_again() {
    let (lessor, mut writer) = leader();
    let mut batch = Batch::new();
    for id in 1..=3 {
        writer.grant(LeaseId(id), 10, Duration::ZERO, &mut batch).unwrap();
    }
    assert_eq!(lessor.renew(LeaseId(2), 5 * SECOND), Ok(10));
    assert_eq!(lessor.renew(LeaseId(9), SECOND), Err(LeaseError::NotFound));
    assert!(lessor.expired(9 * SECOND, 500).is_empty());
    assert_eq!(lessor.expired(10 * SECOND, 1), [LeaseId(1)]);
    assert_eq!(lessor.expired(10 * SECOND, 500), [LeaseId(3)]);
    assert!(lessor.expired(11 * SECOND, 500).is_empty(), "its revocation is on the way");
    assert_eq!(lessor.renew(LeaseId(1), 11 * SECOND), Err(LeaseError::Expired));
    assert_eq!(lessor.expired(15 * SECOND, 500), [LeaseId(2)], "the renewed one runs out later");
    assert_eq!(writer.revoke(LeaseId(3), &mut batch), Ok(vec![]));
    assert_eq!(lessor.expired(17 * SECOND, 500), [LeaseId(1)], "asked again, the revoked one not");
    assert_eq!(writer.revoke(LeaseId(3), &mut batch), Err(LeaseError::NotFound));
    lessor.demote();
    assert_eq!(lessor.renew(LeaseId(2), SECOND), Err(LeaseError::NotPrimary));
    assert!(lessor.expired(1000 * SECOND, 500).is_empty());
}

#[test]
fn keys_go_with_their_lease() {
    let (lessor, mut writer) = leader();
    let mut batch = Batch::new();
    for id in [1, 2] {
        writer.grant(LeaseId(id), 10, Duration::ZERO, &mut batch).unwrap();
    }
    for key in ["b", "a", "c"] {
        writer.attach(LeaseId(1), &Bytes::from_static(key.as_bytes()));
    }
    assert_eq!(writer.lease_of(b"a"), Some(LeaseId(1)));
    writer.detach(LeaseId(1), b"c");
    writer.attach(LeaseId(2), &Bytes::from_static(b"c"));
    assert_eq!(lessor.lookup(LeaseId(1), SECOND, true).unwrap().keys, ["a", "b"]);
    writer.attach(LeaseId(9), &Bytes::from_static(b"d"));
    assert_eq!(writer.lease_of(b"d"), None, "no such lease");
    assert_eq!(writer.revoke(LeaseId(1), &mut batch).unwrap(), ["a", "b"]);
    assert_eq!((writer.lease_of(b"a"), writer.lease_of(b"c")), (None, Some(LeaseId(2))));
    assert!(writer.exists(LeaseId(2)) && !writer.exists(LeaseId(1)));
}

#[test]
fn a_new_leader_extends_and_spreads() {
    let lessor = Lessor::new(config(false));
    let mut writer = LeaseWriter::new(lessor.clone());
    let mut batch = Batch::new();
    for id in 1..=3000 {
        writer.grant(LeaseId(id), 10, Duration::ZERO, &mut batch).unwrap();
    }
    assert!(lessor.expired(1000 * SECOND, 500).is_empty(), "a follower counts nothing");
    let extend = SECOND;
    lessor.promote(100 * SECOND, extend);
    assert!(lessor.expired(110 * SECOND + SECOND / 2, 5000).is_empty());
    let mut per_second = Vec::new();
    for second in 111..=116 {
        per_second.push(lessor.expired(second * SECOND, 5000).len());
    }
    assert_eq!(per_second.iter().sum::<usize>(), 3000, "{per_second:?}");
    assert!(per_second.iter().all(|n| *n <= 1500), "{per_second:?}");
    assert!(per_second.iter().filter(|n| **n > 0).count() >= 4, "{per_second:?}");
}

#[test]
fn checkpoints_record_what_is_left() {
    let lessor = Lessor::new(config(true));
    lessor.promote(Duration::ZERO, Duration::ZERO);
    let mut writer = LeaseWriter::new(lessor.clone());
    let mut batch = Batch::new();
    writer.grant(LeaseId(1), 1000, Duration::ZERO, &mut batch).unwrap();
    writer.grant(LeaseId(2), 300, Duration::ZERO, &mut batch).unwrap();
    assert!(lessor.due_checkpoints(299 * SECOND, 10).is_empty());
    let due = lessor.due_checkpoints(300 * SECOND + SECOND / 2, 10);
    assert_eq!(due, [LeaseCheckpoint { id: 1, remaining_ttl: 700 }], "short leases have none");
    writer.checkpoint(LeaseId(1), 700, true, 301 * SECOND, &mut batch);
    assert_eq!(lessor.due_checkpoints(601 * SECOND, 10)[0].remaining_ttl, 399);
    assert_eq!(lessor.reset_before_renewal(LeaseId(1)).unwrap().remaining_ttl, 0);
    assert_eq!(lessor.reset_before_renewal(LeaseId(2)), None);
    lessor.demote();
    lessor.promote(700 * SECOND, Duration::ZERO);
    assert_eq!(
        lessor.lookup(LeaseId(1), 700 * SECOND, false).unwrap().remaining,
        700,
        "a new leader goes on from the checkpoint"
    );
    writer.checkpoint(LeaseId(1), 0, true, 701 * SECOND, &mut batch);
    assert_eq!(lessor.renew(LeaseId(1), 701 * SECOND), Ok(1000));
    assert_eq!(lessor.lookup(LeaseId(1), 701 * SECOND, false).unwrap().remaining, 1000);
}

#[test]
fn revoked_leases_do_not_pile_up() {
    let (lessor, mut writer) = leader();
    let mut batch = Batch::new();
    for round in 0..20_000 {
        writer.grant(LeaseId(round + 1), 1_000_000, Duration::ZERO, &mut batch).unwrap();
        writer.revoke(LeaseId(round + 1), &mut batch).unwrap();
        if round % 100 == 0 {
            lessor.expired(SECOND, 500);
        }
    }
    assert!(lessor.inner.expiries.lock().len() < 10_000);
}

#[test]
fn restored_leases_wait_for_a_leader() {
    let lessor = Lessor::new(config(false));
    let mut writer = LeaseWriter::new(lessor.clone());
    writer.restore(api::pb::leasepb::Lease {
        id: 5,
        ttl: 1,
        remaining_ttl: 0,
    });
    assert_eq!(lessor.lookup(LeaseId(5), SECOND, false).unwrap().granted_ttl, 2);
    assert!(lessor.lookup(LeaseId(5), SECOND, false).unwrap().remaining > 1_000_000_000);
}
