//! Frames of RFC 9113: the 9-byte header, error codes, settings, and what each control frame looks like.
//!
//! Never keeps state: what a frame means on a connection is `wire`'s business.

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const HEADER_LEN: usize = 9;
/// Frame size that needs no setting.
pub(crate) const DEFAULT_MAX_FRAME: usize = 16_384;
/// Window that needs no setting.
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;
pub(crate) const MAX_WINDOW: i64 = (1 << 31) - 1;
pub(crate) const MAX_STREAM_ID: u32 = (1 << 31) - 1;

/// Error codes (RFC 9113 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub u32);

#[allow(dead_code)] // The list is the RFC's.
impl ErrorCode {
    pub(crate) const NO_ERROR: ErrorCode = ErrorCode(0);
    pub(crate) const PROTOCOL_ERROR: ErrorCode = ErrorCode(1);
    pub(crate) const INTERNAL_ERROR: ErrorCode = ErrorCode(2);
    pub(crate) const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(3);
    pub(crate) const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(4);
    pub(crate) const STREAM_CLOSED: ErrorCode = ErrorCode(5);
    pub(crate) const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(6);
    pub(crate) const REFUSED_STREAM: ErrorCode = ErrorCode(7);
    pub(crate) const CANCEL: ErrorCode = ErrorCode(8);
    pub(crate) const COMPRESSION_ERROR: ErrorCode = ErrorCode(9);
    pub(crate) const CONNECT_ERROR: ErrorCode = ErrorCode(10);
    pub(crate) const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(11);
    pub(crate) const INADEQUATE_SECURITY: ErrorCode = ErrorCode(12);
    pub(crate) const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(13);
}

/// Frame types.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Setting identifiers.
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// The 9 bytes before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> FrameHeader {
        FrameHeader {
            len: usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]),
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes([bytes[5] & 0x7f, bytes[6], bytes[7], bytes[8]]),
        }
    }

    pub(crate) fn bytes(self) -> [u8; HEADER_LEN] {
        assert!(self.len < 1 << 24 && self.stream <= MAX_STREAM_ID, "a frame that has no encoding");
        let len = (self.len as u32).to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [
            len[1], len[2], len[3], self.kind, self.flags, stream[0], stream[1], stream[2], stream[3],
        ]
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The payload without its padding; `None` when the padding is longer than the payload.
pub(crate) fn unpadded(header: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    if !header.has(flag::PADDED) {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.len().checked_sub(usize::from(padding)).map(|len| &rest[..len])
}

/// A big-endian number at the start of a payload whose length is known to suffice.
pub(crate) fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, parts: &[&[u8]]) {
    let header = FrameHeader {
        len: parts.iter().map(|part| part.len()).sum(),
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&header.bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

pub(crate) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(settings.len() * 6);
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    put(out, kind::SETTINGS, 0, 0, &[&payload]);
}

pub(crate) fn put_settings_ack(out: &mut Vec<u8>) {
    put(out, kind::SETTINGS, flag::ACK, 0, &[]);
}

pub(crate) fn put_ping(out: &mut Vec<u8>, ack: bool, data: &[u8; 8]) {
    put(out, kind::PING, if ack { flag::ACK } else { 0 }, 0, &[data]);
}

pub(crate) fn put_goaway(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, debug: &[u8]) {
    put(out, kind::GOAWAY, 0, 0, &[&last_stream.to_be_bytes(), &code.0.to_be_bytes(), debug]);
}

pub(crate) fn put_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    put(out, kind::RST_STREAM, 0, stream, &[&code.0.to_be_bytes()]);
}

pub(crate) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(out, kind::WINDOW_UPDATE, 0, stream, &[&increment.to_be_bytes()]);
}
