//! JSON of requests and answers as the recordings have it, and the recordings themselves.

use std::io::Read;
use std::path::PathBuf;

use prost::Message;
use serde_json::Value;

pub fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/fixtures")
        .join(path)
}

/// The lines of a `.jsonl.gz`.
pub fn lines(path: &str) -> Vec<Value> {
    let packed = std::fs::read(data(path)).expect("a fixture");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A request from its JSON.
pub fn message<M: Message + Default>(name: &str, json: &Value) -> M {
    let text = json.to_string();
    let mut values = compat::protojson::Values::new(16 << 20);
    values.push(text.as_bytes());
    values.end();
    let compat::protojson::Next::Value(value) = values.next().expect("JSON") else {
        panic!("no value in {text}")
    };
    let kind = compat::protojson::message(&format!("etcdserverpb.{name}")).expect("a message of etcd");
    let bytes = compat::protojson::decode(kind, value).unwrap_or_else(|e| panic!("{e:?} in {text}"));
    M::decode(&bytes[..]).expect("its own encoding")
}

/// An answer as JSON; the package is `etcdserverpb` where none is given.
pub fn value(name: &str, message: &impl Message) -> Value {
    let name = if name.contains('.') {
        name.to_owned()
    } else {
        format!("etcdserverpb.{name}")
    };
    let kind = compat::protojson::message(&name).expect("a message of etcd");
    let mut out = Vec::new();
    compat::protojson::encode(kind, &message.encode_to_vec(), compat::protojson::Escape::Plain, &mut out).expect("its own encoding");
    serde_json::from_slice(&out).expect("JSON")
}
