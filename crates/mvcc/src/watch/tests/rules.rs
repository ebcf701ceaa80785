//! Every rule of watch, one by one.

use super::*;

#[test]
fn from_now_on() {
    let mut store = Store::new(1 << 20);
    store.put(b"a", b"0");
    let client = store.stream();
    client.create(watch(b"a", b""));
    store.put(b"a", b"1");
    store.put(b"b", b"1");
    store.delete(b"a");
    assert_eq!(client.wakes(), 1);
    assert_eq!(
        shorts(&client.receive(&store)),
        ["0 created rev 2", "0 a=1@3 rev 3", "0 a-@5 rev 5"]
    );
    store.put(b"a", b"2");
    assert_eq!(client.wakes(), 1, "asleep again after an idle poll");
    assert_eq!(shorts(&client.receive(&store)), ["0 a=2@6 rev 6"]);
}

#[test]
fn ranges_and_their_edges() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    for (key, end) in [
        (&b"b"[..], &b"d"[..]),
        (b"b", b"\0"),
        (b"", b"\0"),
        (b"c", b""),
        (b"", b"c"),
        (b"", b""),
    ] {
        client.create(watch(Box::leak(key.into()), Box::leak(end.into())));
    }
    client.receive(&store);
    for key in [&b"\0"[..], b"a", b"b", b"c", b"d", b"\xff"] {
        store.put(key, b"v");
        let mut ids: Vec<_> = client.receive(&store).iter().map(|answer| answer.watch_id).collect();
        ids.sort_unstable();
        let expected: &[i64] = match key {
            b"\0" => &[2, 4, 5],
            b"a" => &[2, 4],
            b"b" => &[0, 1, 2, 4],
            b"c" => &[0, 1, 2, 3],
            _ => &[1, 2],
        };
        assert_eq!(ids, expected, "{}", key.escape_ascii());
    }
}

#[test]
fn refused_creations() {
    let mut store = Store::new(1 << 20);
    store.put(b"a", b"1");
    let client = store.stream();
    client.create(watch(b"b", b"a"));
    client.create(watch(b"b", b"b"));
    client.create(WatchCreateRequest {
        start_revision: -1,
        ..watch(b"b", b"a")
    });
    client.create(WatchCreateRequest {
        watch_id: 7,
        ..watch(b"b", b"")
    });
    client.create(WatchCreateRequest {
        watch_id: 7,
        ..watch(b"c", b"")
    });
    client
        .stream
        .refuse("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    let answers = client.receive(&store);
    assert_eq!(
        shorts(&answers),
        [
            "-1 created canceled mvcc: watcher range is empty rev 2",
            "-1 created canceled mvcc: watcher range is empty rev 2",
            "-1 created canceled etcdserver: mvcc: required revision has been compacted rev 2",
            "7 created rev 2",
            "-1 created canceled mvcc: duplicate watch ID provided on the WatchStream rev 2",
            "-1 created canceled rpc error: code = PermissionDenied desc = etcdserver: permission denied rev 2",
        ]
    );
    assert_eq!(store.hub.metrics().watchers, 1);
}

#[test]
fn ids() {
    let store = Store::new(1 << 20);
    let client = store.stream();
    let id = |request| {
        client.create(request);
        client.receive(&store)[0].watch_id
    };
    assert_eq!(id(watch(b"a", b"")), 0);
    assert_eq!(
        id(WatchCreateRequest {
            watch_id: 2,
            ..watch(b"a", b"")
        }),
        2
    );
    assert_eq!(id(watch(b"a", b"")), 1);
    assert_eq!(id(watch(b"a", b"")), 3, "2 is taken");
    client.cancel(1);
    client.cancel(99);
    assert_eq!(shorts(&client.receive(&store)), ["1 canceled rev 1"]);
    assert_eq!(
        id(WatchCreateRequest {
            watch_id: 1,
            ..watch(b"a", b"")
        }),
        1
    );
    assert_eq!(id(watch(b"a", b"")), 4);
    assert_eq!(store.hub.metrics().watchers, 5);
    drop(client);
    assert_eq!(store.hub.metrics(), WatchMetrics::default());
}

#[test]
fn history_then_the_present() {
    let mut store = Store::new(1 << 20);
    for n in 0..5 {
        store.put(b"a", n.to_string().as_bytes());
    }
    store.delete(b"a");
    let client = store.stream();
    client.create(WatchCreateRequest {
        start_revision: 4,
        prev_kv: true,
        ..watch(b"a", b"")
    });
    client.create(WatchCreateRequest {
        start_revision: 9,
        ..watch(b"a", b"")
    });
    assert_eq!(client.wakes(), 1);
    assert_eq!(
        shorts(&client.receive(&store)),
        ["0 created rev 7", "1 created rev 7", "0 a=2@4(1) a=3@5(2) a=4@6(3) a-@7(4) rev 7"]
    );
    store.put(b"a", b"x");
    store.put(b"a", b"y");
    assert_eq!(
        shorts(&client.receive(&store)),
        ["0 a=x@8 rev 8", "1 a=y@9 rev 9", "0 a=y@9(x) rev 9"]
    );
    assert_eq!(store.hub.metrics().slow_watchers, 0);
}

#[test]
fn filters_and_transactions() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    let filtered = |filters: &[i32]| WatchCreateRequest {
        filters: filters.to_vec(),
        ..watch(b"a", b"c")
    };
    for filters in [&[][..], &[0], &[1], &[0, 1], &[5]] {
        client.create(filtered(filters));
    }
    client.receive(&store);
    store.put(b"b", b"1");
    store.write(&[(b"a", Some(b"2")), (b"x", Some(b"2")), (b"b", None)]);
    store.hub.pump();
    let answers = shorts(&client.receive(&store));
    assert_eq!(
        answers,
        [
            "0 b=1@2 rev 2",
            "2 b=1@2 rev 2",
            "4 b=1@2 rev 2",
            "0 a=2@3 b-@3 rev 3",
            "1 b-@3 rev 3",
            "2 a=2@3 rev 3",
            "4 a=2@3 b-@3 rev 3",
        ]
    );
}

