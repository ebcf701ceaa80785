//! The member as the handlers see it: views to read from, a door to propose through, and who waits for what.
//!
//! Stands at steps 3 and 12 of the life of a Put. Shared by all network threads; never applies and never writes a file.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use api::pb::etcdserverpb::{AlarmType, RequestHeader, ResponseHeader};
use api::{ClusterId, Error, MemberId, Status};
use bytes::Bytes;
use crossbeam_channel::Sender;
use member::apply::Response;
use member::propose::{Body, RequestIds, Waiters, wrap};
use member::replicate::{EntryKind, Proposal, ProposalId, ReadContext};
use prost::Message;
use tokio::sync::oneshot;
use world::Clock;

use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::threads::{Baton, CommitCommand, RaftCommand, RaftMachine};

/// What the flags say about requests.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest proposal after encoding, in bytes.
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    /// How long a proposal or a read index may take.
    pub request_timeout: Duration,
    pub watch_progress_interval: Duration,
    /// Without a leader for so long, a member stands for election.
    pub election: Duration,
    /// `--strict-reconfig-check`.
    pub strict_reconfig: bool,
    /// From when on a unary request is slow.
    pub warning_unary: Duration,
}

type Waiter = oneshot::Sender<Result<Response, Status>>;

/// The running member.
pub struct Node {
    pub member_id: MemberId,
    pub cluster_id: ClusterId,
    pub store: mvcc::Store,
    pub backend: backend::Backend,
    pub lessor: member::lessor::Lessor,
    pub cluster: member::cluster::Cluster,
    pub alarms: member::alarms::Alarms,
    pub quota: member::quota::Quota,
    pub ids: Arc<RequestIds>,
    pub progress: Arc<member::stats::Progress>,
    pub clock: world::os::OsClock,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Requests to other members.
    pub peers: Peers,
    pub(crate) leadership: Leadership,
    pub(crate) waiters: Waiters<Waiter>,
    pub(crate) reads: Waiters<oneshot::Sender<()>>,
    pub(crate) next_read: AtomicU64,
    pub(crate) raft: Arc<Baton<RaftMachine>>,
    /// The traffic with other members; there as soon as the member runs.
    pub(crate) transport: OnceLock<peer::Transport>,
    /// Told when this member is no member any more.
    pub(crate) removed: tokio::sync::Notify,
    /// The alarm of a full database is on its way.
    pub(crate) raising_alarm: AtomicBool,
    pub(crate) committer: Sender<CommitCommand>,
}

/// Takes a waiter out of the table when its request is given up.
struct Registered<'a, W> {
    waiters: &'a Waiters<W>,
    id: u64,
}

impl<W> Drop for Registered<'_, W> {
    fn drop(&mut self) {
        self.waiters.take(self.id);
    }
}

impl Node {
    /// The header of an answer. Revision 0 stands for the store's current one.
    pub fn header(&self, revision: i64) -> ResponseHeader {
        let revision = if revision == 0 { self.store.revision() } else { revision };
        ResponseHeader {
            revision,
            ..self.header_without_revision()
        }
    }

