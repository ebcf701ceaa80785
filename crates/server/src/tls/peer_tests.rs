//! Handshakes in memory between two members, each with the TLS that its flags describe.

use super::tests::issuing::Authority;
use super::*;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use std::net::IpAddr;

fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue("server", &["localhost", "127.0.0.1"], ServerAuth, 1);
    authority.issue("client", &["peer.example"], ClientAuth, 2);
    authority
}

/// What the flags say on a member of this authority.
fn settings(authority: &Authority) -> TlsSettings {
    TlsSettings {
        cert_file: authority.path("server.pem"),
        key_file: authority.path("server.key"),
        client_cert_file: authority.path("client.pem"),
        client_key_file: authority.path("client.key"),
        trusted_ca_file: authority.path("ca.pem"),
        ..TlsSettings::default()
    }
}

/// Passes bytes both ways until nobody has anything to say; what each side ends with.
fn shake(server: &ServerTls, client: &ClientTls, host: &str) -> (Result<ServerConnection, String>, Result<ClientConnection, String>) {
    let mut server = ServerConnection::new(server.config()).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.config(), name).unwrap();
    let (mut server_error, mut client_error) = (None, None);
    let text = |error: rustls::Error| reason(&std::io::Error::other(error));
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        let failed = server.process_new_packets().err().map(text);
        server_error = server_error.or(failed);
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        let failed = client.process_new_packets().err().map(text);
        client_error = client_error.or(failed);
    }
    (server_error.map_or(Ok(server), Err), client_error.map_or(Ok(client), Err))
}

#[test]
fn both_sides_show_who_they_are() {
    let authority = authority();
    let server = ServerTls::for_peers(settings(&authority)).unwrap();
    let client = ClientTls::new(settings(&authority), Trust::Authorities).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let (accepted, dialled) = shake(&server, &client, host);
        let (accepted, dialled) = (accepted.unwrap(), dialled.unwrap());
        assert_eq!((accepted.alpn_protocol(), dialled.alpn_protocol()), (None, None));
        let identity = server.admit(accepted.peer_certificates()).unwrap().unwrap();
        assert_eq!(identity.common_name, "client");
    }
    let (_, dialled) = shake(&server, &client, "127.0.0.2");
    assert_eq!(dialled.unwrap_err(), "x509: certificate is valid for 127.0.0.1, not 127.0.0.2");
    let (_, dialled) = shake(&server, &client, "elsewhere.example");
    assert_eq!(
        dialled.unwrap_err(),
        "x509: certificate is valid for localhost, not elsewhere.example"
    );

    let nameless = ClientTls::new(
        TlsSettings {
            trusted_ca_file: authority.path("ca.pem"),
            ..TlsSettings::default()
        },
        Trust::Authorities,
    )
    .unwrap();
    let (accepted, _) = shake(&server, &nameless, "localhost");
    assert_eq!(accepted.unwrap_err(), "tls: client didn't provide a certificate");
}

