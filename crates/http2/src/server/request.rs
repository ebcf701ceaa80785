//! A request's header list, checked as RFC 9113 8 and gRPC ask for.

use std::time::Duration;

use bytes::Bytes;

use crate::Metadata;
use crate::grpc;
use crate::hpack::{HeaderSink, Known, Text};

/// What a request asks for. One lives as long as its connection and is filled anew for each request.
#[derive(Default)]
pub(super) struct Head {
    pub method: Option<Bytes>,
    pub scheme: Option<Bytes>,
    pub path: Option<Bytes>,
    pub authority: Option<Bytes>,
    pub is_grpc: bool,
    /// `grpc-timeout`: its text where it cannot be read.
    pub timeout: Option<Result<Duration, Bytes>>,
    /// `grpc-encoding`, unless "identity".
    pub encoding: Option<Bytes>,
    pub content_length: Option<u64>,
    pub metadata: Metadata,
    /// Fields that gRPC handlers do not see.
    pub protocol_fields: Metadata,
    has_fields: bool,
    has_pseudo: bool,
    malformed: bool,
}

impl Head {
    pub(super) fn clear(&mut self) {
        *self = Head::default();
    }

    /// Whether the list cannot be a request.
    pub(super) fn is_malformed(&self) -> bool {
        let is_connect = self.method.as_deref() == Some(b"CONNECT");
        self.malformed || self.method.is_none() || self.scheme.is_none() || self.path.as_ref().is_none_or(Bytes::is_empty) || is_connect
    }

    /// Whether the list cannot be trailers.
    pub(super) fn is_malformed_as_trailers(&self) -> bool {
        self.malformed || self.has_pseudo
    }

    fn pseudo(&mut self, known: Known, value: Text<'_>) {
        self.malformed |= self.has_fields;
        self.has_pseudo = true;
        let place = match known {
            Known::Method => &mut self.method,
            Known::Scheme => &mut self.scheme,
            Known::Path => &mut self.path,
            Known::Authority => &mut self.authority,
            _ => {
                self.malformed = true;
                return;
            }
        };
        self.malformed |= place.replace(value.to_bytes()).is_some();
    }
}

impl HeaderSink for Head {
    fn field(&mut self, known: Known, name: Text<'_>, value: Text<'_>) {
        if known.is_pseudo() {
            return self.pseudo(known, value);
        }
        self.has_fields = true;
        match known {
            Known::Other => self.metadata.push(name.to_bytes(), value.to_bytes()),
            Known::ContentType if grpc::is_grpc(value.as_slice()) => self.is_grpc = true,
            Known::Te => self.malformed |= value.as_slice() != b"trailers",
            Known::GrpcTimeout => {
                self.timeout = Some(grpc::parse_timeout(value.as_slice()).ok_or_else(|| value.to_bytes()));
            }
            Known::GrpcEncoding if value.as_slice() != b"identity" => self.encoding = Some(value.to_bytes()),
            Known::ContentLength => {
                let length = std::str::from_utf8(value.as_slice()).ok().and_then(|text| text.parse().ok());
                self.malformed |= length.is_none() || self.content_length.is_some_and(|before| Some(before) != length);
                self.content_length = length;
                self.protocol_fields.push(name.to_bytes(), value.to_bytes());
            }
            Known::ContentType | Known::UserAgent | Known::Host => self.protocol_fields.push(name.to_bytes(), value.to_bytes()),
            Known::Malformed | Known::Forbidden => self.malformed = true,
            _ => {}
        }
    }
}
