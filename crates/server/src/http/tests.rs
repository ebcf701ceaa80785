//! What the recording does not show: calls that are cut off, limits, metadata, certificates, formats of the metrics.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use api::{Code, Status};
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Alarm, Body, BoxFuture, Call, Doors, Http, Options, Pages, Peer, Rpc, Versions, gateway, serve};
use crate::metrics::Metrics;

/// Remembers what came; never ends a call whose messages it has not all got.
#[derive(Default)]
struct Fake {
    calls: Mutex<Vec<Call>>,
    requests: Arc<Mutex<Vec<Bytes>>>,
    /// Told when a call that waits for ever is dropped.
    dropped: Mutex<Option<oneshot::Sender<()>>>,
    stuck: bool,
    /// Messages of a stream.
    answers: Vec<Bytes>,
    not_ready: bool,
}

impl Rpc for Fake {
    fn unary(&self, call: Call, request: Bytes) -> BoxFuture<Result<Bytes, Status>> {
        self.calls.lock().push(call);
        self.requests.lock().push(request);
        let (stuck, dropped) = (self.stuck, self.dropped.lock().take());
        Box::pin(async move {
            let _dropped = dropped;
            if stuck {
                std::future::pending::<()>().await;
            }
            Ok(Bytes::new())
        })
    }

