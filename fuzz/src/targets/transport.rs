//! What `http2` reads, as a server and as a client: frames, header blocks, gRPC messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http2::client::Options;
use http2::{
    Body, BoxFuture, Connection, Context, Encoded, HttpHandler, MessageReceiver, MessageSender, Metadata, MethodId, Reply, Route, Service,
    Status,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Play;
use crate::mutate::Chance;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Echoes.
struct Echo;

impl Service for Echo {
    fn route(&self, service: &str, method: &str) -> Route {
        match (service, method) {
            ("t", "unary") => Route::Unary(0),
            ("t", "stream") => Route::Stream(1),
            ("t", _) => Route::UnknownMethod,
            _ => Route::UnknownService,
        }
    }

    fn unary(&self, _method: MethodId, _cx: Context, message: Bytes) -> Reply {
        if message.len().is_multiple_of(2) {
            return Reply::Ready(Ok(Encoded::from(message)));
        }
        Reply::later(async move {
            tokio::task::yield_now().await;
            Ok(Encoded::from(message))
        })
    }

    fn stream(&self, _: MethodId, _: Context, mut requests: MessageReceiver, answers: MessageSender) -> BoxFuture<Result<(), Status>> {
        Box::pin(async move {
            while let Some(message) = requests.message().await? {
                answers.send(Encoded::from(message)).await.map_err(|_| Status::canceled())?;
            }
            Ok(())
        })
    }
}

impl HttpHandler for Echo {
    fn call(&self, _: &Connection, request: http::Request<Body>) -> BoxFuture<http::Response<Body>> {
        Box::pin(async move { http::Response::new(request.into_body()) })
    }
}

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
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

fn block(fields: &[(&str, &str)], chance: &mut Chance<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        match chance.below(12) {
            0 => continue,
            // Indexed, and the sizes of the table.
            1 => out.push(0x80 | chance.below(128) as u8),
            2 => out.extend_from_slice(&[0x20 | chance.below(32) as u8, chance.number() as u8]),
            // Literal, remembered: later ones may point at it.
            3 => {
                let at = out.len();
                field(&mut out, name, value);
                out[at] = 0x40;
            }
            // Huffman-coded noise.
            4 => {
                let noise = chance.below(20);
                out.extend_from_slice(&[0x00, 0x80 | noise as u8]);
                out.extend(chance.bytes(noise));
                out.extend_from_slice(b"\x01x");
            }
            _ => field(&mut out, name, value),
        }
    }
    if chance.one_in(4) {
        chance.damage(
            &mut out,
            &[b"\xff\xff\xff\xff\xff\x0f", b"\x3f\xe1\xff\x03", b"\x7f\x80\x80\x80\x80\x80\x80"],
        );
    }
    out
}

/// A gRPC message with its prefix, mostly right.
fn message(chance: &mut Chance<'_>) -> Vec<u8> {
    let len = *chance.pick(&[0, 1, 5, 100, 3000]);
    let said = if chance.one_in(6) {
        *chance.pick(&[0, 1, u32::MAX, 1 << 31, 4 << 20])
    } else {
        len as u32
    };
    let mut out = vec![u8::from(chance.one_in(10))];
    out.extend_from_slice(&said.to_be_bytes());
    out.extend(chance.bytes(len));
    out
}

/// A run of frames that mostly make sense.
fn frames(chance: &mut Chance<'_>, head: fn(&mut Chance<'_>) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + chance.below(12) {
        let stream = [1, 1, 1, 3, 3, 5, 7, 0, 2][chance.below(9)];
        let flags = if chance.one_in(5) {
            chance.number() as u8
        } else {
            [0, 1, 4, 5][chance.below(4)]
        };
        let (kind, payload) = match chance.below(13) {
            0..=3 => (1, head(chance)),
            4..=6 => (0, message(chance)),
            7 => (9, head(chance)),
            8 => (8, (chance.number() as u32).to_be_bytes().to_vec()),
            9 => (3, (chance.below(16) as u32).to_be_bytes().to_vec()),
            10 => {
                let mut settings = (1 + chance.below(8) as u16).to_be_bytes().to_vec();
                settings.extend_from_slice(&(*chance.pick(&[0, 1, 100, 0x4000, 0xff_ffff, u32::MAX])).to_be_bytes());
                (4, settings)
            }
            11 => (*chance.pick(&[6, 7]), chance.bytes(8)),
            _ => {
                let len = chance.below(40);
                (chance.below(14) as u8, chance.bytes(len))
            }
        };
        out.extend(frame(kind, flags, stream, &payload));
    }
    if chance.one_in(3) {
        chance.damage(&mut out, &[]);
    }
    out
}

