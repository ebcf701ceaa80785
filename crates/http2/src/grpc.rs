//! gRPC over HTTP/2: message framing, statuses in trailers, time-outs. Texts are grpc-go's.

use std::time::Duration;

use bytes::Bytes;

use crate::{Code, Status};

/// Bytes before each message: a compression flag and the length.
const PREFIX_LEN: usize = 5;
/// Room made for a message before its bytes are there (memory that is not touched costs nothing yet).
const FIRST_ROOM: usize = 1024 * 1024;

/// Puts messages together from DATA payloads.
#[derive(Default)]
pub(crate) struct Assembler {
    prefix: [u8; PREFIX_LEN],
    prefix_len: u8,
    /// What is there of a message that came in several frames.
    partial: Vec<u8>,
}

impl Assembler {
    /// Takes the next message off `data`; `None` when more bytes are needed (then `data` is used up).
    ///
    /// # Errors
    /// Code 8 for a message above `limit`, code 13 for a compressed one.
    pub(crate) fn next(&mut self, data: &mut &[u8], limit: usize) -> Result<Option<Bytes>, Status> {
        if usize::from(self.prefix_len) < PREFIX_LEN {
            let at = usize::from(self.prefix_len);
            let part = data.len().min(PREFIX_LEN - at);
            self.prefix[at..at + part].copy_from_slice(&data[..part]);
            self.prefix_len += part as u8;
            *data = &data[part..];
            if usize::from(self.prefix_len) < PREFIX_LEN {
                return Ok(None);
            }
            self.check_prefix(limit)?;
        }
        let len = self.message_len();
        let missing = len - self.partial.len();
        if missing > data.len() {
            if self.partial.capacity() == 0 {
                self.partial.reserve_exact(len.min(FIRST_ROOM.max(data.len())));
            }
            self.partial.extend_from_slice(data);
            *data = &[];
            return Ok(None);
        }
        let (last, rest) = data.split_at(missing);
        *data = rest;
        self.prefix_len = 0;
        if self.partial.is_empty() {
            return Ok(Some(Bytes::copy_from_slice(last)));
        }
        let mut message = std::mem::take(&mut self.partial);
        message.reserve_exact(missing);
        message.extend_from_slice(last);
        Ok(Some(Bytes::from(message)))
    }

    /// Whether the bytes so far end with a whole message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.prefix_len == 0
    }

    fn message_len(&self) -> usize {
        u32::from_be_bytes([self.prefix[1], self.prefix[2], self.prefix[3], self.prefix[4]]) as usize
    }

    fn check_prefix(&self, limit: usize) -> Result<(), Status> {
        if self.prefix[0] != 0 {
            return Err(Status::new(
                Code::INTERNAL,
                "grpc: compressed flag set with identity or empty encoding",
            ));
        }
        let len = self.message_len();
        if len > limit {
            return Err(Status::new(
                Code::RESOURCE_EXHAUSTED,
                format!("grpc: received message larger than max ({len} vs. {limit})"),
            ));
        }
        Ok(())
    }
}

/// Refuses to send a message above the limit. grpc-go's text starts with "grpc: " for unary answers alone.
pub(crate) fn check_sent(len: usize, limit: usize, start: &str) -> Result<(), Status> {
    if len <= limit {
        return Ok(());
    }
    Err(Status::new(
        Code::RESOURCE_EXHAUSTED,
        format!("{start}trying to send message larger than max ({len} vs. {limit})"),
    ))
}

/// Whether a content type is one of gRPC's.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes `grpc-timeout` with the finest unit that fits eight digits; never shorter than asked.
pub(crate) fn format_timeout(timeout: Duration) -> String {
    const UNITS: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let nanos = timeout.as_nanos();
    for (size, unit) in UNITS {
        let count = nanos.div_ceil(size);
        if count < 100_000_000 {
            return format!("{count}{unit}");
        }
    }
    String::from("99999999H")
}

/// Percent-encodes a status text: printable ASCII but `%` stays.
pub(crate) fn encode_message(message: &str) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(message.len());
    for &byte in message.as_bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out
}

/// Undoes `encode_message`; what is no encoding stays as it is.
pub(crate) fn decode_message(message: &[u8]) -> String {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let decoded = match tail {
            [high, low, ..] if byte == b'%' => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match decoded {
            Some(decoded) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_types() {
        for yes in ["application/grpc", "application/grpc+proto", "application/grpc;charset=x"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["application/grpcx", "application/json", "", "application/grp"] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout(b"4999999u"), Some(Duration::from_micros(4_999_999)));
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "5", "5x", "123456789S", "-1S", "1 S"] {
            assert_eq!(parse_timeout(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(format_timeout(Duration::from_secs(5)), "5000000u");
        assert_eq!(format_timeout(Duration::from_nanos(10)), "10n");
    }

    #[test]
    fn refuses_long_and_compressed_messages() {
        let mut data: &[u8] = &[0, 0, 0, 0, 11, 1];
        let error = Assembler::default().next(&mut data, 10).unwrap_err();
        assert_eq!(
            (error.code.0, &*error.message),
            (8, "grpc: received message larger than max (11 vs. 10)")
        );
        let mut data: &[u8] = &[1, 0, 0, 0, 1, 1];
        assert_eq!(Assembler::default().next(&mut data, 10).unwrap_err().code.0, 13);
    }

    proptest! {
        #[test]
        fn status_texts_survive(text in ".*") {
            let coded = encode_message(&text);
            prop_assert!(coded.iter().all(|byte| (0x20..=0x7e).contains(byte)));
            prop_assert_eq!(decode_message(&coded), text);
        }

        #[test]
        fn timeouts_survive(nanos in 0u64..u64::MAX) {
            let timeout = Duration::from_nanos(nanos);
            let back = parse_timeout(format_timeout(timeout).as_bytes()).unwrap();
            prop_assert!(back >= timeout && back.as_nanos() <= timeout.as_nanos() + timeout.as_nanos() / 1_000_000 + 1);
        }

        #[test]
        fn messages_in_any_pieces(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8), piece in 1usize..50) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.push(0);
                stream.extend_from_slice(&(message.len() as u32).to_be_bytes());
                stream.extend_from_slice(message);
            }
            let mut assembler = Assembler::default();
            let mut got = Vec::new();
            for mut data in stream.chunks(piece) {
                while let Some(message) = assembler.next(&mut data, 1000).unwrap() {
                    got.push(message.to_vec());
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(assembler.is_between_messages());
        }
    }
}
