//! The shell of the server: flags, listeners, threads, gRPC, HTTP and metrics around the core crates.

pub mod config;
pub mod host;
pub mod http;
pub mod log;
pub mod metrics;
pub mod tls;
