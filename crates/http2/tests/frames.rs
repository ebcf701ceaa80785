//! The server against raw frames: what RFC 9113 demands of each (after the chapters of h2spec), and the limits.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Toy, framed, serve};
use http2::Config;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        assert!(text.len() < 127);
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| field(&mut out, name, value));
    out
}

fn grpc(path: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

fn get() -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":path", "/text"), (":authority", "x")])
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A client that sends what it likes.
struct Peer {
    io: DuplexStream,
    toy: Arc<Toy>,
}

impl Peer {
    /// Not even the preface is sent.
    fn silent(config: Config) -> Peer {
        let toy = Arc::new(Toy::default());
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        serve(ours, config, &toy);
        Peer { io: theirs, toy }
    }

    async fn new(config: Config) -> Peer {
        let mut peer = Peer::silent(config);
        peer.send(PREFACE).await;
        peer.send(&frame(SETTINGS, 0, 0, &[])).await;
        peer
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed is found out by reading.
        let _ = self.io.write_all(bytes).await;
    }

    /// The next frame; `None` when the server has closed.
    async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.io.read_exact(&mut header).await.ok()?;
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; len];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes(header[5..].try_into().unwrap()),
            payload,
        })
    }

    /// The next frame of a kind.
    async fn find(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("a frame");
            assert!(frame.kind == kind || frame.kind != GOAWAY, "{frame:?}");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    async fn expect_goaway(mut self, code: u32) {
        let mut last = None;
        while let Some(frame) = self.next().await {
            last = Some(frame);
        }
        let last = last.expect("a frame before the end");
        assert_eq!(
            (last.kind, last.code()),
            (GOAWAY, code),
            "{}",
            String::from_utf8_lossy(&last.payload[8..])
        );
    }

    async fn expect_reset(mut self, stream: u32, code: u32) {
        let reset = self.find(RST_STREAM).await;
        assert_eq!((reset.stream, reset.code()), (stream, code));
        self.expect_alive().await;
    }

    async fn expect_alive(&mut self) {
        self.send(&frame(PING, 0, 0, b"areuther")).await;
        loop {
            let answer = self.find(PING).await;
            if answer.payload == b"areuther" {
                return assert_eq!(answer.flags, 1);
            }
        }
    }
}

async fn goaway_after(frames: &[Vec<u8>], code: u32) {
    let mut peer = Peer::new(Config::default()).await;
    for frame in frames {
        peer.send(frame).await;
    }
    peer.expect_goaway(code).await;
}

async fn reset_after(frames: &[Vec<u8>], stream: u32, code: u32) {
    let mut peer = Peer::new(Config::default()).await;
    for frame in frames {
        peer.send(frame).await;
    }
    peer.expect_reset(stream, code).await;
}

#[tokio::test]
async fn preface() {
    let mut peer = Peer::silent(Config::default());
    peer.send(b"GET / HTTP/1.1\r\n\r\n").await;
    peer.expect_goaway(PROTOCOL_ERROR).await;
    let mut peer = Peer::silent(Config::default());
    peer.send(PREFACE).await;
    peer.send(&frame(PING, 0, 0, &[0; 8])).await;
    peer.expect_goaway(PROTOCOL_ERROR).await;
    let mut peer = Peer::silent(Config::default());
    for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(PING, 0, 0, b"slowly!!")].concat() {
        peer.send(&[byte]).await;
    }
    assert_eq!(peer.find(PING).await.payload, b"slowly!!");
}

#[tokio::test]
async fn settings() {
    let mut peer = Peer::new(Config::default()).await;
    let first = peer.next().await.unwrap();
    assert_eq!((first.kind, first.flags), (SETTINGS, 0));
    let ack = peer.find(SETTINGS).await;
    assert_eq!((ack.flags, ack.payload.len()), (1, 0));
    // An unknown one is ignored.
    peer.send(&frame(SETTINGS, 0, 0, &[0, 0xee, 0, 0, 0, 1])).await;
    peer.expect_alive().await;
    goaway_after(&[frame(SETTINGS, 0, 1, &[])], PROTOCOL_ERROR).await;
    goaway_after(&[frame(SETTINGS, 0, 0, &[0; 5])], FRAME_SIZE_ERROR).await;
    goaway_after(&[frame(SETTINGS, 1, 0, &[0; 6])], FRAME_SIZE_ERROR).await;
    goaway_after(&[frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])], PROTOCOL_ERROR).await;
    goaway_after(&[frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], FLOW_CONTROL_ERROR).await;
    goaway_after(&[frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])], PROTOCOL_ERROR).await;
    goaway_after(&[frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0])], PROTOCOL_ERROR).await;
}

