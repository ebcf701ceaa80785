//! RFC 7541 appendix C, and what no input may do.

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl HeaderSink for Fields {
    fn field(&mut self, _: Known, name: Text<'_>, value: Text<'_>) {
        let text = |text: Text<'_>| text.as_slice().iter().map(|&byte| char::from(byte)).collect();
        self.0.push((text(name), text(value)));
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn decode(decoder: &mut Decoder, block: &str) -> Vec<(String, String)> {
    let mut fields = Fields::default();
    assert_eq!(decoder.decode(&unhex(block), 1 << 20, &mut fields), Ok(true));
    fields.0
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn literals_c2() {
    let mut decoder = Decoder::new(4096);
    let fields = decode(&mut decoder, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    assert_eq!(fields, pairs(&[("custom-key", "custom-header")]));
    assert_eq!(decoder.table_size(), 55);
    let mut decoder = Decoder::new(4096);
    assert_eq!(
        decode(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468"),
        pairs(&[(":path", "/sample/path")])
    );
    assert_eq!(
        decode(&mut decoder, "1008 7061 7373 776f 7264 0673 6563 7265 74"),
        pairs(&[("password", "secret")])
    );
    assert_eq!(decoder.table_size(), 0);
    assert_eq!(decode(&mut decoder, "82"), pairs(&[(":method", "GET")]));
}

fn requests(blocks: [&str; 3]) {
    let mut decoder = Decoder::new(4096);
    let first = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ];
    assert_eq!(decode(&mut decoder, blocks[0]), pairs(&first));
    assert_eq!(decoder.table_size(), 57);
    let mut second = first.to_vec();
    second.push(("cache-control", "no-cache"));
    assert_eq!(decode(&mut decoder, blocks[1]), pairs(&second));
    assert_eq!(decoder.table_size(), 110);
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    assert_eq!(decode(&mut decoder, blocks[2]), pairs(&third));
    assert_eq!(decoder.table_size(), 164);
}

#[test]
fn requests_c3() {
    requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

#[test]
fn requests_with_huffman_c4() {
    requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

fn responses(blocks: [&str; 3]) {
    const COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let mut decoder = Decoder::new(256);
    let mut fields = vec![
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ];
    assert_eq!(decode(&mut decoder, blocks[0]), pairs(&fields));
    assert_eq!(decoder.table_size(), 222);
    fields[0].1 = "307";
    assert_eq!(decode(&mut decoder, blocks[1]), pairs(&fields));
    assert_eq!(decoder.table_size(), 222);
    fields[0].1 = "200";
    fields[2].1 = "Mon, 21 Oct 2013 20:13:22 GMT";
    fields.push(("content-encoding", "gzip"));
    fields.push(("set-cookie", COOKIE));
    assert_eq!(decode(&mut decoder, blocks[2]), pairs(&fields));
    assert_eq!(decoder.table_size(), 215);
}

#[test]
fn responses_with_eviction_c5() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 \
         3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 \
         514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ]);
}

#[test]
fn responses_with_eviction_and_huffman_c6() {
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae \
         43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af \
         2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]);
}

#[test]
fn refuses_what_is_malformed() {
    let cases: [(&str, HpackError); 12] = [
        ("80", HpackError::Index),
        ("be", HpackError::Index),
        ("ff ff ff ff ff 7f", HpackError::Integer),
        ("ff", HpackError::Truncated),
        ("40", HpackError::Truncated),
        ("40 05 61", HpackError::Truncated),
        ("40 01 61", HpackError::Truncated),
        ("82 20", HpackError::TableSize),
        ("3f e2 1f", HpackError::TableSize),
        // EOS, padding of eight bits, padding with a zero.
        ("40 84 ff ff ff ff 01 61", HpackError::Huffman),
        ("40 82 1f ff 01 61", HpackError::Huffman),
        ("40 81 18 01 61", HpackError::Huffman),
    ];
    for (block, error) in cases {
        let outcome = Decoder::new(4096).decode(&unhex(block), 1 << 20, &mut Fields::default());
        assert_eq!(outcome, Err(error), "{block}");
    }
}

#[test]
fn marks_what_no_field_may_be() {
    struct Kinds(Vec<Known>);
    impl HeaderSink for Kinds {
        fn field(&mut self, known: Known, _: Text<'_>, _: Text<'_>) {
            self.0.push(known);
        }
    }
    let mut block = Vec::new();
    let mut encoder = Encoder::new();
    let fields: [(&[u8], &[u8], Known); 8] = [
        (b"Upper", b"x", Known::Malformed),
        (b"a b", b"x", Known::Malformed),
        (b"", b"x", Known::Malformed),
        (b":other", b"x", Known::Malformed),
        (b"fine", b"line\r\nbreak", Known::Malformed),
        (b"connection", b"close", Known::Forbidden),
        (b"fine", b"caf\xc3\xa9\t", Known::Other),
        (b"grpc-trace-bin", b"x", Known::Other),
    ];
    for (name, value, _) in fields {
        encoder.field(&mut block, name, value, Indexing::Index);
    }
    let mut kinds = Kinds(Vec::new());
    assert_eq!(Decoder::new(4096).decode(&block, 1 << 20, &mut kinds), Ok(true));
    assert_eq!(kinds.0, fields.map(|(_, _, known)| known));
}

#[test]
fn a_long_list_leaves_the_tables_in_step() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096);
    let mut block = Vec::new();
    encoder.field(&mut block, b"first", b"1", Indexing::Index);
    encoder.field(&mut block, b"long", &[b'x'; 200], Indexing::Index);
    encoder.field(&mut block, b"last", b"2", Indexing::Index);
    let mut fields = Fields::default();
    assert_eq!(decoder.decode(&block, 100, &mut fields), Ok(false));
    assert_eq!(fields.0, pairs(&[("first", "1")]));
    block.clear();
    encoder.field(&mut block, b"last", b"2", Indexing::Index);
    assert_eq!(block.len(), 1);
    let mut fields = Fields::default();
    assert_eq!(decoder.decode(&block, 100, &mut fields), Ok(true));
    assert_eq!(fields.0, pairs(&[("last", "2")]));
}

