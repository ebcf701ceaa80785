//! JSON as grpc-gateway reads and writes it: JSON text to protobuf bytes and back, by descriptors.
//!
//! Never builds a Rust message: names, numbers and kinds come from `api::pb::DESCRIPTORS`, read once. Reading has two layers with texts of
//! their own, as in Go: [`Values`] cuts JSON values out of a byte stream (`encoding/json`), [`decode`] turns one into a message
//! (`protojson`). Writing is [`encode`]. Stands before step 2 of the life of a Put, for clients that speak JSON. Maps and floating point
//! are left out: no message that the gateway carries has them.

mod decode;
mod encode;
mod lex;
mod scalar;
mod scan;
mod table;
mod wire;

#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode};
pub use encode::{EncodeError, Escape, encode, encode_text};
pub use scalar::base64_decode;
pub use scan::{Next, ScanError, Value, Values};
pub use table::{MessageType, Method, message, method};

/// Bytes between double quotes as Go's `%q` prints them.
fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                '\0'..' ' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{ad}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)))
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}
