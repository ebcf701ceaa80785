//! Certificates for mutual TLS: an authority, one certificate a member for all its doors, one for the clients.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::network::address;

/// The files, and what the clients use.
pub struct Tls {
    folder: PathBuf,
    client: rustls::ClientConfig,
}

impl Tls {
    pub fn new(folder: &Path, members: u8) -> anyhow::Result<Tls> {
        std::fs::create_dir_all(folder)?;
        let authority_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "faults");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&authority_key)?;
        std::fs::write(folder.join("ca.pem"), authority.pem())?;
        let issuer = Issuer::new(params, authority_key);
        for place in 1..=members {
            let (certificate, key) = leaf(&issuer, &format!("m{place}"), Some(address(place).into()))?;
            std::fs::write(folder.join(format!("m{place}.pem")), certificate.pem())?;
            std::fs::write(folder.join(format!("m{place}.key")), key.serialize_pem())?;
        }
        let (certificate, key) = leaf(&issuer, "client", None)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let client = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![CertificateDer::from(certificate)], key)
            .context("the clients' certificate")?;
        Ok(Tls {
            folder: folder.to_owned(),
            client,
        })
    }

    pub fn client(&self) -> rustls::ClientConfig {
        self.client.clone()
    }

    /// A member's flags.
    pub fn flags(&self, place: u8) -> Vec<String> {
        let file = |name: String| self.folder.join(name).display().to_string();
        let (authority, certificate, key) = (
            file(String::from("ca.pem")),
            file(format!("m{place}.pem")),
            file(format!("m{place}.key")),
        );
        ["", "peer-"]
            .iter()
            .flat_map(|door| {
                [
                    format!("--{door}client-cert-auth"),
                    format!("--{door}trusted-ca-file={authority}"),
                    format!("--{door}cert-file={certificate}"),
                    format!("--{door}key-file={key}"),
                ]
            })
            .collect()
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str, address: Option<IpAddr>) -> anyhow::Result<(rcgen::Certificate, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.subject_alt_names = address.into_iter().map(SanType::IpAddress).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params.signed_by(&key, issuer)?, key))
}
