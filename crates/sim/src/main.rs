//! Runs seeds: `cargo run --release -p sim -- --seeds 10000 --from 1`.
//!
//! A release build ends at a panic; without `--release` a panic of a member is a failure with a report like any other.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::cluster::{Planted, Report, Settings, run};

const USAGE: &str =
    "usage: sim [--seeds N] [--from S] [--members 1|3|5] [--seconds VIRTUAL] [--planted ack|twice|read] [--keep-going] [--verbose]";

/// The seed under way, for whoever has to say where a panic came from.
static SEED: AtomicU64 = AtomicU64::new(0);

struct Arguments {
    seeds: u64,
    from: u64,
    settings: Settings,
    keep_going: bool,
    verbose: bool,
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments {
        seeds: 100,
        from: 1,
        settings: Settings::default(),
        keep_going: false,
        verbose: false,
    };
    let mut list = std::env::args().skip(1);
    while let Some(name) = list.next() {
        match name.as_str() {
            "--keep-going" => parsed.keep_going = true,
            "--verbose" => parsed.verbose = true,
            "--seeds" => parsed.seeds = list.next()?.parse().ok()?,
            "--from" => parsed.from = list.next()?.parse().ok()?,
            "--seconds" => parsed.settings.seconds = Some(list.next()?.parse().ok()?),
            "--members" => {
                let members = list.next()?.parse().ok()?;
                parsed.settings.members = [1, 3, 5].contains(&members).then_some(members);
                parsed.settings.members?;
            }
            "--planted" => {
                parsed.settings.planted = Some(match list.next()?.as_str() {
                    "ack" => Planted::AckBeforeSync,
                    "twice" => Planted::ApplyTwice,
                    "read" => Planted::ReadOfTheDeposed,
                    _ => return None,
                });
            }
            _ => return None,
        }
    }
    Some(parsed)
}

fn add(sum: &mut Report, report: &Report) {
    sum.events += report.events;
    sum.answered += report.answered;
    sum.unanswered += report.unanswered;
    sum.watched += report.watched;
    sum.entries += report.entries;
    sum.terms += report.terms;
    sum.restarts += report.restarts;
    sum.took += report.took;
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("seed {} FAILED: a panic", SEED.load(Ordering::Relaxed));
        default(panic);
    }));
    let begun = Instant::now();
    let (mut sum, mut failed, mut done) = (Report::default(), Vec::new(), 0);
    for seed in arguments.from..arguments.from + arguments.seeds {
        SEED.store(seed, Ordering::Relaxed);
        match run(seed, &arguments.settings) {
            Ok(report) => {
                if arguments.verbose {
                    println!("seed {seed}: {report:x?}");
                }
                add(&mut sum, &report);
            }
            Err(failure) => {
                println!("{failure}");
                failed.push(seed);
            }
        }
        done += 1;
        if done % 200 == 0 {
            let rate = done as f64 / begun.elapsed().as_secs_f64();
            println!("{done} seeds, {} failed, {rate:.1} seeds/s", failed.len());
        }
        if !failed.is_empty() && !arguments.keep_going {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{done} seeds from {} in {took:.1} s ({:.1} seeds/s), {} failed {failed:?}",
        arguments.from,
        done as f64 / took,
        failed.len()
    );
    println!(
        "{} virtual seconds, {} events, {} entries, {} terms, {} restarts; {} calls answered, {} not; {} watch events",
        sum.took / 1_000_000,
        sum.events,
        sum.entries,
        sum.terms,
        sum.restarts,
        sum.answered,
        sum.unanswered,
        sum.watched
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
