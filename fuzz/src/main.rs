//! Bytes from outside, damaged in every way that chance finds, for every parser that reads such bytes.
//!
//! `cargo run -p fuzz -- TARGET [--iterations N] [--seconds S] [--seed N] [--from N]`; `all` for every target, `list` for their names.
//! Works with the pinned stable toolchain: no coverage is measured; instead targets know their formats and put damage where checksums
//! would hide it. An input follows from seed and iteration alone. Each target runs in a process of its own that is watched: a panic, an
//! abort, too much memory or an iteration without end is a finding, printed with the command that shows it again.

mod corpus;
mod mutate;
mod targets;
mod worker;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What to run and how long; whichever limit comes first.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    from: u64,
    iterations: u64,
    time: Duration,
}

/// One iteration may take so long, on a machine that does other things too.
const HANG: Duration = Duration::from_secs(30);

/// No input is worth more memory: whoever believes a length in it and fills that much is found by this.
const MEMORY_BYTES: u64 = 4 << 30;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, plan, progress) = parse(&arguments)?;
    if let Some(progress) = progress {
        worker::run(targets::find(&name)?, &plan, Path::new(&progress))?;
        return Ok(ExitCode::SUCCESS);
    }
    if name == "list" {
        targets::ALL
            .iter()
            .for_each(|target| println!("{:14} {}", target.name, target.about));
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = match name.as_str() {
        "all" => targets::ALL.iter().collect(),
        name => vec![targets::find(name)?],
    };
    let mut found = 0;
    for target in chosen {
        found += u32::from(!watch(target.name, &plan)?);
    }
    if found > 0 {
        println!("{found} targets found something");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Target, plan, and the file of a worker's progress.
fn parse(arguments: &[String]) -> anyhow::Result<(String, Plan, Option<String>)> {
    let mut plan = Plan {
        seed: 1,
        from: 0,
        iterations: u64::MAX,
        time: Duration::from_secs(60),
    };
    let (mut name, mut progress) = (None, None);
    let mut coming = arguments.iter();
    while let Some(argument) = coming.next() {
        let mut value = || coming.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seed" => plan.seed = value()?.parse()?,
            "--from" => plan.from = value()?.parse()?,
            "--iterations" => {
                plan.iterations = value()?.parse()?;
                plan.time = Duration::MAX;
            }
            "--seconds" => plan.time = Duration::from_secs(value()?.parse()?),
            "--progress" => progress = Some(value()?.clone()),
            other if !other.starts_with('-') && name.is_none() => name = Some(other.to_owned()),
            other => bail!("{other}: what is that?"),
        }
    }
    Ok((name.context("which target? `list` names them")?, plan, progress))
}

/// Runs a target in a process of its own; whether it came through.
fn watch(name: &str, plan: &Plan) -> anyhow::Result<bool> {
    let progress = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, "--seed", &plan.seed.to_string(), "--from", &plan.from.to_string()]);
    if plan.iterations != u64::MAX {
        command.args(["--iterations", &plan.iterations.to_string()]);
    } else {
        command.args(["--seconds", &plan.time.as_secs().to_string()]);
    }
    let begun = Instant::now();
    let mut worker = command
        .arg("--progress")
        .arg(progress.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let (mut last, mut moved) = (None, Instant::now());
    let ended = loop {
        if let Some(status) = worker.try_wait()? {
            break if status.success() { None } else { Some(status.to_string()) };
        }
        if worker::memory_bytes(worker.id()) > MEMORY_BYTES {
            worker.kill()?;
            worker.wait()?;
            break Some(format!("more than {MEMORY_BYTES} bytes of memory"));
        }
        let now = worker::iteration(progress.path());
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > HANG {
            worker.kill()?;
            worker.wait()?;
            break Some(format!("no end after {} s", HANG.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let at = worker::iteration(progress.path()).unwrap_or(plan.from);
    match ended {
        None => println!(
            "{name:14} {} iterations in {:.1} s",
            at + 1 - plan.from,
            begun.elapsed().as_secs_f64()
        ),
        Some(how) => println!(
            "{name:14} FOUND at iteration {at}: {how}\n    cargo run -p fuzz -- {name} --seed {} --from {at} --iterations 1",
            plan.seed
        ),
    }
    Ok(worker.wait()?.success())
}
