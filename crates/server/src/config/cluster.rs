//! `--initial-cluster`: the members a new cluster begins with, and whether this member is rightly one of them.

use super::Config;
use crate::log::{self, display, error_field, field};
use compat::strconv::quote;
use compat::url::{self, Url, UrlError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// How long a peer host name may take to be known to the resolver: in a new cluster the names come up while the members start.
pub const RESOLVE_DEADLINE: Duration = Duration::from_secs(30);
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);

/// Members by name, each with its peer URLs in the order of their text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<Url>>,
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs: Vec<String> = self
            .members
            .iter()
            .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
            .collect();
        pairs.sort();
        out.write_str(&pairs.join(","))
    }
}

impl InitialCluster {
    /// Reads `NAME=URL,NAME=URL`; a member with several URLs stands there several times.
    ///
    /// # Errors
    /// The first URL that is refused.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, address) = part.split_once('=').unwrap_or((part, ""));
            members.entry(name.to_owned()).or_default().push(url::parse(address)?);
        }
        for urls in members.values_mut() {
            urls.sort_by_cached_key(Url::to_string);
        }
        Ok(InitialCluster { members })
    }

    /// The members by name.
    pub fn members(&self) -> &BTreeMap<String, Vec<Url>> {
        &self.members
    }

    /// The URLs of the member that these belong to, written as they stand here: equal as texts, or once names are resolved.
    pub fn same_urls(&self, urls: &[String], deadline: Instant) -> Option<Vec<String>> {
        let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>();
        let mut wanted = urls.to_vec();
        wanted.sort();
        if self.members.values().any(|own| texts(own) == wanted) {
            return Some(wanted);
        }
        let parsed: Vec<Url> = wanted.iter().filter_map(|text| url::parse(text).ok()).collect();
        let all_resolved = |urls: &[Url]| -> Option<Vec<String>> {
            let mut texts = urls.iter().map(|url| resolved(url, deadline).ok()).collect::<Option<Vec<_>>>()?;
            texts.sort();
            Some(texts)
        };
        let wanted = all_resolved(&parsed)?;
        let own = self
            .members
            .values()
            .find(|own| own.len() == parsed.len() && all_resolved(own).as_ref() == Some(&wanted))?;
        Some(texts(own))
    }

    /// Checks that a new cluster of these members can begin, with this one as `config` describes it.
    ///
    /// # Errors
    /// The reason in etcd's words.
    pub(super) fn check(&self, config: &Config) -> Result<(), String> {
        let own = self.members.get(&config.name).ok_or_else(|| {
            format!(
                "couldn't find local name {} in the initial cluster configuration",
                quote(&config.name)
            )
        })?;
        if config.initial_cluster_state == "new" {
            self.check_advertised(&config.name, own, &config.initial_advertise_peer_urls)?;
        }
        let mut seen = BTreeSet::new();
        if !self.members.values().flatten().all(|url| seen.insert(url.to_string())) {
            return Err(format!("initial cluster {self} has duplicate url"));
        }
        Ok(())
    }

    fn check_advertised(&self, name: &str, own: &[Url], advertised: &[Url]) -> Result<(), String> {
        let reason = match difference(advertised, own) {
            None => return Ok(()),
            Some(reason) => reason,
        };
        let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<BTreeSet<_>>();
        let (in_cluster, in_flag) = (texts(own), texts(advertised));
        let flag_text = in_flag.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let of_flag = super::load::cluster_of_one(name, advertised);
        let missing: Vec<String> = in_cluster.difference(&in_flag).map(|url| format!("{name}={url}")).collect();
        if !missing.is_empty() {
            let missing = missing.join(",");
            return Err(format!(
                "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={flag_text} ({reason})"
            ));
        }
        let missing: Vec<String> = in_flag.difference(&in_cluster).cloned().collect();
        if !missing.is_empty() {
            return Err(format!(
                "--initial-advertise-peer-urls has {} but missing from --initial-cluster={of_flag}",
                missing.join(",")
            ));
        }
        Err(format!(
            "failed to resolve {flag_text} to match --initial-cluster={of_flag} ({reason})"
        ))
    }
}

/// Why the two lists don't name the same addresses; `None` if they do.
fn difference(a: &[Url], b: &[Url]) -> Option<String> {
    let mut sorted: [Vec<&Url>; 2] = [a.iter().collect(), b.iter().collect()];
    for list in &mut sorted {
        list.sort_by_cached_key(|url| url.to_string());
    }
    let [a, b] = sorted;
    if a.len() != b.len() {
        return Some(format!("len({}) != len({})", go_list(&a), go_list(&b)));
    }
    if a == b {
        return None;
    }
    let deadline = Instant::now() + RESOLVE_DEADLINE;
    let resolve = |urls: &[&Url]| -> Result<Vec<String>, String> {
        let mut texts = urls.iter().map(|url| resolved(url, deadline)).collect::<Result<Vec<_>, _>>()?;
        texts.sort();
        Ok(texts)
    };
    match (resolve(&a), resolve(&b)) {
        (Ok(a), Ok(b)) => {
            let (a, b) = a.iter().zip(&b).find(|(a, b)| a != b)?;
            Some(format!("resolved urls: {} != {}", quote(a), quote(b)))
        }
        (Err(error), _) | (_, Err(error)) => Some(error),
    }
}

