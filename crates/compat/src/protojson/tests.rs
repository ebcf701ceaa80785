//! Read and written as Go does it: `tests/data/golden/protojson.tsv.gz` holds, for each message and body, what grpc-gateway 2.29.0 over
//! protojson 1.36.11 (the versions in etcd 3.7.1) said: `ERR` and the text, or `OK`, the length on the wire, the JSON, the escaped JSON.

use std::io::Read as _;

use super::*;

fn read(name: &str, pieces: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
    let mut values = Values::new(1 << 26);
    for piece in pieces {
        if let Next::Value(value) = values.next().map_err(|e| e.to_string())? {
            return decode(message(name).unwrap(), value).map(Some).map_err(|e| e.to_string());
        }
        values.push(piece);
    }
    values.end();
    match values.next().map_err(|e| e.to_string())? {
        Next::Value(value) => decode(message(name).unwrap(), value).map(Some).map_err(|e| e.to_string()),
        Next::End => Ok(None),
        Next::NeedMore => panic!("the stream has ended"),
    }
}

fn write(name: &str, bytes: &[u8], escape: Escape) -> String {
    let mut out = Vec::new();
    encode(message(name).unwrap(), bytes, escape, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn answer(name: &str, pieces: &[&[u8]]) -> String {
    match read(name, pieces) {
        Ok(None) => "EOF".to_owned(),
        Ok(Some(bytes)) => {
            let (plain, html) = (write(name, &bytes, Escape::Plain), write(name, &bytes, Escape::Html));
            format!("OK {} {plain} {html}", bytes.len())
        }
        Err(text) => format!("ERR {text}"),
    }
}

#[test]
fn as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/golden/protojson.tsv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let mut count = 0;
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let body = scalar::base64_decode(parts[1]).unwrap();
        let want = scalar::base64_decode(parts[2]).unwrap();
        let want = String::from_utf8_lossy(&want);
        let shown = String::from_utf8_lossy(&body);
        assert_eq!(answer(parts[0], &[&body]), want, "{}: {shown}", parts[0]);
        // The same when it comes byte by byte.
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(answer(parts[0], &bytes), want, "{} in bytes: {shown}", parts[0]);
        count += 1;
    }
    assert!(count > 300, "only {count} cases");
}

#[test]
fn several_values() {
    let mut values = Values::new(100);
    values.push(b" {\"a\":1}{\"b\" : [2]}\n\"x\" 12");
    let mut seen = Vec::new();
    while let Next::Value(value) = values.next().unwrap() {
        seen.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    assert_eq!(seen, ["{\"a\":1}", "{\"b\" : [2]}", "\"x\""]);
    assert_eq!(values.next(), Ok(Next::NeedMore), "12 may go on");
    values.push(b"3");
    values.end();
    assert_eq!(values.next(), Ok(Next::Value(Value(b"123"))));
    assert_eq!(values.next(), Ok(Next::End));
}

#[test]
fn error_stays() {
    let mut values = Values::new(100);
    values.push(b"{}x{}");
    assert_eq!(values.next(), Ok(Next::Value(Value(b"{}"))));
    let error = values.next().unwrap_err();
    assert_eq!(error.to_string(), "invalid character 'x' looking for beginning of value");
    assert_eq!(values.next(), Err(error));
}

#[test]
fn too_large() {
    let mut values = Values::new(8);
    values.push(b"{\"aaaaaaaaaaaaaa");
    assert_eq!(values.next(), Err(ScanError::TooLarge { limit: 8 }));
}

/// As deep as Go allows, on a small stack; one more is refused.
#[test]
fn deep() {
    let nested = |depth: usize| {
        let mut body = String::new();
        for _ in 0..depth / 3 {
            body.push_str("{\"success\":[{\"requestTxn\":");
        }
        body.push_str("null");
        for _ in 0..depth / 3 {
            body.push_str("}]}");
        }
        body
    };
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let done = small.spawn(move || {
        let bytes = read("etcdserverpb.TxnRequest", &[nested(9_999).as_bytes()]).unwrap().unwrap();
        assert!(bytes.len() > 3_333);
        let mut out = Vec::new();
        let error = encode(message("etcdserverpb.TxnRequest").unwrap(), &bytes, Escape::Plain, &mut out).unwrap_err();
        assert!(matches!(error, EncodeError::Depth(_)), "{error}");
        let error = read("etcdserverpb.TxnRequest", &[nested(10_002).as_bytes()]).unwrap_err();
        assert_eq!(error, "exceeded max depth");
        let arrays = "[".repeat(10_001);
        assert_eq!(
            read("etcdserverpb.TxnRequest", &[arrays.as_bytes()]).unwrap_err(),
            "exceeded max depth"
        );
    });
    done.unwrap().join().unwrap();
}

/// Bytes that our own encoder would not write are read as protobuf says: any order, the last counts, packed or not, unknown passed over.
#[test]
fn any_wire() {
    // sort_order 1, key "b", unknown field 99, key "a".
    let bytes = [0x28, 1, 0x0a, 1, b'b', 0x98, 0x06, 7, 0x0a, 1, b'a'];
    assert_eq!(
        write("etcdserverpb.RangeRequest", &bytes, Escape::Plain),
        r#"{"key":"YQ==","sort_order":"ASCEND"}"#
    );
    // filters packed and bare.
    let bytes = [0x2a, 2, 0, 1, 0x28, 1];
    assert_eq!(
        write("etcdserverpb.WatchCreateRequest", &bytes, Escape::Plain),
        r#"{"filters":["NOPUT","NODELETE","NODELETE"]}"#
    );
    for broken in [&[0x0a, 5, b'a'][..], &[0x08], &[0xff; 11], &[0x00], &[0x0b]] {
        let error = encode(
            message("etcdserverpb.RangeRequest").unwrap(),
            broken,
            Escape::Plain,
            &mut Vec::new(),
        );
        assert!(matches!(error, Err(EncodeError::Wire(_))), "{broken:?}");
    }
    let error = encode(
        message("etcdserverpb.StatusResponse").unwrap(),
        &[0x12, 1, 0xff],
        Escape::Plain,
        &mut Vec::new(),
    );
    assert_eq!(error, Err(EncodeError::Text("version".to_owned())));
}

#[test]
fn methods_have_types() {
    let range = method("/etcdserverpb.KV/Range").unwrap();
    assert_eq!(range.request, message("etcdserverpb.RangeRequest").unwrap());
    assert!(!range.client_streams && !range.server_streams);
    let watch = method("/etcdserverpb.Watch/Watch").unwrap();
    assert!(watch.client_streams && watch.server_streams);
    assert!(method("/etcdserverpb.KV/Nosuch").is_none());
}

/// Found by fuzzing: an enum of which only the upper half is set is its zero, which is not shown.
#[test]
fn numbers_of_32_bits_are_cut_before_they_are_zero() {
    // alarm (field 3) as 1 << 32.
    assert_eq!(
        write("etcdserverpb.AlarmRequest", &[0x18, 0x80, 0x80, 0x80, 0x80, 0x10], Escape::Plain),
        "{}"
    );
}
