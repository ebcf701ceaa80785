//! Peer URLs, and which of a peer's several is used.
//!
//! Never resolves a name; that is the connector's work.

use std::fmt;

use parking_lot::Mutex;

/// Where a member listens for its peers: `http`, `https`, `unix` or `unixs`, without a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerUrl {
    text: String,
    secure: bool,
    unix: bool,
    address: String,
}

/// Text that is no peer URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a peer URL: {0:?}")]
pub struct UrlError(String);

impl PeerUrl {
    /// # Errors
    /// When the scheme is another one, or host and port are not both there.
    pub fn parse(text: &str) -> Result<PeerUrl, UrlError> {
        let text = text.trim();
        let wrong = || UrlError(text.to_owned());
        let (scheme, address) = text.split_once("://").ok_or_else(wrong)?;
        let (secure, unix) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "unix" => (false, true),
            "unixs" => (true, true),
            _ => return Err(wrong()),
        };
        // What is written into requests (Host) must be visible ASCII.
        if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        if !unix {
            let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
            let bare = host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':'));
            if host.contains(['/', '@', '?', '#']) || !bare || port.parse::<u16>().is_err() {
                return Err(wrong());
            }
        }
        Ok(PeerUrl {
            text: text.to_owned(),
            secure,
            unix,
            address: address.to_owned(),
        })
    }

    /// Whether TLS is spoken there.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is a socket file.
    pub fn is_unix(&self) -> bool {
        self.unix
    }

    /// `host:port`, or the path of the socket file.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name without the port, as TLS wants it.
    pub fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Parses all or none.
///
/// # Errors
/// The first text that is no peer URL, or that there is none at all.
pub fn parse_all(texts: &[String]) -> Result<Vec<PeerUrl>, UrlError> {
    if texts.is_empty() {
        return Err(UrlError(String::new()));
    }
    texts.iter().map(|text| PeerUrl::parse(text)).collect()
}

/// A peer's URLs. One is used until it fails; then the next, round and round.
pub(crate) struct Urls {
    inner: Mutex<(Vec<PeerUrl>, usize)>,
}

impl Urls {
    pub fn new(urls: Vec<PeerUrl>) -> Urls {
        assert!(!urls.is_empty(), "a peer has an URL");
        Urls {
            inner: Mutex::new((urls, 0)),
        }
    }

    pub fn update(&self, urls: Vec<PeerUrl>) {
        assert!(!urls.is_empty(), "a peer has an URL");
        *self.inner.lock() = (urls, 0);
    }

    pub fn pick(&self) -> PeerUrl {
        let inner = self.inner.lock();
        inner.0[inner.1].clone()
    }

    /// Moves on, unless somebody else has already.
    pub fn failed(&self, url: &PeerUrl) {
        let mut inner = self.inner.lock();
        let (urls, picked) = &mut *inner;
        if urls[*picked] == *url {
            *picked = (*picked + 1) % urls.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_peer_url() {
        for (text, address, host) in [
            ("http://127.0.0.1:2380", "127.0.0.1:2380", "127.0.0.1"),
            ("HTTPS://a.example:1", "a.example:1", "a.example"),
            ("https://[::1]:2380", "[::1]:2380", "::1"),
            (" http://m0:2380 ", "m0:2380", "m0"),
            ("unix:///run/m0.sock", "/run/m0.sock", "/run/m0.sock"),
            ("unixs://m0:0", "m0:0", "m0"),
        ] {
            let url = PeerUrl::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((url.address(), url.host()), (address, host), "{text}");
        }
        for text in [
            "",
            "http://",
            "http://a",
            "http://a:b",
            "http://a:1/",
            "http://::1:1",
            "ftp://a:1",
            "a:1",
            "http://a b:1",
            "http://a:1\r\nX: y",
            "http://u@a:1",
            "unix://",
        ] {
            assert!(PeerUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_failed_url_gives_way_once() {
        let texts = ["http://a:1".to_owned(), "http://b:1".to_owned()];
        let urls = Urls::new(parse_all(&texts).unwrap());
        let first = urls.pick();
        assert_eq!(first.address(), "a:1");
        urls.failed(&first);
        urls.failed(&first);
        assert_eq!(urls.pick().address(), "b:1");
        urls.failed(&urls.pick());
        assert_eq!(urls.pick().address(), "a:1");
    }
}