#[tokio::test]
async fn frame_sizes() {
    goaway_after(&[frame(PING, 0, 0, &[0; 7])], FRAME_SIZE_ERROR).await;
    goaway_after(
        &[frame(HEADERS, 4, 1, &grpc("/test.Toy/Bidi")), frame(DATA, 0, 1, &[0; 16_385])],
        FRAME_SIZE_ERROR,
    )
    .await;
    goaway_after(&[frame(RST_STREAM, 0, 1, &[0; 3])], FRAME_SIZE_ERROR).await;
    goaway_after(&[frame(WINDOW_UPDATE, 0, 0, &[0; 3])], FRAME_SIZE_ERROR).await;
    goaway_after(&[frame(GOAWAY, 0, 0, &[0; 7])], FRAME_SIZE_ERROR).await;
    goaway_after(&[frame(HEADERS, 0x24, 1, &[0; 4])], FRAME_SIZE_ERROR).await;
    reset_after(
        &[frame(HEADERS, 4, 1, &grpc("/test.Toy/Bidi")), frame(PRIORITY, 0, 1, &[0; 4])],
        1,
        FRAME_SIZE_ERROR,
    )
    .await;
}

#[tokio::test]
async fn frames_on_wrong_streams() {
    for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION] {
        goaway_after(
            &[frame(kind, 4, 0, &[0; 5][..if kind == RST_STREAM { 4 } else { 5 }])],
            PROTOCOL_ERROR,
        )
        .await;
    }
    for kind in [PING, GOAWAY] {
        goaway_after(&[frame(kind, 0, 1, &[0; 8])], PROTOCOL_ERROR).await;
    }
    // Idle streams.
    goaway_after(&[frame(DATA, 0, 1, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[frame(RST_STREAM, 0, 1, &[0; 4])], PROTOCOL_ERROR).await;
    goaway_after(&[frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])], PROTOCOL_ERROR).await;
    // Even ones are not the client's; nobody pushes to a server.
    goaway_after(&[frame(HEADERS, 5, 2, &get())], PROTOCOL_ERROR).await;
    goaway_after(&[frame(PUSH_PROMISE, 4, 1, &[0; 4])], PROTOCOL_ERROR).await;
    // Unknown kinds and priorities of idle streams are ignored.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(0x16, 0xff, 0, b"anything")).await;
    peer.send(&frame(PRIORITY, 0, 9, &[0; 5])).await;
    peer.expect_alive().await;
}

#[tokio::test]
async fn half_closed_and_closed_streams() {
    let open = frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"));
    let ended = frame(HEADERS, 5, 1, &grpc("/test.Toy/Stuck"));
    reset_after(&[ended.clone(), frame(DATA, 0, 1, b"x")], 1, STREAM_CLOSED).await;
    reset_after(&[ended.clone(), frame(HEADERS, 5, 1, &block(&[("a", "b")]))], 1, STREAM_CLOSED).await;
    // Reset by the client: DATA on it is an error, a late WINDOW_UPDATE is not.
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    reset_after(&[open.clone(), reset.clone(), frame(DATA, 0, 1, b"x")], 1, STREAM_CLOSED).await;
    let mut peer = Peer::new(Config::default()).await;
    for frame in [
        &open,
        &reset,
        &frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        &reset,
        &frame(PRIORITY, 0, 1, &[0; 5]),
    ] {
        peer.send(frame).await;
    }
    peer.expect_alive().await;
    // A number once passed over is closed.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(HEADERS, 5, 5, &get())).await;
    peer.send(&frame(HEADERS, 5, 3, &get())).await;
    peer.expect_reset(3, STREAM_CLOSED).await;
    // What we reset ourselves is dropped silently.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/None"))).await;
    let status = peer.find(HEADERS).await;
    assert_eq!((status.stream, status.flags), (1, 5));
    assert_eq!(peer.find(RST_STREAM).await.code(), 0);
    peer.send(&frame(DATA, 1, 1, &framed(b"late"))).await;
    peer.send(&frame(PING, 0, 0, b"nextpong")).await;
    assert_eq!(peer.next().await.unwrap().kind, PING);
}