#[test]
fn compaction_cancels_those_that_need_what_is_gone() {
    let mut store = Store::new(1 << 20);
    for n in 0..8 {
        store.put(b"a", n.to_string().as_bytes());
    }
    store.compact(6);
    let client = store.stream();
    client.create(WatchCreateRequest {
        start_revision: 5,
        ..watch(b"a", b"")
    });
    client.create(WatchCreateRequest {
        start_revision: 6,
        prev_kv: true,
        ..watch(b"a", b"")
    });
    assert_eq!(
        shorts(&client.receive(&store)),
        [
            "0 created rev 9",
            "1 created rev 9",
            "0 canceled compacted 6 rev 0",
            // What was before revision 6 cannot be asked for any more.
            "1 a=4@6 a=5@7(4) a=6@8(5) a=7@9(6) rev 9",
        ]
    );
    // Its id stays taken until the client lets go of it.
    client.progress();
    client.create(WatchCreateRequest {
        watch_id: 1,
        ..watch(b"a", b"")
    });
    client.cancel(0);
    client.progress();
    assert_eq!(
        shorts(&client.receive(&store)),
        [
            "-1 created canceled mvcc: duplicate watch ID provided on the WatchStream rev 9",
            "0 canceled rev 9",
            "-1 rev 9"
        ]
    );
}

#[test]
fn progress_on_request() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    client.progress();
    assert_eq!(client.receive(&store), []);
    client.create(watch(b"a", b""));
    store.put(b"a", b"1");
    client.progress();
    // In order: the event comes before the progress that includes it.
    assert_eq!(shorts(&client.receive(&store)), ["0 created rev 1", "0 a=1@2 rev 2", "-1 rev 2"]);
    client.create(WatchCreateRequest {
        start_revision: 1,
        ..watch(b"b", b"")
    });
    client.progress();
    assert_eq!(
        shorts(&client.receive(&store)),
        ["1 created rev 2"],
        "no progress while one is behind"
    );
    client.progress();
    assert_eq!(shorts(&client.receive(&store)), ["-1 rev 2"]);
    client.create(WatchCreateRequest {
        start_revision: 5,
        ..watch(b"b", b"")
    });
    client.progress();
    assert_eq!(
        shorts(&client.receive(&store)),
        ["2 created rev 2"],
        "no progress below where one starts"
    );
}

#[test]
fn progress_by_and_by() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    client.create(WatchCreateRequest {
        progress_notify: true,
        ..watch(b"a", b"")
    });
    client.create(watch(b"a", b""));
    client.create(WatchCreateRequest {
        progress_notify: true,
        ..watch(b"b", b"")
    });
    client.receive(&store);
    store.put(b"a", b"1");
    client.receive(&store);
    client.stream.notify_progress();
    assert_eq!(shorts(&client.receive(&store)), ["2 rev 2"], "0 has just seen an event");
    client.stream.notify_progress();
    assert_eq!(shorts(&client.receive(&store)), ["0 rev 2", "2 rev 2"]);
    let (base, tenth) = (Duration::from_secs(600), Duration::from_secs(60));
    for chance in [0, 1, u64::MAX, 12345678901234567] {
        let interval = progress_interval(base, chance);
        assert!(interval >= base && interval < base + tenth);
    }
    assert_eq!(progress_interval(Duration::from_millis(1), 0), SHORTEST_PROGRESS_INTERVAL);
}

