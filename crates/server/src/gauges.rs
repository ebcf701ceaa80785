//! Metrics that are looked up when somebody asks for them, and those that follow from what was applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::Status;
use api::pb::etcdserverpb::{AlarmType, TxnResponse, response_op};
use member::apply::{Observer, Response};
use member::request::Op;

use crate::log::{self, field};
use crate::metrics::{Histogram, Kept, Metrics, RUNTIME_VERSION};
use crate::node::Node;

/// Has the gauges of a node set whenever the metrics are shown.
pub fn register(metrics: &Metrics, node: &Arc<Node>) {
    metrics.server_id.with(&[&node.member_id.to_string()]).set(1);
    metrics.server_version.with(&[api::SERVER_VERSION]).set(1);
    metrics.server_go_version.with(&[RUNTIME_VERSION]).set(1);
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
    metrics.debugging_mvcc_total_put_size_in_bytes.set(node.store.put_bytes() as i64);
    show_alarms(metrics, node);
    metrics.mvcc_db_total_size_in_bytes.set(node.backend.size() as i64);
    metrics.mvcc_db_total_size_in_use_in_bytes.set(node.backend.size_in_use() as i64);
    let local = node.member_id.to_string();
    let known = |id: api::MemberId, value| metrics.network_known_peers.with(&[&local, &id.to_string()]).set(value);
    node.cluster.members().iter().for_each(|member| known(member.id(), 1));
    node.cluster.removed().into_iter().for_each(|id| known(id, 0));
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
pub fn raise(counter: &crate::metrics::Counter, count: u64) {
    counter.add(count.saturating_sub(counter.get()));
}

/// 1 for alarms that are raised, 0 for those that were.
fn show_alarms(metrics: &Metrics, node: &Node) {
    let alarms = &metrics.debugging_server_alarms;
    alarms.each(|_, alarm| alarm.set(0));
    for alarm in node.alarms.list(AlarmType::None) {
        let kind = AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name());
        alarms.with(&[&api::MemberId(alarm.member_id).to_string(), kind]).set(1);
    }
}

/// Counts and times requests as they are applied.
pub struct Applied {
    metrics: Arc<Metrics>,
    /// From when on a request is slow.
    warning: Duration,
    /// When the last request was done.
    last: Instant,
    took: [[Kept<Histogram>; 2]; Op::COUNT],
}

impl Applied {
    pub fn new(metrics: Arc<Metrics>, warning: Duration) -> Applied {
        Applied {
            metrics,
            warning,
            last: Instant::now(),
            took: Default::default(),
        }
    }
}

impl Observer for Applied {
    fn begin(&mut self) {
        self.last = Instant::now();
    }

    fn applied(&mut self, op: Op, result: &Result<Response, Status>) {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.last, now);
        let family = &self.metrics.server_apply_duration_seconds;
        let success = if result.is_ok() { "true" } else { "false" };
        self.took[op as usize][usize::from(result.is_ok())]
            .of(family, &["v3", op.name(), success])
            .observe_duration(took);
        if let Ok(response) = result {
            count(&self.metrics, response);
        }
        if took > self.warning {
            self.metrics.server_slow_apply_total.inc();
            let (request, expected) = (op.name(), self.warning);
            log::warn(
                "apply request took too long",
                &[field("took", took), field("expected-duration", expected), field("request", request)],
            );
        }
    }
}

/// Counts what an applied request did to the store.
fn count(metrics: &Metrics, response: &Response) {
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