fn indexing() -> impl Strategy<Value = Indexing> {
    prop_oneof![Just(Indexing::Index), Just(Indexing::Plain), Just(Indexing::Never)]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z-]{1,12}",
        Just(String::from(":path")),
        Just(String::from("content-type")),
        Just(String::from(":status"))
    ]
}

proptest! {
    /// What is encoded is decoded, through any sequence of table sizes.
    #[test]
    fn round_trip(blocks in proptest::collection::vec((proptest::option::of(0usize..6000),
        proptest::collection::vec((name(), "[\u{20}-\u{ff}]{0,40}", indexing()), 0..12)), 0..12)) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(4096);
        for (limit, list) in blocks {
            if let Some(limit) = limit {
                encoder.set_limit(limit);
                encoder.set_limit(limit / 2);
                encoder.set_limit(limit);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block);
            let mut wanted = Vec::new();
            for (name, value, how) in list {
                let bytes: Vec<u8> = value.chars().map(|c| c as u32 as u8).collect();
                encoder.field(&mut block, name.as_bytes(), &bytes, how);
                wanted.push((name, value));
            }
            let mut fields = Fields::default();
            prop_assert_eq!(decoder.decode(&block, 1 << 20, &mut fields), Ok(true));
            prop_assert_eq!(fields.0, wanted);
        }
    }

    #[test]
    fn huffman_round_trip(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut coded = Vec::new();
        huffman::encode(&text, &mut coded);
        prop_assert_eq!(coded.len(), huffman::coded_len(&text));
        let mut back = Vec::new();
        prop_assert_eq!(huffman::decode(&coded, &mut back), Ok(()));
        prop_assert_eq!(back, text);
    }

    /// No bytes bring the decoder down, and its table never outgrows its limit.
    #[test]
    fn any_bytes(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..20)) {
        let mut decoder = Decoder::new(200);
        for block in blocks {
            let _ = decoder.decode(&block, 1000, &mut Fields::default());
            prop_assert!(decoder.table_size() <= 200);
        }
    }
}
