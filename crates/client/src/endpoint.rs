//! What an endpoint's URL means: how to reach it, and what to call it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const DEFAULT_PORT: u16 = 2379;

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// One of the cluster's client URLs: `http://host:port`, `https://host:port`, `unix://path`, `unixs://path` or bare `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub target: Target,
    pub is_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("endpoint {0:?} has a scheme that is none of http, https, unix, unixs")]
    Scheme(String),
    #[error("endpoint {0:?} has no host")]
    Host(String),
    #[error("endpoint {0:?} has a port that is no number")]
    Port(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_tls = match scheme {
            "http" | "unix" => false,
            "https" | "unixs" => true,
            _ => return Err(EndpointError::Scheme(text.to_string())),
        };
        if scheme.starts_with("unix") {
            return Ok(Endpoint {
                target: Target::Unix(PathBuf::from(rest)),
                is_tls,
            });
        }
        let address = rest.split('/').next().unwrap_or_default();
        let bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && !bare_v6 => {
                (host, port.parse().map_err(|_| EndpointError::Port(text.to_string()))?)
            }
            _ => (address, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(EndpointError::Host(text.to_string()));
        }
        Ok(Endpoint {
            target: Target::Tcp {
                host: host.to_string(),
                port,
            },
            is_tls,
        })
    }
}

impl Endpoint {
    /// `:authority` of requests.
    pub fn authority(&self) -> String {
        match &self.target {
            Target::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Target::Tcp { host, port } => format!("{host}:{port}"),
            Target::Unix(_) => String::from("localhost"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, self.is_tls) {
            (Target::Tcp { .. }, false) => write!(f, "http://{}", self.authority()),
            (Target::Tcp { .. }, true) => write!(f, "https://{}", self.authority()),
            (Target::Unix(path), false) => write!(f, "unix://{}", path.display()),
            (Target::Unix(path), true) => write!(f, "unixs://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, printed) in [
            ("127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://host", "http://host:2379"),
            ("https://host:1/", "https://host:1"),
            ("http://[::1]:5", "http://[::1]:5"),
            ("[::1]", "http://[::1]:2379"),
            ("unix://localhost:2379", "unix://localhost:2379"),
            ("unixs:///run/etcd", "unixs:///run/etcd"),
        ] {
            assert_eq!(
                text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()),
                Ok(printed.to_string())
            );
        }
        assert!(matches!("ftp://x".parse::<Endpoint>(), Err(EndpointError::Scheme(_))));
        assert!(matches!("http://:1".parse::<Endpoint>(), Err(EndpointError::Host(_))));
        assert!(matches!("http://x:y".parse::<Endpoint>(), Err(EndpointError::Port(_))));
    }
}
