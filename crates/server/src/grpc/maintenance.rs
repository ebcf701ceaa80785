//! Maintenance: status, alarms, defragmentation, hashes, snapshots.

use std::sync::Arc;
use std::time::Instant;

use api::limits::SNAPSHOT_CHUNK_BYTES;
use api::pb::etcdserverpb as pb;
use api::{Code, MemberId, Status};
use backend::{Bucket, schema};
use bytes::Bytes;
use http2::Encoded;
use member::apply::Response;
use member::propose::Body;
use sha2::{Digest, Sha256};

use super::decode;
use super::kv::unexpected;
use super::streams::{Answers, Requests};
use crate::node::{Node, store_error};

fn internal(error: impl std::fmt::Display) -> Status {
    Status::new(Code::Unknown, error.to_string())
}

/// What the database says about the version of its own schema; empty when it says nothing.
pub fn storage_version(node: &Node) -> String {
    let value = node.backend.view().get(Bucket::Meta, schema::STORAGE_VERSION).ok().flatten();
    value.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// Answers a Status.
pub async fn status(node: Arc<Node>) -> Result<Encoded, Status> {
    let progress = &node.progress;
    let downgrade = node.cluster.downgrade();
    let mut errors = Vec::new();
    if progress.leader() == 0 {
        errors.push(api::Error::NoLeader.message().to_owned());
    }
    for alarm in node.alarms.list(pb::AlarmType::None) {
        let kind = pb::AlarmType::try_from(alarm.alarm).map_or_else(|_| alarm.alarm.to_string(), |kind| kind.as_str_name().to_owned());
        errors.push(format!("memberID:{}  alarm:{kind}", alarm.member_id));
    }
    Ok(Encoded::message(&pb::StatusResponse {
        header: Some(node.header(0)),
        version: api::SERVER_VERSION.to_owned(),
        db_size: node.backend.size() as i64,
        leader: progress.leader(),
        raft_index: progress.committed().0,
        raft_term: progress.term().0,
        raft_applied_index: progress.applied().0,
        errors,
        db_size_in_use: node.backend.size_in_use() as i64,
        is_learner: node.cluster.is_local_learner(),
        storage_version: storage_version(&node),
        db_size_quota: node.quota.bytes() as i64,
        downgrade_info: Some(pb::DowngradeInfo {
            enabled: downgrade.enabled,
            target_version: downgrade.target_version,
        }),
    }))
}

/// Answers an Alarm: asking, raising and lowering all go through the log.
pub async fn alarm(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::AlarmRequest = decode(message.clone())?;
    if pb::alarm_request::AlarmAction::try_from(request.action).is_err() {
        return Err(Status::new(
            Code::InvalidArgument,
            format!("quorate: no alarm action {}", request.action),
        ));
    }
    match node.propose(Body::Alarm, &message).await? {
        Response::Alarm(mut answer) => {
            node.complete(&mut answer.header);
            Ok(Encoded::message(&answer))
        }
        other => Err(unexpected(&other)),
    }
}

/// Answers a MoveLeader once this member knows the new leader.
pub async fn move_leader(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::MoveLeaderRequest = decode(message)?;
    node.move_leader(MemberId(request.target_id)).await?;
    Ok(Encoded::message(&pb::MoveLeaderResponse {
        header: Some(node.header_without_revision()),
    }))
}

/// Answers a Defragment when the free space of the file is given back. Nobody waits for it but the caller.
pub async fn defragment(node: Arc<Node>) -> Result<Encoded, Status> {
    node.defragment().await?;
    Ok(Encoded::message(&pb::DefragmentResponse { header: None }))
}

/// Answers a Hash: of the whole database as it stands in the file after a commit.
pub async fn hash(node: Arc<Node>) -> Result<Encoded, Status> {
    node.commit().await?;
    let work = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let hash = node.backend.view().hash().map_err(internal)?;
        node.metrics.mvcc_hash_duration_seconds.observe_duration(begun.elapsed());
        Ok(Encoded::message(&pb::HashResponse {
            header: Some(node.header(0)),
            hash,
        }))
    });
    work.await.map_err(internal)?
}

/// Answers a HashKV: of the key-value pairs up to a revision.
pub async fn hash_kv(node: Arc<Node>, message: Bytes) -> Result<Encoded, Status> {
    let request: pb::HashKvRequest = decode(message)?;
    let work = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let answer = node.store.hash_kv(request.revision).map_err(store_error)?;
        node.metrics.mvcc_hash_rev_duration_seconds.observe_duration(begun.elapsed());
        Ok(Encoded::message(&pb::HashKvResponse {
            header: Some(node.header(0)),
            hash: answer.hash,
            compact_revision: answer.compact_revision,
            hash_revision: answer.revision,
        }))
    });
    work.await.map_err(internal)?
}

/// Streams the database file, then its SHA-256.
pub async fn snapshot(node: Arc<Node>, mut requests: Requests, answers: Answers) -> Result<(), Status> {
    let _: pb::SnapshotRequest = decode(requests.only().await?)?;
    node.commit().await?;
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let view = node.backend.view();
        let version = storage_version(&node);
        let mut remaining = view.image_size();
        let mut hash = Sha256::new();
        let mut buffer = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
        let mut stopped = None;
        let mut flush = |buffer: &mut Vec<u8>| -> std::io::Result<()> {
            remaining -= buffer.len() as u64;
            hash.update(&buffer[..]);
            let message = pb::SnapshotResponse {
                header: None,
                remaining_bytes: remaining,
                blob: Bytes::from(std::mem::replace(buffer, Vec::with_capacity(SNAPSHOT_CHUNK_BYTES))),
                version: version.clone(),
            };
            answers.send_blocking(Encoded::message(&message), &runtime).map_err(|status| {
                stopped = Some(status);
                std::io::ErrorKind::BrokenPipe.into()
            })
        };
        let written = view.write_image(&mut |mut bytes| {
            while !bytes.is_empty() {
                let take = bytes.len().min(SNAPSHOT_CHUNK_BYTES - buffer.len());
                buffer.extend_from_slice(&bytes[..take]);
                bytes = &bytes[take..];
                if buffer.len() == SNAPSHOT_CHUNK_BYTES {
                    flush(&mut buffer)?;
                }
            }
            Ok(())
        });
        let finished = match written {
            Ok(()) if !buffer.is_empty() => flush(&mut buffer).map_err(internal),
            Ok(()) => Ok(()),
            Err(error) => Err(internal(error)),
        };
        finished.map_err(|status| stopped.unwrap_or(status))?;
        let message = pb::SnapshotResponse {
            header: None,
            remaining_bytes: 0,
            blob: Bytes::copy_from_slice(&hash.finalize()),
            version,
        };
        answers.send_blocking(Encoded::message(&message), &runtime)?;
        node.metrics
            .disk_backend_snapshot_duration_seconds
            .observe_duration(begun.elapsed());
        Ok(())
    });
    work.await.map_err(internal)?
}
