//! Consensus' traffic with the other members: what `peer` asks of the member around it, and the peer port's listeners.
//!
//! Stands beside step 5 of the life of a Put: messages out are an effect of the replicator, messages in are its inputs. Never looks
//! into a message.

mod host;
mod lines;
mod listen;
mod numbers;

use std::io;
use std::sync::Arc;

use compat::url;
use peer::{BoxFuture, Connect, Io, PeerUrl, Timing, Transport};

use crate::config::Config;
use crate::node::Node;
use crate::peers::Dialler;

pub use host::MemberHost;
pub use listen::{PeerDoor, listen};

/// Dials peers with this member's certificates.
struct Connector(Arc<Dialler>);

impl Connect for Connector {
    fn connect<'a>(&'a self, to: &'a PeerUrl) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let url = url::parse(&to.to_string()).map_err(io::Error::other)?;
            // The transport tells the reason in its lines: it should be the one that people know.
            let stream = self.0.dial(&url).await;
            let stream = stream.map_err(|error| io::Error::new(error.kind(), crate::tls::reason(&error)))?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// A thread of its own for all that goes to and comes from other members.
///
/// # Errors
/// When the system gives none.
pub fn runtime() -> io::Result<tokio::runtime::Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("peers".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// The transport of a member, without peers yet.
///
/// # Errors
/// When what the flags say of this member can't be said to others.
pub fn transport(
    node: &Arc<Node>,
    host: MemberHost,
    config: &Config,
    dialler: Arc<Dialler>,
    runtime: tokio::runtime::Handle,
) -> Result<Transport, peer::ConfigError> {
    let stated = peer::Config {
        id: node.member_id,
        cluster: node.cluster_id,
        urls: config.initial_advertise_peer_urls.iter().map(url::Url::to_string).collect(),
        version: api::SERVER_VERSION.to_owned(),
        min_cluster_version: api::MIN_CLUSTER_VERSION.to_owned(),
        timing: Timing::for_election(config.election()),
    };
    let numbers = numbers::Numbers::new(node.clone(), config.initial_election_tick_advance);
    Transport::new(
        stated,
        Arc::new(host),
        Arc::new(Connector(dialler)),
        Arc::new(numbers),
        Arc::new(lines::Lines),
        runtime,
    )
}
