//! The binary `etcd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(server::main(&server::config::arguments(), &server::config::environment()))
}
