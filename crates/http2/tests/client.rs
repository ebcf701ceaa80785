//! The client, against our server and against the `h2` crate's.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{Toy, framed, serve};
use http2::client::{Client, Options, connect};
use http2::{Config, Encoded, Metadata};

fn pair(config: Config, options: Options) -> (Client, Arc<Toy>) {
    let toy = Arc::new(Toy::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    serve(ours, config, &toy);
    let (client, connection) = connect(theirs, options);
    tokio::spawn(connection);
    (client, toy)
}

fn none() -> Metadata {
    Metadata::new()
}

#[tokio::test]
async fn unary_calls_and_their_statuses() {
    let (client, toy) = pair(Config::default(), Options::default());
    for len in [0usize, 1, 62, 63, 5000, 100_000, 1_500_000] {
        let message = vec![3; len];
        let answer = client.unary("/test.Toy/Echo", &none(), None, Encoded::copy_from(&message)).await;
        assert!(answer.unwrap() == message);
    }
    let failed = client
        .unary("/test.Toy/Fail", &none(), None, Encoded::copy_from(&7u32.to_be_bytes()))
        .await
        .unwrap_err();
    assert_eq!((failed.status.code.0, &*failed.status.message), (7, "it failed: 100% ☠"));
    let missing = client.unary("/test.Toy/None", &none(), None, Encoded::empty()).await.unwrap_err();
    assert_eq!(
        (missing.status.code.0, &*missing.status.message),
        (12, "unknown method None for service test.Toy")
    );
    let mut metadata = Metadata::new();
    metadata.push("token", "abc");
    metadata.push("hasleader", "true");
    for _ in 0..3 {
        let answer = client
            .unary("/test.Toy/Metadata", &metadata, Some(Duration::from_secs(9)), Encoded::empty())
            .await;
        assert_eq!(answer.unwrap(), "peer token=abc hasleader=true");
    }
    let late = client
        .unary("/test.Toy/Hang", &none(), Some(Duration::from_millis(10)), Encoded::empty())
        .await
        .unwrap_err();
    assert_eq!((late.status.code.0, &*late.status.message), (4, "context deadline exceeded"));
    let large = client
        .unary("/test.Toy/Echo", &none(), None, Encoded::from(vec![0; 3 << 20]))
        .await
        .unwrap_err();
    assert_eq!(
        (large.status.code.0, &*large.status.message),
        (8, "trying to send message larger than max (3145728 vs. 2097152)")
    );
    while toy.hanging.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn streaming_calls() {
    let (client, _toy) = pair(Config::default(), Options::default());
    let (send, mut receive) = client.stream("/test.Toy/Bidi", &none(), None).unwrap();
    for round in 0..100u8 {
        send.send(Encoded::copy_from(&[round; 100])).await.unwrap();
        assert_eq!(receive.message().await.unwrap().unwrap(), [round; 100].as_slice());
    }
    drop(send);
    assert_eq!(receive.message().await, Ok(None));
    let (send, mut receive) = client.stream("/test.Toy/Many", &none(), None).unwrap();
    let request = [1000u32.to_be_bytes(), 20_000u32.to_be_bytes()].concat();
    send.send(Encoded::from(request)).await.unwrap();
    let mut count = 0;
    while let Some(message) = receive.message().await.unwrap() {
        assert!(message == vec![9; 20_000]);
        count += 1;
    }
    assert_eq!(count, 1000);
    assert!(send.is_closed());
    let (_send, mut receive) = client.stream("/test.Toy/None", &none(), None).unwrap();
    assert_eq!(receive.message().await.unwrap_err().code.0, 12);
}

#[tokio::test]
async fn a_slow_reader_stalls_its_stream_alone() {
    let config = Config {
        stream_queue_bytes: 10_000,
        ..Config::default()
    };
    let (client, toy) = pair(
        config,
        Options {
            initial_stream_window: 65_535,
            ..Options::default()
        },
    );
    let (send, mut receive) = client.stream("/test.Toy/Many", &none(), None).unwrap();
    let request = [2000u32.to_be_bytes(), 1000u32.to_be_bytes()].concat();
    send.send(Encoded::from(request)).await.unwrap();
    // The other calls go on while nobody reads.
    for _ in 0..100 {
        client
            .unary("/test.Toy/Later", &none(), None, Encoded::copy_from(b"x"))
            .await
            .unwrap();
    }
    let stalled = toy.sent_bytes.load(Ordering::SeqCst);
    assert!(stalled < 400_000, "{stalled} bytes went to a reader that does not read");
    let mut count = 0;
    while receive.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 2000);
}

#[tokio::test]
async fn a_slow_handler_stalls_its_client() {
    let config = Config {
        initial_stream_window: 65_535,
        ..Config::default()
    };
    let (client, toy) = pair(
        config,
        Options {
            stream_queue_bytes: 10_000,
            ..Options::default()
        },
    );
    let (send, mut receive) = client.stream("/test.Toy/Stuck", &none(), None).unwrap();
    let feeder = tokio::spawn(async move {
        for _ in 0..1000 {
            send.send(Encoded::from(vec![0; 1000])).await.unwrap();
        }
    });
    for _ in 0..100 {
        client
            .unary("/test.Toy/Later", &none(), None, Encoded::copy_from(b"x"))
            .await
            .unwrap();
    }
    assert!(!feeder.is_finished());
    assert!(toy.received_bytes.load(Ordering::SeqCst) < 200_000);
    toy.go_on.notify_one();
    assert_eq!(receive.message().await, Ok(None));
    feeder.await.unwrap();
    assert_eq!(toy.received_bytes.load(Ordering::SeqCst), 1_000_000 + 100);
}

#[tokio::test]
async fn dropped_calls_are_cancelled() {
    let (client, toy) = pair(Config::default(), Options::default());
    let hanging = |wanted: i64| {
        let toy = toy.clone();
        async move {
            while toy.hanging.load(Ordering::SeqCst) != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.unary("/test.Toy/Hang", &Metadata::new(), None, Encoded::empty()).await }
    });
    hanging(1).await;
    call.abort();
    hanging(0).await;
    let (send, receive) = client.stream("/test.Toy/Stuck", &none(), None).unwrap();
    hanging(1).await;
    drop(receive);
    hanging(0).await;
    send.closed().await;
}

