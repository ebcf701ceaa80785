//! Recorded requests get the recorded answers from us, and our requests are those that were recorded.

use std::collections::BTreeMap;

use api::MemberId;
use api::pb::raftpb::MessageType;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::captures::{Capture, hex, parse_head, split_head};
use crate::support::{Member, message, run, until};

/// Reads up to the end of a head, and what came with it.
async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some((head, rest)) = split_head(&bytes) {
            return (head, rest.to_vec());
        }
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.expect("a readable connection");
        assert!(read > 0, "ended in its head: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// A head without what depends on time, place and HTTP library.
fn comparable(head: &str) -> (String, BTreeMap<String, String>) {
    let (first, mut headers) = parse_head(head);
    for name in ["date", "host", "user-agent", "accept-encoding"] {
        headers.remove(name);
    }
    (first, headers)
}

/// A member in the place of the recorded target of a connection.
async fn in_place_of(capture: &Capture, line: &Value) -> Member {
    let target = line["target"].as_str().expect("a target");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let id = capture.id_of(target);
    Member::with(listener, id, |config| config.cluster = api::ClusterId(0xd328a1d63d11b972)).await
}

async fn replay(capture: &Capture, line: &Value, prepare: impl FnOnce(&Member, MemberId)) -> Member {
    let member = in_place_of(capture, line).await;
    let conn = &capture.conns[&line["conn"].as_i64().expect("a connection")];
    let from = line["headers"]["X-Server-From"].as_str().expect("a sender");
    prepare(&member, MemberId(hex(from)));
    let mut stream = TcpStream::connect(member.address).await.expect("a connection");
    stream.write_all(&conn.up).await.expect("a writable connection");
    let (head, _) = read_head(&mut stream).await;
    let (recorded, _) = split_head(&conn.down).expect("an answer");
    assert_eq!(comparable(&head), comparable(&recorded), "{line}");
    member
}

fn request(capture: &Capture, matches: impl Fn(&Value) -> bool) -> &Value {
    let line = capture.of_kind("request").find(|line| matches(line));
    line.unwrap_or_else(|| panic!("{}: no such request", capture.name))
}

/// The request that was answered with this status.
fn refused(capture: &Capture, status: u64) -> &Value {
    let answer = capture
        .of_kind("response")
        .find(|line| line["status"] == status)
        .expect("such an answer");
    request(capture, |line| line["conn"] == answer["conn"])
}

fn starts_with(line: &Value, path: &str) -> bool {
    line["path"].as_str().is_some_and(|text| text.starts_with(path))
}

#[test]
fn recorded_streams_are_answered_as_recorded() {
    run(async {
        let capture = Capture::load("startup-3.7.1");
        for path in ["/raft/stream/msgapp/", "/raft/stream/message/"] {
            let line = request(&capture, |line| starts_with(line, path));
            replay(&capture, line, |member, from| {
                member.transport.add_peer(from, &["http://127.0.0.1:9".to_owned()]).expect("an URL");
            })
            .await;
        }
        let capture = Capture::load("lag-3.7.1");
        replay(&capture, refused(&capture, 404), |_, _| {}).await;
        let capture = Capture::load("member-3.7.1");
        replay(&capture, refused(&capture, 410), |member, from| {
            member.notes.removed_ids.lock().insert(from.0);
        })
        .await;
    });
}

#[test]
fn a_recorded_post_is_taken() {
    run(async {
        let capture = Capture::load("member-3.7.1");
        let line = request(&capture, |line| line["path"] == "/raft");
        let member = replay(&capture, line, |_, _| {}).await;
        until("raft has it", || !member.notes.messages.lock().is_empty()).await;
        let first = member.notes.messages.lock()[0].clone();
        let raft = &line["raft"];
        assert_eq!(first.r#type().as_str_name(), raft["type"].as_str().unwrap_or_default());
        assert_eq!(first.from(), hex(raft["from"].as_str().unwrap_or_default()));
        assert_eq!(Some(first.term()), raft["term"].as_u64());
    });
}

#[test]
fn a_recorded_snapshot_is_taken() {
    run(async {
        let capture = Capture::load("lag-3.7.1");
        let line = request(&capture, |line| line["path"] == "/raft/snapshot");
        let member = replay(&capture, line, |_, _| {}).await;
        let images = member.notes.images.lock();
        let (message, image) = &images[0];
        assert_eq!(Some(image.len() as u64), line["db_image_len"].as_u64());
        let snapshot = message.snapshot.as_ref().expect("a snapshot");
        let metadata = snapshot.metadata.as_ref().expect("metadata");
        let recorded = &line["raft"]["snapshot"];
        assert_eq!(Some(metadata.index()), recorded["index"].as_u64());
        assert_eq!(snapshot.data.as_ref().map(|data| data.len() as u64), recorded["data_len"].as_u64());
        let voters = metadata
            .conf_state
            .as_ref()
            .map(|state| state.voters.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>());
        let recorded: Vec<_> = recorded["conf_state"]["voters"]
            .as_array()
            .expect("voters")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(voters.unwrap_or_default(), recorded);
    });
}

/// Our member in the place of the recorded dialler, with a peer that only listens.
async fn dialler(capture: &Capture, line: &Value) -> (Member, TcpListener, MemberId) {
    let name = line["dialler"].as_str().expect("a dialler");
    let peer = MemberId(capture.id_of(line["target"].as_str().expect("a target")));
    let urls = line["headers"]["X-Peerurls"].as_str().expect("URLs");
    let own = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let member = Member::with(own, capture.id_of(name), |config| {
        config.urls = vec![urls.to_owned()];
        config.cluster = api::ClusterId(0xd328a1d63d11b972);
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    member.transport.add_peer(peer, &[url]).expect("an URL");
    (member, listener, peer)
}

/// The head of the next request to this path.
async fn asked(listener: &TcpListener, path: &str) -> (String, TcpStream) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (head, _) = read_head(&mut stream).await;
        if head.lines().next().is_some_and(|first| first.contains(&format!(" {path}"))) {
            return (head, stream);
        }
    }
}

#[test]
fn our_stream_requests_are_the_recorded_ones() {
    run(async {
        let capture = Capture::load("startup-3.7.1");
        for path in ["/raft/stream/msgapp/", "/raft/stream/message/"] {
            let line = request(&capture, |line| starts_with(line, path));
            let conn = &capture.conns[&line["conn"].as_i64().expect("a connection")];
            let (recorded, _) = split_head(&conn.up).expect("a request");
            let (_member, listener, _) = dialler(&capture, line).await;
            let (head, _) = asked(&listener, path).await;
            assert_eq!(comparable(&head), comparable(&recorded));
        }
    });
}

#[test]
fn our_posts_have_the_recorded_heads() {
    run(async {
        let capture = Capture::load("lag-3.7.1");
        let line = request(&capture, |line| line["path"] == "/raft/snapshot");
        let conn = &capture.conns[&line["conn"].as_i64().expect("a connection")];
        let (recorded, _) = split_head(&conn.up).expect("a request");
        let (member, listener, peer) = dialler(&capture, line).await;
        let (writer, image) = peer::image(3);
        member
            .transport
            .send_snapshot(message(MessageType::MsgSnap, member.id, peer), image);
        let (head, _) = asked(&listener, "/raft/snapshot").await;
        assert_eq!(comparable(&head), comparable(&recorded));
        drop(writer);

        let capture = Capture::load("member-3.7.1");
        let line = request(&capture, |line| line["path"] == "/raft");
        let conn = &capture.conns[&line["conn"].as_i64().expect("a connection")];
        let (recorded, _) = split_head(&conn.up).expect("a request");
        let (member, listener, peer) = dialler(&capture, line).await;
        member.transport.send(vec![message(MessageType::MsgHeartbeat, member.id, peer)]);
        let (head, _) = asked(&listener, "/raft ").await;
        let [(first, mut ours), (other_first, mut recorded)] = [comparable(&head), comparable(&recorded)];
        // We write zeros, 3.7 does not: the lengths differ, and both state one.
        assert!(ours.remove("content-length") > recorded.remove("content-length"));
        assert_eq!((first, ours), (other_first, recorded));
    });
}
