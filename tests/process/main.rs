//! The real binary, started, used, killed and started again.

mod authority;
mod cluster;
mod disk;
mod harness;
mod kill;
mod lifecycle;
mod limits;
mod tls;
mod told;
