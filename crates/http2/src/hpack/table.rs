//! The static and the dynamic table, and the names that the protocol itself reads.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a header field is to us. Found once, when a field enters a table, so that an indexed field is never compared again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Method,
    Scheme,
    Path,
    Authority,
    Status,
    ContentType,
    ContentLength,
    Te,
    UserAgent,
    Host,
    GrpcTimeout,
    GrpcEncoding,
    GrpcStatus,
    GrpcMessage,
    /// `grpc-` fields that say nothing to a handler.
    GrpcOther,
    /// Fields about the connection, which HTTP/2 forbids.
    Forbidden,
    /// Anything else.
    Other,
    /// A name or value that no field may have, or an unknown `:` name.
    Malformed,
}

impl Known {
    pub(super) fn of(name: &[u8], value: &[u8]) -> Known {
        if !value.iter().all(|&byte| byte >= 0x20 && byte != 0x7f || byte == b'\t') {
            return Known::Malformed;
        }
        match name {
            b":method" => Known::Method,
            b":scheme" => Known::Scheme,
            b":path" => Known::Path,
            b":authority" => Known::Authority,
            b":status" => Known::Status,
            b"content-type" => Known::ContentType,
            b"content-length" => Known::ContentLength,
            b"te" => Known::Te,
            b"user-agent" => Known::UserAgent,
            b"host" => Known::Host,
            b"grpc-timeout" => Known::GrpcTimeout,
            b"grpc-encoding" => Known::GrpcEncoding,
            b"grpc-status" => Known::GrpcStatus,
            b"grpc-message" => Known::GrpcMessage,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => Known::Forbidden,
            b"" => Known::Malformed,
            _ if !name.iter().all(|&byte| is_name_byte(byte)) => Known::Malformed,
            _ if name.starts_with(b"grpc-") && !name.ends_with(b"-bin") => Known::GrpcOther,
            _ => Known::Other,
        }
    }

    pub(crate) fn is_pseudo(self) -> bool {
        matches!(self, Known::Method | Known::Scheme | Known::Path | Known::Authority | Known::Status)
    }
}

/// Lower-case token bytes (RFC 9110 5.6.2).
fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~')
}

/// One field of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub known: Known,
    pub name: Bytes,
    pub value: Bytes,
}

impl Entry {
    /// Size as RFC 7541 4.1 counts.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.value.len() + 32
    }
}

/// The dynamic table: newest entry first.
pub(super) struct Dynamic {
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
}

impl Dynamic {
    pub(super) fn new(max_size: usize) -> Dynamic {
        Dynamic {
            entries: VecDeque::new(),
            size: 0,
            max_size,
        }
    }

    /// The entry at an index counted from 0.
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(0);
    }

    /// Adds an entry, dropping old ones; one that is larger than the table only empties it.
    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(size);
        if size <= self.max_size {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    fn evict(&mut self, wanted: usize) {
        while self.size + wanted > self.max_size {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

macro_rules! static_table {
    ($(($known:ident, $name:literal, $value:literal),)*) => {
        pub(super) static STATIC: [Entry; 61] = [$(Entry {
            known: Known::$known,
            name: Bytes::from_static($name.as_bytes()),
            value: Bytes::from_static($value.as_bytes()),
        }),*];
    };
}

// RFC 7541 appendix A; the first has index 1.
static_table! {
    (Authority, ":authority", ""), (Method, ":method", "GET"), (Method, ":method", "POST"), (Path, ":path", "/"),
    (Path, ":path", "/index.html"), (Scheme, ":scheme", "http"), (Scheme, ":scheme", "https"), (Status, ":status", "200"),
    (Status, ":status", "204"), (Status, ":status", "206"), (Status, ":status", "304"), (Status, ":status", "400"),
    (Status, ":status", "404"), (Status, ":status", "500"), (Other, "accept-charset", ""), (Other, "accept-encoding", "gzip, deflate"),
    (Other, "accept-language", ""), (Other, "accept-ranges", ""), (Other, "accept", ""), (Other, "access-control-allow-origin", ""),
    (Other, "age", ""), (Other, "allow", ""), (Other, "authorization", ""), (Other, "cache-control", ""), (Other, "content-disposition", ""),
    (Other, "content-encoding", ""), (Other, "content-language", ""), (ContentLength, "content-length", ""), (Other, "content-location", ""),
    (Other, "content-range", ""), (ContentType, "content-type", ""), (Other, "cookie", ""), (Other, "date", ""), (Other, "etag", ""),
    (Other, "expect", ""), (Other, "expires", ""), (Other, "from", ""), (Host, "host", ""), (Other, "if-match", ""),
    (Other, "if-modified-since", ""), (Other, "if-none-match", ""), (Other, "if-range", ""), (Other, "if-unmodified-since", ""),
    (Other, "last-modified", ""), (Other, "link", ""), (Other, "location", ""), (Other, "max-forwards", ""), (Other, "proxy-authenticate", ""),
    (Other, "proxy-authorization", ""), (Other, "range", ""), (Other, "referer", ""), (Other, "refresh", ""), (Other, "retry-after", ""),
    (Other, "server", ""), (Other, "set-cookie", ""), (Other, "strict-transport-security", ""), (Forbidden, "transfer-encoding", ""),
    (UserAgent, "user-agent", ""), (Other, "vary", ""), (Other, "via", ""), (Other, "www-authenticate", ""),
}
