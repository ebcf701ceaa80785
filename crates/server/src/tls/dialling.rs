//! TLS of the connections that this member makes to others: which certificate it shows, and whom it trusts.

use super::certificates::{self, ReloadingCertificate, Stamp};
use super::names::Allowed;
use super::{TlsError, TlsSettings, provider, versions, warn_authorities};
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// All that is needed to dial other members.
pub struct ClientTls {
    settings: TlsSettings,
    trust: Trust,
    certificate: Option<Arc<ReloadingCertificate>>,
    current: Mutex<Current>,
}

/// Whom a dialling member believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities of the settings; the system's if there are none.
    Authorities,
    /// Anybody: with certificates that each member signs for itself there is nothing to check (`--peer-auto-tls`).
    Anybody,
}

struct Current {
    authorities: Option<Stamp>,
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the files and checks that they fit together. Without a certificate none is shown.
    ///
    /// # Errors
    /// `TlsError`.
    pub fn new(settings: TlsSettings, trust: Trust) -> Result<ClientTls, TlsError> {
        let (cert, key) = if settings.client_cert_file.is_empty() {
            (&settings.cert_file, &settings.key_file)
        } else {
            (&settings.client_cert_file, &settings.client_key_file)
        };
        let certificate = if settings.is_empty() {
            None
        } else {
            super::check_files(&settings)?;
            Some(Arc::new(ReloadingCertificate::new(cert, key)?))
        };
        let authorities = Stamp::of(&settings.trusted_ca_file);
        let config = Arc::new(client_config(&settings, trust, certificate.as_ref())?);
        Ok(ClientTls {
            settings,
            trust,
            certificate,
            current: Mutex::new(Current { authorities, config }),
        })
    }

    /// What a new connection begins with. A changed file of authorities counts at once; one that can't be used changes nothing.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock();
        let authorities = Stamp::of(&self.settings.trusted_ca_file);
        if current.authorities != authorities {
            current.authorities = authorities;
            match client_config(&self.settings, self.trust, self.certificate.as_ref()) {
                Ok(config) => current.config = Arc::new(config),
                Err(error) => warn_authorities(&self.settings.trusted_ca_file, &error),
            }
        }
        Arc::clone(&current.config)
    }
}

fn client_config(settings: &TlsSettings, trust: Trust, certificate: Option<&Arc<ReloadingCertificate>>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider(&settings.cipher_suites)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(AnyServer(provider.signature_verification_algorithms)),
        Trust::Authorities => trusted_servers(settings, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(certificate) => builder.with_client_cert_resolver(Arc::clone(certificate) as _),
        None => builder.with_no_client_auth(),
    };
    // A resumed connection would not look at certificates again, and those may have changed.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn trusted_servers(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let roots = Arc::new(certificates::trusted(&settings.trusted_ca_file)?);
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsError::Rustls(format!("{error} ({})", settings.trusted_ca_file)))?;
    // Without a certificate of one's own the rules of the flags do not count, as in etcd.
    let allowed = if settings.is_empty() {
        Allowed::Anybody
    } else {
        Allowed::of(settings)?
    };
    Ok(Arc::new(NamedServers { inner, allowed }))
}

/// Wants certificates of trusted authorities for the host that was dialled and, if names are given, one that holds one of them.
#[derive(Debug)]
struct NamedServers {
    inner: Arc<WebPkiServerVerifier>,
    allowed: Allowed,
}

impl ServerCertVerifier for NamedServers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .verify_server_cert(certificate, intermediates, server_name, ocsp_response, now)?;
        self.allowed.check(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate whose holder has its key.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