#[tokio::test]
async fn a_lost_connection_fails_all_calls() {
    let toy = Arc::new(Toy::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let served = serve(ours, Config::default(), &toy);
    let (client, connection) = connect(theirs, Options::default());
    tokio::spawn(connection);
    let (_send, mut receive) = client.stream("/test.Toy/Stuck", &none(), None).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.unary("/test.Toy/Hang", &Metadata::new(), None, Encoded::empty()).await }
    });
    while toy.hanging.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    served.abort();
    assert_eq!(receive.message().await.unwrap_err().code.0, 14);
    assert_eq!(call.await.unwrap().unwrap_err().status.code.0, 14);
    assert!(client.is_closed());
    assert_eq!(
        client
            .unary("/test.Toy/Echo", &none(), None, Encoded::empty())
            .await
            .unwrap_err()
            .status
            .code
            .0,
        14
    );
    assert_eq!(toy.hanging.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn waits_for_a_stream_when_all_are_taken() {
    let config = Config {
        max_concurrent_streams: 2,
        ..Config::default()
    };
    let (client, _toy) = pair(config, Options::default());
    client.unary("/test.Toy/Echo", &none(), None, Encoded::empty()).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        calls.spawn(async move {
            client
                .unary("/test.Toy/Later", &Metadata::new(), None, Encoded::copy_from(b"x"))
                .await
        });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), "x");
    }
}

#[tokio::test]
async fn the_connection_ends_with_its_last_handle() {
    let toy = Arc::new(Toy::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let served = serve(ours, Config::default(), &toy);
    let (client, connection) = connect(theirs, Options::default());
    let connection = tokio::spawn(connection);
    client
        .clone()
        .unary("/test.Toy/Echo", &none(), None, Encoded::empty())
        .await
        .unwrap();
    drop(client);
    connection.await.unwrap();
    served.await.unwrap();
}

/// Echoes whole bodies with `h2`'s server, in chunks of its own.
async fn h2_echo(io: tokio::io::DuplexStream, window: u32) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(window.max(65_535))
        .handshake::<_, Bytes>(io)
        .await
        .unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.unwrap();
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut whole = Vec::new();
            while let Some(chunk) = body.data().await {
                let chunk = chunk.unwrap();
                body.flow_control().release_capacity(chunk.len()).unwrap();
                whole.extend_from_slice(&chunk);
            }
            let response = http::Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(Bytes::from(whole), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            trailers.insert("grpc-message", http::HeaderValue::from_static(""));
            send.send_trailers(trailers).unwrap();
        });
    }
}

#[tokio::test]
async fn calls_an_h2_server() {
    for window in [1000, 65_535, 1 << 20] {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        tokio::spawn(h2_echo(ours, window));
        let (client, connection) = connect(theirs, Options::default());
        tokio::spawn(connection);
        let mut calls = tokio::task::JoinSet::new();
        for len in [0usize, 10, 20_000, 700_000] {
            for _ in 0..5 {
                let client = client.clone();
                calls.spawn(async move {
                    let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
                    let answer = client
                        .unary("/any/Echo", &Metadata::new(), None, Encoded::copy_from(&message))
                        .await;
                    assert!(answer.unwrap() == message);
                });
            }
        }
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
        let (send, mut receive) = client.stream("/any/Bidi", &none(), None).unwrap();
        for len in 0..300 {
            send.send(Encoded::from(vec![1; len])).await.unwrap();
        }
        drop(send);
        for len in 0..300 {
            assert_eq!(receive.message().await.unwrap().unwrap().len(), len);
        }
        assert_eq!(receive.message().await, Ok(None));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_a_status() {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(ours).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = http::Response::builder().status(503).body(()).unwrap();
            respond
                .send_response(response, false)
                .unwrap()
                .send_data(Bytes::from(framed(b"x")), true)
                .unwrap();
        }
    });
    let (client, connection) = connect(theirs, Options::default());
    tokio::spawn(connection);
    let failed = client.unary("/any/Echo", &none(), None, Encoded::empty()).await.unwrap_err();
    assert_eq!(failed.status.code.0, 14);
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_no_doubt() {
    let toy = Arc::new(Toy::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = common::serve_until(ours, Config::default(), &toy, async {
        let _ = stopped.await;
    });
    let (client, connection) = connect(theirs, Options::default());
    let connection = tokio::spawn(connection);
    let (send, mut receive) = client.stream("/test.Toy/Bidi", &none(), None).unwrap();
    send.send(Encoded::copy_from(b"one")).await.unwrap();
    receive.message().await.unwrap();
    stop.send(()).unwrap();
    let refused = loop {
        if let Err(error) = client.unary("/test.Toy/Echo", &none(), None, Encoded::empty()).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(refused.unprocessed && refused.status.code.0 == 14, "{refused}");
    // The open call goes on to its end.
    send.send(Encoded::copy_from(b"two")).await.unwrap();
    assert_eq!(receive.message().await.unwrap().unwrap(), "two");
    drop(send);
    assert_eq!(receive.message().await, Ok(None));
    connection.await.unwrap();
    served.await.unwrap();
}
