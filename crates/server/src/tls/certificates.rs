//! Certificates and keys from files, read again for a handshake when the files have changed.

use super::TlsError;
use crate::log::{self, error_field, field};
use compat::errno;
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// What tells a file from the one that stood there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    /// `None` where there is no file.
    pub(super) fn of(path: &str) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        })
    }
}

/// A certificate with its key, as new as its files.
#[derive(Debug)]
pub(super) struct ReloadingCertificate {
    cert_file: String,
    key_file: String,
    loaded: Mutex<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    stamps: [Option<Stamp>; 2],
    key: Arc<CertifiedKey>,
}

impl ReloadingCertificate {
    /// Reads both files.
    pub(super) fn new(cert_file: &str, key_file: &str) -> Result<Self, TlsError> {
        let stamps = [Stamp::of(cert_file), Stamp::of(key_file)];
        let key = Arc::new(read_pair(cert_file, key_file)?);
        Ok(ReloadingCertificate {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            loaded: Mutex::new(Loaded { stamps, key }),
        })
    }

    fn current(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        // The stamps are taken before the files are read: a change in between is seen at the next handshake.
        let stamps = [Stamp::of(&self.cert_file), Stamp::of(&self.key_file)];
        let mut loaded = self.loaded.lock();
        if loaded.stamps != stamps || stamps.contains(&None) {
            *loaded = Loaded {
                stamps,
                key: Arc::new(read_pair(&self.cert_file, &self.key_file)?),
            };
        }
        Ok(Arc::clone(&loaded.key))
    }
}

impl ReloadingCertificate {
    fn shown(&self, message: &str) -> Option<Arc<CertifiedKey>> {
        match self.current() {
            Ok(key) => Some(key),
            // Without a certificate the handshake fails, as it does in etcd: a certificate that was withdrawn is not shown any more.
            Err(error) => {
                log::warn(
                    message,
                    &[
                        field("cert-file", &self.cert_file),
                        field("key-file", &self.key_file),
                        error_field(&error),
                    ],
                );
                None
            }
        }
    }
}

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown("failed to create certificate")
    }
}

impl ResolvesClientCert for ReloadingCertificate {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown("failed to create client certificate")
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read(path: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File(errno::at_path("open", Path::new(path), &error)))
}

fn read_pair(cert_file: &str, key_file: &str) -> Result<CertifiedKey, TlsError> {
    let (cert, key) = (read(cert_file)?, read(key_file)?);
    let file_error = |text: &str| TlsError::File(format!("tls: {text}"));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert).flatten().collect();
    if chain.is_empty() {
        return Err(file_error(if has_pem(&cert) {
            "failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of other types"
        } else {
            "failed to find any PEM data in certificate input"
        }));
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
        file_error(if has_pem(&key) {
            "failed to find PEM block with type ending in \"PRIVATE KEY\" in key input"
        } else {
            "failed to find any PEM data in key input"
        })
    })?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| file_error(&format!("failed to parse private key ({error})")))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // A key that can't say its public half is taken at its word.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(file_error("private key does not match public key")),
        Err(error) => Err(file_error(&format!("failed to parse certificate ({error})"))),
    }
}

fn has_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

/// Where systems keep the authorities everybody trusts; what Go looks at, in its order.
const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of a file; those of the system if there is no file.
pub(super) fn trusted(path: &str) -> Result<RootCertStore, TlsError> {
    let path = if path.is_empty() {
        SYSTEM_AUTHORITIES.iter().find(|path| Path::new(path).exists()).unwrap_or(&"")
    } else {
        path
    };
    let bytes = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| TlsError::File(format!("{path}: {error}")))?;
        // One odd authority among a system's hundreds is no reason to trust none.
        let _ = roots.add(certificate);
    }
    Ok(roots)
}
