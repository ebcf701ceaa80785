//! A call's outcome on both sides of the seam: `api::Status` of the handlers, `http2::Status` of the transport.

use api::{Code, Status};

pub(super) fn to_transport(status: Status) -> http2::Status {
    http2::Status::new(http2::Code(status.code as u8), status.message)
}

pub(super) fn from_transport(status: http2::Status) -> Status {
    Status {
        code: Code::from_number(u32::from(status.code.0)),
        message: status.message,
    }
}
