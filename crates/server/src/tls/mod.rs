//! TLS of the listeners and of the connections to other members, by rustls: versions, suites, certificates and authorities that may
//! change while the server runs, and who may connect.
//!
//! The connection itself (sockets, reading and writing) is the listeners' business: they drive a `rustls::ServerConnection` made
//! from `ServerTls::config`, and ask `ServerTls::admit` once the handshake is done. Members that dial do so with `ClientTls::config`.
//! Stands before step 2 of the life of a Put, and under what members say to each other.

pub mod auto;
mod certificates;
mod clients;
mod dialling;
mod names;
mod reasons;

pub use clients::ClientIdentity;
pub use dialling::{ClientTls, Trust};
pub use names::check_holder;
pub use reasons::reason;

use crate::config::Config;
use crate::log::{self, error_field, field};
use certificates::{ReloadingCertificate, Stamp};
use clients::NamedClients;
use compat::strconv::quote;
use names::Allowed;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

/// The settings of one kind of listener, as the flags give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate shown to those who connect.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// The certificate shown when connecting to others; empty for the same one.
    pub client_cert_file: String,
    /// Its key.
    pub client_key_file: String,
    /// Who may sign the certificates of those who connect.
    pub trusted_ca_file: String,
    /// Whether those who connect must show one; a `trusted_ca_file` means so too.
    pub client_cert_auth: bool,
    /// Certificates that are no longer good.
    pub crl_file: String,
    /// Names of which their certificate must hold one; empty for any.
    pub allowed_hostnames: Vec<String>,
    /// Common names of which their certificate must bear one; empty for any. Not together with `allowed_hostnames`.
    pub allowed_common_names: Vec<String>,
    /// Suites of TLS 1.2; empty for all.
    pub cipher_suites: Vec<String>,
    /// The lowest version; empty for TLS 1.2.
    pub min_version: String,
    /// The highest version; empty for the highest known.
    pub max_version: String,
}

impl TlsSettings {
    /// Those of the client listeners.
    pub fn client(config: &Config) -> TlsSettings {
        TlsSettings {
            cert_file: config.cert_file.clone(),
            key_file: config.key_file.clone(),
            client_cert_file: config.client_cert_file.clone(),
            client_key_file: config.client_key_file.clone(),
            trusted_ca_file: config.trusted_ca_file.clone(),
            client_cert_auth: config.client_cert_auth,
            crl_file: config.client_crl_file.clone(),
            allowed_hostnames: config.client_cert_allowed_hostname.clone(),
            allowed_common_names: Vec::new(),
            cipher_suites: config.cipher_suites.clone(),
            min_version: config.tls_min_version.clone(),
            max_version: config.tls_max_version.clone(),
        }
    }

    /// Those of the peer listeners.
    pub fn peer(config: &Config) -> TlsSettings {
        TlsSettings {
            cert_file: config.peer_cert_file.clone(),
            key_file: config.peer_key_file.clone(),
            client_cert_file: config.peer_client_cert_file.clone(),
            client_key_file: config.peer_client_key_file.clone(),
            trusted_ca_file: config.peer_trusted_ca_file.clone(),
            client_cert_auth: config.peer_client_cert_auth,
            crl_file: config.peer_crl_file.clone(),
            allowed_hostnames: config.peer_cert_allowed_hostname.clone(),
            allowed_common_names: config.peer_cert_allowed_cn.clone(),
            cipher_suites: config.cipher_suites.clone(),
            min_version: config.tls_min_version.clone(),
            max_version: config.tls_max_version.clone(),
        }
    }

    /// Whether there is no certificate at all.
    pub fn is_empty(&self) -> bool {
        self.cert_file.is_empty() && self.key_file.is_empty()
    }
}

/// Why TLS can't be spoken, or why somebody may not connect. The texts are Go's where Go has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A certificate without its key, or the other way round.
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]")]
    Half {
        /// The key file.
        key: String,
        /// The certificate file.
        cert: String,
    },
    /// The same for the certificate shown to others.
    #[error("ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: {cert}]")]
    HalfClient {
        /// The key file.
        key: String,
        /// The certificate file.
        cert: String,
    },
    /// Two rules where only one can count.
    #[error("AllowedCN and AllowedHostname are mutually exclusive (cns=[{cns}], hostnames=[{hostnames}])")]
    TwoRules {
        /// The common names.
        cns: String,
        /// The host names.
        hostnames: String,
    },
    /// No such suite anywhere.
    #[error("unexpected TLS cipher suite {}", quote(.0))]
    UnknownSuite(String),
    /// A suite without forward secrecy or without authenticated encryption.
    #[error("TLS cipher suite {} is not supported: only ECDHE suites with AES-GCM or ChaCha20-Poly1305 are", quote(.0))]
    WeakSuite(String),
    /// A file that can't be read or does not hold what it should.
    #[error("{0}")]
    File(String),
    /// What rustls found wrong.
    #[error("tls: {0}")]
    Rustls(String),
    /// The certificate is on the list of those that are no longer good.
    #[error("transport: certificate serial {0} revoked")]
    Revoked(String),
}

/// Which listeners are meant: they differ in what they offer to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// HTTP/2 and HTTP/1.1.
    Clients,
    /// HTTP/1.1 without saying so, as members always spoke.
    Peers,
}

/// All that listeners need to speak TLS.
pub struct ServerTls {
    settings: TlsSettings,
    side: Side,
    certificate: Arc<ReloadingCertificate>,
    current: Mutex<Current>,
}

