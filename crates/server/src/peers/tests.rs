//! Both sides of the members' requests against each other, over real sockets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::member::cluster::Member;
use ::member::lessor::LeaseError;
use api::pb::etcdserverpb as pb;
use api::{ClusterId, LeaseId, MemberId};
use http::{HeaderValue, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::client::{Answer, Call, Client};
use super::*;
use crate::http::{BoxFuture, Versions};
use crate::tls::{TlsSettings, Trust};

const LIMIT: Duration = Duration::from_secs(10);

/// A member that answers what it was told to.
#[derive(Default)]
struct Fake {
    behind: bool,
    leases: BTreeMap<i64, i64>,
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<T> {
    Box::pin(async move { value })
}

impl PeerMember for Fake {
    fn cluster_id(&self) -> ClusterId {
        ClusterId(0xcafe)
    }

    fn members(&self) -> Vec<Member> {
        let member = |id, url: &str, is_learner, name: &str| Member {
            id,
            peer_urls: vec![url.to_owned()],
            is_learner,
            name: name.to_owned(),
            client_urls: Vec::new(),
        };
        vec![member(7, "http://a:1", false, "a"), member(u64::MAX - 1, "http://b:1", true, "")]
    }

    fn versions(&self) -> Versions {
        Versions {
            cluster: Some("3.6.0".to_owned()),
            storage: None,
        }
    }

    fn promote(&self, id: MemberId) -> BoxFuture<Promotion> {
        ready(match id.0 {
            1 => Promotion::Done(self.members()),
            2 => Promotion::NotReady,
            3 => Promotion::NotLearner,
            4 => Promotion::Failed("broken".to_owned()),
            _ => Promotion::NotFound,
        })
    }

    fn downgrade_enabled(&self) -> BoxFuture<Result<bool, String>> {
        ready(if self.behind { Err("no leader".to_owned()) } else { Ok(true) })
    }

    fn catch_up(&self) -> BoxFuture<bool> {
        ready(!self.behind)
    }

    fn renew(&self, id: LeaseId) -> BoxFuture<Result<i64, LeaseError>> {
        ready(match id.0 {
            -1 => Err(LeaseError::NotPrimary),
            id => self.leases.get(&id).copied().ok_or(LeaseError::NotFound),
        })
    }

    fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, LeaseError> {
        let ttl = *self.leases.get(&id.0).ok_or(LeaseError::NotFound)?;
        Ok(pb::LeaseTimeToLiveResponse {
            header: Some(pb::ResponseHeader::default()),
            id: id.0,
            ttl: ttl - 1,
            granted_ttl: ttl,
            keys: if keys { vec!["k".into()] } else { Vec::new() },
        })
    }

    fn hash_kv(&self, revision: i64) -> BoxFuture<Result<RemoteHash, String>> {
        ready(match revision {
            9 => Err("mvcc: required revision is a future revision".to_owned()),
            revision => Ok(RemoteHash {
                header: RemoteHeader { revision: 8 },
                hash: 77,
                compact_revision: 0,
                hash_revision: revision,
            }),
        })
    }
}

/// Serves the pages on a free port; how many connections there were.
async fn serve(member: Fake) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Arc::new(PeerPages::new(Arc::new(member)));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let pages = pages.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let pages = pages.clone();
                async move { Ok::<_, Infallible>(pages.handle(request.map(crate::http::serve::body)).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (format!("http://{address}"), connections)
}

fn peers() -> Peers {
    Peers::new(Dialler::new(TlsSettings::default(), Trust::Authorities))
}

async fn raw(url: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    let client = Client::new(Arc::new(Dialler::new(TlsSettings::default(), Trust::Authorities)));
    let mut call = Call::get(path);
    call.method = method.parse().unwrap();
    call.body = bytes::Bytes::copy_from_slice(body);
    client.call(&compat::url::parse(url).unwrap(), &call, LIMIT).await.unwrap()
}

#[tokio::test]
async fn members_understand_each_other() {
    let fake = Fake {
        leases: BTreeMap::from([(5, 60)]),
        ..Fake::default()
    };
    let members = fake.members();
    let (url, connections) = serve(fake).await;
    let peers = peers();
    let found = peers.members(&url, LIMIT).await.unwrap();
    assert_eq!((found.id, &found.members), (ClusterId(0xcafe), &members));
    let versions = peers.version(&url, LIMIT).await.unwrap();
    assert_eq!(versions.server, api::SERVER_VERSION);
    assert_eq!(versions.cluster().unwrap().to_string(), "3.6.0");
    assert_eq!(peers.downgrade_enabled(&url, LIMIT).await, Ok(true));
    assert_eq!(peers.renew(&url, LeaseId(5), LIMIT).await, Forwarded::Done(60));
    assert_eq!(peers.renew(&url, LeaseId(6), LIMIT).await, Forwarded::NotFound);
    assert!(matches!(peers.renew(&url, LeaseId(-1), LIMIT).await, Forwarded::Failed(text) if text.contains("not a primary lessor")));
    match peers.time_to_live(&url, LeaseId(5), true, LIMIT).await {
        Forwarded::Done(answer) => assert_eq!((answer.ttl, answer.granted_ttl, answer.keys.len()), (59, 60, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(peers.time_to_live(&url, LeaseId(6), false, LIMIT).await, Forwarded::NotFound);
    assert_eq!(peers.promote(&url, MemberId(1), LIMIT).await, Promotion::Done(members));
    assert_eq!(peers.promote(&url, MemberId(2), LIMIT).await, Promotion::NotReady);
    assert_eq!(peers.promote(&url, MemberId(3), LIMIT).await, Promotion::NotLearner);
    assert!(matches!(peers.promote(&url, MemberId(4), LIMIT).await, Promotion::Failed(_)));
    assert_eq!(peers.promote(&url, MemberId(5), LIMIT).await, Promotion::NotFound);
    let hash = peers.hash_kv(&url, ClusterId(0xcafe), 3, LIMIT).await.unwrap();
    assert_eq!((hash.hash, hash.header.revision, hash.hash_revision), (77, 8, 3));
    let refused = peers.hash_kv(&url, ClusterId(0xcafe), 9, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains("future revision"), "{refused}");
    let refused = peers.hash_kv(&url, ClusterId(1), 3, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains("cluster ID mismatch"), "{refused}");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one connection is used again and again");
}

#[tokio::test]
async fn pages_answer_as_recorded() {
    let (url, _) = serve(Fake::default()).await;
    let members = raw(&url, "GET", "/members", b"").await;
    let json = r#"[{"id":7,"peerURLs":["http://a:1"],"name":"a"},{"id":18446744073709551614,"peerURLs":["http://b:1"],"isLearner":true}]"#;
    assert_eq!(members.body, format!("{json}\n"));
    assert_eq!(members.headers["content-type"], "application/json");
    assert_eq!(members.headers["x-etcd-cluster-id"], "cafe");
    let version = raw(&url, "GET", "/version", b"").await;
    assert_eq!(
        version.body,
        r#"{"etcdserver":"3.7.1","etcdcluster":"3.6.0","storage":"unknown"}"#.as_bytes()
    );
    let hash = raw(&url, "GET", "/members/hashkv", b"{}").await;
    assert_eq!(hash.body, r#"{"header":{"revision":8},"hash":77}"#.as_bytes());
    let downgrade = raw(&url, "GET", "/downgrade/enabled", b"").await;
    assert_eq!(
        (&downgrade.body[..], &downgrade.headers["content-type"]),
        (&b"true"[..], &HeaderValue::from_static("text/plain"))
    );
    let long = vec![0; 70_000];
    for (method, path, body, status, text, allow) in [
        ("POST", "/members", &b""[..], 405, "Method Not Allowed\n", Some("GET")),
        ("PUT", "/version", b"", 405, "Method Not Allowed\n", Some("GET")),
        ("GET", "/members/promote/1", b"", 405, "Method Not Allowed\n", Some("POST")),
        ("POST", "/members/promote/x1", b"", 404, "member x1 not found in cluster\n", None),
        ("POST", "/members/promote/9", b"", 404, "membership: ID not found\n", None),
        (
            "POST",
            "/members/promote/4",
            b"",
            500,
            "{\"message\":\"Internal Server Error\"}",
            None,
        ),
        ("GET", "/leases", b"", 405, "Method Not Allowed\n", None),
        ("POST", "/leases", b"\x0f", 400, "error unmarshalling request\n", None),
        ("POST", "/leases", &long, 413, "request body too large\n", None),
        ("POST", "/leases", b"\x08\x09", 404, "lease not found\n", None),
        ("POST", "/leases/internal", b"", 400, "error unmarshalling request\n", None),
        ("GET", "/members/hashkv", b"no", 400, "error unmarshalling request\n", None),
        ("GET", "/health", b"", 404, "404 page not found\n", None),
        ("GET", "/", b"", 404, "404 page not found\n", None),
    ] {
        let answer = raw(&url, method, path, body).await;
        let allowed = answer.headers.get("allow").map(|allow| allow.to_str().unwrap());
        assert_eq!(
            (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).as_ref(), allowed),
            (status, text, allow),
            "{method} {path}"
        );
    }
    let (url, _) = serve(Fake {
        behind: true,
        ..Fake::default()
    })
    .await;
    assert_eq!(raw(&url, "POST", "/leases", b"\x08\x01").await.status, StatusCode::REQUEST_TIMEOUT);
    let failed = raw(&url, "GET", "/downgrade/enabled", b"").await;
    assert_eq!(
        (failed.status.as_u16(), failed.text()),
        (500, "failed linearized read: no leader".to_owned())
    );
}

#[tokio::test]
async fn nobody_there() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = peers().version(&format!("http://{free}"), LIMIT).await.unwrap_err();
    assert!(refused.to_string().ends_with("connection refused"), "{refused}");
    // Somebody who takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let late = peers().members(&url, Duration::from_millis(50)).await;
    assert_eq!(late, Err(CallError::TimedOut));
}
