//! Members made of a transport and a notebook.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api::pb::raftpb::{Entry, Message, MessageType};
use api::{ClusterId, MemberId};
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use peer::{
    BoxFuture, Config, Host, ImageReader, Level, Listener, Log, Metrics, Pages, Plain, Refusal, RequestBody, StreamKind, Timing, Transport,
    Value,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const CLUSTER: ClusterId = ClusterId(0xd328a1d63d11b972);

/// What a member was told.
#[derive(Default)]
pub struct Notes {
    pub messages: Mutex<Vec<Message>>,
    pub proposals: Mutex<Vec<Message>>,
    pub images: Mutex<Vec<(Message, Vec<u8>)>>,
    pub snapshot_reports: Mutex<Vec<(MemberId, bool)>>,
    pub removed_ids: Mutex<HashSet<u64>>,
    pub unreachable: Mutex<HashMap<u64, u64>>,
    pub was_removed: AtomicBool,
    /// What `process` answers.
    pub refusal: Mutex<Option<Refusal>>,
    pub lines: Mutex<Vec<String>>,
    pub received: AtomicU64,
    pub sent: AtomicU64,
    pub probes: AtomicU64,
}

impl Notes {
    pub fn count(&self, kind: MessageType) -> usize {
        self.messages.lock().iter().filter(|message| message.r#type() == kind).count()
    }

    pub fn has_line(&self, text: &str) -> bool {
        self.lines.lock().iter().any(|line| line.contains(text))
    }

    pub fn unreachable(&self, id: MemberId) -> u64 {
        self.unreachable.lock().get(&id.0).copied().unwrap_or_default()
    }
}

pub struct NotingHost(pub Arc<Notes>);

impl Host for NotingHost {
    fn process(&self, message: Message) -> Result<(), Refusal> {
        if let Some(refusal) = *self.0.refusal.lock() {
            return Err(refusal);
        }
        self.0.messages.lock().push(message);
        Ok(())
    }

    fn propose(&self, message: Message) -> Result<(), Refusal> {
        self.0.proposals.lock().push(message);
        Ok(())
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.0.removed_ids.lock().contains(&id.0)
    }

    fn report_unreachable(&self, id: MemberId) {
        *self.0.unreachable.lock().entry(id.0).or_default() += 1;
    }

    fn report_snapshot(&self, id: MemberId, arrived: bool) {
        self.0.snapshot_reports.lock().push((id, arrived));
    }

    fn removed(&self, _: MemberId) {
        self.0.was_removed.store(true, Ordering::SeqCst);
    }

    fn receive_snapshot<'a>(&'a self, message: &'a Message, mut image: ImageReader) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(async move {
            let mut whole = Vec::new();
            while let Some(chunk) = image.chunk().await {
                whole.extend_from_slice(&chunk?);
            }
            let size = whole.len() as u64;
            self.0.images.lock().push((message.clone(), whole));
            Ok(size)
        })
    }
}

impl Metrics for Notes {
    fn sent_bytes(&self, _: MemberId, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::SeqCst);
    }

    fn received_bytes(&self, _: MemberId, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::SeqCst);
    }

    fn round_trip(&self, _: MemberId, _: Duration) {
        self.probes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Log for Notes {
    fn is_on(&self, _: Level) -> bool {
        true
    }

    fn write(&self, level: Level, message: &str, fields: &[(&'static str, Value)]) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.lines.lock().push(format!("{level:?} {message} {}", fields.join(" ")));
    }
}

/// One page beside `/raft`.
pub struct OnePage;

impl Pages for OnePage {
    fn answer(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().read_all(1024).await.unwrap_or_default();
            Response::new(Bytes::from(format!("page {path} {}", String::from_utf8_lossy(&body))))
        })
    }
}

/// Times short enough for tests, long enough for a busy machine.
pub fn quick() -> Timing {
    Timing {
        redial: Duration::from_millis(10),
        link_heartbeat: Duration::from_millis(50),
        probe: Duration::from_millis(50),
        ..Timing::default()
    }
}

pub fn config(id: u64, urls: Vec<String>) -> Config {
    Config {
        id: MemberId(id),
        cluster: CLUSTER,
        urls,
        version: "3.7.1".to_owned(),
        min_cluster_version: "3.0.0".to_owned(),
        timing: quick(),
    }
}

pub struct Member {
    pub id: MemberId,
    pub address: SocketAddr,
    pub transport: Transport,
    pub notes: Arc<Notes>,
    pub stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Member {
    pub async fn start(id: u64) -> Member {
        Member::with(TcpListener::bind("127.0.0.1:0").await.expect("a port"), id, |_| {}).await
    }

    pub async fn with(listener: TcpListener, id: u64, change: impl FnOnce(&mut Config)) -> Member {
        let address = listener.local_addr().expect("an address");
        let mut config = config(id, vec![format!("http://{address}")]);
        change(&mut config);
        let notes = Arc::new(Notes::default());
        let host = Arc::new(NotingHost(notes.clone()));
        let runtime = tokio::runtime::Handle::current();
        let transport = Transport::new(config, host, Arc::new(Plain), notes.clone(), notes.clone(), runtime).expect("a configuration");
        let (stop, stopped) = watch::channel(false);
        let serving = transport.clone();
        let listening = tokio::spawn(async move {
            let listened = serving.listen(Listener::Tcp(listener), Arc::new(OnePage), stopped).await;
            listened.expect("listening");
        });
        Member {
            id: MemberId(id),
            address,
            transport,
            notes,
            stop,
            listening,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn knows(&self, other: &Member) {
        self.transport.add_peer(other.id, &[other.url()]).expect("an URL");
    }

    pub fn message(&self, kind: MessageType, to: MemberId) -> Message {
        message(kind, self.id, to)
    }

    /// Stops as a process does: connections end, the port is free again.
    pub async fn shut_down(self) -> SocketAddr {
        self.transport.stop();
        self.stop.send_replace(true);
        self.listening.await.expect("listening");
        self.address
    }

    pub fn is_linked(&self, other: &Member) -> bool {
        let attached = |kind| self.transport.is_attached(other.id, kind);
        attached(StreamKind::MsgApp) && attached(StreamKind::Message)
    }
}

pub fn message(kind: MessageType, from: MemberId, to: MemberId) -> Message {
    Message {
        r#type: Some(kind as i32),
        from: Some(from.0),
        to: Some(to.0),
        term: Some(2),
        ..Message::default()
    }
}

/// An append of one entry behind `index`.
pub fn append(from: MemberId, to: MemberId, index: u64, data: Bytes) -> Message {
    Message {
        log_term: Some(2),
        index: Some(index),
        commit: Some(index),
        entries: vec![Entry {
            term: Some(2),
            index: Some(index + 1),
            data: Some(data),
            r#type: Some(0),
        }],
        ..message(MessageType::MsgApp, from, to)
    }
}

/// Members that know each other, with all streams open.
pub async fn cluster(size: u64) -> Vec<Member> {
    let mut members = Vec::new();
    for id in 1..=size {
        members.push(Member::start(id).await);
    }
    for member in &members {
        for other in members.iter().filter(|other| other.id != member.id) {
            member.knows(other);
        }
    }
    linked(&members).await;
    members
}

pub async fn linked(members: &[Member]) {
    until("all streams are open", || {
        let pairs = members.iter().flat_map(|a| members.iter().map(move |b| (a, b)));
        pairs.filter(|(a, b)| a.id != b.id).all(|(a, b)| a.is_linked(b))
    })
    .await;
}

/// Waits for a condition; gives up loudly when it does not come about.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a test on two threads.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}