#[tokio::test]
async fn header_blocks() {
    let whole = grpc("/test.Toy/Echo");
    // In three parts, with nothing between them.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(HEADERS, 0, 1, &whole[..10])).await;
    peer.send(&frame(CONTINUATION, 0, 1, &whole[10..11])).await;
    peer.send(&frame(CONTINUATION, 4, 1, &whole[11..])).await;
    peer.send(&frame(DATA, 1, 1, &framed(b"hello"))).await;
    assert_eq!(peer.find(DATA).await.payload, framed(b"hello"));
    // With padding and priority.
    let mut peer = Peer::new(Config::default()).await;
    let padded = [&[3, 0, 0, 0, 0, 7][..], &whole, &[0; 3]].concat();
    peer.send(&frame(HEADERS, 0x2c, 1, &padded)).await;
    peer.send(&frame(DATA, 0x9, 1, &[&[2][..], &framed(b"hello"), &[0; 2]].concat()))
        .await;
    assert_eq!(peer.find(DATA).await.payload, framed(b"hello"));

    let begun = frame(HEADERS, 0, 1, &whole[..10]);
    goaway_after(&[begun.clone(), frame(DATA, 0, 1, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[begun.clone(), frame(CONTINUATION, 4, 3, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[begun.clone(), frame(HEADERS, 4, 1, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[begun.clone(), frame(0x99, 0, 0, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[frame(CONTINUATION, 4, 1, b"x")], PROTOCOL_ERROR).await;
    goaway_after(&[frame(HEADERS, 0xc, 1, &[200, 0])], PROTOCOL_ERROR).await;
    goaway_after(
        &[frame(HEADERS, 4, 1, &grpc("/test.Toy/Bidi")), frame(DATA, 8, 1, &[9, 0])],
        PROTOCOL_ERROR,
    )
    .await;
    goaway_after(&[frame(HEADERS, 5, 1, &[0xff, 0xff])], COMPRESSION_ERROR).await;
}

#[tokio::test]
async fn malformed_requests() {
    const START: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/text"), (":authority", "x")];
    let with = |more: &[(&'static str, &'static str)]| [&START[..], more].concat();
    let cases: Vec<Vec<(&str, &str)>> = vec![
        with(&[("Upper", "x")]),
        with(&[("connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("a", "b"), (":path", "/")]),
        with(&[(":path", "/")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "x")]),
        with(&[("content-length", "x")]),
        with(&[("content-length", "1")]),
        START[1..].to_vec(),
        [&START[..1], &START[2..]].concat(),
        [&START[..2], &START[3..]].concat(),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "no slash")],
    ];
    for fields in cases {
        reset_after(&[frame(HEADERS, 5, 1, &block(&fields))], 1, PROTOCOL_ERROR).await;
    }
    // A body that is longer, or shorter, than promised.
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/echo"),
        ("content-length", "3"),
    ];
    let post = frame(HEADERS, 4, 1, &block(&fields));
    reset_after(&[post.clone(), frame(DATA, 1, 1, b"four")], 1, PROTOCOL_ERROR).await;
    reset_after(&[post, frame(DATA, 1, 1, b"2x")], 1, PROTOCOL_ERROR).await;
    // Trailers: not without the end, not with a pseudo field.
    let open = frame(HEADERS, 4, 1, &grpc("/test.Toy/Bidi"));
    reset_after(&[open.clone(), frame(HEADERS, 4, 1, &block(&[("a", "b")]))], 1, PROTOCOL_ERROR).await;
    reset_after(&[open, frame(HEADERS, 5, 1, &block(&[(":path", "b")]))], 1, PROTOCOL_ERROR).await;
}

#[tokio::test]
async fn windows() {
    goaway_after(&[frame(WINDOW_UPDATE, 0, 0, &[0; 4])], PROTOCOL_ERROR).await;
    goaway_after(&[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])], FLOW_CONTROL_ERROR).await;
    let open = frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"));
    reset_after(&[open.clone(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])], 1, PROTOCOL_ERROR).await;
    reset_after(
        &[open.clone(), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
        1,
        FLOW_CONTROL_ERROR,
    )
    .await;
    let grow = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    goaway_after(&[open.clone(), frame(WINDOW_UPDATE, 0, 1, &[0, 1, 0, 0]), grow], FLOW_CONTROL_ERROR).await;

    // Byte by byte: a window of one, made smaller than nothing, and opened again.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])).await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/Echo"))).await;
    peer.send(&frame(DATA, 1, 1, &framed(b"abcd"))).await;
    assert_eq!(peer.find(DATA).await.payload, [0]);
    peer.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    peer.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
    peer.expect_alive().await;
    peer.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2])).await;
    assert_eq!(peer.find(DATA).await.payload, [0, 0]);
    peer.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0])).await;
    assert_eq!(peer.find(DATA).await.payload, [0, 4, b'a', b'b', b'c', b'd']);
    assert_eq!(peer.find(HEADERS).await.flags, 5);
}

