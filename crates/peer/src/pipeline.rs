//! Messages as single POSTs: for a peer without a stream, and for one that is not a peer yet.

use std::io;
use std::sync::Arc;

use api::MemberId;
use api::pb::raftpb::{Message, MessageType};
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::sync::{Mutex, mpsc};

use crate::body::Body;
use crate::client::{self, Patience, Poster};
use crate::codec::encode_message;
use crate::reader::explain_refusal;
use crate::shared::{Shared, Task};
use crate::status::Status;
use crate::url::{PeerUrl, Urls};

/// Messages that wait to be posted.
pub const PIPELINE_QUEUE: usize = 64;
/// Posts under way at a time.
const WORKERS: usize = 4;

pub(crate) struct Pipeline {
    queue: mpsc::Sender<Message>,
    _workers: Vec<Task>,
}

/// Why a post failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("{0}")]
    Precondition(String),
    #[error("unexpected http status {status} while posting to {url}")]
    Status { status: StatusCode, url: String },
}

impl Pipeline {
    pub fn start(shared: &Arc<Shared>, peer: MemberId, urls: &Arc<Urls>, status: &Arc<Status>) -> Pipeline {
        let (queue, queued) = mpsc::channel(PIPELINE_QUEUE);
        let queued = Arc::new(Mutex::new(queued));
        let worker = |_| {
            let timing = &shared.config.timing;
            let patience = Patience {
                dial: timing.dial,
                read: Some(timing.post_answer),
                write: Some(timing.post_answer),
            };
            let worker = Worker {
                shared: shared.clone(),
                peer,
                urls: urls.clone(),
                status: status.clone(),
                queued: queued.clone(),
                poster: Poster::new(shared.clone(), patience),
            };
            Task::spawn(shared, worker.run())
        };
        Pipeline {
            queue,
            _workers: (0..WORKERS).map(worker).collect(),
        }
    }

    /// False when 64 messages wait already.
    pub fn offer(&self, message: Message) -> bool {
        self.queue.try_send(message).is_ok()
    }
}

struct Worker {
    shared: Arc<Shared>,
    peer: MemberId,
    urls: Arc<Urls>,
    status: Arc<Status>,
    queued: Arc<Mutex<mpsc::Receiver<Message>>>,
    poster: Poster,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let next = self.queued.lock().await.recv().await;
            let Some(message) = next else {
                return;
            };
            self.post(message).await;
        }
    }

    async fn post(&mut self, message: Message) {
        let body = encode_message(&message);
        let length = body.len() as u64;
        let is_snapshot = message.r#type() == MessageType::MsgSnap;
        let url = self.urls.pick();
        let posted = match post_request(&self.shared, &url, "/raft", "application/protobuf", Body::full(body)) {
            Ok(request) => self.poster.ask(&url, request).await.map_err(PostError::from),
            Err(error) => Err(error.into()),
        };
        let judged = posted.and_then(|(status, body)| judge_answer(&self.shared, self.peer, &url, status, &body));
        match judged {
            Ok(()) => {
                self.status.activate();
                self.shared.metrics.sent_bytes(self.peer, length);
            }
            Err(error) => {
                self.urls.failed(&url);
                self.status.deactivate("pipeline", "write", &error.to_string());
                self.shared.host.report_unreachable(self.peer);
                self.shared.metrics.sent_failure(self.peer);
                if is_snapshot {
                    self.shared.host.report_snapshot(self.peer, false);
                }
                return;
            }
        }
        if is_snapshot {
            self.shared.host.report_snapshot(self.peer, true);
        }
    }
}

/// A POST with all that peers want to know of us.
pub(crate) fn post_request(
    shared: &Shared,
    url: &PeerUrl,
    path: &str,
    content_type: &'static str,
    body: Body,
) -> io::Result<Request<Body>> {
    let mut request = client::request(url, Method::POST, path).body(body).map_err(io::Error::other)?;
    request.headers_mut().extend(shared.headers.clone());
    request.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    Ok(request)
}

/// What an answer to a posted message or snapshot means.
pub(crate) fn judge_answer(shared: &Shared, peer: MemberId, url: &PeerUrl, status: StatusCode, body: &[u8]) -> Result<(), PostError> {
    match status {
        StatusCode::NO_CONTENT => Ok(()),
        // Go takes every 403 for this, and stops.
        StatusCode::FORBIDDEN => {
            shared.removed_by(peer);
            Err(PostError::Removed)
        }
        StatusCode::PRECONDITION_FAILED => Err(PostError::Precondition(explain_refusal(shared, peer, body))),
        status => Err(PostError::Status {
            status,
            url: url.to_string(),
        }),
    }
}
