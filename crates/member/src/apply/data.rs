//! Requests on keys and leases.

use std::time::Duration;

use api::pb::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, PutResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use api::{LeaseId, Status};

use super::{Answer, Applier, ApplyError, ApplyOutcome, Compaction, Outcome, Response};
use crate::cluster::Version;
use crate::replicate::Committed;

/// The inner error is the client's, the outer one ends the process.
type Executed<T> = Result<Result<T, Status>, ApplyError>;

/// From this cluster version on every member keeps checkpoints in its database.
const CHECKPOINTS_KEPT_FROM: Version = Version::new(3, 6, 0);

pub(super) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

impl Applier {
    pub(super) fn put(&mut self, entry: &Committed, request: &PutRequest) -> Executed<PutResponse> {
        match self.parts.writer.put(request, &mut self.parts.leases) {
            Ok(response) => Ok(Ok(response)),
            Err(error) => Applier::store_error(entry, error).map(Err),
        }
    }

    pub(super) fn delete_range(&mut self, entry: &Committed, request: &DeleteRangeRequest) -> Executed<DeleteRangeResponse> {
        match self.parts.writer.delete_range(request, &mut self.parts.leases) {
            Ok(response) => Ok(Ok(response)),
            Err(error) => Applier::store_error(entry, error).map(Err),
        }
    }

    pub(super) fn txn(&mut self, entry: &Committed, request: &TxnRequest) -> Executed<TxnResponse> {
        match self.parts.writer.txn(request, &mut self.parts.leases) {
            Ok(response) => Ok(Ok(response)),
            Err(error) => Applier::store_error(entry, error).map(Err),
        }
    }

    /// A compaction is in force at once; its deletes follow behind the apply. A physical one is answered after them.
    pub(super) fn compact(
        &mut self,
        entry: &Committed,
        id: u64,
        request: &CompactionRequest,
        done: &mut ApplyOutcome,
    ) -> Result<Outcome, ApplyError> {
        let job = match self.parts.writer.compact(request.revision) {
            Ok(job) => job,
            Err(error) => return Ok(Outcome::of(id, Err(Applier::store_error(entry, error)?))),
        };
        let response = Response::Compaction(CompactionResponse {
            header: header(self.parts.writer.revision()),
        });
        let held = request.physical && self.parts.ids.is_own(id);
        let answer_when_done = held.then(|| Answer {
            id,
            result: Ok(response.clone()),
        });
        done.compactions.push(Compaction { job, answer_when_done });
        Ok(Outcome::of(if held { 0 } else { id }, Ok(response)))
    }

    pub(super) fn lease_grant(&mut self, now: Duration, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, Status> {
        let id = LeaseId(request.id);
        let ttl = self.parts.leases.grant(id, request.ttl, now, self.parts.writer.batch())?;
        Ok(LeaseGrantResponse {
            header: header(self.parts.writer.revision()),
            id: id.0,
            ttl,
            error: String::new(),
        })
    }

    /// The lease and its keys go in one transaction and, if there were keys, one revision.
    pub(super) fn lease_revoke(&mut self, entry: &Committed, request: &LeaseRevokeRequest) -> Executed<LeaseRevokeResponse> {
        let writer = &mut self.parts.writer;
        let keys = match self.parts.leases.revoke(LeaseId(request.id), writer.batch()) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error.into())),
        };
        if !keys.is_empty() {
            writer.delete_keys(&keys).map_err(|error| ApplyError::Store {
                index: entry.index.0,
                error,
            })?;
        }
        Ok(Ok(LeaseRevokeResponse {
            header: header(writer.revision()),
        }))
    }

    pub(super) fn lease_checkpoint(&mut self, now: Duration, request: &LeaseCheckpointRequest) -> Response {
        let keep = self.parts.lease_checkpoint_persist || self.cluster_version().is_some_and(|v| v >= CHECKPOINTS_KEPT_FROM);
        for checkpoint in &request.checkpoints {
            let batch = self.parts.writer.batch();
            self.parts
                .leases
                .checkpoint(LeaseId(checkpoint.id), checkpoint.remaining_ttl, keep, now, batch);
        }
        Response::Done
    }
}
