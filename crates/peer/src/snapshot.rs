//! Snapshots: a MsgSnap and behind it the database's image, from one member's file to another's.
//!
//! The image passes through in chunks, a few at a time; it is never whole in memory. One that is shorter or longer than was
//! announced breaks the connection, so that the receiver cannot take it for whole.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use api::MemberId;
use api::pb::raftpb::Message;
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use crate::body::{Body, RequestBody};
use crate::client::{Patience, Poster};
use crate::codec::put_stream_message;
use crate::pipeline::{PostError, judge_answer, post_request};
use crate::seam::{Level, Value};
use crate::shared::Shared;
use crate::status::Status;
use crate::url::Urls;

/// Snapshots under way to all peers together.
pub const SNAPSHOTS_IN_FLIGHT: usize = 16;
/// Chunks of an image that wait for the network.
const IMAGE_QUEUE: usize = 8;

/// A database image on its way out.
pub struct Image {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    size: u64,
    left: u64,
}

/// Where the image's bytes go in.
pub struct ImageWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
}

/// An image of `size` bytes and the writer of its bytes.
pub fn image(size: u64) -> (ImageWriter, Image) {
    let (sender, chunks) = mpsc::channel(IMAGE_QUEUE);
    let image = Image { chunks, size, left: size };
    (ImageWriter { chunks: sender }, image)
}

impl ImageWriter {
    /// Waits for room. For threads outside the runtime.
    ///
    /// # Errors
    /// When the transfer has failed: the rest is not wanted.
    pub fn blocking_write(&self, chunk: Bytes) -> io::Result<()> {
        let sent = self.chunks.blocking_send(Ok(chunk));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits for room.
    ///
    /// # Errors
    /// When the transfer has failed: the rest is not wanted.
    pub async fn write(&self, chunk: Bytes) -> io::Result<()> {
        let sent = self.chunks.send(Ok(chunk)).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Image {
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let wrong = |text| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, text))));
        match ready!(self.chunks.poll_recv(cx)) {
            Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Poll::Ready(Some(Ok(chunk)))
                }
                None => wrong("the image is longer than was announced"),
            },
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if self.left > 0 => wrong("the image is shorter than was announced"),
            None => Poll::Ready(None),
        }
    }
}

/// A database image on its way in.
pub struct ImageReader {
    /// What came together with the message before it.
    first: Option<Bytes>,
    body: RequestBody,
}

impl ImageReader {
    pub(crate) fn new(first: Bytes, body: RequestBody) -> ImageReader {
        ImageReader {
            first: (!first.is_empty()).then_some(first),
            body,
        }
    }

    /// The next bytes; `None` at the end of the whole image.
    ///
    /// # Errors
    /// When the sender broke off or fell silent: what was read is not an image.
    pub async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.body.chunk().await,
        }
    }
}

/// One snapshot's way to one peer.
pub(crate) struct Sending {
    pub shared: Arc<Shared>,
    pub peer: MemberId,
    pub urls: Arc<Urls>,
    pub status: Arc<Status>,
    /// Turns true, or loses its sender, when the peer is removed.
    pub stop: watch::Receiver<bool>,
}

impl Sending {
    /// Sends and reports to raft, whatever happens.
    pub async fn run(mut self, message: Message, image: Image) {
        let started = Instant::now();
        let size = image.size();
        let index = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()).map_or(0, |m| m.index());
        let fields = [
            ("snapshot-index", Value::from(index)),
            ("remote-peer-id", self.peer.into()),
            ("bytes", size.into()),
        ];
        self.shared.log(Level::Info, "sending database snapshot", &fields);
        self.shared.metrics.snapshot_send_started(self.peer);
        let mut stop = self.stop.clone();
        let sent = tokio::select! {
            sent = self.post(message, image) => sent,
            _ = stop.wait_for(|stop| *stop) => Err(io::Error::other("stopped").into()),
        };
        let host = &self.shared.host;
        match sent {
            Ok(bytes) => {
                self.status.activate();
                host.report_snapshot(self.peer, true);
                self.shared.log(Level::Info, "sent database snapshot", &fields);
                self.shared.metrics.sent_bytes(self.peer, bytes);
                self.shared.metrics.snapshot_send_ended(self.peer, Some(started.elapsed()));
            }
            Err(error) => {
                let [index, peer, bytes] = fields;
                let fields = [index, peer, bytes, ("error", Value::from(error.to_string()))];
                self.shared.log(Level::Warn, "failed to send database snapshot", &fields);
                self.status.deactivate("sendMsgSnap", "post", &error.to_string());
                host.report_unreachable(self.peer);
                host.report_snapshot(self.peer, false);
                self.shared.metrics.sent_failure(self.peer);
                self.shared.metrics.snapshot_send_ended(self.peer, None);
            }
        }
    }

    async fn post(&mut self, message: Message, image: Image) -> Result<u64, PostError> {
        let timing = &self.shared.config.timing;
        let patience = Patience {
            dial: timing.dial,
            read: Some(timing.snapshot_answer),
            write: Some(timing.post_answer),
        };
        let mut head = BytesMut::new();
        put_stream_message(&message, &mut head);
        let total = head.len() as u64 + image.size();
        let body = Body::Image {
            head: Some(head.freeze()),
            image,
        };
        let url = self.urls.pick();
        let request = post_request(&self.shared, &url, "/raft/snapshot", "application/octet-stream", body)?;
        let mut poster = Poster::new(self.shared.clone(), patience);
        let answered = poster.ask(&url, request).await;
        let judged = answered
            .map_err(PostError::from)
            .and_then(|(status, body)| judge_answer(&self.shared, self.peer, &url, status, &body));
        if judged.is_err() {
            self.urls.failed(&url);
        }
        judged.map(|()| total)
    }
}
