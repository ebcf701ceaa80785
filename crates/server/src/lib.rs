//! The shell of the server: flags, listeners, threads, gRPC, HTTP and metrics around the core crates.

pub mod config;
mod gauges;
pub mod grpc;
pub mod host;
pub mod http;
pub mod log;
pub mod metrics;
pub mod node;
mod pages;
pub mod run;
pub mod serve;
pub mod threads;
pub mod tls;

/// Runs the server with these arguments (its own name first) and variables; the exit status.
pub fn main(arguments: &[String], environment: &[(String, String)]) -> u8 {
    let prepared = config::load(arguments, environment).and_then(config::startup::prepare);
    match prepared {
        Ok(prepared) => match run::run(&prepared) {
            Ok(()) => 0,
            Err(error) => log::fatal("failed to start etcd", &[log::error_field(&error)]),
        },
        Err(config::Exit(status)) => status as u8,
    }
}
