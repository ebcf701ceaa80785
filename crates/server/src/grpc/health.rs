//! The standard gRPC health service.

use std::collections::HashMap;

use api::pb::health::health_check_response::ServingStatus;
use api::pb::health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};
use api::{Code, Status};
use bytes::Bytes;
use http2::Encoded;

use super::decode;
use super::streams::{Answers, Requests};

/// The server as a whole is the only name that Go's server knows too.
const SERVICES: [&str; 1] = [""];

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving as i32,
    }
}

/// Answers a Check.
pub fn check(message: Bytes) -> Result<Encoded, Status> {
    let request: HealthCheckRequest = decode(message)?;
    if !SERVICES.contains(&request.service.as_str()) {
        return Err(Status::new(Code::NotFound, "unknown service"));
    }
    Ok(Encoded::message(&serving()))
}

/// Answers a List.
pub fn list() -> Result<Encoded, Status> {
    let statuses: HashMap<String, HealthCheckResponse> = SERVICES.iter().map(|name| ((*name).to_owned(), serving())).collect();
    Ok(Encoded::message(&HealthListResponse { statuses }))
}

/// Runs a Watch: the state once, and nothing more while it stays.
pub async fn watch(mut requests: Requests, answers: Answers) -> Result<(), Status> {
    let request: HealthCheckRequest = decode(requests.only().await?)?;
    let known = SERVICES.contains(&request.service.as_str());
    let status = if known {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    };
    answers
        .send(Encoded::message(&HealthCheckResponse { status: status as i32 }))
        .await?;
    answers.closed().await;
    Ok(())
}
