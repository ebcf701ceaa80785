//! Reads the recorded traffic in tests/data/fixtures/peer: bytes of each connection, and what they were decoded to.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

/// One connection's bytes in both directions.
#[derive(Default)]
pub struct Conn {
    /// From the dialler.
    pub up: Vec<u8>,
    /// Back to it.
    pub down: Vec<u8>,
}

pub struct Capture {
    pub name: &'static str,
    /// The first line: members, their versions and ids.
    pub about: Value,
    pub conns: BTreeMap<i64, Conn>,
    /// The lines of the decoded file behind the first.
    pub decoded: Vec<Value>,
}

impl Capture {
    pub fn load(name: &'static str) -> Capture {
        let mut raw = lines(&format!("{name}.raw.jsonl.gz")).into_iter();
        let about = raw.next().expect("a first line");
        let mut conns: BTreeMap<i64, Conn> = BTreeMap::new();
        for line in raw {
            let Some(number) = line["conn"].as_i64() else { continue };
            let conn = conns.entry(number).or_default();
            let direction = match line["ev"].as_str() {
                Some(">") => &mut conn.up,
                Some("<") => &mut conn.down,
                _ => continue,
            };
            direction.extend(base64(line["b64"].as_str().expect("bytes")));
        }
        let decoded = lines(&format!("{name}.decoded.jsonl.gz")).into_iter().skip(1).collect();
        Capture {
            name,
            about,
            conns,
            decoded,
        }
    }

    pub fn version_of(&self, member: &str) -> &str {
        self.about["members"][member]["version"].as_str().expect("a version")
    }

    pub fn id_of(&self, member: &str) -> u64 {
        hex(self.about["ids"][member].as_str().expect("an id"))
    }

    /// The decoded lines of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.decoded.iter().filter(move |line| line["kind"] == kind)
    }
}

fn lines(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/fixtures/peer");
    let file = std::fs::File::open(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("hex")
}

pub fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.bytes().take_while(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == digit).expect("base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// The head of the first HTTP message in `bytes`, and what follows.
pub fn split_head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]))
}

/// The first line and the headers of a head, names in lower case, sorted.
pub fn parse_head(head: &str) -> (String, BTreeMap<String, String>) {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    (
        first,
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
    )
}

/// The content of a chunked body, as far as it was recorded.
pub fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).expect("a chunk size"), 16).expect("a chunk size");
        let chunk = &bytes[end + 2..];
        content.extend_from_slice(&chunk[..length.min(chunk.len())]);
        if length == 0 || chunk.len() < length + 2 {
            break;
        }
        bytes = &chunk[length + 2..];
    }
    content
}
