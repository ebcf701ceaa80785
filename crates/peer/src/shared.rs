//! What every part of the transport knows: who we are, our limits of patience, the doors to the member around us.

use std::sync::Arc;
use std::time::Duration;

use api::pb::raftpb::{Message, MessageType};
use api::{ClusterId, MemberId};
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::seam::{Connect, Host, Level, Log, Metrics, Refusal, Value};
use crate::version::{self, MajorMinor};

/// Who this member is.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: MemberId,
    pub cluster: ClusterId,
    /// The advertised peer URLs.
    pub urls: Vec<String>,
    /// The version we state; [`api::SERVER_VERSION`] in the product.
    pub version: String,
    /// The oldest cluster we take part in; [`api::MIN_CLUSTER_VERSION`] in the product.
    pub min_cluster_version: String,
    pub timing: Timing,
}

/// How long and how often; the defaults are etcd's.
#[derive(Clone, Debug)]
pub struct Timing {
    /// To get a connection and its answer to a stream's request: one second and an election timeout.
    pub dial: Duration,
    /// Between two attempts to open a stream.
    pub redial: Duration,
    /// How long a stream, a sender of a request or an idle connection may be silent, and a write be stuck.
    pub silence: Duration,
    /// Between two heartbeats on a stream.
    pub link_heartbeat: Duration,
    /// How long a peer may take to answer a posted message.
    pub post_answer: Duration,
    /// How long a peer may take to store a snapshot that it has received in full.
    pub snapshot_answer: Duration,
    /// Between two probes.
    pub probe: Duration,
}

impl Timing {
    /// etcd's times for this election timeout.
    pub fn for_election(timeout: Duration) -> Timing {
        let silence = Duration::from_secs(5);
        Timing {
            dial: Duration::from_secs(1) + timeout,
            redial: Duration::from_millis(100),
            silence,
            link_heartbeat: silence / 3,
            post_answer: Duration::from_secs(30),
            snapshot_answer: Duration::from_secs(300),
            probe: Duration::from_secs(4),
        }
    }
}

impl Default for Timing {
    fn default() -> Timing {
        Timing::for_election(Duration::from_secs(1))
    }
}

/// A configuration that cannot be stated to peers.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("not a version: {0:?}")]
    Version(String),
    #[error("not fit for a header: {0}")]
    Header(#[from] InvalidHeaderValue),
}

pub(crate) struct Shared {
    pub config: Config,
    pub version: MajorMinor,
    pub min_cluster_version: MajorMinor,
    /// What every request to a peer says of us.
    pub headers: HeaderMap,
    pub host: Arc<dyn Host>,
    pub connector: Arc<dyn Connect>,
    pub metrics: Arc<dyn Metrics>,
    pub log: Arc<dyn Log>,
    pub runtime: Handle,
}

impl Shared {
    pub fn new(
        config: Config,
        host: Arc<dyn Host>,
        connector: Arc<dyn Connect>,
        metrics: Arc<dyn Metrics>,
        log: Arc<dyn Log>,
        runtime: Handle,
    ) -> Result<Shared, ConfigError> {
        let parse = |text: &str| version::parse(text).ok_or_else(|| ConfigError::Version(text.to_owned()));
        let mut headers = HeaderMap::new();
        headers.insert("x-server-from", HeaderValue::from_str(&config.id.to_string())?);
        headers.insert("x-server-version", HeaderValue::from_str(&config.version)?);
        headers.insert("x-min-cluster-version", HeaderValue::from_str(&config.min_cluster_version)?);
        headers.insert("x-etcd-cluster-id", HeaderValue::from_str(&config.cluster.to_string())?);
        headers.insert("x-peerurls", HeaderValue::from_str(&config.urls.join(","))?);
        Ok(Shared {
            version: parse(&config.version)?,
            min_cluster_version: parse(&config.min_cluster_version)?,
            config,
            headers,
            host,
            connector,
            metrics,
            log,
            runtime,
        })
    }

    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// A line with our own id first, as etcd's are.
    pub fn log(&self, level: Level, message: &str, fields: &[(&'static str, Value)]) {
        if !self.log.is_on(level) {
            return;
        }
        let mut all = vec![("local-member-id", Value::from(self.id()))];
        all.extend_from_slice(fields);
        self.log.write(level, message, &all);
    }

    /// A peer has told us that we were removed.
    pub fn removed_by(&self, peer: MemberId) {
        let fields = [("remote-peer-id", Value::from(peer))];
        self.log(Level::Error, "the member has been permanently removed from the cluster", &fields);
        self.host.removed(peer);
    }

    /// Whether a message is for us and from somebody who may send it.
    pub fn admit_message(&self, message: &Message) -> Result<(), Undelivered> {
        if self.host.is_removed(MemberId(message.from())) {
            return Err(Undelivered::FromRemoved);
        }
        if message.to() != self.id().0 {
            return Err(Undelivered::NotForUs);
        }
        Ok(())
    }

    /// Gives a message from the network to raft.
    pub fn deliver(&self, message: Message) -> Result<(), Undelivered> {
        self.admit_message(&message)?;
        // What a member says to itself has no business on the network.
        use MessageType as T;
        match message.r#type() {
            T::MsgHup | T::MsgBeat | T::MsgUnreachable | T::MsgSnapStatus | T::MsgCheckQuorum => Ok(()),
            T::MsgStorageAppend | T::MsgStorageAppendResp | T::MsgStorageApply | T::MsgStorageApplyResp => Ok(()),
            T::MsgProp => self.host.propose(message).map_err(Undelivered::Refused),
            _ => self.host.process(message).map_err(Undelivered::Refused),
        }
    }
}

/// Why a message did not reach raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("cannot process message from removed member")]
    FromRemoved,
    #[error("cannot process message to mismatch member")]
    NotForUs,
    #[error(transparent)]
    Refused(Refusal),
}

/// A task that ends when this is dropped.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub fn spawn(shared: &Shared, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(shared.runtime.spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
