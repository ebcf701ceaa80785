//! The rules of consensus, seen from outside: small clusters in one thread, with messages delivered, lost, held back and made up.
//!
//! What Go's scripts print (`tests/scripts`) is not repeated here.

mod cluster;
mod elections;
mod hostile;
mod limits;
mod membership;
mod reads;
mod replication;
mod snapshots;
mod transfer;