#[tokio::test]
async fn our_windows_are_enforced() {
    let config = || Config {
        initial_stream_window: 100_000,
        initial_connection_window: 200_000,
        ..Config::default()
    };
    // `Stuck` reads nothing: its stream's window stays shut, the connection's opens again.
    let mut peer = Peer::new(config()).await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"))).await;
    let messages = framed(&[0; 9_995]);
    for _ in 0..10 {
        peer.send(&frame(DATA, 0, 1, &messages)).await;
    }
    let update = peer.find(WINDOW_UPDATE).await;
    assert_eq!(update.stream, 0);
    peer.expect_alive().await;
    peer.send(&frame(DATA, 0, 1, &[0])).await;
    // The window was opened while little was queued; what comes after that is too much.
    for _ in 0..20 {
        peer.send(&frame(DATA, 0, 1, &messages)).await;
    }
    let reset = peer.find(RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (1, FLOW_CONTROL_ERROR));
}

#[tokio::test]
async fn a_handler_that_reads_opens_the_window() {
    let mut peer = Peer::new(Config {
        initial_stream_window: 100_000,
        ..Config::default()
    })
    .await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"))).await;
    for _ in 0..6 {
        peer.send(&frame(DATA, 0, 1, &framed(&[0; 9_995]))).await;
    }
    peer.expect_alive().await;
    peer.toy.go_on.notify_one();
    for _ in 0..2 {
        peer.send(&frame(DATA, 0, 1, &framed(&[0; 9_995]))).await;
    }
    let mut given_back = 0;
    while given_back < 50_000 {
        let update = peer.find(WINDOW_UPDATE).await;
        if update.stream == 1 {
            given_back += update.code();
        }
    }
}

#[tokio::test]
async fn too_many_streams_are_refused() {
    let mut peer = Peer::new(Config {
        max_concurrent_streams: 2,
        ..Config::default()
    })
    .await;
    for stream in [1, 3, 5] {
        peer.send(&frame(HEADERS, 4, stream, &grpc("/test.Toy/Stuck"))).await;
    }
    let refused = peer.find(RST_STREAM).await;
    assert_eq!((refused.stream, refused.code()), (5, REFUSED_STREAM));
    peer.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    peer.send(&frame(HEADERS, 5, 7, &get())).await;
    assert_eq!(peer.find(HEADERS).await.stream, 7);
}

#[tokio::test]
async fn header_lists_that_are_too_large() {
    let config = || Config {
        max_header_list_bytes: 2000,
        ..Config::default()
    };
    let mut long = grpc("/test.Toy/Echo");
    for _ in 0..20 {
        field(&mut long, "a", &"x".repeat(100));
    }
    let mut peer = Peer::new(config()).await;
    peer.send(&frame(HEADERS, 5, 1, &long)).await;
    peer.expect_reset(1, FRAME_SIZE_ERROR).await;
    // Without an end: by bytes, and by frames.
    let mut peer = Peer::new(config()).await;
    peer.send(&frame(HEADERS, 0, 1, &long)).await;
    peer.send(&frame(CONTINUATION, 0, 1, &long)).await;
    peer.expect_goaway(ENHANCE_YOUR_CALM).await;
    let mut peer = Peer::new(config()).await;
    peer.send(&frame(HEADERS, 0, 1, &[])).await;
    for _ in 0..200 {
        peer.send(&frame(CONTINUATION, 0, 1, &[])).await;
    }
    peer.expect_goaway(ENHANCE_YOUR_CALM).await;
}

/// Sends `unit` until the server has had enough.
async fn flood(unit: impl Fn(u32) -> Vec<u8>) {
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"))).await;
    let (mut read, mut write) = tokio::io::split(peer.io);
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        let _ = read.read_to_end(&mut all).await;
        all
    });
    for round in 0..1_000_000 {
        if write.write_all(&unit(round)).await.is_err() || reader.is_finished() {
            break;
        }
    }
    drop(write);
    let all = reader.await.unwrap();
    let text = String::from_utf8_lossy(&all[all.len().saturating_sub(60)..]).into_owned();
    assert!(
        text.ends_with("too many frames that do nothing") || text.ends_with("too_many_pings"),
        "{text}"
    );
}