#[test]
fn fragments() {
    let mut store = Store::new(16 << 10);
    let value = vec![b'x'; 10 << 10];
    for n in 0..120 {
        store.put(format!("k{n:03}").as_bytes(), &value);
    }
    let client = store.stream();
    client.create(WatchCreateRequest {
        start_revision: 1,
        fragment: true,
        ..watch(b"k", b"l")
    });
    client.create(WatchCreateRequest {
        start_revision: 1,
        ..watch(b"k", b"l")
    });
    let answers: Vec<_> = client.receive(&store).into_iter().filter(|answer| !answer.created).collect();
    let (cut, whole): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.watch_id == 0);
    assert_eq!(whole.len(), 1);
    assert_eq!(cut.iter().map(|answer| answer.fragment).collect::<Vec<_>>(), [true, true, false]);
    let limit = (16 << 10) + (512 << 10);
    assert!(cut.iter().all(|answer| answer.encoded_len() < limit));
    assert!(
        cut[0].encoded_len() + cut[1].events[0].encoded_len() + 4 >= limit,
        "as much as fits"
    );
    let together: Vec<_> = cut.iter().flat_map(|answer| answer.events.clone()).collect();
    assert_eq!(together, whole[0].events);
    // An event too large by itself goes alone.
    store.write(&[(b"k000", Some(&vec![b'y'; 600 << 10])), (b"k001", Some(b"z"))]);
    store.hub.pump();
    let answers: Vec<_> = client.receive(&store).into_iter().filter(|answer| answer.watch_id == 0).collect();
    assert_eq!(
        answers
            .iter()
            .map(|answer| (answer.events.len(), answer.fragment))
            .collect::<Vec<_>>(),
        [(1, true), (1, false)]
    );
}

#[test]
fn a_slow_stream_falls_behind_and_catches_up() {
    let mut store = Store::new(1 << 20);
    let (slow, fast) = (store.stream(), store.stream());
    for client in [&slow, &fast] {
        client.create(watch(b"a", b"b"));
        client.create(watch(b"x", b""));
        client.receive(&store);
    }
    for n in 0..20_000 {
        store.put(format!("a{}", n % 100).as_bytes(), b"v");
        assert!(fast.receive(&store).len() == 1);
    }
    let metrics = store.hub.metrics();
    assert_eq!((metrics.slow_watchers, metrics.watchers, metrics.events_total), (1, 4, 20_000));
    assert!(slow.stream.backlog() < 300, "bounded");
    // The other watcher of the slow stream is not concerned, but its queue is full.
    store.put(b"x", b"1");
    let answers = slow.receive(&store);
    let seen: Vec<_> = answers
        .iter()
        .flat_map(|answer| &answer.events)
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect();
    assert_eq!(seen.iter().filter(|revision| **revision == store.revision).count(), 1);
    assert_eq!(seen.len(), 20_001);
    assert!(answers.iter().all(|answer| answer.events.len() <= 1000));
    let of_range = answers
        .iter()
        .filter(|answer| answer.watch_id == 0)
        .flat_map(|answer| &answer.events);
    assert!(of_range.map(|event| event.kv.as_ref().unwrap().mod_revision).eq(2..20_002));
    let metrics = store.hub.metrics();
    assert_eq!((metrics.slow_watchers, metrics.pending_events), (0, 1));
    assert_eq!(fast.receive(&store).len(), 1);
    store.put(b"a", b"live");
    assert_eq!(slow.receive(&store).len(), 1, "synced again");
}

#[test]
fn a_pump_that_comes_late() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    client.create(watch(b"a", b""));
    client.receive(&store);
    for _ in 0..10_000 {
        store.write(&[(b"a", Some(b"v"))]);
    }
    // The log has moved on: history has to serve.
    store.hub.pump();
    assert_eq!(client.wakes(), 1 + 1);
    let revisions: Vec<_> = client
        .receive(&store)
        .iter()
        .flat_map(|answer| &answer.events)
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect();
    assert!(revisions.into_iter().eq(2..10_002));
}

