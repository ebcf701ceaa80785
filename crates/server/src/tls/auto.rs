//! `--auto-tls`: a certificate this server signs for itself, kept in the data directory and used again at the next start.

use crate::log::{self, error_field, field};
use compat::errno;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P521_SHA512,
};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A year, as etcd counts it for certificates.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutoTlsError {
    /// Zero years.
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    Validity,
    /// A file or directory.
    #[error("{0}")]
    File(String),
    /// The cryptography.
    #[error("{0}")]
    Sign(String),
}

/// The files of certificate and key in `directory`, made if they are not both there. `hosts` go into the certificate, as addresses
/// where they are some.
///
/// # Errors
/// `AutoTlsError`; nothing is listened on then.
pub fn certificate(directory: &Path, hosts: &[String], years: u64) -> Result<(String, String), AutoTlsError> {
    if years == 0 {
        log::warn("cannot generate cert", &[error_field(&AutoTlsError::Validity)]);
        return Err(AutoTlsError::Validity);
    }
    let file_error = |operation: &str, path: &Path, error: &std::io::Error| AutoTlsError::File(errno::at_path(operation, path, error));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| file_error("mkdir", directory, &error))?;
    let directory = directory.canonicalize().map_err(|error| file_error("open", directory, &error))?;
    let files = (directory.join("cert.pem"), directory.join("key.pem"));
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    if files.0.exists() && files.1.exists() {
        return Ok((text(&files.0), text(&files.1)));
    }
    let (cert, key) = sign(hosts, years)?;
    for (path, content, mode) in [(&files.0, cert, 0o666), (&files.1, key, 0o600)] {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)
            .map_err(|error| file_error("open", path, &error))?;
        file.write_all(content.as_bytes())
            .map_err(|error| file_error("write", path, &error))?;
    }
    Ok((text(&files.0), text(&files.1)))
}

/// A certificate for these hosts and its key, both in PEM. On the curve P-521, as etcd's.
fn sign(hosts: &[String], years: u64) -> Result<(String, String), AutoTlsError> {
    let failed = |error: rcgen::Error| AutoTlsError::Sign(error.to_string());
    let now = SystemTime::now();
    // A validity beyond what a certificate can say is cut at a thousand years.
    let until = now + YEAR * u32::try_from(years.min(1000)).unwrap_or(1000);
    log::warn(
        "automatically generate certificates",
        &[field("certificate-validity-bound-not-after", until)],
    );
    let mut params = CertificateParams::new(hosts).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.is_ca = IsCa::ExplicitNoCa;
    params.not_before = now.into();
    params.not_after = until.into();
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
