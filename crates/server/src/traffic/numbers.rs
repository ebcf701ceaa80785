//! The transport's metrics, under etcd's names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::MemberId;
use member::replicate::Input;
use parking_lot::RwLock;

use crate::metrics::{Counter, Histogram};
use crate::node::Node;
use crate::threads::RaftCommand;

/// What is counted with every message of a peer.
struct PerPeer {
    sent_bytes: Arc<Counter>,
    received_bytes: Arc<Counter>,
    round_trip: Arc<Histogram>,
}

pub(super) struct Numbers {
    node: Arc<Node>,
    /// The first peer in touch cuts the wait for an election short (`--initial-election-tick-advance`).
    hurry: bool,
    peers: RwLock<HashMap<u64, Arc<PerPeer>>>,
}

impl Numbers {
    pub fn new(node: Arc<Node>, hurry: bool) -> Numbers {
        Numbers {
            node,
            hurry,
            peers: RwLock::default(),
        }
    }

    /// Looked up by text once a peer, not once a message.
    fn peer(&self, id: MemberId) -> Arc<PerPeer> {
        if let Some(known) = self.peers.read().get(&id.0) {
            return known.clone();
        }
        let metrics = &self.node.metrics;
        let label = id.to_string();
        let peer = Arc::new(PerPeer {
            sent_bytes: metrics.network_peer_sent_bytes_total.with(&[&label]),
            received_bytes: metrics.network_peer_received_bytes_total.with(&[&label]),
            round_trip: metrics.network_peer_round_trip_time_seconds.with(&[&label]),
        });
        self.peers.write().insert(id.0, peer.clone());
        peer
    }
}

impl peer::Metrics for Numbers {
    fn sent_bytes(&self, to: MemberId, bytes: u64) {
        self.peer(to).sent_bytes.add(bytes);
    }

    fn received_bytes(&self, from: MemberId, bytes: u64) {
        self.peer(from).received_bytes.add(bytes);
    }

    fn sent_failure(&self, to: MemberId) {
        self.node.metrics.network_peer_sent_failures_total.with(&[&to.to_string()]).inc();
    }

    fn received_failure(&self, from: &str) {
        self.node.metrics.network_peer_received_failures_total.with(&[from]).inc();
    }

    fn round_trip(&self, to: MemberId, time: Duration) {
        self.peer(to).round_trip.observe_duration(time);
    }

    fn peer_active(&self, remote: MemberId, active: bool) {
        let labels = [&*self.node.member_id.to_string(), &*remote.to_string()];
        let metrics = &self.node.metrics;
        metrics.network_active_peers.with(&labels).add(if active { 1 } else { -1 });
        if !active {
            metrics.network_disconnected_peers_total.with(&labels).inc();
        } else if self.hurry {
            // Only left: the transport may be holding its locks.
            self.node.raft.leave(RaftCommand::Input(Input::PeerActive));
        }
    }

    fn snapshot_send_started(&self, to: MemberId) {
        self.node
            .metrics
            .network_snapshot_send_inflights_total
            .with(&[&to.to_string()])
            .add(1);
    }

    fn snapshot_send_ended(&self, to: MemberId, took: Option<Duration>) {
        let (metrics, to) = (&self.node.metrics, to.to_string());
        metrics.network_snapshot_send_inflights_total.with(&[&to]).add(-1);
        match took {
            Some(took) => {
                metrics.network_snapshot_send_success.with(&[&to]).inc();
                metrics
                    .network_snapshot_send_total_duration_seconds
                    .with(&[&to])
                    .observe_duration(took);
            }
            None => metrics.network_snapshot_send_failures.with(&[&to]).inc(),
        }
    }

    fn snapshot_receive_started(&self, from: MemberId) {
        let from = from.to_string();
        self.node.metrics.network_snapshot_receive_inflights_total.with(&[&from]).add(1);
    }

    fn snapshot_receive_ended(&self, from: MemberId, took: Option<Duration>) {
        let (metrics, from) = (&self.node.metrics, from.to_string());
        metrics.network_snapshot_receive_inflights_total.with(&[&from]).add(-1);
        if let Some(took) = took {
            metrics.network_snapshot_receive_success.with(&[&from]).inc();
            metrics
                .network_snapshot_receive_total_duration_seconds
                .with(&[&from])
                .observe_duration(took);
        }
    }

    fn snapshot_receive_failure(&self, from: &str) {
        self.node.metrics.network_snapshot_receive_failures.with(&[from]).inc();
    }
}