fn request_head(chance: &mut Chance<'_>) -> Vec<u8> {
    let path = *chance.pick(&["/t/unary", "/t/stream", "/t/none", "/x", "*", "", "/t/unary/"]);
    let timeout = *chance.pick(&["1S", "99999999H", "0n", "-1S", "100000000S", "x"]);
    let kind = *chance.pick(&["application/grpc", "application/grpc+proto", "text/plain"]);
    let method = *chance.pick(&["POST", "POST", "GET", "CONNECT", "x y"]);
    block(
        &[
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "x"),
            ("content-type", kind),
            ("te", "trailers"),
            ("grpc-timeout", timeout),
            ("x-bin", "AAA"),
            ("content-length", "5"),
        ],
        chance,
    )
}

fn answer_head(chance: &mut Chance<'_>) -> Vec<u8> {
    let status = *chance.pick(&["200", "100", "404", "0", "xx"]);
    let code = *chance.pick(&["0", "5", "16", "17", "-1", "99999999999", ""]);
    block(
        &[
            (":status", status),
            ("content-type", "application/grpc"),
            ("grpc-status", code),
            ("grpc-message", "a%20b%zz%E2%98"),
        ],
        chance,
    )
}

fn runtime() -> tokio::runtime::Runtime {
    // The clock stands still but for waits: time-outs come at once when nothing else is to be done.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// A connection whose other end has gone away must end.
const GONE: Duration = Duration::from_secs(3600);

pub fn server() -> Play {
    let runtime = runtime();
    Box::new(move |chance| {
        let mut bytes = if chance.one_in(20) { Vec::new() } else { PREFACE.to_vec() };
        if !chance.one_in(10) {
            bytes.extend(frame(4, 0, 0, &[]));
        }
        bytes.extend(frames(chance, request_head));
        if chance.one_in(30) {
            chance.damage(&mut bytes, &[]);
        }
        let piece = 1 + chance.below(bytes.len() + 1);
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let config = http2::Config {
                max_receive_message_bytes: 2048,
                ..http2::Config::default()
            };
            let service = Arc::new(Echo);
            let serving = tokio::spawn(http2::serve_connection(
                ours,
                Arc::new(config),
                Arc::new(()),
                service.clone(),
                service,
                std::future::pending(),
            ));
            exchange(theirs, &bytes, piece).await;
            tokio::time::timeout(GONE, serving)
                .await
                .expect("the connection ends")
                .expect("no panic");
        });
    })
}

/// Sends the bytes, says that no more come, and reads what is answered until the other side closes.
async fn exchange(stream: tokio::io::DuplexStream, bytes: &[u8], piece: usize) {
    let (mut read, mut write) = tokio::io::split(stream);
    for piece in bytes.chunks(piece) {
        if write.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = write.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(GONE, read.read_to_end(&mut answer)).await;
}

pub fn client() -> Play {
    let runtime = runtime();
    Box::new(move |chance| {
        let mut bytes = frame(4, 0, 0, &[]);
        bytes.extend(frames(chance, answer_head));
        let piece = 1 + chance.below(bytes.len() + 1);
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let (client, connection) = http2::client::connect(ours, Options::default());
            let connection = tokio::spawn(connection);
            let metadata = Metadata::new();
            let unary = {
                let client = client.clone();
                let metadata = metadata.clone();
                tokio::spawn(async move { client.unary("/t/unary", &metadata, None, Encoded::copy_from(b"hello")).await })
            };
            let streaming = client.stream("/t/stream", &metadata, None);
            let reading = tokio::spawn(async move {
                let Ok((requests, mut answers)) = streaming else { return };
                let _ = requests.send(Encoded::copy_from(b"one")).await;
                while let Ok(Some(_)) = answers.message().await {}
            });
            drop(client);
            exchange(theirs, &bytes, piece).await;
            tokio::time::timeout(GONE, connection)
                .await
                .expect("the connection ends")
                .expect("no panic");
            let _ = tokio::time::timeout(GONE, unary).await.expect("the call ends").expect("no panic");
            tokio::time::timeout(GONE, reading)
                .await
                .expect("the stream ends")
                .expect("no panic");
        });
    })
}
