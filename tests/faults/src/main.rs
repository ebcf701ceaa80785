//! Fault tests of clusters: real processes in network namespaces, killed, paused, cut off and slowed down under clients that record
//! every call; what they recorded is checked (crate `sim`). Which binary each member runs is the command line's choice, so that clusters
//! of Go's etcd and mixed ones are tested in the same way.
//!
//! Code map: `sandbox` (namespaces that end with us), `network` (the wire between them), `member`, `cluster`, `tls`, `record` (calls as
//! the checkers want them), `load` and `watching` (the clients), `fault` (what is done), `run` (rounds and verdicts), `report`.

mod chance;
mod cluster;
mod fault;
mod load;
mod member;
mod network;
mod options;
mod record;
mod report;
mod run;
mod sandbox;
mod tls;
mod watching;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("faults: {error:#}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work(&options)));
    result.unwrap_or_else(|error| {
        eprintln!("faults: {error:#}");
        ExitCode::FAILURE
    })
}

async fn work(options: &Options) -> anyhow::Result<ExitCode> {
    let Some(folder) = sandbox::folder() else {
        return sandbox::run(options.keep.as_deref()).await;
    };
    sandbox::prepare()?;
    let members: Vec<String> = options.members.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
    println!(
        "members {}{}; election timeout {:?}, heartbeat {:?}, seed {}",
        members.join(","),
        if options.is_tls { " with mutual TLS" } else { "" },
        options.election,
        options.heartbeat,
        options.seed
    );
    let rows = run::run_all(options, &folder).await?;
    let violations: usize = rows.iter().map(|row| row.violations.len()).sum();
    println!("{} faults played, {violations} violations", rows.len());
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
