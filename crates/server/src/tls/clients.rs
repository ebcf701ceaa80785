//! Who may connect: allowed names, certificates that are no longer good, and what a certificate says about its holder.

use super::TlsError;
use super::names::Allowed;
use compat::errno;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::*;

/// What a verified certificate says about its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The common name: the user's name when auth is on. Empty when there is none.
    pub common_name: String,
    /// The DNS names among the alternative names.
    pub dns_names: Vec<String>,
    /// The addresses among them.
    pub addresses: Vec<IpAddr>,
    /// The URIs among them.
    pub uris: Vec<String>,
}

impl ClientIdentity {
    /// Reads a certificate that the handshake has verified.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<ClientIdentity, TlsError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable)?;
        // Of several common names Go takes the last.
        let common_name = parsed
            .subject()
            .iter_common_name()
            .last()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default();
        let mut identity = ClientIdentity {
            common_name: common_name.to_owned(),
            ..ClientIdentity::default()
        };
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| TlsError::Rustls(error.to_string()))?;
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => identity.dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => identity.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(identity)
    }
}

fn unreadable(error: impl std::fmt::Display) -> TlsError {
    TlsError::Rustls(format!("failed to parse certificate: {error}"))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Refuses whoever shows a certificate, of the whole chain, whose serial number is on the list in the file. Only the numbers
/// count, not who signed the list: that is how etcd does it.
pub(super) fn check_revoked(crl_file: &str, certificates: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let bytes = std::fs::read(crl_file).map_err(|error| TlsError::File(errno::at_path("open", Path::new(crl_file), &error)))?;
    let decoded;
    let der = match x509_parser::pem::parse_x509_pem(&bytes) {
        Ok((_, pem)) => {
            decoded = pem.contents;
            &decoded[..]
        }
        Err(_) => &bytes[..],
    };
    let (_, list) =
        CertificateRevocationList::from_der(der).map_err(|error| TlsError::File(format!("x509: malformed crl: {crl_file}: {error}")))?;
    for certificate in certificates {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable)?;
        if list
            .iter_revoked_certificates()
            .any(|revoked| revoked.user_certificate == parsed.tbs_certificate.serial)
        {
            let serial = parsed
                .raw_serial()
                .iter()
                .skip_while(|byte| **byte == 0)
                .fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                });
            return Err(TlsError::Revoked(serial));
        }
    }
    Ok(())
}

/// Asks for certificates of trusted authorities and, if names are given, for one that holds one of them.
#[derive(Debug)]
pub(super) struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    allowed: Allowed,
}

impl NamedClients {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, allowed: Allowed) -> Self {
        NamedClients { inner, allowed }
    }
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        self.allowed.check(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
