//! Measures routing and sending of watch events: `cargo run --release -p mvcc --example watch [watchers] [events]`.

use std::ops::ControlFlow;
use std::sync::Arc;

use api::Revision;
use api::pb::etcdserverpb::watch_request::RequestUnion;
use api::pb::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use bytes::Bytes;
use mvcc::watch::{Event, EventKind, History, HistoryError, Polled, Previous, TxnEvents, WatchHub, WatchStream};

struct NoHistory;

impl History for NoHistory {
    fn scan(&self, _: i64, _: i64, _: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError> {
        Ok(())
    }
    fn value_before(&self, _: &[u8], _: i64) -> Option<Bytes> {
        None
    }
}

/// Time on a processor: machines that measure are seldom idle otherwise.
fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

fn watch(stream: &WatchStream, key: String, range_end: &'static str) {
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..WatchCreateRequest::default()
    };
    stream.handle(WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    });
}

/// Sends events to the streams; gives the answers written and prints what one costs.
fn run(what: &str, hub: &Arc<WatchHub>, streams: &[WatchStream], (events, at_once): (usize, usize), key: impl Fn(usize) -> String) {
    let header = ResponseHeader {
        cluster_id: u64::MAX,
        member_id: u64::MAX,
        revision: 0,
        raft_term: 2,
    };
    let (mut answers, mut wire, mut revision, mut sent) = (Vec::new(), Vec::new(), 1, 0);
    let mut drain = |answers: &mut Vec<_>| {
        let mut sent = 0;
        for stream in streams {
            while let Ok(Polled::More) = stream.poll(&NoHistory, &header, answers) {
                for answer in answers.drain(..) {
                    wire.clear();
                    answer.encode(&header, &mut wire);
                    sent += 1;
                }
            }
        }
        sent
    };
    drain(&mut answers);
    let (mut routing, mut sending) = (0, 0);
    for first in (0..events).step_by(at_once) {
        let begun = processor_nanos();
        for n in first..events.min(first + at_once) {
            revision += 1;
            let key = Bytes::from(key(n));
            let kv = Bytes::from(vec![b'v'; 300]);
            hub.append(TxnEvents {
                revision,
                events: vec![Event {
                    kind: EventKind::Put,
                    key,
                    kv,
                    previous: Previous::None,
                }],
            });
            hub.pump();
        }
        let routed = processor_nanos();
        sent += drain(&mut answers);
        routing += routed - begun;
        sending += processor_nanos() - routed;
    }
    let each = |nanos: u64| nanos as f64 / sent.max(1) as f64;
    println!(
        "{what:44} {sent:9} answers: {:6.0} ns routing, {:6.0} ns taking and encoding, each",
        each(routing),
        each(sending)
    );
}

fn main() {
    let number = |at: usize, otherwise: usize| std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (watchers, events) = (number(1, 1000), number(2, 1000));
    let open = |streams: usize| {
        let hub = WatchHub::new(1, -1, 1 << 20);
        let streams: Vec<_> = (0..streams).map(|_| hub.open_stream(Arc::new(|| {}))).collect();
        (hub, streams)
    };

    let (hub, streams) = open(watchers);
    streams.iter().for_each(|stream| watch(stream, "k".into(), ""));
    run("one key, a stream for every watcher", &hub, &streams, (events, 1), |_| "k".into());

    let (hub, streams) = open(1);
    (0..watchers).for_each(|_| watch(&streams[0], "k".into(), ""));
    run("one key, all on one stream", &hub, &streams, (events, 1), |_| "k".into());

    let (hub, streams) = open(watchers);
    streams
        .iter()
        .enumerate()
        .for_each(|(n, stream)| watch(stream, format!("/registry/{n:06}/"), "/registry~"));
    run("overlapping ranges, half of them hit", &hub, &streams, (events, 1), |_| {
        format!("/registry/{:06}/pod", watchers / 2)
    });

    let (hub, streams) = open(watchers);
    streams
        .iter()
        .enumerate()
        .for_each(|(n, stream)| watch(stream, format!("/registry/pods/{n:06}"), ""));
    run("a key for every watcher", &hub, &streams, (events * 100, watchers), |n| {
        format!("/registry/pods/{:06}", n % watchers)
    });
}
