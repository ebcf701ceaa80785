//! Quorate and Go etcd side by side, in one run: started alternately, under the same load, and the ratios printed.
//!
//!     cargo run --release -p bench -- --go DIR --ours DIR [--rounds 3] [--seconds 10] [--quick] [SCENARIO...]
//!
//! Each DIR holds an `etcd`. A scenario is a name of `--list` or the part before its `/`. Every figure the project states comes
//! from here. Costs of a server are read from the operating system: CPU from the scheduler, memory as RssAnon and VmHWM.

mod load;
mod process;
mod report;
mod scenario;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use process::Side;
use scenario::Scale;

struct Arguments {
    go: PathBuf,
    ours: PathBuf,
    rounds: usize,
    scale: Scale,
    scenarios: Vec<String>,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut scale = Scale {
        length: Duration::from_secs(10),
        keys: 100_000,
        start_keys: 1_000_000,
        defrag_bytes: 1 << 30,
    };
    let (mut go, mut ours, mut rounds, mut wanted) = (None, None, 3, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--go" => go = Some(PathBuf::from(value()?)),
            "--ours" => ours = Some(PathBuf::from(value()?)),
            "--rounds" => rounds = value()?.parse()?,
            "--seconds" => scale.length = Duration::from_secs_f64(value()?.parse()?),
            "--quick" => {
                scale = Scale {
                    length: Duration::from_secs(2),
                    keys: 10_000,
                    start_keys: 100_000,
                    defrag_bytes: 100 << 20,
                };
            }
            "--list" => {
                scenario::all().iter().for_each(|name| println!("{name}"));
                std::process::exit(0);
            }
            other if other.starts_with('-') => bail!("unknown flag {other}"),
            name => wanted.push(name.to_owned()),
        }
    }
    let known = scenario::all();
    for name in &wanted {
        if !known.iter().any(|k| k == name || k.split('/').next() == Some(name)) {
            bail!("no scenario {name}; see --list");
        }
    }
    let scenarios = known
        .into_iter()
        .filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == name || Some(w.as_str()) == name.split('/').next()))
        .collect();
    let binary = |folder: Option<PathBuf>, flag: &str| folder.with_context(|| format!("{flag} DIR is missing")).map(|dir| dir.join("etcd"));
    Ok(Arguments {
        go: binary(go, "--go")?,
        ours: binary(ours, "--ours")?,
        rounds,
        scale,
        scenarios,
    })
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut report = report::Report::default();
    for round in 0..arguments.rounds {
        for name in &arguments.scenarios {
            // Who goes first changes from round to round, so that a slow drift of the machine favours neither.
            let order = if round % 2 == 0 {
                [Side::Go, Side::Ours]
            } else {
                [Side::Ours, Side::Go]
            };
            let mut figures = Vec::new();
            for side in order {
                let folder = tempfile::tempdir()?;
                let binary = if side == Side::Go { &arguments.go } else { &arguments.ours };
                let measured = runtime.block_on(scenario::run(name, binary, folder.path(), arguments.scale));
                figures.push((side, measured.with_context(|| format!("{name} on {side:?}, round {round}"))?));
            }
            eprintln!("round {round}: {name} done");
            report.add(name, [figures[0], figures[1]]);
        }
    }
    report.print();
    Ok(())
}
