//! Transports among themselves, with connections cut, peers slow, gone and back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use api::MemberId;
use api::pb::raftpb::{Message, MessageType};
use bytes::Bytes;
use parking_lot::Mutex;
use peer::StreamKind;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::support::{CLUSTER, Member, append, cluster, linked, run, until};

fn indices(messages: &[Message], kind: MessageType) -> Vec<u64> {
    messages
        .iter()
        .filter(|message| message.r#type() == kind)
        .map(Message::index)
        .collect()
}

#[test]
fn three_members_hear_each_other_in_order() {
    run(async {
        let members = cluster(3).await;
        let leader = &members[0];
        let rounds = 20;
        for round in 0..rounds {
            let mut batch = Vec::new();
            for follower in &members[1..] {
                for number in 0..100 {
                    let data = Bytes::from(vec![number as u8; 100]);
                    batch.push(append(leader.id, follower.id, round * 100 + number, data));
                    batch.push(Message {
                        index: Some(round * 100 + number),
                        ..leader.message(MessageType::MsgHeartbeat, follower.id)
                    });
                }
            }
            leader.transport.send(batch);
            let arrived = |kind| {
                members[1..]
                    .iter()
                    .all(|follower| follower.notes.count(kind) as u64 == (round + 1) * 100)
            };
            until("a round has arrived", || {
                arrived(MessageType::MsgApp) && arrived(MessageType::MsgHeartbeat)
            })
            .await;
        }
        for follower in &members[1..] {
            let messages = follower.notes.messages.lock();
            let all: Vec<u64> = (0..rounds * 100).collect();
            assert_eq!(indices(&messages, MessageType::MsgApp), all);
            assert_eq!(indices(&messages, MessageType::MsgHeartbeat), all);
            let last = messages.iter().rfind(|message| message.r#type() == MessageType::MsgApp).unwrap();
            assert_eq!((last.from(), last.to(), last.term(), last.log_term()), (1, follower.id.0, 2, 2));
            assert_eq!(last.entries[0].data.as_deref(), Some(&[99; 100][..]));
            assert_eq!(leader.notes.unreachable(follower.id), 0);
        }
        assert_eq!(leader.transport.active_peers(), 2);
        assert!(leader.transport.active_since(members[1].id).is_some());
        until("probes are answered", || {
            members
                .iter()
                .all(|member| member.notes.probes.load(std::sync::atomic::Ordering::SeqCst) > 0)
        })
        .await;
    });
}

#[test]
fn proposals_and_answers() {
    run(async {
        let members = cluster(2).await;
        let (leader, follower) = (&members[0], &members[1]);
        let answer = |index| Message {
            index: Some(index),
            ..follower.message(MessageType::MsgAppResp, leader.id)
        };
        follower.transport.send(vec![
            answer(1),
            answer(2),
            follower.message(MessageType::MsgProp, leader.id),
            answer(3),
        ]);
        until("both have come", || {
            !leader.notes.proposals.lock().is_empty() && leader.notes.count(MessageType::MsgAppResp) > 0
        })
        .await;
        assert_eq!(indices(&leader.notes.messages.lock(), MessageType::MsgAppResp), [3]);
        // A member that was removed is not written to, nor is anybody unknown.
        leader.notes.removed_ids.lock().insert(follower.id.0);
        leader.transport.send(vec![leader.message(MessageType::MsgHeartbeat, follower.id)]);
        leader.notes.removed_ids.lock().clear();
        leader.transport.send(vec![
            leader.message(MessageType::MsgHeartbeat, MemberId(77)),
            leader.message(MessageType::MsgTimeoutNow, follower.id),
        ]);
        until("what follows has come", || follower.notes.count(MessageType::MsgTimeoutNow) == 1).await;
        assert_eq!(follower.notes.count(MessageType::MsgHeartbeat), 0);
    });
}

#[test]
fn without_streams_messages_go_by_post() {
    run(async {
        let (one, two) = (Member::start(1).await, Member::start(2).await);
        // The other end does not know us: no streams, but posts are taken.
        one.knows(&two);
        let sent = 40;
        one.transport
            .send((0..sent).map(|index| append(one.id, two.id, index, Bytes::new())).collect());
        until("all are posted", || two.notes.count(MessageType::MsgApp) as u64 == sent).await;
        assert!(!one.transport.is_attached(two.id, StreamKind::Message));
    });
}

#[test]
fn a_member_comes_back_on_its_port() {
    run(async {
        let mut members = cluster(2).await;
        let gone = members.pop().unwrap();
        let id = gone.id;
        let address = gone.shut_down().await;
        let left = &members[0];
        until("it is noticed", || left.transport.active_since(id).is_none()).await;
        // Posts fail at once where nobody listens, and raft hears of it.
        left.transport.send(vec![left.message(MessageType::MsgHeartbeat, id)]);
        until("raft is told", || left.notes.unreachable(id) > 0).await;
        let back = Member::with(TcpListener::bind(address).await.unwrap(), id.0, |_| {}).await;
        back.knows(left);
        members.push(back);
        linked(&members).await;
        members[0].transport.send(vec![members[0].message(MessageType::MsgHeartbeat, id)]);
        until("it hears", || members[1].notes.count(MessageType::MsgHeartbeat) == 1).await;
        until("it is active", || members[0].transport.active_since(id).is_some()).await;
    });
}

/// Passes connections on, until it cuts them.
struct Proxy {
    address: SocketAddr,
    passing: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passing: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let tasks = passing.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let task = tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut near, &mut far).await?;
                    io::Result::Ok(())
                });
                tasks.lock().push(task.abort_handle());
            }
        });
        Proxy { address, passing }
    }

    fn cut(&self) -> usize {
        let tasks = std::mem::take(&mut *self.passing.lock());
        tasks.iter().for_each(AbortHandle::abort);
        tasks.len()
    }
}

