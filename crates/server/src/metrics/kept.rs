//! Values of families that are found without a look-up by text: each is looked up once and kept.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use member::propose::Body;

use super::value::{Counter, Family, Histogram};

/// A value of a family, looked up at its first use (before, it is not shown).
#[derive(Debug)]
pub struct Kept<T>(OnceLock<Arc<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(OnceLock::new())
    }
}

impl<T> Kept<T> {
    pub fn of(&self, family: &Family<T>, labels: &[&str]) -> &T {
        self.0.get_or_init(|| family.with(labels))
    }
}

fn success(success: bool) -> &'static str {
    if success { "true" } else { "false" }
}

/// What `etcd_server_request_duration_seconds` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RequestType {
    Range,
    ReadonlyTxn,
    Put,
    DeleteRange,
    Txn,
    Compaction,
    LeaseGrant,
    LeaseRevoke,
    LeaseCheckpoint,
    Alarm,
    Unknown,
}

impl RequestType {
    const ALL: [(RequestType, &'static str); 11] = [
        (RequestType::Range, "Range"),
        (RequestType::ReadonlyTxn, "ReadonlyTxn"),
        (RequestType::Put, "Put"),
        (RequestType::DeleteRange, "DeleteRange"),
        (RequestType::Txn, "Txn"),
        (RequestType::Compaction, "Compaction"),
        (RequestType::LeaseGrant, "LeaseGrant"),
        (RequestType::LeaseRevoke, "LeaseRevoke"),
        (RequestType::LeaseCheckpoint, "LeaseCheckpoint"),
        (RequestType::Alarm, "Alarm"),
        (RequestType::Unknown, "Unknown"),
    ];
}

impl From<Body> for RequestType {
    fn from(body: Body) -> RequestType {
        match body {
            Body::Range => RequestType::Range,
            Body::Put => RequestType::Put,
            Body::DeleteRange => RequestType::DeleteRange,
            Body::Txn => RequestType::Txn,
            Body::Compaction => RequestType::Compaction,
            Body::LeaseGrant => RequestType::LeaseGrant,
            Body::LeaseRevoke => RequestType::LeaseRevoke,
            Body::LeaseCheckpoint => RequestType::LeaseCheckpoint,
            Body::Alarm => RequestType::Alarm,
            _ => RequestType::Unknown,
        }
    }
}

/// The histograms of `etcd_server_request_duration_seconds`.
#[derive(Debug, Default)]
pub struct Requests([[Kept<Histogram>; 2]; RequestType::ALL.len()]);

impl Requests {
    pub fn of(&self, family: &Family<Histogram>, kind: RequestType, succeeded: bool) -> &Histogram {
        let (_, name) = RequestType::ALL[kind as usize];
        self.0[kind as usize][usize::from(succeeded)].of(family, &[name, success(succeeded)])
    }
}

/// A family with the one label `success`.
#[derive(Debug, Default)]
pub struct BySuccess([Kept<Histogram>; 2]);

impl BySuccess {
    pub fn of(&self, family: &Family<Histogram>, succeeded: bool) -> &Histogram {
        self.0[usize::from(succeeded)].of(family, &[success(succeeded)])
    }
}

/// `etcd_server_client_requests_total`, by the version that clients say they speak.
#[derive(Debug, Default)]
pub struct Clients(ArcSwap<Vec<Client>>);

#[derive(Clone, Debug)]
struct Client {
    version: String,
    unary: Arc<Counter>,
    stream: Arc<Counter>,
}

impl Clients {
    /// Clients name what they like: of so many versions each is told apart.
    const MOST: usize = 100;
    const UNKNOWN: &'static str = "unknown";

    pub fn count(&self, family: &Family<Counter>, version: Option<&str>, stream: bool) {
        let known = self.0.load();
        let version = version.unwrap_or(Self::UNKNOWN);
        if let Some(client) = known.iter().find(|client| client.version == version) {
            return client.count(stream);
        }
        let version = if known.len() < Self::MOST { version } else { Self::UNKNOWN };
        let client = Client {
            version: version.to_owned(),
            unary: family.with(&["unary", version]),
            stream: family.with(&["stream", version]),
        };
        client.count(stream);
        self.0.rcu(|known| {
            let mut more = Vec::clone(known);
            if !more.iter().any(|other| other.version == client.version) {
                more.push(client.clone());
            }
            more
        });
    }
}

impl Client {
    fn count(&self, stream: bool) {
        if stream { self.stream.inc() } else { self.unary.inc() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn types_stand_at_their_numbers() {
        for (number, (kind, name)) in RequestType::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number, "{name}");
        }
    }

    #[test]
    fn clients_are_told_apart_up_to_a_limit() {
        let metrics = Metrics::new(false);
        let family = &metrics.server_client_requests_total;
        let clients = Clients::default();
        clients.count(family, None, true);
        for n in 0..300 {
            clients.count(family, Some(&format!("3.{n}")), false);
            clients.count(family, Some("3.5"), false);
        }
        assert_eq!(family.with(&["unary", "3.5"]).get(), 301);
        assert_eq!(family.with(&["stream", "unknown"]).get(), 1);
        let mut versions = 0;
        family.each(|_, _| versions += 1);
        assert_eq!(versions, 200, "a hundred versions, each with both types");
        assert_eq!(family.with(&["unary", "unknown"]).get(), 300 - 99);
    }
}
