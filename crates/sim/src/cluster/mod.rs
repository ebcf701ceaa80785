//! A whole cluster in one thread, from one seed: the real machines of 1, 3 or 5 members on simulated disks, clocks and links.
//!
//! Whatever can happen between a client and its answer is an event with a time; the run takes one after the other. Two runs of one seed
//! are the same run, so a failure is found again by its number.
//!
//! | file | what |
//! | --- | --- |
//! | `options` | what a run is like, drawn from the seed; the planted faults |
//! | `run` | the events, and who gets them |
//! | `host`, `life` | a machine; one life of the member on it, with actors where the server has threads |
//! | `network`, `faults` | what goes wrong, and when |
//! | `clients`, `watchers`, `requests` | who asks, and in what words |
//! | `laws` | what must hold of the members at every moment |
//! | `judge` | what must hold in the end |
//! | `trace` | the log hash, and the last events for the report of a failure |

mod chance;
mod clients;
mod faults;
mod host;
mod judge;
mod laws;
mod life;
mod network;
mod options;
mod requests;
mod run;
mod trace;
mod watchers;

use std::fmt;

pub use options::{Options, Planted, Settings};

/// Virtual time since the start of a run, in microseconds.
pub type Micros = u64;

const SECOND: Micros = 1_000_000;

fn nanos(at: Micros) -> crate::checkers::Nanos {
    at * 1_000
}

/// What a run without a failure did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Equal for two runs of one seed.
    pub log_hash: u64,
    pub events: u64,
    pub answered: u64,
    pub unanswered: u64,
    pub watched: u64,
    pub entries: u64,
    pub terms: u64,
    /// Lives of members beyond their first.
    pub restarts: u64,
    /// Virtual time.
    pub took: Micros,
}

/// A run that broke a law.
pub struct Failure {
    pub what: String,
    pub options: Options,
    pub log_hash: u64,
    trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            what,
            options,
            log_hash,
            trace,
        } = self;
        writeln!(out, "seed {} FAILED: {what}", options.seed)?;
        writeln!(out, "{options:#?}")?;
        writeln!(out, "{trace}")?;
        writeln!(out, "seed {} FAILED (log hash {log_hash:016x}): {what}", options.seed)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Runs a seed to its end.
///
/// # Errors
/// The first law that was broken; a panic of a member counts as one.
pub fn run(seed: u64, settings: &Settings) -> Result<Report, Box<Failure>> {
    run::run(Options::of(seed, settings))
}