#[test]
fn cut_connections_are_made_anew() {
    run(async {
        let members = [Member::start(1).await, Member::start(2).await];
        let proxies = [Proxy::start(members[0].address).await, Proxy::start(members[1].address).await];
        let url = |proxy: &Proxy| [format!("http://{}", proxy.address)];
        members[0].transport.add_peer(members[1].id, &url(&proxies[1])).unwrap();
        members[1].transport.add_peer(members[0].id, &url(&proxies[0])).unwrap();
        linked(&members).await;
        for round in 1..=5 {
            let cut: usize = proxies.iter().map(Proxy::cut).sum();
            assert!(cut >= 4, "{cut}");
            let (from, to) = (&members[0], &members[1]);
            // What is sent around a cut may be lost, as raft expects: so again until one comes.
            let marker = Message {
                index: Some(round),
                ..from.message(MessageType::MsgHeartbeat, to.id)
            };
            until("a message comes through", || {
                from.transport.send(vec![marker.clone()]);
                indices(&to.notes.messages.lock(), MessageType::MsgHeartbeat).contains(&round)
            })
            .await;
            linked(&members).await;
        }
        assert!(members[0].notes.has_line("lost TCP streaming connection with remote peer"));
    });
}

#[test]
fn the_next_url_is_tried() {
    run(async {
        let members = [Member::start(1).await, Member::start(2).await];
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let urls = |member: &Member| [format!("http://{nobody}"), member.url()];
        members[0].transport.add_peer(members[1].id, &urls(&members[1])).unwrap();
        members[1].transport.add_peer(members[0].id, &urls(&members[0])).unwrap();
        linked(&members).await;
        // New URLs are for new connections.
        members[0].transport.update_peer(members[1].id, &[members[1].url()]).unwrap();
        assert!(members[0].transport.update_peer(members[1].id, &["nonsense".to_owned()]).is_err());
        assert!(members[0].is_linked(&members[1]));
    });
}

fn stream_request(kind: &str, from: MemberId, to: &Member) -> String {
    format!(
        "GET /raft/stream/{kind}/{from} HTTP/1.1\r\nHost: peer\r\nX-Server-From: {from}\r\nX-Server-Version: 3.7.1\r\n\
         X-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: {CLUSTER}\r\nX-Raft-To: {}\r\n\r\n",
        to.id
    )
}

#[test]
fn a_peer_that_does_not_read_slows_nobody() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let leader = Member::with(listener, 1, |config| config.timing.silence = Duration::from_secs(2)).await;
        let follower = Member::start(2).await;
        leader.knows(&follower);
        follower.knows(&leader);
        let slow = MemberId(3);
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        leader.transport.add_peer(slow, &[format!("http://{nobody}")]).unwrap();
        let mut reader = TcpStream::connect(leader.address).await.unwrap();
        reader.write_all(stream_request("msgapp", slow, &leader).as_bytes()).await.unwrap();
        until("all are attached", || {
            leader.is_linked(&follower) && leader.transport.is_attached(slow, StreamKind::MsgApp)
        })
        .await;
        let mut sent = 0;
        let data = Bytes::from(vec![1; 64 * 1024]);
        until("the slow one's queue is full", || {
            let to_slow = (0..64).map(|_| append(leader.id, slow, sent, data.clone()));
            leader
                .transport
                .send(to_slow.chain([append(leader.id, follower.id, sent, Bytes::new())]).collect());
            sent += 1;
            leader.notes.has_line("dropped internal Raft message since sending buffer is full")
        })
        .await;
        assert!(leader.notes.unreachable(slow) > 0);
        until("the other has everything", || {
            follower.notes.count(MessageType::MsgApp) as u64 == sent
        })
        .await;
        assert_eq!(leader.notes.unreachable(follower.id), 0);
        // A write that makes no progress ends the connection.
        until("the slow one is let go", || !leader.transport.is_attached(slow, StreamKind::MsgApp)).await;
        drop(reader);
    });
}

