//! The server against the `h2` crate's client.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{Toy, framed, serve, unframed};
use h2::client::SendRequest;
use http2::Config;
use tokio::io::DuplexStream;

struct Answer {
    headers: http::HeaderMap,
    messages: Vec<Vec<u8>>,
    status: String,
    text: String,
}

async fn connect(config: Config, builder: &h2::client::Builder) -> (SendRequest<Bytes>, Arc<Toy>) {
    let toy = Arc::new(Toy::default());
    let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
    serve(ours, config, &toy);
    let (send, connection) = builder.handshake(theirs).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    (send, toy)
}

fn request(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "test/1")
        .header("token", "secret")
        .body(())
        .unwrap()
}

async fn finish(response: h2::client::ResponseFuture) -> Answer {
    let response = response.await.unwrap();
    let headers = response.headers().clone();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_else(|| headers.clone());
    let text = |name: &str| {
        trailers
            .get(name)
            .map_or(String::new(), |value| value.to_str().unwrap().to_string())
    };
    Answer {
        headers,
        messages: unframed(&bytes),
        status: text("grpc-status"),
        text: text("grpc-message"),
    }
}

/// Sends all of `body` as the window allows.
async fn upload(mut stream: h2::SendStream<Bytes>, body: Vec<u8>) {
    let mut body = Bytes::from(body);
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(granted)) = granted else { return };
        let part = body.split_to(granted.min(body.len()));
        if stream.send_data(part, false).is_err() {
            return;
        }
    }
    let _ = stream.send_data(Bytes::new(), true);
}

async fn call(send: &SendRequest<Bytes>, request: http::Request<()>, body: Vec<u8>) -> Answer {
    let mut send = send.clone().ready().await.unwrap();
    let (response, stream) = send.send_request(request, false).unwrap();
    tokio::spawn(upload(stream, body));
    finish(response).await
}

