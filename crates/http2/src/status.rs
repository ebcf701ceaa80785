//! What a call ends with: a gRPC code and its text.

use std::borrow::Cow;
use std::fmt;

/// The gRPC status codes that the transport itself gives; handlers may use any number up to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

impl Code {
    pub const OK: Code = Code(0);
    pub const CANCELED: Code = Code(1);
    pub const UNKNOWN: Code = Code(2);
    pub const INVALID_ARGUMENT: Code = Code(3);
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    pub const UNIMPLEMENTED: Code = Code(12);
    pub const INTERNAL: Code = Code(13);
    pub const UNAVAILABLE: Code = Code(14);
    pub const UNAUTHENTICATED: Code = Code(16);
}

/// A failed call's code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub message: Cow<'static, str>,
}

impl Status {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status {
            code,
            message: message.into(),
        }
    }

    /// The text that Go's `context.Canceled` has.
    pub fn canceled() -> Status {
        Status::new(Code::CANCELED, "context canceled")
    }

    /// The text that Go's `context.DeadlineExceeded` has.
    pub fn deadline_exceeded() -> Status {
        Status::new(Code::DEADLINE_EXCEEDED, "context deadline exceeded")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}: {}", self.code.0, self.message)
    }
}

impl std::error::Error for Status {}
