//! What members say to each other outside of consensus: versions, the membership, leases and promotions for the leader, hashes.
//!
//! HTTP/1.1 on the peer port, both sides of it. Consensus itself (`/raft` and below) is the business of another crate. Beside the life of a Put.

mod calls;
mod client;
mod dial;
pub mod join;
mod member;
mod pages;
#[cfg(test)]
mod tests;

pub use calls::{Forwarded, Peers, Promotion, RemoteCluster, RemoteHash, RemoteHeader, RemoteVersions};
pub use client::CallError;
pub use dial::{BoxStream, Dialler, Stream};
pub use member::NodeMember;
pub use pages::{PeerMember, PeerPages};

/// The header that names the cluster.
pub const CLUSTER_ID: http::HeaderName = http::HeaderName::from_static("x-etcd-cluster-id");