#[test]
fn a_snapshot_from_the_leader() {
    let mut store = Store::new(1 << 20);
    store.put(b"a", b"1");
    let client = store.stream();
    client.create(watch(b"a", b""));
    client.create(WatchCreateRequest {
        start_revision: 12,
        ..watch(b"a", b"")
    });
    client.receive(&store);
    // The leader got further while this member was cut off.
    let hub = store.hub.clone();
    store.hub = WatchHub::new(store.revision, -1, 0);
    for n in 3..=10 {
        store.put(b"a", n.to_string().as_bytes());
    }
    store.hub = hub;
    store.hub.restored(store.revision, store.compacted);
    assert_eq!(client.wakes(), 1 + 1);
    let answers = shorts(&client.receive(&store));
    assert_eq!(answers, ["0 a=3@3 a=4@4 a=5@5 a=6@6 a=7@7 a=8@8 a=9@9 a=10@10 rev 10"]);
    store.put(b"a", b"11");
    store.put(b"a", b"12");
    assert_eq!(
        shorts(&client.receive(&store)),
        ["0 a=11@11 rev 11", "1 a=12@12 rev 12", "0 a=12@12 rev 12"]
    );
    // And once more, compacted beyond what the watchers have seen.
    let hub = store.hub.clone();
    store.hub = WatchHub::new(store.revision, -1, 0);
    for _ in 0..5 {
        store.put(b"a", b"n");
    }
    store.compact(15);
    store.hub = hub;
    store.hub.restored(store.revision, store.compacted);
    assert_eq!(
        shorts(&client.receive(&store)),
        ["0 canceled compacted 15 rev 0", "1 canceled compacted 15 rev 0"]
    );
}

#[test]
fn ten_thousand_watchers_of_one_stream() {
    let mut store = Store::new(1 << 20);
    let client = store.stream();
    for _ in 0..10_000 {
        client.create(watch(b"a", b""));
    }
    assert_eq!(client.receive(&store).len(), 10_000);
    for _ in 0..2 {
        store.put(b"a", b"v");
    }
    assert_eq!(store.hub.metrics().slow_watchers, 0);
    assert_eq!(store.hub.metrics().pending_events, 20_000);
    assert_eq!(client.receive(&store).len(), 20_000);
    let from_start = store.stream();
    for _ in 0..2000 {
        from_start.create(WatchCreateRequest {
            start_revision: 1,
            ..watch(b"a", b"")
        });
    }
    assert_eq!(from_start.receive(&store).len(), 4000);
    assert_eq!(store.hub.metrics().slow_watchers, 0);
    drop(client);
    assert_eq!(store.hub.metrics().watchers, 2000);
}

#[test]
fn events_are_encoded_once() {
    let mut store = Store::new(1 << 20);
    let clients: Vec<_> = (0..3).map(|_| store.stream()).collect();
    for (n, client) in clients.iter().enumerate() {
        client.create(WatchCreateRequest {
            prev_kv: n > 0,
            ..watch(b"a", b"")
        });
        client.receive(&store);
    }
    store.put(b"a", b"1");
    store.put(b"a", b"2");
    let events: Vec<Vec<Bytes>> = clients
        .iter()
        .map(|client| {
            let mut answers = Vec::new();
            client.stream.poll(&store, &header(), &mut answers).unwrap();
            answers.iter().flat_map(|answer| answer.events.to_vec()).collect()
        })
        .collect();
    assert_eq!(events[1][1].as_ptr(), events[2][1].as_ptr());
    assert_eq!(events[0][0].as_ptr(), events[1][0].as_ptr(), "nothing before: the same bytes");
    assert_ne!(events[0][1], events[1][1]);
}

#[test]
fn what_a_created_key_was_before_is_not_told() {
    let mut store = Store::new(1 << 20);
    store.put(b"a", b"old");
    // Deleted and put again in one transaction: for the client the key is new.
    store.write(&[(b"a", None), (b"a", Some(b"new"))]);
    let restarted = WatchHub::new(store.revision, store.compacted, 1 << 20);
    for hub in [store.hub.clone(), restarted] {
        store.hub = hub;
        let client = store.stream();
        client.create(WatchCreateRequest {
            start_revision: 2,
            prev_kv: true,
            ..watch(b"a", b"")
        });
        assert_eq!(
            shorts(&client.receive(&store)),
            ["0 created rev 3", "0 a=old@2 a-@3(old) a=new@3 rev 3"]
        );
    }
}
