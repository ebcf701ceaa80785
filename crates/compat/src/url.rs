//! Go's `net/url` as far as etcd's listen and advertise URLs need it, and etcd's own rules for them.
//!
//! The refusals are start-up errors that people search for, so they are Go's, word for word. Never resolves a name.

use crate::strconv::quote;
use std::fmt;
use std::net::IpAddr;

/// An URL of the four schemes etcd listens on: `http`, `https`, `unix`, `unixs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    /// In lower case.
    pub scheme: String,
    /// `host:port`, or the first path element of a socket file.
    pub host: String,
    /// Empty for `http` and `https`.
    pub path: String,
    /// What follows the path: opaque data, query and fragment as given.
    rest: String,
    opaque: bool,
}

/// A refused URL; the text is Go's or etcd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slashes = if self.opaque { "" } else { "//" };
        write!(out, "{}:{slashes}{}{}{}", self.scheme, self.host, self.path, self.rest)
    }
}

impl Url {
    /// Whether the listener speaks TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "unixs")
    }

    /// Whether this is a socket file.
    pub fn is_unix(&self) -> bool {
        matches!(self.scheme.as_str(), "unix" | "unixs")
    }

    /// What to bind or dial: `host:port`, or the path of the socket file.
    pub fn address(&self) -> String {
        if self.is_unix() {
            format!("{}{}", self.host, self.path)
        } else {
            self.host.clone()
        }
    }

    /// Host and port apart; `None` where there is no port.
    pub fn host_port(&self) -> Option<(String, String)> {
        split_host_port(&self.host)
    }
}

/// Parses one URL as `types.NewURLs` does.
///
/// # Errors
/// `UrlError` with Go's text.
pub fn parse(text: &str) -> Result<Url, UrlError> {
    let text = text.trim();
    let parsed = parse_any(text).map_err(|reason| UrlError(format!("parse {}: {reason}", quote(text))))?;
    match parsed.scheme.as_str() {
        "http" | "https" => {
            if split_host_port(&parsed.host).is_none() {
                return Err(UrlError(format!("URL address does not have the form \"host:port\": {text}")));
            }
            if !parsed.path.is_empty() {
                return Err(UrlError(format!("URL must not contain a path: {text}")));
            }
        }
        "unix" | "unixs" => {}
        _ => return Err(UrlError(format!("URL scheme must be http, https, unix, or unixs: {text}"))),
    }
    Ok(parsed)
}

/// Parses a comma-separated list and sorts it by text, which is the order of all lists etcd prints and hashes.
///
/// # Errors
/// The first refused URL.
pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
    let mut urls = text.split(',').map(parse).collect::<Result<Vec<Url>, UrlError>>()?;
    urls.sort_by_cached_key(Url::to_string);
    Ok(urls)
}

/// Go's `url.Parse`, without the schemes' rules.
fn parse_any(text: &str) -> Result<Url, String> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, after) = scheme_of(text)?;
    let mut url = Url {
        scheme,
        host: String::new(),
        path: String::new(),
        rest: String::new(),
        opaque: false,
    };
    let end = after.find(['?', '#']).unwrap_or(after.len());
    let (before, rest) = after.split_at(end);
    url.rest = rest.to_owned();
    if !url.scheme.is_empty() && !before.starts_with('/') && !before.is_empty() {
        url.opaque = true;
        url.rest = format!("{before}{rest}");
        return Ok(url);
    }
    if url.scheme.is_empty() && before.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err("first path segment in URL cannot contain colon".to_owned());
    }
    let path = match before.strip_prefix("//") {
        Some(authority) if !before.starts_with("///") => {
            let end = authority.find('/').unwrap_or(authority.len());
            url.host = authority[..end].to_owned();
            check_host(url.host.rsplit('@').next().unwrap_or_default())?;
            &authority[end..]
        }
        Some(path) => path,
        None => before,
    };
    check_escapes(path)?;
    url.path = path.to_owned();
    Ok(url)
}

