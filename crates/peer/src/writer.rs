//! Our half of a stream: the body of the answer to a peer's GET, endless until the peer goes.
//!
//! Messages queue up in a bounded channel; whatever is there when the connection can take more becomes one chunk, so that one
//! write carries many frames and one task does it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use api::MemberId;
use api::pb::raftpb::Message;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::codec::{MsgAppEncoder, put_link_heartbeat, put_msgapp_heartbeat, put_stream_message};
use crate::seam::{Level, Value};
use crate::shared::Shared;
use crate::status::Status;

/// Messages that wait for a stream.
pub const STREAM_QUEUE: usize = 4096;
/// Messages after which a chunk goes out even if more wait.
const CHUNK_MESSAGES: usize = 2048;
/// Bytes after which a chunk goes out even if more wait.
const CHUNK_BYTES: usize = 128 * 1024;

/// The two streams between two members, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    MsgApp,
    Message,
}

impl StreamKind {
    /// As in the path.
    pub fn path_name(self) -> &'static str {
        match self {
            StreamKind::MsgApp => "msgapp",
            StreamKind::Message => "message",
        }
    }

    /// As in the log.
    pub fn log_name(self) -> &'static str {
        match self {
            StreamKind::MsgApp => "stream MsgApp v2",
            StreamKind::Message => "stream Message",
        }
    }
}

struct Attached {
    id: u64,
    queue: mpsc::Sender<Message>,
}

/// What became of a message that was offered to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Queued,
    Full,
    /// There is no connection.
    Closed,
}

/// The place where a peer's connection of one kind is attached.
pub(crate) struct Slot {
    kind: StreamKind,
    attached: Mutex<Option<Attached>>,
    ids: AtomicU64,
}

impl Slot {
    pub fn new(kind: StreamKind) -> Slot {
        Slot {
            kind,
            attached: Mutex::new(None),
            ids: AtomicU64::new(0),
        }
    }

    /// Takes the message out of `message` if there is room for it.
    pub fn offer(&self, message: &mut Option<Message>) -> Offered {
        let attached = self.attached.lock();
        let Some(stream) = &*attached else {
            return Offered::Closed;
        };
        match stream.queue.try_reserve() {
            Ok(room) => {
                if let Some(message) = message.take() {
                    room.send(message);
                }
                Offered::Queued
            }
            Err(TrySendError::Full(())) => Offered::Full,
            Err(TrySendError::Closed(())) => Offered::Closed,
        }
    }

    pub fn is_open(&self) -> bool {
        self.attached.lock().is_some()
    }

    /// Ends the stream after what is queued.
    pub fn close(&self) {
        *self.attached.lock() = None;
    }

    /// Makes the body for a new connection, which takes the place of an older one.
    pub fn attach(self: &Arc<Slot>, shared: &Arc<Shared>, peer: MemberId, status: &Arc<Status>) -> StreamBody {
        let (queue, queued) = mpsc::channel(STREAM_QUEUE);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let replaced = self.attached.lock().replace(Attached { id, queue }).is_some();
        status.activate();
        let fields = [
            ("stream-writer-type", Value::from(self.kind.log_name())),
            ("remote-peer-id", peer.into()),
        ];
        let message = if replaced {
            "closed TCP streaming connection with remote peer; established a new one"
        } else {
            "established TCP streaming connection with remote peer"
        };
        shared.log(Level::Info, message, &fields);
        let period = shared.config.timing.link_heartbeat;
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        StreamBody {
            shared: shared.clone(),
            peer,
            status: status.clone(),
            slot: self.clone(),
            id,
            queued,
            msgapp: MsgAppEncoder::default(),
            heartbeat,
        }
    }

    /// Takes this connection off, if it is still the one in use.
    fn detach(&self, id: u64) -> bool {
        let mut attached = self.attached.lock();
        let current = attached.as_ref().is_some_and(|stream| stream.id == id);
        if current {
            *attached = None;
        }
        current
    }
}

/// One connection's stream.
pub struct StreamBody {
    shared: Arc<Shared>,
    peer: MemberId,
    status: Arc<Status>,
    slot: Arc<Slot>,
    id: u64,
    queued: mpsc::Receiver<Message>,
    msgapp: MsgAppEncoder,
    heartbeat: Interval,
}

impl StreamBody {
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = BytesMut::new();
        // Also on a busy stream: the peer's patience is with the connection, but its own link check is with us.
        if self.heartbeat.poll_tick(cx).is_ready() {
            match self.slot.kind {
                StreamKind::MsgApp => put_msgapp_heartbeat(&mut out),
                StreamKind::Message => put_link_heartbeat(&mut out),
            }
        }
        let mut messages = 0;
        while messages < CHUNK_MESSAGES && out.len() < CHUNK_BYTES {
            match self.queued.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    match self.slot.kind {
                        StreamKind::MsgApp => self.msgapp.put(&message, &mut out),
                        StreamKind::Message => put_stream_message(&message, &mut out),
                    }
                    messages += 1;
                }
                Poll::Ready(None) if out.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if out.is_empty() {
            // The heartbeat's timer and the queue hold our waker: a tick that was ready has written.
            return Poll::Pending;
        }
        self.shared.metrics.sent_bytes(self.peer, out.len() as u64);
        Poll::Ready(Some(out.freeze()))
    }
}

impl Drop for StreamBody {
    /// The connection is gone: by the peer's or the network's doing, if it was still the one in use.
    fn drop(&mut self) {
        if !self.slot.detach(self.id) {
            return;
        }
        self.status.deactivate(self.slot.kind.log_name(), "write", "connection closed");
        let fields = [
            ("stream-writer-type", Value::from(self.slot.kind.log_name())),
            ("remote-peer-id", self.peer.into()),
        ];
        self.shared
            .log(Level::Warn, "lost TCP streaming connection with remote peer", &fields);
        if self.queued.try_recv().is_ok() {
            self.shared.host.report_unreachable(self.peer);
        }
    }
}