#[test]
fn names_are_looked_at_in_both_directions() {
    let authority = authority();
    let open = settings(&authority);
    let by_cn = |cns: &[&str]| TlsSettings {
        allowed_common_names: cns.iter().map(|cn| (*cn).to_owned()).collect(),
        ..settings(&authority)
    };
    let by_host = |host: &str| TlsSettings {
        allowed_hostnames: vec![host.to_owned()],
        ..settings(&authority)
    };
    let outcome = |server: TlsSettings, client: TlsSettings| {
        let server = ServerTls::for_peers(server).unwrap();
        let client = ClientTls::new(client, Trust::Authorities).unwrap();
        let (accepted, dialled) = shake(&server, &client, "localhost");
        (accepted.err(), dialled.err())
    };
    assert_eq!(outcome(by_cn(&["nobody", "client"]), open.clone()), (None, None));
    assert_eq!(outcome(by_host("peer.example"), open.clone()), (None, None));
    for strict in [by_cn(&["server"]), by_host("localhost")] {
        let (accepted, dialled) = outcome(strict, open.clone());
        assert_eq!(accepted.unwrap(), "client certificate authentication failed");
        assert_eq!(dialled.unwrap(), "remote error: tls: bad certificate");
    }
    for fitting in [by_cn(&["server"]), by_host("localhost")] {
        assert_eq!(outcome(open.clone(), fitting), (None, None));
    }
    for strict in [by_cn(&["client"]), by_host("peer.example")] {
        let (accepted, dialled) = outcome(open.clone(), strict);
        assert_eq!(dialled.unwrap(), "client certificate authentication failed");
        assert_eq!(accepted.unwrap(), "remote error: tls: bad certificate");
    }
    let both = TlsSettings {
        allowed_hostnames: vec!["h".to_owned()],
        ..by_cn(&["c"])
    };
    assert_eq!(
        ServerTls::for_peers(both).err().unwrap().to_string(),
        "AllowedCN and AllowedHostname are mutually exclusive (cns=[c], hostnames=[h])"
    );
}

#[test]
fn files_are_read_again() {
    let (first, second) = (authority(), authority());
    let server = ServerTls::for_peers(settings(&first)).unwrap();
    let client = ClientTls::new(settings(&first), Trust::Authorities).unwrap();
    let works = |server: &ServerTls, client: &ClientTls| {
        let (accepted, dialled) = shake(server, client, "localhost");
        accepted.is_ok() && dialled.is_ok()
    };
    assert!(works(&server, &client));
    // Certificates of the other authority: nobody trusts them until its own certificate stands there, too.
    for name in ["server.pem", "server.key", "client.pem", "client.key"] {
        std::fs::copy(second.path(name), first.path(name)).unwrap();
    }
    assert!(!works(&server, &client));
    std::fs::write(first.path("ca.pem"), "nothing of use").unwrap();
    assert!(!works(&server, &client), "nor does a broken file open the door");
    std::fs::copy(second.path("ca.pem"), first.path("ca.pem")).unwrap();
    assert!(works(&server, &client));
}

#[test]
fn certificates_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = auto::certificate(directory.path(), &["10.1.2.3".to_owned()], 1).unwrap();
    let settings = TlsSettings {
        cert_file,
        key_file,
        ..TlsSettings::default()
    };
    let server = ServerTls::for_peers(settings.clone()).unwrap();
    let client = ClientTls::new(settings.clone(), Trust::Anybody).unwrap();
    let (accepted, dialled) = shake(&server, &client, "localhost");
    assert!(accepted.is_ok() && dialled.is_ok(), "any host, any signature");
    let wary = ClientTls::new(settings, Trust::Authorities).unwrap();
    assert!(shake(&server, &wary, "10.1.2.3").1.is_err());
}

#[test]
fn certificates_speak_of_their_address() {
    let holder = |names: &[&str], addresses: &[&str]| ClientIdentity {
        dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..ClientIdentity::default()
    };
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    assert_eq!(check_holder(&holder(&[], &[]), local), Ok(()));
    assert_eq!(check_holder(&holder(&[], &["10.0.0.1", "127.0.0.1"]), local), Ok(()));
    assert_eq!(
        check_holder(&holder(&[], &["127.0.0.1"]), "::ffff:127.0.0.1".parse().unwrap()),
        Ok(())
    );
    assert_eq!(check_holder(&holder(&["localhost"], &["10.0.0.1"]), local), Ok(()));
    assert_eq!(
        check_holder(&holder(&[], &["10.0.0.1", "10.0.0.2"]), local).unwrap_err(),
        "x509: certificate is valid for 10.0.0.1, 10.0.0.2, not 127.0.0.1"
    );
    let refused = check_holder(&holder(&["nosuch.invalid"], &[]), local).unwrap_err();
    assert!(
        refused.starts_with("tls: \"127.0.0.1\" does not match any of DNSNames [\"nosuch.invalid\"]"),
        "{refused}"
    );
}