    /// The header of answers that tell no revision (membership).
    pub fn header_without_revision(&self) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id.0,
            member_id: self.member_id.0,
            revision: 0,
            raft_term: self.progress.term().0,
        }
    }

    /// Completes the header that the applier made.
    pub fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.header(revision));
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Has a request put in order and applied on every member. `raw` is the request as the client encoded it.
    pub async fn propose(&self, body: Body, raw: &[u8]) -> Result<Response, Status> {
        let begun = Instant::now();
        let result = self.put_in_order(body, raw).await;
        self.metrics.request_took(body.into(), result.is_ok(), begun.elapsed());
        result
    }

    async fn put_in_order(&self, body: Body, raw: &[u8]) -> Result<Response, Status> {
        if self.progress.is_overloaded() {
            self.metrics.server_proposals_failed_total.inc();
            return Err(Error::RequestTooManyRequests.into());
        }
        let id = self.ids.next();
        let header = RequestHeader {
            id,
            ..RequestHeader::default()
        };
        let data = wrap(&header, body, raw);
        if data.len() > self.limits.max_request_bytes {
            return Err(Error::RequestTooLarge.into());
        }
        self.submit(id, EntryKind::Normal, data).await
    }

    /// Proposes an entry and waits for what its application is answered.
    pub(crate) async fn submit(&self, id: u64, kind: EntryKind, data: Bytes) -> Result<Response, Status> {
        let started = Instant::now();
        let (sender, receiver) = oneshot::channel();
        self.waiters.register(id, sender);
        let registered = Registered {
            waiters: &self.waiters,
            id,
        };
        let proposal = Proposal {
            id: ProposalId(id),
            kind,
            data,
        };
        self.raft.lay_down(RaftCommand::Propose(proposal));
        // Whoever else on this thread has something to propose comes first: then it is one batch.
        after_the_others().await;
        self.raft.attend();
        let answer = tokio::time::timeout(self.limits.request_timeout, receiver).await;
        drop(registered);
        match answer {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Stopped.into()),
            Err(_) => {
                self.metrics.server_proposals_failed_total.inc();
                Err(self.why_late(started).into())
            }
        }
    }

    /// What may be behind the time-out of a proposal.
    fn why_late(&self, started: Instant) -> Error {
        let elected = self.leadership.elected();
        let before = |at: Instant| at.checked_sub(2 * self.limits.election);
        if elected.is_some_and(|at| started < at && before(at).is_none_or(|lost| started > lost)) {
            return Error::TimeoutDueToLeaderFail;
        }
        let leader = MemberId(self.progress.leader());
        let connected = if leader.0 == 0 {
            // Nobody to be connected to; there is no better text for it either.
            true
        } else if leader == self.member_id {
            let members = self.cluster.members();
            let connected = members
                .iter()
                .filter(|member| self.is_connected_since(member.id(), started))
                .count();
            connected > members.len() / 2
        } else {
            self.is_connected_since(leader, started)
        };
        if connected {
            Error::Timeout
        } else {
            Error::TimeoutDueToConnectionLost
        }
    }

    /// Whether this member leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.progress.leader() == self.member_id.0
    }

    /// Since when that member is in touch; `None` when it is not.
    pub fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.transport.get()?.active_since(id)
    }

    /// Whether a linearizable read may be answered at once from what is here.
    pub fn reads_are_local(&self) -> bool {
        self.progress.reads_are_local()
    }

    /// Waits until everything that was acknowledged anywhere before this call is applied here.
    pub async fn read_index(&self) -> Result<(), Status> {
        if self.reads_are_local() {
            return Ok(());
        }
        let id = self.next_read.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.reads.register(id, sender);
        let registered = Registered { waiters: &self.reads, id };
        self.raft.bring(RaftCommand::Read(ReadContext(id)));
        let answer = tokio::time::timeout(self.limits.request_timeout, receiver).await;
        drop(registered);
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped.into()),
            Err(_) => {
                self.metrics.server_read_indexes_failed_total.inc();
                self.metrics.server_slow_read_indexes_total.inc();
                Err(Error::Timeout.into())
            }
        }
    }

    /// Waits until everything handed over so far is in the database file.
    pub async fn commit(&self) -> Result<(), Status> {
        self.ask_committer(CommitCommand::Commit).await
    }

    /// Gives free space of the database file back, in small steps beside everything else.
    pub async fn defragment(&self) -> Result<(), Status> {
        self.ask_committer(CommitCommand::Defragment).await
    }

    async fn ask_committer(&self, command: impl FnOnce(oneshot::Sender<()>) -> CommitCommand) -> Result<(), Status> {
        let (sender, receiver) = oneshot::channel();
        let gone = |_| Status::from(Error::Stopped);
        self.committer.send(command(sender)).map_err(|_| Status::from(Error::Stopped))?;
        receiver.await.map_err(gone)
    }

    /// Refuses a request that does not fit the quota, and raises the alarm.
    pub fn check_quota(self: &Arc<Self>, cost: u64) -> Result<(), Status> {
        if self.quota.fits(self.backend.size(), cost) {
            return Ok(());
        }
        let raised = self.alarms.is_raised(self.member_id, AlarmType::Nospace);
        if !raised && !self.raising_alarm.swap(true, Ordering::AcqRel) {
            let node = self.clone();
            tokio::spawn(async move {
                let request = member::quota::no_space(node.member_id).encode_to_vec();
                // Whoever writes next tries again if this fails.
                let _ = node.propose(Body::Alarm, &request).await;
                node.raising_alarm.store(false, Ordering::Release);
            });
        }
        Err(Error::NoSpace.into())
    }

    /// Answers a waiter, if it still waits.
    pub(crate) fn answer(&self, id: u64, result: Result<Response, Status>) {
        if let Some(waiter) = self.waiters.take(id) {
            let _ = waiter.send(result);
        }
    }
}

/// Lets the tasks that are ready on this thread run before it goes on.
async fn after_the_others() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Not `yield_now` of tokio, which asks the kernel for events before it goes on.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a store cannot answer is the client's fault, or the end of the database.
pub fn store_error(error: mvcc::MvccError) -> Status {
    match error.api() {
        Some(error) => error.into(),
        None => Status::new(api::Code::Unknown, error.to_string()),
    }
}

/// Encodes a message for the transport.
pub fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}
