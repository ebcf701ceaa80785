//! The binary `etcd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(server::main(
        &std::env::args().collect::<Vec<_>>(),
        &std::env::vars().collect::<Vec<_>>(),
    ))
}
