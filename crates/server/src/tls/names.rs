//! Whether a certificate belongs to whom it should: the names that flags allow, and the address of the one who shows it.

use super::{ClientIdentity, TlsError, TlsSettings};
use compat::strconv::quote;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use std::net::{IpAddr, ToSocketAddrs};

/// Whose certificates are taken, among those that trusted authorities have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Anybody,
    CommonNames(Vec<String>),
    /// Valid for one of these hosts.
    Hosts(Vec<String>),
}

impl Allowed {
    /// The rule of these settings.
    ///
    /// # Errors
    /// `TlsError::TwoRules`.
    pub(super) fn of(settings: &TlsSettings) -> Result<Allowed, TlsError> {
        let (cns, hosts) = (&settings.allowed_common_names, &settings.allowed_hostnames);
        match (cns.is_empty(), hosts.is_empty()) {
            (true, true) => Ok(Allowed::Anybody),
            (false, true) => Ok(Allowed::CommonNames(cns.clone())),
            (true, false) => Ok(Allowed::Hosts(hosts.clone())),
            (false, false) => Err(TlsError::TwoRules {
                cns: cns.join(" "),
                hostnames: hosts.join(" "),
            }),
        }
    }

    /// Checks the first certificate of a chain that was verified.
    ///
    /// # Errors
    /// "Not valid for the name", of which the other side hears as Go's would: bad certificate.
    pub(super) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let holds = match self {
            Allowed::Anybody => true,
            Allowed::CommonNames(names) => ClientIdentity::of(certificate).is_ok_and(|identity| names.contains(&identity.common_name)),
            Allowed::Hosts(names) => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                names
                    .iter()
                    .filter_map(|name| ServerName::try_from(name.as_str()).ok())
                    .any(|name| verify_server_name(&parsed, &name).is_ok())
            }
        };
        if holds {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }
}

/// Checks that a member's certificate speaks of the address it comes from, if it speaks of any. Asks the resolver, and so may take
/// its time: not for a thread that others wait for.
///
/// # Errors
/// In Go's words.
pub fn check_holder(identity: &ClientIdentity, from: IpAddr) -> Result<(), String> {
    let from = from.to_canonical();
    if identity.addresses.is_empty() && identity.dns_names.is_empty() || identity.addresses.iter().any(|ip| ip.to_canonical() == from) {
        return Ok(());
    }
    if identity.dns_names.is_empty() {
        return Err(super::reasons::not_valid_for(&identity.addresses, from));
    }
    let (wildcards, names): (Vec<&String>, Vec<&String>) = identity.dns_names.iter().partition(|name| name.starts_with("*."));
    let reverse = dns_lookup::lookup_addr(&from);
    if let Ok(found) = &reverse {
        let found = found.strip_suffix('.').unwrap_or(found);
        // Without a name, the resolver gives the address back.
        let is_name = found.parse::<IpAddr>().is_err();
        if is_name && (wildcards.iter().any(|name| found.ends_with(&name[1..])) || names.iter().any(|name| *name == found)) {
            return Ok(());
        }
    }
    let mut failure = reverse.err().map(|error| compat::errno::reason(&error));
    for name in names {
        match (name.as_str(), 0).to_socket_addrs() {
            Ok(mut addresses) => {
                if addresses.any(|address| address.ip().to_canonical() == from) {
                    return Ok(());
                }
            }
            Err(error) => failure = Some(format!("lookup {name}: {}", compat::errno::reason(&error))),
        }
    }
    let quoted: Vec<String> = identity.dns_names.iter().map(|name| quote(name)).collect();
    let failure = failure.map(|failure| format!(" ({failure})")).unwrap_or_default();
    Err(format!(
        "tls: {} does not match any of DNSNames [{}]{failure}",
        quote(&from.to_string()),
        quoted.join(" ")
    ))
}