#[test]
fn a_second_connection_takes_the_place_of_the_first() {
    run(async {
        let member = Member::start(1).await;
        let peer = MemberId(3);
        member.transport.add_peer(peer, &["http://127.0.0.1:9".to_owned()]).unwrap();
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut connection = TcpStream::connect(member.address).await.unwrap();
            connection
                .write_all(stream_request("message", peer, &member).as_bytes())
                .await
                .unwrap();
            let mut status = [0; 12];
            connection.read_exact(&mut status).await.unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            connections.push(connection);
        }
        // The first ends, as a whole body does.
        let mut rest = String::new();
        let mut first = connections.remove(0);
        let mut byte = [0; 1];
        while !rest.ends_with("\r\n0\r\n\r\n") {
            assert_eq!(first.read(&mut byte).await.unwrap(), 1, "{rest:?}");
            rest.push(char::from(byte[0]));
        }
        assert!(member.transport.is_attached(peer, StreamKind::Message));
        // And a removed peer's streams end.
        member.transport.remove_peer(peer);
        assert!(!member.transport.is_attached(peer, StreamKind::Message));
        let mut second = connections.remove(0);
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n0\r\n\r\n") {
            assert_eq!(second.read(&mut byte).await.unwrap(), 1);
            rest.push(byte[0]);
        }
    });
}

#[test]
fn a_silent_stream_is_given_up() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap();
        let accepted: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let held = accepted.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = b"HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n";
                if stream.write_all(head).await.is_ok() {
                    held.lock().push(stream);
                }
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = Member::with(listener, 1, |config| config.timing.silence = Duration::from_millis(200)).await;
        member.transport.add_peer(MemberId(2), &[format!("http://{silent}")]).unwrap();
        until("it is dialled again", || accepted.lock().len() > 4).await;
        assert!(member.notes.has_line("peer became active"));
        assert!(member.notes.has_line("lost TCP streaming connection with remote peer"));
    });
}

#[test]
fn garbage_on_a_stream_ends_the_stream_only() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mad = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut number = 0_u8;
            while let Ok((mut stream, _)) = listener.accept().await {
                number = number.wrapping_add(41);
                let head = b"HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n";
                let garbage: Vec<u8> = (0..64_u8).map(|place| place.wrapping_mul(number) ^ number).collect();
                // The reader may have gone by the second write.
                let _ = stream.write_all(head).await;
                let _ = stream.write_all(&garbage).await;
                let _ = stream.write_all(b"\r\nnonsense\r\n").await;
            }
        });
        let members = cluster(2).await;
        members[0].transport.add_peer(MemberId(9), &[format!("http://{mad}")]).unwrap();
        let lost = || {
            members[0]
                .notes
                .lines
                .lock()
                .iter()
                .filter(|line| line.contains("lost TCP") && line.contains("remote-peer-id=9"))
                .count()
        };
        until("it has been lost many times", || lost() > 20).await;
        members[0]
            .transport
            .send(vec![members[0].message(MessageType::MsgHeartbeat, members[1].id)]);
        until("others are not touched", || members[1].notes.count(MessageType::MsgHeartbeat) == 1).await;
    });
}

#[test]
fn idle_connections_end_and_streams_do_not() {
    run(async {
        let silence = Duration::from_secs(2);
        let mut members = Vec::new();
        for id in 1..=2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            members.push(Member::with(listener, id, |config| config.timing.silence = silence).await);
        }
        members[0].knows(&members[1]);
        members[1].knows(&members[0]);
        linked(&members).await;
        // Longer than the silence that is borne, by the idle connection's own end.
        for _ in 0..2 {
            let mut idle = TcpStream::connect(members[0].address).await.unwrap();
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.unwrap();
        }
        for member in &members {
            assert!(!member.notes.has_line("lost TCP"), "{:?}", member.notes.lines.lock());
        }
        assert!(members[0].is_linked(&members[1]));
    });
}

#[test]
fn over_socket_files() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for id in 1..=2 {
            members.push(Member::start(id).await);
        }
        for (member, other) in [(0, 1), (1, 0)] {
            let path = folder.path().join(format!("m{member}"));
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let transport = members[member].transport.clone();
            let stop = members[member].stop.subscribe();
            tokio::spawn(async move {
                transport
                    .listen(peer::Listener::Unix(listener), Arc::new(crate::support::OnePage), stop)
                    .await
            });
            let url = format!("unix://{}", path.display());
            let (to, from) = (&members[other], &members[member]);
            to.transport.add_peer(from.id, &[url]).unwrap();
        }
        linked(&members).await;
        members[0]
            .transport
            .send(vec![members[0].message(MessageType::MsgHeartbeat, members[1].id)]);
        until("it arrives", || members[1].notes.count(MessageType::MsgHeartbeat) == 1).await;
    });
}

#[test]
fn a_stopped_member_knows_nobody() {
    run(async {
        let members = cluster(2).await;
        members[0].transport.stop();
        members[0].knows(&members[1]);
        assert_eq!(members[0].transport.peers(), []);
        until("its peer is told", || members[1].notes.has_line("failed to find local node 2")).await;
        assert!(!members[1].notes.was_removed.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(members[1].transport.peers(), [members[0].id]);
        members[1].transport.remove_all();
        assert_eq!(members[1].transport.peers(), []);
        members[1].knows(&members[0]);
        assert_eq!(members[1].transport.peers(), [members[0].id]);
    });
}
