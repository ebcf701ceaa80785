//! The shell of the server: flags, listeners, threads, gRPC, HTTP and metrics around the core crates.

pub mod config;
mod gauges;
pub mod grpc;
pub mod host;
pub mod http;
mod leadership;
mod leases;
pub mod log;
mod membership;
pub mod metrics;
pub mod node;
mod pages;
pub mod peers;
pub mod run;
pub mod serve;
pub mod threads;
pub mod tls;
mod traffic;
mod versions;

use backend::BackendError;
use member::bootstrap::OpenError;

/// Runs the server with these arguments (its own name first) and variables; the exit status.
pub fn main(arguments: &[String], environment: &[(String, String)]) -> u8 {
    abort_on_panic();
    if let Err(error) = host::arm_failpoints() {
        log::fatal("failed to arm failpoints", &[log::error_field(&error)]);
    }
    let prepared = config::load(arguments, environment).and_then(config::startup::prepare);
    match prepared {
        Ok(prepared) => match run::run(&prepared) {
            Ok(()) => 0,
            Err(run::RunError::Refused(refusal)) => refusal.report().0 as u8,
            // etcd dies of a database it can't open, with a panic's status.
            Err(run::RunError::Open(OpenError::Backend(BackendError::Open(error)))) => log::panic(
                "failed to open database",
                &[
                    log::display("path", &prepared.config.snap_dir().join("db").display()),
                    log::error_field(&error),
                ],
            ),
            // etcd's heading for all that goes wrong before it serves.
            Err(error) => log::fatal("discovery failed", &[log::error_field(&error)]),
        },
        Err(config::Exit(status)) => status as u8,
    }
}

/// A thread that panics takes the process with it, also where panics unwind: nobody goes on with half of the threads.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}