/// What new connections begin with, and the authorities' file that it was made from.
struct Current {
    authorities: Option<Stamp>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Of the client listeners: reads the files and checks that they fit together.
    ///
    /// # Errors
    /// `TlsError`; a server must not begin to listen then.
    pub fn new(settings: TlsSettings) -> Result<ServerTls, TlsError> {
        ServerTls::of(settings, Side::Clients)
    }

    /// The same of the peer listeners.
    ///
    /// # Errors
    /// As those of `new`.
    pub fn for_peers(settings: TlsSettings) -> Result<ServerTls, TlsError> {
        ServerTls::of(settings, Side::Peers)
    }

    fn of(settings: TlsSettings, side: Side) -> Result<ServerTls, TlsError> {
        check_files(&settings)?;
        let certificate = Arc::new(ReloadingCertificate::new(&settings.cert_file, &settings.key_file)?);
        let authorities = Stamp::of(&settings.trusted_ca_file);
        let config = Arc::new(server_config(&settings, side, &certificate)?);
        Ok(ServerTls {
            settings,
            side,
            certificate,
            current: Mutex::new(Current { authorities, config }),
        })
    }

    /// What a new connection begins with. A changed file of authorities counts at once; one that can't be used changes nothing.
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        let authorities = Stamp::of(&self.settings.trusted_ca_file);
        if current.authorities != authorities {
            current.authorities = authorities;
            match server_config(&self.settings, self.side, &self.certificate) {
                Ok(config) => current.config = Arc::new(config),
                Err(error) => warn_authorities(&self.settings.trusted_ca_file, &error),
            }
        }
        Arc::clone(&current.config)
    }

    /// Whether the other side of a finished handshake may stay, and who it is; `None` when it showed no certificate. The list of
    /// certificates that are no longer good is read anew each time, so that a change of it counts at once.
    ///
    /// # Errors
    /// `TlsError::Revoked`, or why that list can't be read: nobody is let in then.
    pub fn admit(&self, certificates: Option<&[CertificateDer<'_>]>) -> Result<Option<ClientIdentity>, TlsError> {
        let Some((first, _)) = certificates.and_then(<[_]>::split_first) else {
            return Ok(None);
        };
        if !self.settings.crl_file.is_empty() {
            clients::check_revoked(&self.settings.crl_file, certificates.unwrap_or_default())?;
        }
        ClientIdentity::of(first).map(Some)
    }
}

fn server_config(settings: &TlsSettings, side: Side, certificate: &Arc<ReloadingCertificate>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider(&settings.cipher_suites)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    let allowed = Allowed::of(settings)?;
    let builder = if settings.client_cert_auth || !settings.trusted_ca_file.is_empty() {
        let roots = Arc::new(certificates::trusted(&settings.trusted_ca_file)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::Rustls(format!("{error} ({})", settings.trusted_ca_file)))?;
        builder.with_client_cert_verifier(Arc::new(NamedClients::new(verifier, allowed)))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificate) as _);
    if side == Side::Clients {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(config)
}

fn warn_authorities(file: &str, error: &TlsError) {
    log::warn(
        "failed to read the changed trusted CA file; going on with the old one",
        &[field("trusted-ca-file", file), error_field(error)],
    );
}

/// Checks that certificate and key are both there and fit together.
///
/// # Errors
/// `TlsError` in Go's words.
pub fn check_files(settings: &TlsSettings) -> Result<(), TlsError> {
    let TlsSettings {
        cert_file,
        key_file,
        client_cert_file,
        client_key_file,
        ..
    } = settings;
    if cert_file.is_empty() || key_file.is_empty() {
        return Err(TlsError::Half {
            key: key_file.clone(),
            cert: cert_file.clone(),
        });
    }
    ReloadingCertificate::new(cert_file, key_file)?;
    if client_cert_file.is_empty() != client_key_file.is_empty() {
        return Err(TlsError::HalfClient {
            key: client_key_file.clone(),
            cert: client_cert_file.clone(),
        });
    }
    if !client_cert_file.is_empty() {
        ReloadingCertificate::new(client_cert_file, client_key_file)?;
    }
    Ok(())
}

/// Checks the names of `--cipher-suites`.
///
/// # Errors
/// The first name that is unknown, or known and not spoken here.
pub fn check_suites(names: &[String]) -> Result<(), TlsError> {
    provider(names).map(drop)
}

/// The cryptography, with the suites of TLS 1.2 that are named; those of TLS 1.3 can't be chosen, as in Go.
fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let mut wanted = Vec::new();
    for name in names {
        let full = match name.as_str() {
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => format!("{name}_SHA256"),
            _ => name.clone(),
        };
        if !provider.cipher_suites.iter().any(|suite| go_name(suite) == full) {
            let known = WEAK.contains(&name.as_str());
            return Err(if known {
                TlsError::WeakSuite(name.clone())
            } else {
                TlsError::UnknownSuite(name.clone())
            });
        }
        wanted.push(full);
    }
    provider
        .cipher_suites
        .retain(|suite| suite.version() == &rustls::version::TLS13 || wanted.contains(&go_name(suite)));
    Ok(provider)
}

/// A suite's name in Go, which is the standard's.
fn go_name(suite: &rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Suites that Go knows and rustls, for good reasons, does not.
const WEAK: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// The versions between the two of the settings. That they are in order was checked with the settings.
fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::new();
    if settings.max_version != "TLS1.2" {
        versions.push(&rustls::version::TLS13);
    }
    if settings.min_version != "TLS1.3" {
        versions.push(&rustls::version::TLS12);
    }
    versions
}

#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod tests;