#[tokio::test]
async fn floods() {
    flood(|_| frame(SETTINGS, 0, 0, &[])).await;
    flood(|_| frame(PING, 0, 0, &[0; 8])).await;
    flood(|_| frame(DATA, 0, 1, &[])).await;
    flood(|_| frame(PRIORITY, 0, 1, &[0; 5])).await;
    flood(|_| frame(0x77, 0, 0, &[])).await;
    flood(|round| {
        let stream = round * 2 + 3;
        let open = frame(HEADERS, 4, stream, &grpc("/test.Toy/Stuck"));
        [open, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_that_come_too_fast() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    // With a call open, one in five seconds is fine.
    let mut peer = Peer::new(Config::default()).await;
    peer.send(&frame(HEADERS, 4, 1, &grpc("/test.Toy/Stuck"))).await;
    for _ in 0..10 {
        peer.send(&ping).await;
        peer.find(PING).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.send(&ping).await;
        peer.find(PING).await;
    }
    peer.send(&ping).await;
    peer.send(&ping).await;
    peer.expect_goaway(ENHANCE_YOUR_CALM).await;
    // Without one, it is not.
    let mut peer = Peer::new(Config::default()).await;
    for _ in 0..4 {
        peer.send(&ping).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    peer.expect_goaway(ENHANCE_YOUR_CALM).await;
    // Answers in between make pings fair.
    let mut peer = Peer::new(Config::default()).await;
    for round in 0..20 {
        peer.send(&frame(HEADERS, 5, round * 2 + 1, &get())).await;
        peer.find(HEADERS).await;
        peer.send(&ping).await;
        peer.find(PING).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_left() {
    let mut peer = Peer::new(Config::default()).await;
    peer.expect_alive().await;
    let start = tokio::time::Instant::now();
    let ping = peer.find(PING).await;
    assert_eq!(start.elapsed().as_secs(), 7200);
    peer.send(&frame(PING, 1, 0, &ping.payload)).await;
    peer.find(PING).await;
    assert_eq!(start.elapsed().as_secs(), 14_400);
    while peer.next().await.is_some() {}
    assert_eq!(start.elapsed().as_secs(), 14_420);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_preface_is_left() {
    let peer = Peer::silent(Config::default());
    let start = tokio::time::Instant::now();
    peer.expect_goaway(4).await;
    assert_eq!(start.elapsed().as_secs(), 120);
}

#[tokio::test]
async fn a_lost_connection_ends_its_calls() {
    let mut peer = Peer::new(Config::default()).await;
    for stream in [1, 3, 5] {
        peer.send(&frame(HEADERS, 4, stream, &grpc("/test.Toy/Stuck"))).await;
    }
    peer.expect_alive().await;
    assert_eq!(peer.toy.hanging.load(Ordering::SeqCst), 3);
    let toy = peer.toy.clone();
    drop(peer.io);
    while toy.hanging.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(toy.handled.load(Ordering::SeqCst), 3);
    assert_eq!(toy.last_code.load(Ordering::SeqCst), 1);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(grpc("/test.Toy/Bidi")),
        Just(grpc("/test.Toy/Echo")),
        Just(get()),
        Just(framed(b"some message")),
    ];
    (
        0u8..11,
        prop_oneof![Just(0u8), Just(4), Just(5), Just(1), any::<u8>()],
        0u32..10,
        payload,
    )
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, the server neither panics nor hangs, and no call outlives its connection.
    #[test]
    fn any_frames(frames in proptest::collection::vec(any_frame(), 1..40), tail in proptest::collection::vec(any::<u8>(), 0..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let toy = Arc::new(Toy::default());
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            let served = serve(ours, Config::default(), &toy);
            let _ = theirs.write_all(PREFACE).await;
            let _ = theirs.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            for frame in &frames {
                let _ = theirs.write_all(frame).await;
            }
            let _ = theirs.write_all(&tail).await;
            theirs.shutdown().await.unwrap();
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            served.await.unwrap();
            assert_eq!(toy.hanging.load(Ordering::SeqCst), 0);
            assert_eq!(toy.started.load(Ordering::SeqCst), toy.handled.load(Ordering::SeqCst));
        });
    }
}