/// The scheme in lower case (empty if there is none) and what follows its colon.
fn scheme_of(text: &str) -> Result<(String, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    check_escapes(host)?;
    if let Some(bad) = host.find([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
        return Err(format!("invalid character {} in host name", quote(&host[bad..=bad])));
    }
    let port = if host.starts_with('[') {
        let Some(end) = host.rfind(']') else {
            return Err("missing ']' in host".to_owned());
        };
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    let digits = port.strip_prefix(':');
    if port.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", quote(port)))
}

fn check_escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(at + 1..at + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {}", quote(&shown)));
        }
    }
    Ok(())
}

/// Go's `net.SplitHostPort`, without its reasons.
pub fn split_host_port(text: &str) -> Option<(String, String)> {
    let colon = text.rfind(':')?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then(|| (host.to_owned(), port.to_owned()))
}

/// etcd's rule for URLs to listen on: an IP address or `localhost`, since a name could resolve to something else tomorrow.
///
/// # Errors
/// The first URL that breaks it.
pub fn check_bind(urls: &[Url]) -> Result<(), UrlError> {
    for url in urls.iter().filter(|url| !url.is_unix()) {
        let Some((host, _)) = url.host_port() else {
            return Err(UrlError(format!("missing port in address {}", url.host)));
        };
        if host == "localhost" {
            continue;
        }
        // A zone ("%eth0") is part of the address, not of the number.
        let number = host.split('%').next().unwrap_or_default();
        if number.parse::<IpAddr>().is_err() {
            return Err(UrlError(format!("expected IP in URL for binding ({url})")));
        }
    }
    Ok(())
}

/// etcd's rule for URLs to advertise: they name a host.
///
/// # Errors
/// The first URL that breaks it.
pub fn check_advertised(urls: &[Url]) -> Result<(), UrlError> {
    for url in urls {
        match url.host_port() {
            Some((host, _)) if host.is_empty() => return Err(UrlError(format!("unexpected empty host ({url})"))),
            None if !url.is_unix() => return Err(UrlError(format!("missing port in address {}", url.host))),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_prints() {
        for text in [
            "http://127.0.0.1:2379",
            "https://[::1]:2379",
            "unix://localhost:7",
            "unixs:///tmp/a.sock",
            "http://localhost:0",
        ] {
            assert_eq!(parse(text).map(|u| u.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(parse(" HTTP://a.example:1 ").unwrap().to_string(), "http://a.example:1");
        assert_eq!(parse("unix:///tmp/s").unwrap().address(), "/tmp/s");
        let list = parse_list("http://b:1,http://a:2").unwrap();
        assert_eq!(list.iter().map(Url::to_string).collect::<Vec<_>>(), ["http://a:2", "http://b:1"]);
    }

    #[test]
    fn refuses_as_go() {
        for (text, error) in [
            ("bad", "URL scheme must be http, https, unix, or unixs: bad"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            (
                "127.0.0.1:13450",
                "parse \"127.0.0.1:13450\": first path segment in URL cannot contain colon",
            ),
            (":80", "parse \":80\": missing protocol scheme"),
            ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
            (
                "http://127.0.0.1",
                "URL address does not have the form \"host:port\": http://127.0.0.1",
            ),
            (
                "http:127.0.0.1:1",
                "URL address does not have the form \"host:port\": http:127.0.0.1:1",
            ),
            ("http://127.0.0.1:1/path", "URL must not contain a path: http://127.0.0.1:1/path"),
            ("http://127.0.0.1:1/", "URL must not contain a path: http://127.0.0.1:1/"),
            ("http://127.0.0.1:x", "parse \"http://127.0.0.1:x\": invalid port \":x\" after host"),
            ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
            ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
            ("http://a%zz:1", "parse \"http://a%zz:1\": invalid URL escape \"%zz\""),
            (
                "http://::1:2379",
                "URL address does not have the form \"host:port\": http://::1:2379",
            ),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()).unwrap_err(), error);
        }
    }

    #[test]
    fn binding_needs_an_address() {
        let check = |text: &str| check_bind(&parse_list(text).unwrap()).map_err(|e| e.to_string());
        assert_eq!(check("http://127.0.0.1:1,http://localhost:2,https://[::1]:3,unix://x"), Ok(()));
        assert_eq!(
            check("http://example.com:1").unwrap_err(),
            "expected IP in URL for binding (http://example.com:1)"
        );
        assert_eq!(
            check_advertised(&parse_list("http://:1").unwrap()).unwrap_err().to_string(),
            "unexpected empty host (http://:1)"
        );
    }
}
