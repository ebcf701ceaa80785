//! All peers together: who they are, and the one door for messages to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use api::MemberId;
use api::pb::raftpb::{Message, MessageType};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::peers::{Peer, Remote};
use crate::seam::{Connect, Host, Level, Log, Metrics, Value};
use crate::shared::{Config, ConfigError, Shared};
use crate::snapshot::{Image, SNAPSHOTS_IN_FLIGHT};
use crate::url::{UrlError, parse_all};
use crate::writer::{StreamBody, StreamKind};

/// Remotes that are remembered. They come from requests, so there is an end to it.
const REMOTES_LIMIT: usize = 128;

/// The traffic of one member with its peers. Clones are the same transport.
#[derive(Clone)]
pub struct Transport {
    pub(crate) shared: Arc<Shared>,
    members: Arc<RwLock<Members>>,
    snapshots: Arc<Semaphore>,
}

#[derive(Default)]
struct Members {
    peers: HashMap<u64, Peer>,
    remotes: HashMap<u64, Remote>,
    /// Once stopped, nobody is added any more.
    stopped: bool,
}

impl Transport {
    /// A transport without peers, whose tasks run on `runtime`.
    ///
    /// # Errors
    /// When what the configuration says cannot be said to peers.
    pub fn new(
        config: Config,
        host: Arc<dyn Host>,
        connector: Arc<dyn Connect>,
        metrics: Arc<dyn Metrics>,
        log: Arc<dyn Log>,
        runtime: Handle,
    ) -> Result<Transport, ConfigError> {
        Ok(Transport {
            shared: Arc::new(Shared::new(config, host, connector, metrics, log, runtime)?),
            members: Arc::default(),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_IN_FLIGHT)),
        })
    }

    /// Begins to talk with a member. One that is there already stays as it is.
    ///
    /// # Errors
    /// When an URL is none.
    pub fn add_peer(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let urls = parse_all(urls)?;
        let mut members = self.members.write();
        if members.stopped || members.peers.contains_key(&id.0) || id == self.shared.id() {
            return Ok(());
        }
        let remote = members.remotes.remove(&id.0);
        members.peers.insert(id.0, Peer::start(&self.shared, id, urls));
        drop(members);
        drop(remote);
        self.shared.log(Level::Info, "added remote peer", &[("remote-peer-id", id.into())]);
        Ok(())
    }

    /// Notes where somebody who is not our peer can be answered.
    ///
    /// # Errors
    /// When an URL is none.
    pub fn add_remote(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let urls = parse_all(urls)?;
        let mut members = self.members.write();
        // A peer and its remote would only compete.
        let known = members.peers.contains_key(&id.0) || members.remotes.contains_key(&id.0);
        if members.stopped || known || id == self.shared.id() || members.remotes.len() >= REMOTES_LIMIT {
            return Ok(());
        }
        members.remotes.insert(id.0, Remote::start(&self.shared, id, urls));
        drop(members);
        self.shared
            .log(Level::Info, "added new remote peer", &[("remote-peer-id", id.into())]);
        Ok(())
    }

    /// Gives a peer its new URLs. What is open stays open.
    ///
    /// # Errors
    /// When an URL is none.
    pub fn update_peer(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let urls = parse_all(urls)?;
        if let Some(peer) = self.members.read().peers.get(&id.0) {
            peer.update(urls);
            self.shared
                .log(Level::Info, "updated remote peer", &[("remote-peer-id", id.into())]);
        }
        Ok(())
    }

    /// Stops talking with a member. What its streams have queued still leaves, if it reads.
    pub fn remove_peer(&self, id: MemberId) {
        let mut members = self.members.write();
        let removed = (members.peers.remove(&id.0), members.remotes.remove(&id.0));
        drop(members);
        if removed.0.is_some() {
            self.shared
                .log(Level::Info, "removed remote peer", &[("remote-peer-id", id.into())]);
        }
    }

    /// Stops talking with everybody; peers can be added again.
    pub fn remove_all(&self) {
        let mut members = self.members.write();
        let all = (std::mem::take(&mut members.peers), std::mem::take(&mut members.remotes));
        drop(members);
        drop(all);
    }

    /// Stops for good. Peers that ask for a stream are not known any more.
    pub fn stop(&self) {
        self.members.write().stopped = true;
        self.remove_all();
    }

    /// Hands a batch of raft's messages to their peers' queues. Never waits: what has no room is dropped and its peer reported unreachable.
    pub fn send(&self, messages: Vec<Message>) {
        let superseded = superseded_answers(&messages);
        let members = self.members.read();
        for (message, superseded) in messages.into_iter().zip(superseded) {
            let to = message.to();
            if superseded || to == 0 || self.shared.host.is_removed(MemberId(to)) {
                continue;
            }
            if let Some(peer) = members.peers.get(&to) {
                peer.send(message);
            } else if let Some(remote) = members.remotes.get(&to) {
                remote.send(message);
            } else if self.shared.log.is_on(Level::Debug) {
                let fields = [
                    ("message-type", Value::from(message.r#type().as_str_name())),
                    ("unknown-target-peer-id", MemberId(to).into()),
                ];
                let text = "ignored message send request; unknown remote peer target";
                self.shared.log(Level::Debug, text, &fields);
            }
        }
    }

    /// Sends a MsgSnap and its image in the background; raft is told the outcome. Beyond 16 at a time the answer is failure at once.
    pub fn send_snapshot(&self, message: Message, image: Image) {
        let to = MemberId(message.to());
        let sending = self.members.read().peers.get(&to.0).map(Peer::snapshot_sending);
        let permit = self.snapshots.clone().try_acquire_owned();
        match (sending, permit) {
            (Some(sending), Ok(permit)) => {
                self.shared.runtime.spawn(async move {
                    sending.run(message, image).await;
                    drop(permit);
                });
            }
            (sending, _) => {
                let reason = if sending.is_none() {
                    "member not found"
                } else {
                    "too many snapshots in flight"
                };
                let fields = [("remote-peer-id", Value::from(to)), ("error", reason.into())];
                self.shared.log(Level::Warn, "failed to send database snapshot", &fields);
                self.shared.host.report_snapshot(to, false);
            }
        }
    }

    /// Since when this peer can be talked to without a failure; `None` if it cannot, or is no peer.
    pub fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.members.read().peers.get(&id.0)?.status.active_since()
    }

    /// How many peers can be talked to.
    pub fn active_peers(&self) -> usize {
        let members = self.members.read();
        members.peers.values().filter(|peer| peer.status.active_since().is_some()).count()
    }

    /// The ids of all peers, ascending.
    pub fn peers(&self) -> Vec<MemberId> {
        let mut ids: Vec<MemberId> = self.members.read().peers.keys().copied().map(MemberId).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether this peer reads that stream of ours now.
    pub fn is_attached(&self, id: MemberId, kind: StreamKind) -> bool {
        self.members.read().peers.get(&id.0).is_some_and(|peer| peer.is_attached(kind))
    }

    /// Makes the stream for a peer's GET; `None` if it is no peer.
    pub(crate) fn attach(&self, id: MemberId, kind: StreamKind) -> Option<StreamBody> {
        self.members.read().peers.get(&id.0).map(|peer| peer.attach(kind))
    }

    pub(crate) fn is_peer(&self, id: MemberId) -> bool {
        self.members.read().peers.contains_key(&id.0)
    }
}

/// Marks each MsgAppResp behind which the same batch has another for the same member: the last says it all.
fn superseded_answers(messages: &[Message]) -> Vec<bool> {
    let mut answered: Vec<u64> = Vec::new();
    let mut superseded = vec![false; messages.len()];
    for (message, superseded) in messages.iter().zip(&mut superseded).rev() {
        if message.r#type() == MessageType::MsgAppResp {
            *superseded = answered.contains(&message.to());
            answered.push(message.to());
        }
    }
    superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_answer_to_each_member_is_sent() {
        let message = |kind: MessageType, to| Message {
            r#type: Some(kind as i32),
            to: Some(to),
            ..Message::default()
        };
        let batch = [
            message(MessageType::MsgAppResp, 1),
            message(MessageType::MsgAppResp, 2),
            message(MessageType::MsgHeartbeatResp, 1),
            message(MessageType::MsgHeartbeatResp, 1),
            message(MessageType::MsgAppResp, 1),
        ];
        assert_eq!(superseded_answers(&batch), [true, false, false, false, false]);
    }
}