/// A list of texts as Go's `%q` prints it.
fn go_list(urls: &[&Url]) -> String {
    let quoted: Vec<String> = urls.iter().map(|url| quote(&url.to_string())).collect();
    format!("[{}]", quoted.join(" "))
}

/// The URL with an address in the place of a host name. `localhost` stays: it means this machine whatever the resolver says.
fn resolved(url: &Url, deadline: Instant) -> Result<String, String> {
    let Some((host, _)) = url.host_port().filter(|(host, _)| host != "localhost" && !url.is_unix()) else {
        return Ok(url.to_string());
    };
    loop {
        let error = match url.host.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => {
                if host.parse::<std::net::IpAddr>().is_err() {
                    log::info(
                        "resolved URL Host",
                        &[display("url", url), field("host", &url.host), display("resolved-addr", &address)],
                    );
                }
                return Ok(format!("{}://{address}", url.scheme));
            }
            Ok(None) => "no address".to_owned(),
            Err(error) => compat::errno::reason(&error),
        };
        log::warn(
            "failed to resolve URL Host",
            &[display("url", url), field("host", &url.host), error_field(&error)],
        );
        if Instant::now() + RESOLVE_PAUSE >= deadline {
            return Err(error);
        }
        std::thread::sleep(RESOLVE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, advertised: &str, cluster: &str) -> Result<(), String> {
        let mut config = Config::new();
        config.name = name.to_owned();
        config.initial_advertise_peer_urls = url::parse_list(advertised).unwrap();
        InitialCluster::parse(cluster).map_err(|error| error.to_string())?.check(&config)
    }

    #[test]
    fn accepts() {
        assert_eq!(check("m0", "http://127.0.0.1:1", "m0=http://127.0.0.1:1"), Ok(()));
        assert_eq!(
            check(
                "m0",
                "http://127.0.0.1:1,http://127.0.0.1:2",
                "m0=http://127.0.0.1:2,,m0=http://127.0.0.1:1,m1=http://a:3"
            ),
            Ok(())
        );
        let cluster = InitialCluster::parse("b=http://b:1,a=http://a:2,a=http://a:1").unwrap();
        assert_eq!(cluster.to_string(), "a=http://a:1,a=http://a:2,b=http://b:1");
    }

    #[test]
    fn finds_members_by_their_urls() {
        let cluster = InitialCluster::parse("a=http://127.0.0.1:2,a=http://127.0.0.1:1,b=http://127.0.0.2:1").unwrap();
        let find = |urls: &[&str]| {
            let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
            cluster.same_urls(&urls, Instant::now())
        };
        let both = Some(vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()]);
        assert_eq!(find(&["http://127.0.0.1:2", "http://127.0.0.1:1"]), both);
        assert_eq!(find(&["http://127.0.0.1:1"]), None);
        assert_eq!(find(&["http://127.0.0.3:1"]), None);
    }

    #[test]
    fn refuses_in_etcds_words() {
        let peer = "http://127.0.0.1:13451";
        for (name, advertised, cluster, error) in [
            (
                "m0",
                peer,
                "m1=http://127.0.0.1:1",
                "couldn't find local name \"m0\" in the initial cluster configuration",
            ),
            (
                "m0",
                peer,
                "m0=http://127.0.0.1:13461",
                "--initial-cluster has m0=http://127.0.0.1:13461 but missing from --initial-advertise-peer-urls=http://127.0.0.1:13451 \
                 (resolved urls: \"http://127.0.0.1:13451\" != \"http://127.0.0.1:13461\")",
            ),
            (
                "m0",
                "http://localhost:2380",
                "m0=http://127.0.0.1:13451",
                "--initial-cluster has m0=http://127.0.0.1:13451 but missing from --initial-advertise-peer-urls=http://localhost:2380 \
                 (resolved urls: \"http://localhost:2380\" != \"http://127.0.0.1:13451\")",
            ),
            (
                "m0",
                peer,
                "m0=http://127.0.0.1:13451,m1=http://127.0.0.1:13451",
                "initial cluster m0=http://127.0.0.1:13451,m1=http://127.0.0.1:13451 has duplicate url",
            ),
            (
                "m0",
                peer,
                "m0=http://127.0.0.1:13451,m0=http://127.0.0.1:13461",
                "--initial-cluster has m0=http://127.0.0.1:13461 but missing from --initial-advertise-peer-urls=http://127.0.0.1:13451 \
                 (len([\"http://127.0.0.1:13451\"]) != len([\"http://127.0.0.1:13451\" \"http://127.0.0.1:13461\"]))",
            ),
            (
                "m0",
                "http://127.0.0.1:13451,http://127.0.0.1:13499",
                "m0=http://127.0.0.1:13451",
                "--initial-advertise-peer-urls has http://127.0.0.1:13499 but missing from \
                 --initial-cluster=m0=http://127.0.0.1:13451,m0=http://127.0.0.1:13499",
            ),
            ("m0", peer, "bad", "URL scheme must be http, https, unix, or unixs: "),
            (
                "m0",
                peer,
                "m0=http://example.com",
                "URL address does not have the form \"host:port\": http://example.com",
            ),
        ] {
            assert_eq!(check(name, advertised, cluster).unwrap_err(), error);
        }
    }
}
