//! One peer, and one remote: the parts that talk to it and the choice between them.

use std::sync::Arc;

use api::MemberId;
use api::pb::raftpb::{Message, MessageType};
use tokio::sync::watch;

use crate::pipeline::Pipeline;
use crate::probe;
use crate::reader::Reader;
use crate::seam::{Level, Value};
use crate::shared::{Shared, Task};
use crate::snapshot::Sending;
use crate::status::Status;
use crate::url::{PeerUrl, Urls};
use crate::writer::{Offered, Slot, StreamBody, StreamKind};

/// A member of the cluster.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    id: MemberId,
    urls: Arc<Urls>,
    pub status: Arc<Status>,
    msgapp: Arc<Slot>,
    message: Arc<Slot>,
    pipeline: Pipeline,
    stop: watch::Sender<bool>,
    _tasks: [Task; 3],
}

impl Peer {
    pub fn start(shared: &Arc<Shared>, id: MemberId, urls: Vec<PeerUrl>) -> Peer {
        let urls = Arc::new(Urls::new(urls));
        let status = Arc::new(Status::new(shared.clone(), id));
        let reader = |kind| {
            let reader = Reader {
                shared: shared.clone(),
                peer: id,
                kind,
                urls: urls.clone(),
                status: status.clone(),
            };
            Task::spawn(shared, reader.run())
        };
        let probe = Task::spawn(shared, probe::run(shared.clone(), id, urls.clone()));
        Peer {
            _tasks: [reader(StreamKind::MsgApp), reader(StreamKind::Message), probe],
            shared: shared.clone(),
            id,
            pipeline: Pipeline::start(shared, id, &urls, &status),
            urls,
            status,
            msgapp: Arc::new(Slot::new(StreamKind::MsgApp)),
            message: Arc::new(Slot::new(StreamKind::Message)),
            stop: watch::Sender::new(false),
        }
    }

    pub fn update(&self, urls: Vec<PeerUrl>) {
        self.urls.update(urls);
    }

    /// Queues a message where it belongs, or drops it. Never waits.
    pub fn send(&self, message: Message) {
        let kind = message.r#type();
        let Err(channel) = self.offer(message) else {
            return;
        };
        report_dropped(&self.shared, self.id, kind, channel);
    }

    fn offer(&self, message: Message) -> Result<(), &'static str> {
        let kind = message.r#type();
        let mut message = Some(message);
        // A snapshot may be large, and nothing shall wait behind it.
        if kind != MessageType::MsgSnap {
            let appends = (kind == MessageType::MsgApp).then_some((&self.msgapp, StreamKind::MsgApp));
            for (slot, stream) in appends.into_iter().chain([(&self.message, StreamKind::Message)]) {
                match slot.offer(&mut message) {
                    Offered::Queued => return Ok(()),
                    Offered::Full => return Err(stream.log_name()),
                    Offered::Closed => {}
                }
            }
        }
        let posted = message.is_some_and(|message| self.pipeline.offer(message));
        if posted { Ok(()) } else { Err("pipeline") }
    }

    /// The sender of one snapshot.
    pub fn snapshot_sending(&self) -> Sending {
        Sending {
            shared: self.shared.clone(),
            peer: self.id,
            urls: self.urls.clone(),
            status: self.status.clone(),
            stop: self.stop.subscribe(),
        }
    }

    pub fn attach(&self, kind: StreamKind) -> StreamBody {
        self.slot(kind).attach(&self.shared, self.id, &self.status)
    }

    /// Whether the peer reads this stream of ours.
    pub fn is_attached(&self, kind: StreamKind) -> bool {
        self.slot(kind).is_open()
    }

    fn slot(&self, kind: StreamKind) -> &Arc<Slot> {
        match kind {
            StreamKind::MsgApp => &self.msgapp,
            StreamKind::Message => &self.message,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.msgapp.close();
        self.message.close();
    }
}

/// Somebody who is not a member as far as our log goes, but has spoken to us: can be answered, by POST alone.
pub(crate) struct Remote {
    shared: Arc<Shared>,
    id: MemberId,
    pipeline: Pipeline,
}

impl Remote {
    pub fn start(shared: &Arc<Shared>, id: MemberId, urls: Vec<PeerUrl>) -> Remote {
        let urls = Arc::new(Urls::new(urls));
        let status = Arc::new(Status::new(shared.clone(), id));
        Remote {
            shared: shared.clone(),
            id,
            pipeline: Pipeline::start(shared, id, &urls, &status),
        }
    }

    pub fn send(&self, message: Message) {
        let kind = message.r#type();
        if !self.pipeline.offer(message) {
            report_dropped(&self.shared, self.id, kind, "pipeline");
        }
    }
}

fn report_dropped(shared: &Shared, peer: MemberId, kind: MessageType, channel: &str) {
    shared.host.report_unreachable(peer);
    if kind == MessageType::MsgSnap {
        shared.host.report_snapshot(peer, false);
    }
    shared.metrics.sent_failure(peer);
    if shared.log.is_on(Level::Warn) {
        let fields = [
            ("message-type", Value::from(kind.as_str_name())),
            ("remote-peer-id", peer.into()),
            ("remote-peer-name", channel.into()),
        ];
        let message = "dropped internal Raft message since sending buffer is full";
        shared.log(Level::Warn, message, &fields);
    }
}
