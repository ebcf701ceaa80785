//! Why a handshake failed, in Go's words where people search for them.

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};
use std::fmt::Display;
use std::net::IpAddr;

/// What an error of a handshake is called in the log.
pub fn reason(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => go_text(error),
        None => compat::errno::reason(error),
    }
}

fn go_text(error: &Error) -> String {
    match error {
        // Only our own check of allowed names says it without naming the host.
        Error::InvalidCertificate(CertificateError::NotValidForName) => "client certificate authentication failed".to_owned(),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            not_valid_for_host(expected, presented)
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "x509: certificate signed by unknown authority".to_owned(),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        Error::InvalidCertificate(CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }) => {
            "x509: certificate specifies an incompatible key usage".to_owned()
        }
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        other => format!("tls: {other}"),
    }
}

/// `rustls` shows names as `DnsName("a.example")` and `IpAddress(127.0.0.1)`.
fn not_valid_for_host(expected: &ServerName<'_>, presented: &[String]) -> String {
    let inside = |text: &String| {
        let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    match expected {
        ServerName::IpAddress(address) => {
            let addresses: Vec<String> = presented.iter().filter(|name| name.starts_with("IpAddress")).map(inside).collect();
            not_valid_for(&addresses, IpAddr::from(*address))
        }
        expected => {
            let names: Vec<String> = presented.iter().filter(|name| name.starts_with("DnsName")).map(inside).collect();
            let expected = expected.to_str();
            if names.is_empty() {
                return format!("x509: certificate is not valid for any names, but wanted to match {expected}");
            }
            format!("x509: certificate is valid for {}, not {expected}", names.join(", "))
        }
    }
}

/// A certificate for addresses, shown for another.
pub(super) fn not_valid_for(addresses: &[impl Display], wanted: IpAddr) -> String {
    if addresses.is_empty() {
        return format!("x509: cannot validate certificate for {wanted} because it doesn't contain any IP SANs");
    }
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("x509: certificate is valid for {}, not {wanted}", list.join(", "))
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::InternalError => "internal error",
        other => return format!("alert({})", u8::from(other)),
    };
    text.to_owned()
}
