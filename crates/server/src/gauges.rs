//! Metrics that are looked up when somebody asks for them, and those that follow from what was applied.

use std::sync::Arc;

use api::pb::etcdserverpb::{TxnResponse, response_op};
use member::apply::Response;

use crate::metrics::Metrics;
use crate::node::Node;

/// Has the gauges of a node set whenever the metrics are shown.
pub fn register(metrics: &Metrics, node: &Arc<Node>) {
    metrics.server_id.with(&[&node.member_id.to_string()]).set(1);
    metrics.server_version.with(&[api::SERVER_VERSION]).set(1);
    metrics.server_quota_backend_bytes.set(node.quota.bytes() as i64);
    let node = node.clone();
    metrics.before_scrape(move |metrics| refresh(metrics, &node));
}

fn refresh(metrics: &Metrics, node: &Node) {
    let watch = node.store.watch_hub().metrics();
    metrics.debugging_mvcc_watch_stream_total.set(watch.streams as i64);
    metrics.debugging_mvcc_watcher_total.set(watch.watchers as i64);
    metrics.debugging_mvcc_slow_watcher_total.set(watch.slow_watchers as i64);
    metrics.debugging_mvcc_pending_events_total.set(watch.pending_events as i64);
    raise(&metrics.debugging_mvcc_events_total, watch.events_total);
    metrics.debugging_mvcc_keys_total.set(node.store.keys() as i64);
    metrics.debugging_mvcc_current_revision.set(node.store.revision());
    metrics.debugging_mvcc_compact_revision.set(node.store.compact_revision());
    metrics.mvcc_db_total_size_in_bytes.set(node.backend.size() as i64);
    metrics.mvcc_db_total_size_in_use_in_bytes.set(node.backend.size_in_use() as i64);
    let progress = &node.progress;
    let leader = progress.leader();
    metrics.server_has_leader.set(i64::from(leader != 0));
    metrics.server_is_leader.set(i64::from(leader == node.member_id.0));
    metrics.server_is_learner.set(i64::from(node.cluster.is_local_learner()));
    raise(&metrics.server_leader_changes_seen_total, progress.leader_changes());
    metrics.server_proposals_committed_total.set(progress.committed().0 as i64);
    metrics.server_proposals_applied_total.set(progress.applied().0 as i64);
    metrics.server_proposals_pending.set(progress.proposals_pending() as i64);
    if let Some(version) = node.cluster.version() {
        metrics.cluster_version.with(&[&version.to_string()]).set(1);
    }
}

/// Brings a counter up to a count that is kept elsewhere.
fn raise(counter: &crate::metrics::Counter, count: u64) {
    counter.add(count.saturating_sub(counter.get()));
}

/// Counts what an applied request did to the store.
pub fn count(metrics: &Metrics, response: &Response) {
    match response {
        Response::Put(_) => metrics.mvcc_put_total.inc(),
        Response::DeleteRange(answer) => metrics.mvcc_delete_total.add(answer.deleted as u64),
        Response::Txn(answer) => {
            let mut operations = 0;
            count_txn(metrics, answer, &mut operations);
            // A transaction of one operation counts as that operation alone.
            if operations > 1 {
                metrics.mvcc_txn_total.inc();
            }
        }
        Response::LeaseGrant(answer) => {
            metrics.debugging_lease_granted_total.inc();
            metrics.debugging_lease_ttl_total.observe(answer.ttl as f64);
        }
        Response::LeaseRevoke(_) => metrics.debugging_lease_revoked_total.inc(),
        Response::Compaction(_) | Response::Alarm(_) | Response::Members(_) | Response::Done => {}
    }
}

fn count_txn(metrics: &Metrics, answer: &TxnResponse, operations: &mut u64) {
    for op in answer.responses.iter().filter_map(|op| op.response.as_ref()) {
        *operations += 1;
        match op {
            response_op::Response::ResponsePut(_) => metrics.mvcc_put_total.inc(),
            response_op::Response::ResponseRange(_) => metrics.mvcc_range_total.inc(),
            response_op::Response::ResponseDeleteRange(deleted) => metrics.mvcc_delete_total.add(deleted.deleted as u64),
            response_op::Response::ResponseTxn(inner) => count_txn(metrics, inner, operations),
        }
    }
}
