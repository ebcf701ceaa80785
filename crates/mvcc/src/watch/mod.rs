//! Watch: a shared, append-only log of events, a cursor for every watcher, a bounded queue for every stream.
//!
//! Stands at step 11 of the life of a Put. Apply appends the events of a transaction to the log and is done; `pump` hands
//! them to the queues of the streams that watch those keys; the server takes answers from its stream with `poll` and writes them out. A
//! stream whose queue is full falls behind and later reads what it missed from the log or, when that has moved on, from
//! the store's history: it never slows a writer or another stream. No threads, no clock, no sockets: the shell calls in
//! and is woken by a callback.

#![allow(clippy::unimplemented)]

use std::ops::ControlFlow;
use std::sync::Arc;

use api::Revision;
use api::pb::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use bytes::Bytes;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// The value a key had before a change, for watchers that ask for it.
#[derive(Clone, Debug)]
pub enum Previous {
    /// There was none.
    None,
    /// The stored `mvccpb.KeyValue`.
    Known(Bytes),
    /// To be looked up with [`History::value_before`] by the first watcher that wants it.
    Lookup,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub key: Bytes,
    /// The `mvccpb.KeyValue` as stored (a tombstone's holds the key alone; its mod revision is added here).
    pub kv: Bytes,
    pub previous: Previous,
}

/// The changes of one write transaction, in order.
#[derive(Clone, Debug)]
pub struct TxnEvents {
    pub revision: i64,
    pub events: Vec<Event>,
}

/// The store as watchers that are behind need it.
pub trait History {
    /// Visits the entries of the `key` bucket with `from <= main <= to` in order (flag: tombstone) until `visit` breaks.
    fn scan(&self, from: i64, to: i64, visit: &mut dyn FnMut(Revision, bool, Bytes) -> ControlFlow<()>) -> Result<(), HistoryError>;
    /// The stored key-value pair of `key` as of main revision `main - 1`; `None` also when that is compacted.
    fn value_before(&self, key: &[u8], main: i64) -> Option<Bytes>;
}

/// History could not be read: the stream has to end.
#[derive(Debug, thiserror::Error)]
#[error("reading history: {0}")]
pub struct HistoryError(pub String);

/// What the server needs to know of an answer. Cluster id, member id and raft term of the header are the server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchAnswer {
    /// `header.revision`; 0 in the answer that cancels a compacted watcher.
    pub revision: i64,
    /// -1 for refused creations and for the progress of the whole stream.
    pub watch_id: i64,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: String,
    pub fragment: bool,
    /// Encoded `mvccpb.Event` messages, shared with other watchers.
    pub events: Events,
}

/// Encoded events of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {}

impl std::ops::Deref for Events {
    type Target = [Bytes];
    fn deref(&self) -> &[Bytes] {
        unimplemented!()
    }
}

impl WatchAnswer {
    /// Length of the encoded `WatchResponse`.
    pub fn encoded_len(&self, header: &ResponseHeader) -> usize {
        let _ = header;
        unimplemented!()
    }
    /// Appends the encoded `WatchResponse`; `header.revision` is replaced by the answer's.
    pub fn encode(&self, header: &ResponseHeader, out: &mut Vec<u8>) {
        let _ = (header, out);
        unimplemented!()
    }
}

/// What [`WatchStream::poll`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// More is ready: poll again when these answers are written.
    More,
    /// Nothing else: wait for the wake-up.
    Idle,
}

/// Counters for the metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchMetrics {
    pub streams: u64,
    pub watchers: u64,
    /// Watchers that are behind.
    pub slow_watchers: u64,
    /// Events in queues.
    pub pending_events: u64,
    /// Events handed out since the start.
    pub events_total: u64,
}

/// All streams of a member, and the log they are fed from.
pub struct WatchHub {}

impl WatchHub {
    /// `revision` and `compact_revision` of the store as opened. `max_request_bytes`: `--max-request-bytes`, above which (plus 512 KiB) answers are cut into fragments.
    pub fn new(revision: i64, compact_revision: i64, max_request_bytes: usize) -> Arc<WatchHub> {
        let _ = (revision, compact_revision, max_request_bytes);
        unimplemented!()
    }
    /// Takes the events of one write transaction. Called by apply, in order of revisions, once the events can be read through [`History`] and before the client hears of the change.
    pub fn append(&self, txn: TxnEvents) {
        let _ = txn;
        unimplemented!()
    }
    /// Hands what was appended to the streams. Called by the shell after apply; any thread.
    pub fn pump(&self) {
        unimplemented!()
    }
    /// History below `revision` is gone: watchers that still need it will be cancelled.
    pub fn compacted(&self, revision: i64) {
        let _ = revision;
        unimplemented!()
    }
    /// The store was replaced by a snapshot: every watcher goes on from where it was, out of the new history.
    pub fn restored(&self, revision: i64, compact_revision: i64) {
        let _ = (revision, compact_revision);
        unimplemented!()
    }
    /// Opens a stream. `wake` is called (from `pump` and the methods of the stream, never under a lock the stream needs) when there is something to poll.
    pub fn open_stream(self: &Arc<WatchHub>, wake: Arc<dyn Fn() + Send + Sync>) -> WatchStream {
        let _ = wake;
        unimplemented!()
    }
    pub fn metrics(&self) -> WatchMetrics {
        unimplemented!()
    }
}

/// One watch stream of a client. Dropping it cancels its watchers. All methods take `&self` and may be called from two tasks (requests and answers).
pub struct WatchStream {}

impl WatchStream {
    /// Does what a request says; what it answers comes out of [`WatchStream::poll`]. Permission is checked before ([`WatchStream::refuse`]).
    pub fn handle(&self, request: WatchRequest) {
        let _ = request;
        unimplemented!()
    }
    /// The key and range end that a create request is about, for the permission check (an empty key means 0x00).
    pub fn permission_range(request: &WatchCreateRequest) -> (Bytes, Bytes) {
        let _ = request;
        unimplemented!()
    }
    /// Answers a create request that is not permitted.
    pub fn refuse(&self, reason: &str) {
        let _ = reason;
        unimplemented!()
    }
    /// Answers waiting; when there are many the server should stop reading requests.
    pub fn backlog(&self) -> usize {
        unimplemented!()
    }
    /// The stream's progress interval has passed: tells every idle, synced watcher that asked for it how far it is.
    pub fn notify_progress(&self) {
        unimplemented!()
    }
    /// Appends ready answers to `out` (about 1 MiB at most, but always one if there is any). Reads history when the stream is behind. One task at a time.
    pub fn poll(&self, history: &dyn History, header: &ResponseHeader, out: &mut Vec<WatchAnswer>) -> Result<Polled, HistoryError> {
        let _ = (history, header, out);
        unimplemented!()
    }
}

/// The progress interval of one stream: `base` (`--watch-progress-notify-interval`, at least 100 ms) plus up to a tenth, chosen by `chance`.
pub fn progress_interval(base: std::time::Duration, chance: u64) -> std::time::Duration {
    let _ = (base, chance);
    unimplemented!()
}
