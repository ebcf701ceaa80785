//! A response's header lists: how far the call came, and with which status it ends.

use crate::frame::ErrorCode;
use crate::grpc;
use crate::hpack::{HeaderSink, Known, Text};
use crate::{Code, Status};

/// One header list: headers or trailers.
#[derive(Default)]
pub(super) struct ResponseHead {
    pub http_status: Option<u16>,
    is_grpc: bool,
    code: Option<u8>,
    message: String,
    pub malformed: bool,
}

impl ResponseHead {
    /// The status that a list with END_STREAM gives.
    pub(super) fn status(&self) -> Result<(), Status> {
        match self.code {
            Some(0) => Ok(()),
            Some(code) => Err(Status::new(Code(code), self.message.clone())),
            None => Err(self
                .refusal()
                .unwrap_or_else(|| Status::new(Code::INTERNAL, "server closed the stream without sending trailers"))),
        }
    }

    /// The status for headers that no gRPC server sends.
    pub(super) fn refusal(&self) -> Option<Status> {
        match self.http_status {
            Some(200) if self.is_grpc => None,
            Some(200) => Some(Status::new(Code::UNKNOWN, "unexpected content-type of the response")),
            Some(http) => {
                let code = match http {
                    400 => Code::INTERNAL,
                    401 => Code::UNAUTHENTICATED,
                    403 => Code(7),
                    404 => Code::UNIMPLEMENTED,
                    429 | 502 | 503 | 504 => Code::UNAVAILABLE,
                    _ => Code::UNKNOWN,
                };
                Some(Status::new(
                    code,
                    format!("unexpected HTTP status code received from server: {http}"),
                ))
            }
            None => None,
        }
    }
}

impl HeaderSink for ResponseHead {
    fn field(&mut self, known: Known, _name: Text<'_>, value: Text<'_>) {
        let text = value.as_slice();
        match known {
            Known::Status => {
                self.malformed |= self.http_status.is_some();
                self.http_status = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                self.malformed |= self.http_status.is_none();
            }
            Known::ContentType => self.is_grpc = grpc::is_grpc(text),
            Known::GrpcStatus => {
                let code = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                self.code = Some(code.unwrap_or(Code::UNKNOWN.0));
            }
            Known::GrpcMessage => self.message = grpc::decode_message(text),
            Known::Malformed | Known::Forbidden => self.malformed = true,
            known if known.is_pseudo() => self.malformed = true,
            _ => {}
        }
    }
}

/// The status of a call that the server resets.
pub(super) fn reset_status(code: ErrorCode) -> Status {
    let (grpc, name) = match code {
        ErrorCode::NO_ERROR => (Code::INTERNAL, "NO_ERROR"),
        ErrorCode::PROTOCOL_ERROR => (Code::INTERNAL, "PROTOCOL_ERROR"),
        ErrorCode::INTERNAL_ERROR => (Code::INTERNAL, "INTERNAL_ERROR"),
        ErrorCode::FLOW_CONTROL_ERROR => (Code::RESOURCE_EXHAUSTED, "FLOW_CONTROL_ERROR"),
        ErrorCode::STREAM_CLOSED => (Code::INTERNAL, "STREAM_CLOSED"),
        ErrorCode::REFUSED_STREAM => (Code::UNAVAILABLE, "REFUSED_STREAM"),
        ErrorCode::CANCEL => (Code::CANCELED, "CANCEL"),
        ErrorCode::ENHANCE_YOUR_CALM => (Code::RESOURCE_EXHAUSTED, "ENHANCE_YOUR_CALM"),
        _ => (Code::UNKNOWN, "another code"),
    };
    Status::new(grpc, format!("stream terminated by RST_STREAM with error code: {name}"))
}