    fn stream(&self, call: Call, mut requests: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Bytes>) -> BoxFuture<Result<(), Status>> {
        self.calls.lock().push(call);
        let (stuck, dropped, all, seen) = (self.stuck, self.dropped.lock().take(), self.answers.clone(), self.requests.clone());
        Box::pin(async move {
            let _dropped = dropped;
            for answer in all {
                let _ = answers.send(answer).await;
            }
            while let Some(request) = requests.recv().await {
                seen.lock().push(request);
            }
            if stuck {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

impl Pages for Fake {
    fn versions(&self) -> Versions {
        Versions::default()
    }
    fn has_leader(&self) -> bool {
        true
    }
    fn is_learner(&self) -> bool {
        self.not_ready
    }
    fn auth_enabled(&self) -> bool {
        true
    }
    fn alarms(&self) -> Vec<Alarm> {
        Vec::new()
    }
    fn read(&self, serializable: bool) -> BoxFuture<Result<(), String>> {
        let failed = self.not_ready && !serializable;
        Box::pin(async move {
            if failed {
                Err("etcdserver: request timed out".to_owned())
            } else {
                Ok(())
            }
        })
    }
    fn raft_status(&self) -> String {
        "{\"id\":\"1\"}".to_owned()
    }
}

fn http(fake: Fake, options: Options) -> (Arc<Http>, Arc<Fake>) {
    let fake = Arc::new(fake);
    (Http::new(fake.clone(), fake.clone(), Metrics::new(false), options), fake)
}

fn post(path: &str, body: Body) -> Request<Body> {
    Request::post(path).body(body).unwrap()
}

async fn ask(http: &Arc<Http>, request: Request<Body>) -> Response<Body> {
    http.handle(Doors::Client, &Peer::default(), request).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_vec()).unwrap()
}

#[test]
fn paths_are_the_contract() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/contract/grpc-services.tsv");
    let contract = std::fs::read_to_string(path).unwrap();
    let mut wanted: Vec<(String, String)> = Vec::new();
    for row in contract.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        wanted.extend(columns[5].split_whitespace().map(|p| (p.to_owned(), columns[0].to_owned())));
    }
    wanted.sort();
    let have: Vec<(String, String)> = gateway::PATHS.iter().map(|(p, m)| ((*p).to_owned(), (*m).to_owned())).collect();
    assert_eq!(have, wanted);
    for (path, method) in gateway::PATHS {
        assert!(compat::protojson::method(method).is_some(), "{path} is no described method");
    }
}

#[tokio::test]
async fn time_is_over() {
    let (dropped, gone) = oneshot::channel();
    let (http, _) = http(
        Fake {
            stuck: true,
            dropped: Mutex::new(Some(dropped)),
            ..Fake::default()
        },
        Options::default(),
    );
    let mut request = post("/v3/kv/range", Body::full("{}"));
    request.headers_mut().insert("grpc-timeout", "30m".parse().unwrap());
    let response = ask(&http, request).await;
    assert_eq!(response.status(), 504);
    assert_eq!(text(response).await, r#"{"code":4,"message":"context deadline exceeded"}"#);
    assert!(gone.await.is_err(), "the call is dropped");
}

#[tokio::test]
async fn time_of_a_stream_is_over() {
    let fake = Fake {
        stuck: true,
        answers: vec![Bytes::new()],
        ..Fake::default()
    };
    let (http, _) = http(fake, Options::default());
    let mut request = post("/v3/lease/keepalive", Body::full("{}"));
    request.headers_mut().insert("grpc-timeout", "30m".parse().unwrap());
    let response = ask(&http, request).await;
    assert_eq!(response.status(), 200);
    let lines = text(response).await;
    assert_eq!(
        lines,
        "{\"result\":{}}\n{\"error\":{\"code\":4,\"message\":\"context deadline exceeded\"}}\n"
    );
}

/// A client that goes away, before or after the first message, takes its call with it.
#[tokio::test]
async fn client_gone() {
    for answers in [Vec::new(), vec![Bytes::new()]] {
        let (dropped, gone) = oneshot::channel();
        let fake = Fake {
            stuck: true,
            answers,
            dropped: Mutex::new(Some(dropped)),
            ..Fake::default()
        };
        let (http, _) = http(fake, Options::default());
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(serve::connection(http, Doors::Client, Peer::default(), server, stopped));
        let head = "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        client.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        let gone = tokio::time::timeout(Duration::from_secs(5), gone).await;
        assert!(gone.expect("the call is dropped soon").is_err());
    }
}

/// An idle connection ends when the server stops; an answer under way is finished first.
#[tokio::test]
async fn stop() {
    let (http, _) = http(Fake::default(), Options::default());
    let (_client, server) = tokio::io::duplex(1 << 16);
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(serve::connection(http, Doors::Client, Peer::default(), server, stopped));
    stop.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), served).await;
    ended.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn values_of_a_stream_in_pieces() {
    let (http, fake) = http(Fake::default(), Options::default());
    let (body, chunks) = Body::channel(1);
    let request = post("/v3/lease/keepalive", chunks);
    let asked = tokio::spawn(async move { text(ask(&http, request).await).await });
    for piece in ["{\"ID\"", ":\"1\"}{", "\"ID\":2} {\"I", "D\":\"3\"}"] {
        body.send(Ok(Bytes::from(piece))).await.unwrap();
    }
    drop(body);
    assert_eq!(asked.await.unwrap(), "");
    assert_eq!(*fake.requests.lock(), [&b"\x08\x01"[..], b"\x08\x02", b"\x08\x03"]);
}

#[tokio::test]
async fn too_large() {
    let options = Options {
        max_message_bytes: 10,
        ..Options::default()
    };
    let (http, fake) = http(
        Fake {
            stuck: true,
            ..Fake::default()
        },
        options,
    );
    let body = r#"{"key":"YWFhYWFhYWFhYWFh"}"#;
    let message = "grpc: received message larger than max (14 vs. 10)";
    let response = ask(&http, post("/v3/kv/range", Body::full(body))).await;
    assert_eq!(response.status(), 429);
    assert_eq!(text(response).await, format!("{{\"code\":8,\"message\":\"{message}\"}}"));
    assert!(fake.requests.lock().is_empty());
    let body = r#"{"create_request":{"key":"YWFhYWFhYWFh"}}"#;
    let response = ask(&http, post("/v3/watch", Body::full(body))).await;
    assert_eq!(response.status(), 429);
    let message = "grpc: received message larger than max (13 vs. 10)";
    assert_eq!(
        text(response).await,
        format!("{{\"error\":{{\"code\":8,\"message\":\"{message}\"}}}}\n")
    );
    // A body that can only be too large is not read to its end.
    let response = ask(&http, post("/v3/kv/range", Body::full(format!("{{\"key\":\"{}", "A".repeat(1000))))).await;
    assert_eq!(response.status(), 429);
}

#[tokio::test]
async fn metadata() {
    let (http, fake) = http(Fake::default(), Options::default());
    let mut request = post("/v3/kv/range", Body::empty());
    for (name, value) in [
        ("authorization", "Bearer t"),
        ("grpc-metadata-Token", "u"),
        ("grpc-metadata-x-bin", "YQ=="),
        ("grpc-timeout", "2M"),
        ("user-agent", "curl"),
        ("x-other", "not carried on"),
        ("host", "example:1"),
    ] {
        request.headers_mut().insert(
            http::HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    let peer = Peer {
        address: Some("10.0.0.7:99".parse().unwrap()),
        ..Peer::default()
    };
    let response = http.handle(Doors::Client, &peer, request).await;
    assert_eq!(response.status(), 200);
    let calls = fake.calls.lock();
    let call = &calls[0];
    assert_eq!(call.path, "/etcdserverpb.KV/Range");
    assert_eq!(call.timeout, Some(Duration::from_secs(120)));
    let have: Vec<(&str, &[u8])> = call.metadata.iter().map(|(n, v)| (n, v.as_ref())).collect();
    for pair in [
        ("authorization", &b"Bearer t"[..]),
        ("grpcgateway-authorization", b"Bearer t"),
        ("token", b"u"),
        ("x-bin", b"a"),
        ("grpcgateway-user-agent", b"curl"),
        ("x-forwarded-host", b"example:1"),
        ("x-forwarded-for", b"10.0.0.7"),
    ] {
        assert!(have.contains(&pair), "{pair:?} is missing in {have:?}");
    }
    assert!(call.metadata.get("x-other").is_none());
}

#[tokio::test]
async fn certificates() {
    let options = Options {
        client_cert_auth: true,
        ..Options::default()
    };
    let (http, _) = http(Fake::default(), options);
    let peer = Peer {
        tls: true,
        common_name: Some("alice".to_owned()),
        ..Peer::default()
    };
    let response = http.handle(Doors::Client, &peer, post("/v3/kv/range", Body::empty())).await;
    assert_eq!(response.status(), 400);
    let want = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    assert_eq!(text(response).await, want);
    let request = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(http.handle(Doors::Client, &peer, request).await.status(), 200);
}

#[tokio::test]
async fn not_ready() {
    let (http, _) = http(
        Fake {
            not_ready: true,
            ..Fake::default()
        },
        Options::default(),
    );
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let response = ask(&http, get("/readyz")).await;
    assert_eq!(response.status(), 503);
    let want = "[+]data_corruption ok\n[-]linearizable_read failed: etcdserver: request timed out\n\
                [-]non_learner failed: not supported for learner\n[+]serializable_read ok\n\n";
    assert_eq!(text(response).await, want);
    let response = ask(&http, get("/health")).await;
    assert_eq!(
        text(response).await,
        "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n"
    );
    assert_eq!(ask(&http, get("/health?serializable=true")).await.status(), 200);
    let metrics = text(ask(&http, get("/metrics")).await).await;
    for line in [
        "etcd_server_health_failures 1\n",
        "etcd_server_health_success 1\n",
        "etcd_server_healthcheck{name=\"non_learner\",type=\"readyz\"} 0\n",
        "etcd_server_healthchecks_total{name=\"non_learner\",status=\"error\",type=\"readyz\"} 1\n",
        "promhttp_metric_handler_requests_in_flight 1\n",
        "promhttp_metric_handler_requests_total{code=\"200\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing");
    }
    let version = text(ask(&http, get("/version")).await).await;
    assert_eq!(version, r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#);
}

#[tokio::test]
async fn metrics_formats() {
    let (http, _) = http(Fake::default(), Options::default());
    let get = |name: &'static str, value: &'static str| Request::get("/metrics").header(name, value).body(Body::empty()).unwrap();
    let response = ask(&http, get("accept-encoding", "deflate, gzip;q=0.5")).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.into_body().collect().await.unwrap();
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut plain).unwrap();
    assert!(
        plain.starts_with("# HELP etcd_cluster") || plain.starts_with("# HELP etcd_debugging"),
        "{plain}"
    );
    for refused in ["gzip;q=0", "identity, gzip", "br", "*"] {
        let response = ask(&http, get("accept-encoding", refused)).await;
        assert!(!response.headers().contains_key("content-encoding"), "{refused}");
    }
    // As Prometheus 3 asks.
    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let response = ask(&http, get("accept", accept)).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    );
    let response = ask(&http, get("accept", "text/plain;version=0.0.4;escaping=allow-utf-8")).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"
    );
}

#[test]
fn statuses() {
    let numbers = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, status) in (0..).zip(numbers) {
        assert_eq!(gateway::http_status(Code::from_number(code)).as_u16(), status, "code {code}");
    }
}
