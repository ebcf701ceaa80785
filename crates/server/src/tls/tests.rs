//! Handshakes in memory between this server's TLS and a rustls client, with certificates made here.

use super::*;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use std::path::{Path, PathBuf};

// The tests of whole processes make their certificates in the same way.
#[path = "../../../../tests/process/authority.rs"]
pub(super) mod issuing;

use issuing::Authority;

fn settings(authority: &Authority) -> TlsSettings {
    TlsSettings {
        cert_file: authority.path("server.pem"),
        key_file: authority.path("server.key"),
        ..TlsSettings::default()
    }
}

fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue("server", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, 1);
    authority.issue("alice", &["alice.example", "10.0.0.7"], ExtendedKeyUsagePurpose::ClientAuth, 0xab);
    authority
}

/// Passes bytes both ways until nobody has anything to say.
fn shake(server: &ServerTls, client: ClientConfig) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let mut server = ServerConnection::new(server.config())?;
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap())?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

#[test]
fn speaks_and_reloads() {
    let authority = authority();
    let tls = ServerTls::new(settings(&authority)).unwrap();
    let (server, client) = shake(&tls, authority.client(None)).unwrap();
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(tls.admit(server.peer_certificates()), Ok(None));
    let shown = client.peer_certificates().unwrap()[0].clone().into_owned();
    authority.issue("server", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth, 2);
    let (_, client) = shake(&tls, authority.client(None)).unwrap();
    assert_ne!(
        client.peer_certificates().unwrap()[0],
        shown,
        "the new certificate is shown without a restart"
    );
    std::fs::remove_file(authority.path("server.key")).unwrap();
    assert!(
        shake(&tls, authority.client(None)).is_err(),
        "without its key there is nothing to show"
    );
}

#[test]
fn asks_who_connects() {
    let authority = authority();
    let with = |change: &dyn Fn(&mut TlsSettings)| {
        let mut settings = settings(&authority);
        settings.trusted_ca_file = authority.path("ca.pem");
        change(&mut settings);
        ServerTls::new(settings).unwrap()
    };
    let tls = with(&|_| {});
    assert!(
        shake(&tls, authority.client(None)).is_err(),
        "an authority alone means that certificates are asked for"
    );
    let (server, _) = shake(&tls, authority.client(Some("alice"))).unwrap();
    let identity = tls.admit(server.peer_certificates()).unwrap().unwrap();
    assert_eq!(identity.common_name, "alice");
    assert_eq!(identity.dns_names, ["alice.example"]);
    assert_eq!(identity.addresses, ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]);
    for (allowed, good) in [("bob.example", false), ("alice.example", true), ("10.0.0.7", true)] {
        let tls = with(&|settings| settings.allowed_hostnames = vec!["nobody.example".to_owned(), allowed.to_owned()]);
        assert_eq!(shake(&tls, authority.client(Some("alice"))).is_ok(), good, "{allowed}");
    }
}

#[test]
fn revoked_certificates_are_sent_away() {
    let authority = authority();
    let list = authority.path("list.pem");
    let revoke = |serial: u64| authority.revoke("list.pem", serial);
    let tls = ServerTls::new(TlsSettings {
        trusted_ca_file: authority.path("ca.pem"),
        crl_file: list.clone(),
        ..settings(&authority)
    })
    .unwrap();
    let (server, _) = shake(&tls, authority.client(Some("alice"))).unwrap();
    assert!(
        matches!(tls.admit(server.peer_certificates()), Err(TlsError::File(_))),
        "no list, no entry"
    );
    revoke(0xaa);
    assert!(tls.admit(server.peer_certificates()).is_ok());
    revoke(0xab);
    assert_eq!(
        tls.admit(server.peer_certificates()).unwrap_err().to_string(),
        "transport: certificate serial ab revoked"
    );
}

#[test]
fn versions_and_suites() {
    let authority = authority();
    let tls = ServerTls::new(TlsSettings {
        max_version: "TLS1.2".to_owned(),
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305".to_owned()],
        ..settings(&authority)
    })
    .unwrap();
    let (server, _) = shake(&tls, authority.client(None)).unwrap();
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(
        server.negotiated_cipher_suite().map(|s| go_name(&s)).as_deref(),
        Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
    );
    let refused = |name: &str| check_suites(&[name.to_owned()]).unwrap_err().to_string();
    assert_eq!(refused("BOGUS"), "unexpected TLS cipher suite \"BOGUS\"");
    assert!(refused("TLS_RSA_WITH_AES_128_CBC_SHA").contains("is not supported"));
    assert_eq!(
        check_suites(&[
            "TLS_AES_128_GCM_SHA256".to_owned(),
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned()
        ]),
        Ok(())
    );
}

#[test]
fn files_are_refused_as_go_does() {
    let authority = authority();
    std::fs::write(authority.path("bad.pem"), "this is not a certificate\n").unwrap();
    authority.issue("other", &[], ExtendedKeyUsagePurpose::ServerAuth, 3);
    let refused = |cert: &str, key: &str| {
        let settings = TlsSettings {
            cert_file: cert.to_owned(),
            key_file: key.to_owned(),
            ..TlsSettings::default()
        };
        check_files(&settings).unwrap_err().to_string()
    };
    let (cert, key, bad) = (
        authority.path("server.pem"),
        authority.path("server.key"),
        authority.path("bad.pem"),
    );
    assert_eq!(refused("nosuch.pem", "nosuch.key"), "open nosuch.pem: no such file or directory");
    assert_eq!(refused(&bad, &bad), "tls: failed to find any PEM data in certificate input");
    assert_eq!(refused(&cert, &bad), "tls: failed to find any PEM data in key input");
    assert_eq!(
        refused(&cert, &authority.path("other.key")),
        "tls: private key does not match public key"
    );
    assert_eq!(
        refused(&cert, ""),
        format!("KeyFile and CertFile must both be present[key: , cert: {cert}]")
    );
    assert!(
        check_files(&TlsSettings {
            cert_file: cert,
            key_file: key,
            ..TlsSettings::default()
        })
        .is_ok()
    );
}

#[test]
fn own_certificates_are_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("fixtures/client");
    let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let (cert, key) = auto::certificate(&path, &hosts, 1).unwrap();
    let first = std::fs::read(&cert).unwrap();
    assert_eq!(auto::certificate(&path, &hosts, 1), Ok((cert.clone(), key.clone())));
    assert_eq!(std::fs::read(&cert).unwrap(), first);
    let identity = ClientIdentity::of(&CertificateDer::from_pem_file(&cert).unwrap()).unwrap();
    assert_eq!(
        (identity.dns_names.as_slice(), identity.addresses.len()),
        (&["localhost".to_owned()][..], 1)
    );
    let mode = |path: &str| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(Path::new(path)).unwrap()) & 0o777;
    assert_eq!(mode(&key), 0o600);
    ServerTls::new(TlsSettings {
        cert_file: cert,
        key_file: key,
        ..TlsSettings::default()
    })
    .unwrap();
    assert_eq!(
        auto::certificate(&path, &hosts, 0).unwrap_err().to_string(),
        "selfSignedCertValidity is invalid,it should be greater than 0"
    );
}