#[tokio::test]
async fn unary_calls() {
    let (send, toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    for round in 0..20u8 {
        let answer = call(&send, request("/test.Toy/Echo"), framed(&[round; 40])).await;
        assert_eq!((answer.status.as_str(), &answer.messages), ("0", &vec![vec![round; 40]]));
        assert_eq!(answer.headers["content-type"], "application/grpc");
    }
    let answer = call(&send, request("/test.Toy/Later"), framed(b"x")).await;
    assert_eq!((answer.status.as_str(), answer.messages), ("0", vec![b"x".to_vec()]));
    let answer = call(&send, request("/test.Toy/Echo"), framed(b"")).await;
    assert_eq!((answer.status.as_str(), answer.messages), ("0", vec![vec![]]));
    let answer = call(&send, request("/test.Toy/Fail"), framed(&9u32.to_be_bytes())).await;
    assert_eq!((answer.status.as_str(), answer.text.as_str()), ("9", "it failed: 100%25 %E2%98%A0"));
    assert!(answer.messages.is_empty());
    let answer = call(&send, request("/test.Toy/Metadata"), framed(b"")).await;
    assert_eq!(answer.messages, [b"peer token=secret".to_vec()]);
    assert_eq!(toy.started.load(Ordering::SeqCst), 24);
    assert_eq!(toy.handled.load(Ordering::SeqCst), 24);
}

#[tokio::test]
async fn refusals() {
    let config = Config {
        max_receive_message_bytes: 1000,
        max_send_message_bytes: 2000,
        ..Config::default()
    };
    let (send, _toy) = connect(config, &h2::client::Builder::new()).await;
    let cases: [(&str, Vec<u8>, &str, &str); 6] = [
        ("/none.Svc/X", framed(b""), "12", "unknown service none.Svc"),
        ("/test.Toy/X", framed(b""), "12", "unknown method X for service test.Toy"),
        ("/x", framed(b""), "12", "malformed method name: \"x\""),
        (
            "/test.Toy/Echo",
            framed(&[0; 1001]),
            "8",
            "grpc: received message larger than max (1001 vs. 1000)",
        ),
        (
            "/test.Toy/Size",
            framed(&2001u32.to_be_bytes()),
            "8",
            "grpc: trying to send message larger than max (2001 vs. 2000)",
        ),
        ("/test.Toy/Echo", vec![0, 0, 0, 0, 9, 1], "13", "unexpected EOF"),
    ];
    for (path, body, status, text) in cases {
        let answer = call(&send, request(path), body).await;
        assert_eq!((answer.status.as_str(), answer.text.as_str()), (status, text));
    }
    let mut zipped = request("/test.Toy/Echo");
    zipped.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let answer = call(&send, zipped, framed(b"")).await;
    assert_eq!(answer.status, "12");
    assert_eq!(answer.text, "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
    let mut plain = request("/test.Toy/Echo");
    plain.headers_mut().insert("grpc-encoding", "identity".parse().unwrap());
    assert_eq!(call(&send, plain, framed(b"")).await.status, "0");
}

#[tokio::test]
async fn deadlines() {
    let (send, toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    for path in ["/test.Toy/Hang", "/test.Toy/Stuck"] {
        let mut request = request(path);
        request.headers_mut().insert("grpc-timeout", "20m".parse().unwrap());
        let answer = call(&send, request, framed(b"")).await;
        assert_eq!((answer.status.as_str(), answer.text.as_str()), ("4", "context deadline exceeded"));
    }
    assert_eq!(toy.hanging.load(Ordering::SeqCst), 0);
    let mut bad = request("/test.Toy/Echo");
    bad.headers_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(call(&send, bad, framed(b"")).await.status, "13");
}

#[tokio::test]
async fn streams() {
    let (send, _toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    let many = [300u32.to_be_bytes(), 10_000u32.to_be_bytes()].concat();
    let answer = call(&send, request("/test.Toy/Many"), framed(&many)).await;
    assert_eq!(answer.messages.len(), 300);
    assert!(answer.messages.iter().all(|message| message == &[9; 10_000]));
    let body: Vec<u8> = (0..500usize).flat_map(|len| framed(&vec![1; len])).collect();
    let answer = call(&send, request("/test.Toy/Count"), body.clone()).await;
    assert_eq!(answer.messages, [[500u32.to_be_bytes(), 124_750u32.to_be_bytes()].concat()]);
    let answer = call(&send, request("/test.Toy/Bidi"), body.clone()).await;
    assert_eq!(answer.status, "0");
    assert!(answer.messages == unframed(&body));
}

#[tokio::test]
async fn large_messages_through_small_windows() {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(1000)
        .initial_connection_window_size(70_000)
        .max_frame_size(16_384);
    let config = Config {
        max_receive_message_bytes: 32 << 20,
        initial_stream_window: 20_000,
        initial_connection_window: 100_000,
        ..Config::default()
    };
    let (send, _toy) = connect(config, &builder).await;
    for path in ["/test.Toy/Echo", "/test.Toy/Bidi", "/test.Toy/Later"] {
        let message: Vec<u8> = (0..1_000_000u32).map(|i| (i / 7) as u8).collect();
        let answer = call(&send, request(path), framed(&message)).await;
        assert_eq!(answer.status, "0");
        assert!(answer.messages == [message]);
    }
}

#[tokio::test]
async fn many_calls_at_once() {
    let (send, _toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..1000u32 {
        let send = send.clone();
        calls.spawn(async move {
            let path = ["/test.Toy/Echo", "/test.Toy/Later", "/test.Toy/Bidi"][number as usize % 3];
            let message = number.to_be_bytes().repeat(number as usize % 700 + 1);
            let answer = call(&send, request(path), framed(&message)).await;
            assert!(answer.messages == [message]);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn resets_drop_the_handler() {
    let (send, toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    for path in ["/test.Toy/Hang", "/test.Toy/Stuck"] {
        let mut ready = send.clone().ready().await.unwrap();
        let (_response, mut stream) = ready.send_request(request(path), false).unwrap();
        stream.send_data(Bytes::from(framed(b"")), false).unwrap();
        while toy.hanging.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        while toy.hanging.load(Ordering::SeqCst) == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(toy.last_code.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn plain_requests() {
    let (send, _toy) = connect(Config::default(), &h2::client::Builder::new()).await;
    let body: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    let mut ready = send.clone().ready().await.unwrap();
    let post = http::Request::post("http://localhost/echo").body(()).unwrap();
    let (response, stream) = ready.send_request(post, false).unwrap();
    tokio::spawn(upload(stream, body.clone()));
    let response = response.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-test"]),
        (200, &"yes".parse::<http::HeaderValue>().unwrap())
    );
    let mut got = Vec::new();
    let mut stream = response.into_body();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        got.extend_from_slice(&chunk);
    }
    assert!(got == body);
    for (path, status, text) in [("/text", 200, "GET http://localhost/text"), ("/none", 404, "")] {
        let mut ready = send.clone().ready().await.unwrap();
        let get = http::Request::get(format!("http://localhost{path}")).body(()).unwrap();
        let (response, _) = ready.send_request(get, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let mut stream = response.into_body();
        let mut got = Vec::new();
        while let Some(chunk) = stream.data().await {
            got.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(String::from_utf8(got).unwrap(), text);
    }
}

#[tokio::test]
async fn shutdown_finishes_what_is_open() {
    let toy = Arc::new(Toy::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = common::serve_until(ours, Config::default(), &toy, async {
        let _ = stopped.await;
    });
    let (send, connection) = h2::client::handshake(theirs).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ready = send.clone().ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request("/test.Toy/Bidi"), false).unwrap();
    stream.send_data(Bytes::from(framed(b"one")), false).unwrap();
    let response = response.await.unwrap();
    stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.send_data(Bytes::from(framed(b"two")), true).unwrap();
    let mut body = response.into_body();
    let mut got = Vec::new();
    while let Some(chunk) = body.data().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(unframed(&got), [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    drop((send, ready, stream, body));
    connection.await.unwrap().unwrap();
    served.await.unwrap();
}
