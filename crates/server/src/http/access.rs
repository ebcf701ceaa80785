//! Who may ask: the origins of `--cors` and the hosts of `--host-whitelist`.

use std::collections::BTreeSet;

/// `--cors` and `--host-whitelist`. An empty list, or one with `*`, lets everybody in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub origins: BTreeSet<String>,
    pub hosts: BTreeSet<String>,
}

fn listed(list: &BTreeSet<String>, name: &str) -> bool {
    list.is_empty() || list.contains("*") || list.contains(name)
}

impl Access {
    /// The value of `Access-Control-Allow-Origin` for a request, if it gets one.
    pub fn allowed_origin(&self, origin: Option<&str>) -> Option<String> {
        if listed(&self.origins, "*") {
            return Some("*".to_owned());
        }
        origin.filter(|o| self.origins.contains(*o)).map(str::to_owned)
    }

    /// Whether a plain-HTTP request for this host (as in the `Host` header, port included) is let in.
    pub fn host_allowed(&self, host: &str) -> bool {
        listed(&self.hosts, host_name(host))
    }
}

/// The host without its port; the whole text when it is no host:port pair.
pub(crate) fn host_name(host: &str) -> &str {
    let Some((name, port)) = host.rsplit_once(':') else {
        return host;
    };
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(inner) if !port.contains(']') => inner,
        None if !name.contains([':', '[', ']']) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port() {
        for (host, name) in [
            ("a.example", "a.example"),
            ("a.example:1", "a.example"),
            ("[::1]:2379", "::1"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn a_list_with_a_star_lets_in_all() {
        let set = |list: &[&str]| list.iter().map(|o| (*o).to_owned()).collect();
        let access = Access {
            origins: set(&["a"]),
            hosts: set(&["a", "*"]),
        };
        assert!(access.host_allowed("b"));
        assert_eq!(access.allowed_origin(Some("a")), Some("a".to_owned()));
        assert_eq!(access.allowed_origin(Some("b")), None);
        assert_eq!(access.allowed_origin(None), None);
        assert_eq!(Access::default().allowed_origin(None), Some("*".to_owned()));
    }
}
