//! Client TLS of the whole process: who gets in by gRPC and by the gateway, who does not, and what the log says of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::client::Client;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

use crate::authority::Authority;
use crate::harness::{Member, Plan, call, connect_over};

const PUT: &str = "/etcdserverpb.KV/Put";

fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue("server", &["localhost", "127.0.0.1"], ServerAuth, 1);
    authority.issue("alice", &["alice.example"], ClientAuth, 0xab);
    authority
}

/// A plan for https with this authority's files.
fn plan(folder: &std::path::Path, authority: &Authority) -> Plan {
    let mut plan = Plan::new(folder);
    plan.client_scheme = "https";
    let file = |flag: &str, name: &str| format!("--{flag}={}", authority.path(name));
    plan.extra = vec![file("cert-file", "server.pem"), file("key-file", "server.key")];
    plan
}

/// With certificates asked for.
fn asking(folder: &std::path::Path, authority: &Authority) -> Plan {
    let mut plan = plan(folder, authority);
    plan.extra.push(format!("--trusted-ca-file={}", authority.path("ca.pem")));
    plan.extra.push("--client-cert-auth".into());
    plan
}

async fn shake(endpoint: &str, mut config: ClientConfig, protocol: &str) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let socket = tokio::net::TcpStream::connect(endpoint).await?;
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn grpc(endpoint: &str, config: ClientConfig) -> std::io::Result<Client> {
    Ok(connect_over(endpoint, shake(endpoint, config, "h2").await?))
}

async fn put(client: &Client) -> Result<pb::PutResponse, http2::Status> {
    let request = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        ..Default::default()
    };
    call(client, PUT, &request).await
}

/// A write by gRPC; `false` when the connection or the call is refused.
async fn put_by_grpc(endpoint: &str, config: ClientConfig) -> bool {
    match grpc(endpoint, config).await {
        // With TLS 1.3 a client learns of its refusal only after its own side of the handshake is done.
        Ok(client) => put(&client).await.is_ok(),
        Err(_) => false,
    }
}

/// A write by the gateway; the answer's text, or `None` when the connection is refused.
async fn put_by_gateway(endpoint: &str, config: ClientConfig) -> Option<String> {
    let mut stream = shake(endpoint, config, "http/1.1").await.ok()?;
    let body = r#"{"key":"Zm9v","value":"YmFy"}"#;
    let request = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// Waits for something, and gives it.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The `count`-th line about somebody sent away.
async fn rejection(member: &Member, count: usize) -> String {
    until("the log tells of it", || {
        let log = member.log_text();
        let mut lines = log.lines().filter(|line| line.contains("rejected connection on client endpoint"));
        lines.nth(count - 1).map(str::to_owned)
    })
    .await
}

/// A member that alice may use, as soon as she can.
async fn start(plan: &Plan, authority: &Authority) -> Member {
    let member = plan.spawn();
    until("it serves", || member.log_text().contains("serving client traffic").then_some(())).await;
    assert!(
        put_by_grpc(&member.endpoint, authority.client(Some("alice"))).await,
        "{}",
        member.log_text()
    );
    member
}

#[tokio::test]
async fn only_the_right_certificate_gets_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, other) = (authority(), authority());
    let member = start(&asking(folder.path(), &authority), &authority).await;
    let answer = put_by_gateway(&member.endpoint, authority.client(Some("alice")))
        .await
        .expect("an answer");
    assert!(answer.contains("\"revision\":\"3\""), "{answer}");
    // Nobody's certificate, and one of an authority that is not trusted.
    let stranger = other.client_that_trusts(&authority.path("ca.pem"), Some("alice"));
    for (count, config) in [(1, authority.client(None)), (2, stranger)] {
        assert!(!put_by_grpc(&member.endpoint, config.clone()).await, "{count}");
        let line = rejection(&member, 2 * count - 1).await;
        assert!(
            line.contains("\"level\":\"warn\"") && line.contains("\"remote-addr\":\"127.0.0.1:"),
            "{line}"
        );
        assert!(put_by_gateway(&member.endpoint, config).await.is_none(), "{count}");
        rejection(&member, 2 * count).await;
    }
    // And no plain text.
    let plain = crate::harness::http(&member.endpoint, "GET /health HTTP/1.1").unwrap_or_default();
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    assert!(put_by_grpc(&member.endpoint, authority.client(Some("alice"))).await);
    assert!(member.terminate().success());
}

#[tokio::test]
async fn files_are_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = authority();
    let mut plan = asking(folder.path(), &authority);
    authority.revoke("revoked.pem", 0xaa);
    plan.extra.push(format!("--client-crl-file={}", authority.path("revoked.pem")));
    plan.extra.push("--client-cert-allowed-hostname=alice.example".into());
    authority.issue("bob", &["bob.example"], ClientAuth, 0xac);
    let member = start(&plan, &authority).await;
    assert!(
        !put_by_grpc(&member.endpoint, authority.client(Some("bob"))).await,
        "bob's name is not allowed"
    );
    rejection(&member, 1).await;
    let shown = |stream: &TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().expect("a certificate")[0]
            .clone()
            .into_owned()
    };
    let first = shake(&member.endpoint, authority.client(Some("alice")), "h2").await.expect("alice");
    authority.issue("server", &["127.0.0.1"], ServerAuth, 2);
    let second = shake(&member.endpoint, authority.client(Some("alice")), "h2").await.expect("alice");
    assert_ne!(shown(&first), shown(&second), "the new certificate is shown");
    authority.revoke("revoked.pem", 0xab);
    assert!(
        !put_by_grpc(&member.endpoint, authority.client(Some("alice"))).await,
        "alice's certificate is revoked"
    );
    let line = rejection(&member, 2).await;
    assert!(line.contains("certificate serial ab revoked"), "{line}");
    assert!(member.terminate().success());
}

#[tokio::test]
async fn a_certificate_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let mut plan = Plan::new(folder.path()).with(&["--auto-tls"]);
    plan.client_scheme = "https";
    let file = plan.data.join("fixtures/client/cert.pem").to_string_lossy().into_owned();
    for round in 0..2 {
        let member = plan.spawn();
        // Each start appends to the log.
        until("it serves", || {
            let starts = member.log_text().matches("serving client traffic").count();
            (starts > round).then_some(())
        })
        .await;
        let config = authority.client_that_trusts(&file, None);
        assert!(put_by_grpc(&member.endpoint, config.clone()).await, "round {round}");
        assert!(put_by_gateway(&member.endpoint, config).await.is_some(), "round {round}");
        assert!(member.terminate().success());
    }
}
