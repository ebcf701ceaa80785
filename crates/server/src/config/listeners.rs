//! The TLS that listeners and connections to other members speak, checked before anything is listened on.
//!
//! Makes nothing but the certificates of `--auto-tls` and `--peer-auto-tls`. Order and words are those of etcd's own start.

use super::startup::{Refusal, start};
use super::{Config, Exit};
use crate::log::{self, Level, error_field, field};
use crate::tls::{self, ClientTls, ServerTls, TlsSettings, Trust};
use compat::url::Url;
use std::sync::Arc;

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls {
    /// By client listeners, if any of them does.
    pub clients: Option<Arc<ServerTls>>,
    /// By peer listeners, if any of them does.
    pub peers: Option<Arc<ServerTls>>,
    /// By connections to other members.
    pub dialling: (TlsSettings, Trust),
}

/// Peers first, then clients, as etcd opens its listeners.
pub(super) fn check(config: &Config) -> Result<Tls, Refusal> {
    tls::check_suites(&config.cipher_suites).map_err(|error| Refusal::Start(error.to_string()))?;
    let (peers, dialling) = check_peers(config)?;
    Ok(Tls {
        clients: check_clients(config)?,
        peers,
        dialling,
    })
}

type PeerSide = (Option<Arc<ServerTls>>, (TlsSettings, Trust));

fn check_peers(config: &Config) -> Result<PeerSide, Refusal> {
    let mut settings = TlsSettings::peer(config);
    let mut trust = Trust::Authorities;
    if config.peer_auto_tls {
        if settings.is_empty() {
            self_signed(config, PEER, &config.listen_peer_urls, &mut settings);
            trust = Trust::Anybody;
        } else {
            log::warn("ignoring peer auto TLS since certs given", &[]);
        }
    }
    if !settings.is_empty() {
        let files = &[
            field("cert", &settings.cert_file),
            field("key", &settings.key_file),
            field("client-cert", &settings.client_cert_file),
            field("client-key", &settings.client_key_file),
            field("trusted-ca", &settings.trusted_ca_file),
            field("client-cert-auth", settings.client_cert_auth),
            field("crl-file", &settings.crl_file),
        ];
        log::info("starting with peer TLS", files);
    }
    let failed = |error: tls::TlsError| Refusal::Start(error.to_string());
    let mut server = None;
    for url in &config.listen_peer_urls {
        if !url.is_secure() {
            warn_ignored_by_peers(url, &settings);
        } else if settings.is_empty() {
            return start(format!(
                "cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                url.address()
            ));
        } else if server.is_none() {
            server = Some(Arc::new(ServerTls::for_peers(settings.clone()).map_err(failed)?));
        }
    }
    // What can't be used to dial is better known now than at the first connection.
    if !settings.is_empty() {
        ClientTls::new(settings.clone(), trust).map_err(failed)?;
    }
    Ok((server, (settings, trust)))
}

fn warn_ignored_by_peers(url: &Url, tls: &TlsSettings) {
    if !tls.is_empty() {
        log::warn(
            "scheme is HTTP while key and cert files are present; ignoring key and cert files",
            &[log::display("peer-url", url)],
        );
    }
    if tls.client_cert_auth {
        log::warn(
            "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth for this URL",
            &[log::display("peer-url", url)],
        );
    }
}

fn check_clients(config: &Config) -> Result<Option<Arc<ServerTls>>, Refusal> {
    let mut client_tls = TlsSettings::client(config);
    let urls: Vec<Url> = config
        .listen_client_urls
        .iter()
        .chain(&config.listen_client_http_urls)
        .cloned()
        .collect();
    if config.auto_tls {
        if client_tls.is_empty() {
            self_signed(config, CLIENT, &urls, &mut client_tls);
        } else {
            log::warn("ignoring client auto TLS since certs given", &[]);
        }
    }
    let mut secure = None;
    for url in &urls {
        if url.is_secure() {
            if client_tls.is_empty() {
                return start(format!(
                    "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
                ));
            }
            secure = Some(url);
        } else {
            warn_ignored(url, &client_tls);
        }
    }
    if config.listen_metrics_urls.iter().any(Url::is_secure) && client_tls.is_empty() {
        return start("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
    }
    if secure.is_none() && !config.listen_metrics_urls.iter().any(Url::is_secure) {
        return Ok(None);
    }
    match ServerTls::new(client_tls) {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(error) => Err(Refusal::Listener(error.to_string())),
    }
}

fn warn_ignored(url: &Url, tls: &TlsSettings) {
    if !tls.is_empty() {
        log::warn(
            "scheme is http or unix while key and cert files are present; ignoring key and cert files",
            &[log::display("client-url", url)],
        );
    }
    if tls.client_cert_auth {
        log::warn(
            "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL",
            &[log::display("client-url", url)],
        );
    }
}

/// Where certificates of one's own are kept, and how their failure is told.
type Kind = (&'static str, &'static str);
const CLIENT: Kind = ("client", "failed to get client self-signed certs");
const PEER: Kind = ("peer", "failed to get peer self-signed certs");

fn self_signed(config: &Config, (name, failure): Kind, urls: &[Url], tls: &mut TlsSettings) {
    let hosts: Vec<String> = urls.iter().filter_map(|url| url.host_port().map(|(host, _)| host)).collect();
    let directory = config.data_dir_path().join("fixtures").join(name);
    match tls::auto::certificate(&directory, &hosts, config.self_signed_cert_validity) {
        Ok(files) => (tls.cert_file, tls.key_file) = files,
        Err(error) => {
            log::current().log(Level::Fatal, failure, &[error_field(&error)]);
            std::process::exit(Exit::REFUSED.0)
        }
    }
}
