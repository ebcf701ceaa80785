//! Takes part in a cluster of Go members as one that agrees to everything and keeps nothing: shows that Go's transport and ours understand
//! each other in both directions. Driven by `tests/interop/peer/run`.
//!
//! `voter ID CLUSTER_ID LISTEN_ADDRESS PEER_ID=PEER_URL`, ids in hex. Prints a line for each thing that happens the first time.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::pb::raftpb::{Message, MessageType};
use api::{ClusterId, MemberId};
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use peer::{
    BoxFuture, Config, Host, ImageReader, Level, Listener, Log, Metrics, Pages, Plain, Refusal, RequestBody, StreamKind, Timing, Transport,
    Value,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Passes messages on to the one task that answers them, as the product does to its raft thread.
struct Voter {
    inbox: mpsc::Sender<Message>,
}

impl Host for Voter {
    fn process(&self, message: Message) -> Result<(), Refusal> {
        self.inbox.try_send(message).map_err(|_| Refusal::Full)
    }

    fn propose(&self, message: Message) -> Result<(), Refusal> {
        self.process(message)
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: bool) {}

    fn removed(&self, by: MemberId) {
        println!("removed, says {by}");
    }

    fn receive_snapshot<'a>(&'a self, _: &'a Message, mut image: ImageReader) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(async move {
            let mut size = 0;
            while let Some(chunk) = image.chunk().await {
                size += chunk?.len() as u64;
            }
            println!("snapshot of {size} bytes");
            Ok(size)
        })
    }
}

/// Says what has happened, once.
#[derive(Default)]
struct Teller(Mutex<HashSet<String>>);

impl Teller {
    fn tell(&self, what: String) {
        if self.0.lock().insert(what.clone()) {
            println!("{what}");
        }
    }
}

impl Log for Teller {
    fn is_on(&self, level: Level) -> bool {
        level >= Level::Info
    }

    fn write(&self, _: Level, message: &str, fields: &[(&'static str, Value)]) {
        let stream = fields.iter().find(|(name, _)| name.starts_with("stream-"));
        let stream = stream.map(|(name, value)| format!(" ({name} {value})")).unwrap_or_default();
        self.tell(format!("log: {message}{stream}"));
    }
}

impl Metrics for Teller {
    fn round_trip(&self, to: MemberId, _: Duration) {
        self.tell(format!("probe answered by {to}"));
    }
}

/// The pages a voter has: none.
struct NoPages;

impl Pages for NoPages {
    fn answer(&self, _: Request<RequestBody>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async {
            let mut answer = Response::new(Bytes::from_static(b"404 page not found\n"));
            *answer.status_mut() = http::StatusCode::NOT_FOUND;
            answer
        })
    }
}

/// Agrees.
fn answer(message: &Message) -> Option<Message> {
    let (kind, index) = match message.r#type() {
        MessageType::MsgPreVote => (MessageType::MsgPreVoteResp, 0),
        MessageType::MsgVote => (MessageType::MsgVoteResp, 0),
        MessageType::MsgHeartbeat => (MessageType::MsgHeartbeatResp, 0),
        MessageType::MsgApp => (MessageType::MsgAppResp, message.index() + message.entries.len() as u64),
        _ => return None,
    };
    Some(Message {
        r#type: Some(kind as i32),
        from: message.to,
        to: message.from,
        term: message.term,
        index: Some(index),
        context: message.context.clone().filter(|_| kind == MessageType::MsgHeartbeatResp),
        ..Message::default()
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [id, cluster, address, peer] = &arguments[..] else {
        return Err("usage: voter ID CLUSTER_ID LISTEN_ADDRESS PEER_ID=PEER_URL".into());
    };
    let hex = |text: &str| u64::from_str_radix(text, 16);
    let (peer, peer_url) = peer.split_once('=').ok_or("the peer is ID=URL")?;
    let (id, peer) = (MemberId(hex(id)?), MemberId(hex(peer)?));
    let config = Config {
        id,
        cluster: ClusterId(hex(cluster)?),
        urls: vec![format!("http://{address}")],
        version: std::env::var("VOTER_VERSION").unwrap_or_else(|_| api::SERVER_VERSION.to_owned()),
        min_cluster_version: api::MIN_CLUSTER_VERSION.to_owned(),
        timing: Timing::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (inbox, mut messages) = mpsc::channel(peer::RECEIVE_QUEUE);
        let teller = Arc::new(Teller::default());
        let host = Arc::new(Voter { inbox });
        let here = tokio::runtime::Handle::current();
        let transport = Transport::new(config, host, Arc::new(Plain), teller.clone(), teller.clone(), here)?;
        transport.add_peer(peer, &[peer_url.to_owned()])?;
        let (_stop, stopped) = watch::channel(false);
        let listener = Listener::Tcp(TcpListener::bind(address).await?);
        let serving = transport.clone();
        tokio::spawn(async move { serving.listen(listener, Arc::new(NoPages), stopped).await });
        while let Some(message) = messages.recv().await {
            teller.tell(format!("received {}", message.r#type().as_str_name()));
            for kind in [StreamKind::MsgApp, StreamKind::Message] {
                if transport.is_attached(peer, kind) {
                    teller.tell(format!("the peer reads our {}", kind.log_name()));
                }
            }
            transport.send(answer(&message).into_iter().collect());
        }
        Ok(())
    })
}
