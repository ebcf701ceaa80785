//! What peers are refused, word for word, and what refusals make of us.

use std::sync::atomic::Ordering;

use api::MemberId;
use api::pb::raftpb::MessageType;
use bytes::Bytes;
use http::{Method, Request, Response};
use peer::codec::encode_message;
use peer::{PeerUrl, Plain, Refusal, fetch};
use tokio::net::TcpListener;

use crate::support::{Member, message, run, until};

struct Asked<'a> {
    member: &'a Member,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Asked<'a> {
    fn by(id: u64, member: &'a Member) -> Asked<'a> {
        let headers = vec![
            ("x-server-from", format!("{id:x}")),
            ("x-server-version", "3.6.14".to_owned()),
            ("x-min-cluster-version", "3.0.0".to_owned()),
            ("x-etcd-cluster-id", "d328a1d63d11b972".to_owned()),
            ("x-raft-to", member.id.to_string()),
        ];
        Asked { member, headers }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let url = PeerUrl::parse(&self.member.url()).unwrap();
        let timeout = std::time::Duration::from_secs(30);
        fetch(&Plain, &url, request.body(body.into()).unwrap(), 4096, timeout)
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(Method::GET, path, Bytes::new()).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> (u16, String) {
        let answer = self.send(Method::POST, path, body).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }
}

fn says(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn streams_that_are_not_opened() {
    run(async {
        let member = Member::start(1).await;
        let path = "/raft/stream/message/2";
        let asked = Asked::by(2, &member);
        assert_eq!(asked.get(path).await, says(404, "error sender not found\n"));
        assert_eq!(asked.get("/raft/stream/message/x").await, says(404, "invalid from\n"));
        assert_eq!(asked.get("/raft/stream/message/+2").await, says(404, "invalid from\n"));
        assert_eq!(asked.get("/raft/stream/snapshots/2").await, says(404, "invalid path\n"));
        assert_eq!(asked.get("/raft/elsewhere").await, says(404, "404 page not found\n"));
        let post = asked.send(Method::POST, path, Bytes::new()).await;
        assert_eq!(
            (post.status().as_u16(), &post.headers()["allow"]),
            (405, &http::HeaderValue::from_static("GET"))
        );
        let bad_version = says(412, "incompatible version\n");
        for version in ["2.3.8", "", "nonsense"] {
            assert_eq!(
                Asked::by(2, &member).with("x-server-version", version).get(path).await,
                bad_version,
                "{version}"
            );
        }
        assert_eq!(
            Asked::by(2, &member).with("x-min-cluster-version", "3.8.0").get(path).await,
            bad_version
        );
        // The version is looked at first.
        let asked = Asked::by(2, &member).with("x-etcd-cluster-id", "1");
        assert_eq!(asked.get(path).await, says(412, "cluster ID mismatch\n"));
        assert_eq!(asked.with("x-server-version", "2.0.0").get(path).await, bad_version);
        member.transport.add_peer(MemberId(2), &["http://127.0.0.1:9".to_owned()]).unwrap();
        assert_eq!(
            Asked::by(2, &member).with("x-raft-to", "3").get(path).await,
            says(412, "to field mismatch\n")
        );
        member.notes.removed_ids.lock().insert(2);
        let answer = Asked::by(2, &member).send(Method::GET, path, Bytes::new()).await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (410, &b"removed member\n"[..]));
        assert_eq!(answer.headers()["x-server-version"], "3.7.1");
        assert_eq!(answer.headers()["x-etcd-cluster-id"], "d328a1d63d11b972");
    });
}

#[test]
fn messages_that_are_not_taken() {
    run(async {
        let member = Member::start(1).await;
        let asked = Asked::by(2, &member);
        let heartbeat = |from, to| encode_message(&message(MessageType::MsgHeartbeat, MemberId(from), MemberId(to)));
        assert_eq!(asked.post("/raft", heartbeat(2, 1)).await, says(204, ""));
        assert_eq!(member.notes.count(MessageType::MsgHeartbeat), 1);
        let refused = asked.post("/raft", &b"\xff\xff"[..]).await;
        assert_eq!(refused, says(400, "error unmarshalling raft message\n"));
        assert_eq!(asked.get("/raft").await, says(405, "Method Not Allowed\n"));
        let elsewhere = asked.post("/raft", heartbeat(2, 3)).await;
        assert_eq!(elsewhere, says(403, r#"{"message":"cannot process message to mismatch member"}"#));
        *member.notes.refusal.lock() = Some(Refusal::Stopped);
        assert_eq!(
            asked.post("/raft", heartbeat(2, 1)).await,
            says(500, "error processing raft message\n")
        );
        *member.notes.refusal.lock() = None;
        member.notes.removed_ids.lock().insert(2);
        let removed = asked.post("/raft", heartbeat(2, 1)).await;
        assert_eq!(removed, says(403, r#"{"message":"cannot process message from removed member"}"#));
        let wrong_cluster = Asked::by(2, &member)
            .with("x-etcd-cluster-id", "")
            .post("/raft", heartbeat(2, 1))
            .await;
        assert_eq!(wrong_cluster, says(412, "cluster ID mismatch\n"));
        // What a member tells itself is accepted and forgotten, as in Go.
        let asked = Asked::by(3, &member);
        let hup = encode_message(&message(MessageType::MsgHup, MemberId(3), MemberId(1)));
        assert_eq!(asked.post("/raft", hup).await, says(204, ""));
        assert_eq!(member.notes.messages.lock().len(), 1);
        let proposal = encode_message(&message(MessageType::MsgProp, MemberId(3), MemberId(1)));
        assert_eq!(asked.post("/raft", proposal).await, says(204, ""));
        assert_eq!(member.notes.proposals.lock().len(), 1);
    });
}

#[test]
fn snapshots_that_are_not_taken() {
    run(async {
        let member = Member::start(1).await;
        let asked = Asked::by(2, &member);
        let framed = |kind, from| {
            let message = encode_message(&message(kind, MemberId(from), MemberId(1)));
            [&(message.len() as u64).to_be_bytes()[..], &message, b"image"].concat()
        };
        let wrong_type = asked.post("/raft/snapshot", framed(MessageType::MsgApp, 2)).await;
        assert_eq!(wrong_type, says(400, "wrong raft message type\n"));
        let too_long = asked.post("/raft/snapshot", (65u64 << 20).to_be_bytes().to_vec()).await;
        assert!(
            too_long.0 == 400 && too_long.1.starts_with("failed to decode raft message ("),
            "{too_long:?}"
        );
        let cut_off = asked.post("/raft/snapshot", framed(MessageType::MsgSnap, 2)[..10].to_vec()).await;
        assert!(
            cut_off.0 == 400 && cut_off.1.starts_with("failed to decode raft message ("),
            "{cut_off:?}"
        );
        member.notes.removed_ids.lock().insert(2);
        assert_eq!(asked.post("/raft/snapshot", framed(MessageType::MsgSnap, 2)).await.0, 403);
        assert!(member.notes.images.lock().is_empty());
        assert_eq!(asked.post("/raft/snapshot", framed(MessageType::MsgSnap, 3)).await, says(204, ""));
        let images = member.notes.images.lock();
        assert_eq!((images.len(), &images[0].1[..]), (1, &b"image"[..]));
        assert_eq!(member.notes.count(MessageType::MsgSnap), 1);
    });
}

#[test]
fn pages_are_the_shells() {
    run(async {
        let member = Member::start(1).await;
        let asked = Asked::by(2, &member);
        assert_eq!(asked.post("/leases", "body").await, says(200, "page /leases body"));
        assert_eq!(asked.get("/version").await, says(200, "page /version "));
        let (status, probe) = asked.get("/raft/probing").await;
        assert!(
            status == 200 && probe.starts_with("{\"OK\":true,\"Now\":\"2") && probe.ends_with("Z\"}\n"),
            "{probe}"
        );
    });
}

#[test]
fn an_unknown_sender_can_be_answered() {
    run(async {
        let (member, stranger) = (Member::start(1).await, Member::start(2).await);
        let asked = Asked::by(2, &member).with("x-peerurls", &stranger.url());
        assert_eq!(asked.get("/raft/stream/message/2").await, says(404, "error sender not found\n"));
        member
            .transport
            .send(vec![member.message(MessageType::MsgHeartbeatResp, stranger.id)]);
        until("the answer arrives by post", || {
            stranger.notes.count(MessageType::MsgHeartbeatResp) == 1
        })
        .await;
        // Nonsense for URLs is not remembered and hurts nobody.
        let asked = Asked::by(7, &member).with("x-peerurls", "nonsense");
        assert_eq!(asked.get("/raft/stream/message/7").await, says(404, "error sender not found\n"));
    });
}

#[test]
fn a_removed_member_is_told_by_streams_and_posts() {
    run(async {
        let (member, removed) = (Member::start(1).await, Member::start(2).await);
        member.notes.removed_ids.lock().insert(2);
        removed.knows(&member);
        until("the stream's answer says so", || removed.notes.was_removed.load(Ordering::SeqCst)).await;
        removed.notes.was_removed.store(false, Ordering::SeqCst);
        removed.transport.remove_peer(member.id);
        removed.transport.add_remote(member.id, &[member.url()]).unwrap();
        removed.transport.send(vec![removed.message(MessageType::MsgVote, member.id)]);
        until("the post's answer says so", || removed.notes.was_removed.load(Ordering::SeqCst)).await;
        assert!(removed.notes.unreachable(member.id) > 0);
    });
}

#[test]
fn other_clusters_and_versions_stay_out() {
    run(async {
        let member = Member::start(1).await;
        let listener = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let foreign = Member::with(listener().await, 2, |config| config.cluster = api::ClusterId(7)).await;
        let ancient = Member::with(listener().await, 3, |config| config.version = "2.3.8".to_owned()).await;
        for other in [&foreign, &ancient] {
            member.knows(other);
            other.knows(&member);
        }
        until("both sides have noticed", || {
            let cluster = "request sent was ignored by remote peer due to cluster ID mismatch";
            let version = "request sent was ignored by remote peer due to server version incompatibility";
            foreign.notes.has_line(cluster) && member.notes.has_line(cluster) && ancient.notes.has_line(version)
        })
        .await;
        assert_eq!((member.transport.active_peers(), foreign.transport.active_peers()), (0, 0));
        assert!(!member.notes.was_removed.load(Ordering::SeqCst) && !foreign.notes.was_removed.load(Ordering::SeqCst));
    });
}
