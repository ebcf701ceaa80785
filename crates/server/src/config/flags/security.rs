//! The flags of certificates, of who may connect, and of tokens.

use super::Bind::*;
use super::{Flag, flag};

pub(super) const SECURITY: &[Flag] = &[
    flag(
        "auto-tls",
        Bool(|c| &mut c.auto_tls),
        "false",
        "Serve clients with a certificate made at start-up.",
    )
    .yaml("client-transport-security.auto-tls"),
    flag("cert-file", Text(|c| &mut c.cert_file), "", "Certificate of the client listeners.").yaml("client-transport-security.cert-file"),
    flag(
        "cipher-suites",
        List(|c| &mut c.cipher_suites),
        "",
        "Suites of TLS 1.2 that listeners accept, comma-separated; empty means all supported ones.",
    ),
    flag(
        "client-cert-allowed-hostname",
        List(|c| &mut c.client_cert_allowed_hostname),
        "",
        "Names of which a client certificate must hold one, comma-separated.",
    )
    .yaml("client-transport-security.allowed-hostname"),
    flag(
        "client-cert-auth",
        Bool(|c| &mut c.client_cert_auth),
        "false",
        "Ask clients for a certificate.",
    )
    .yaml("client-transport-security.client-cert-auth"),
    flag(
        "client-cert-file",
        Text(|c| &mut c.client_cert_file),
        "",
        "Certificate this member shows as a client; empty means cert-file.",
    )
    .yaml("client-transport-security.client-cert-file"),
    flag(
        "client-crl-file",
        Text(|c| &mut c.client_crl_file),
        "",
        "File of revoked client certificates.",
    )
    .no_yaml(),
    flag("client-key-file", Text(|c| &mut c.client_key_file), "", "Key of client-cert-file.")
        .yaml("client-transport-security.client-key-file"),
    flag(
        "cors",
        Origins(|c| &mut c.cors),
        "*",
        "Origins that browsers may call from, comma-separated; * means all.",
    ),
    flag(
        "host-whitelist",
        Set(|c| &mut c.host_whitelist),
        "*",
        "Host names that plain HTTP requests may ask for, comma-separated; * means all.",
    )
    .yaml_commas(),
    flag("key-file", Text(|c| &mut c.key_file), "", "Key of cert-file.").yaml("client-transport-security.key-file"),
    flag(
        "peer-auto-tls",
        Bool(|c| &mut c.peer_auto_tls),
        "false",
        "Serve peers with a certificate made at start-up.",
    )
    .yaml("peer-transport-security.auto-tls"),
    flag(
        "peer-cert-allowed-cn",
        List(|c| &mut c.peer_cert_allowed_cn),
        "",
        "Common names of which a peer certificate must hold one.",
    )
    .yaml("peer-transport-security.allowed-cn"),
    flag(
        "peer-cert-allowed-hostname",
        List(|c| &mut c.peer_cert_allowed_hostname),
        "",
        "Names of which a peer certificate must hold one.",
    )
    .yaml("peer-transport-security.allowed-hostname"),
    flag(
        "peer-cert-file",
        Text(|c| &mut c.peer_cert_file),
        "",
        "Certificate of the peer listeners.",
    )
    .yaml("peer-transport-security.cert-file"),
    flag(
        "peer-client-cert-auth",
        Bool(|c| &mut c.peer_client_cert_auth),
        "false",
        "Ask peers for a certificate.",
    )
    .yaml("peer-transport-security.client-cert-auth"),
    flag(
        "peer-client-cert-file",
        Text(|c| &mut c.peer_client_cert_file),
        "",
        "Certificate this member shows to peers; empty means peer-cert-file.",
    )
    .yaml("peer-transport-security.client-cert-file"),
    flag(
        "peer-client-key-file",
        Text(|c| &mut c.peer_client_key_file),
        "",
        "Key of peer-client-cert-file.",
    )
    .yaml("peer-transport-security.client-key-file"),
    flag(
        "peer-crl-file",
        Text(|c| &mut c.peer_crl_file),
        "",
        "File of revoked peer certificates.",
    )
    .no_yaml(),
    flag("peer-key-file", Text(|c| &mut c.peer_key_file), "", "Key of peer-cert-file.").yaml("peer-transport-security.key-file"),
    flag(
        "peer-trusted-ca-file",
        Text(|c| &mut c.peer_trusted_ca_file),
        "",
        "Certificate authorities of peers.",
    )
    .yaml("peer-transport-security.trusted-ca-file"),
    flag(
        "self-signed-cert-validity",
        Uint(|c| &mut c.self_signed_cert_validity),
        "1",
        "Years that certificates made at start-up are valid.",
    ),
    flag(
        "tls-max-version",
        Text(|c| &mut c.tls_max_version),
        "",
        "Highest version of TLS: TLS1.2 or TLS1.3; empty means the highest known.",
    ),
    flag(
        "tls-min-version",
        Text(|c| &mut c.tls_min_version),
        "TLS1.2",
        "Lowest version of TLS: TLS1.2 or TLS1.3.",
    ),
    flag(
        "trusted-ca-file",
        Text(|c| &mut c.trusted_ca_file),
        "",
        "Certificate authorities of clients.",
    )
    .yaml("client-transport-security.trusted-ca-file"),
];

pub(super) const AUTH: &[Flag] = &[
    flag(
        "auth-token",
        Text(|c| &mut c.auth_token),
        "simple",
        "How tokens are made: simple, or jwt with its options.",
    ),
    flag(
        "auth-token-ttl",
        Uint(|c| &mut c.auth_token_ttl),
        "300",
        "Seconds a simple token lives after its last use.",
    ),
    flag(
        "bcrypt-cost",
        Uint(|c| &mut c.bcrypt_cost),
        "10",
        "Cost of hashing passwords, 4 to 31.",
    ),
];
