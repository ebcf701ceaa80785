//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::fault::Fault;

pub const HELP: &str = "\
Runs clusters of real processes, each member in its own network namespace, breaks them, and checks what their clients saw.

  faults --etcd BIN [--go BIN] [--members ours,ours,ours] [--tls]
         [--faults LIST|smoke|all] [--rounds N] [--writes N] [--limit SECONDS]

  --etcd BIN          the binary of members called `ours`
  --go BIN            the binary of members called `go`
  --members LIST      one word a member: ours or go (default ours,ours,ours)
  --tls               mutual TLS at all doors
  --faults LIST       words apart by commas; `all`; `smoke` (each basic one)
  --rounds N          how often each fault is played (default 3)
  --writes N          go on with rounds until so many writes are acknowledged
  --limit SECONDS     no new round of a fault after so long (default 3600)
  --workers N         clients that put, get, delete and swap (default 6)
  --pause-ms N        a worker's rest after each call (default 10)
  --probe-ms N        a write is begun so often, whatever the others wait for (default 5)
  --heartbeat-ms N    (default 100)
  --election-ms N     (default 1000)
  --member-flag FLAG  passed to every member; may be repeated
  --rotate-leader     before each round another member is made the leader, in turn
  --stale-reads       reads are serializable: to see that this is found
  --failpoints        `ours` was built with the feature `failpoints` (for slow-disk)
  --faketime LIB      libfaketime.so.1, loaded into `ours` (for clock)
  --seed N            of all that is left to chance
  --keep FOLDER       keeps data directories and logs there
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Go,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub etcd: Option<PathBuf>,
    pub go: Option<PathBuf>,
    pub members: Vec<Kind>,
    pub is_tls: bool,
    pub faults: Vec<Fault>,
    pub rounds: u32,
    pub writes: u64,
    pub limit: Duration,
    pub workers: u32,
    pub pause: Duration,
    pub probe: Duration,
    pub heartbeat: Duration,
    pub election: Duration,
    pub member_flags: Vec<String>,
    pub rotate_leader: bool,
    pub stale_reads: bool,
    pub has_failpoints: bool,
    pub faketime: Option<PathBuf>,
    pub seed: u64,
    pub keep: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            etcd: None,
            go: None,
            members: vec![Kind::Ours; 3],
            is_tls: false,
            faults: Fault::SMOKE.to_vec(),
            rounds: 3,
            writes: 0,
            limit: Duration::from_secs(3600),
            workers: 6,
            pause: Duration::from_millis(10),
            probe: Duration::from_millis(5),
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(1000),
            member_flags: Vec::new(),
            rotate_leader: false,
            stale_reads: false,
            has_failpoints: false,
            faketime: None,
            seed: 1,
            keep: None,
        }
    }
}

impl Options {
    /// Reads the arguments; `None` when help was asked for.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Options>> {
        let mut options = Options::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} wants a value"));
            match name.as_str() {
                "-h" | "--help" => return Ok(None),
                "--tls" => options.is_tls = true,
                "--rotate-leader" => options.rotate_leader = true,
                "--stale-reads" => options.stale_reads = true,
                "--failpoints" => options.has_failpoints = true,
                "--etcd" => options.etcd = Some(std::path::absolute(value()?)?),
                "--go" => options.go = Some(std::path::absolute(value()?)?),
                "--faketime" => options.faketime = Some(value()?.into()),
                "--keep" => options.keep = Some(std::path::absolute(value()?)?),
                "--members" => options.members = value()?.split(',').map(kind).collect::<anyhow::Result<_>>()?,
                "--faults" => options.faults = faults(&value()?)?,
                "--member-flag" => options.member_flags.push(value()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--writes" => options.writes = value()?.parse()?,
                "--workers" => options.workers = value()?.parse()?,
                "--seed" => options.seed = value()?.parse()?,
                "--limit" => options.limit = Duration::from_secs(value()?.parse()?),
                "--pause-ms" => options.pause = Duration::from_millis(value()?.parse()?),
                "--probe-ms" => options.probe = Duration::from_millis(value()?.parse::<u64>()?.max(1)),
                "--heartbeat-ms" => options.heartbeat = Duration::from_millis(value()?.parse()?),
                "--election-ms" => options.election = Duration::from_millis(value()?.parse()?),
                _ => bail!("{name} is not known; --help lists what is"),
            }
        }
        for kind in &options.members {
            options.binary(*kind)?;
        }
        if !(1..=9).contains(&options.members.len()) {
            bail!("a cluster has 1 to 9 members");
        }
        Ok(Some(options))
    }

    pub fn binary(&self, kind: Kind) -> anyhow::Result<&PathBuf> {
        let (binary, flag) = match kind {
            Kind::Ours => (&self.etcd, "--etcd"),
            Kind::Go => (&self.go, "--go"),
        };
        let binary = binary.as_ref().with_context(|| format!("{flag} must say which binary to start"))?;
        if !binary.exists() {
            bail!("{flag} {} does not exist", binary.display());
        }
        Ok(binary)
    }
}

fn kind(word: &str) -> anyhow::Result<Kind> {
    match word {
        "ours" => Ok(Kind::Ours),
        "go" => Ok(Kind::Go),
        _ => bail!("a member is `ours` or `go`, not {word:?}"),
    }
}

fn faults(list: &str) -> anyhow::Result<Vec<Fault>> {
    match list {
        "smoke" => Ok(Fault::SMOKE.to_vec()),
        "all" => Ok(Fault::ALL.to_vec()),
        _ => list
            .split(',')
            .map(|word| Fault::named(word).with_context(|| format!("no fault is called {word:?}")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Options>> {
        Options::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn a_mixed_cluster() {
        let this = std::env::current_exe().expect("we run");
        let binary = this.display();
        let line = format!("--etcd {binary} --go {binary} --members ours,go,ours --faults kill-any,slow-net --rounds 7 --tls");
        let options = parse(&line).expect("parses").expect("no help");
        assert_eq!(options.members, [Kind::Ours, Kind::Go, Kind::Ours]);
        assert_eq!(options.faults, [Fault::KillAny, Fault::SlowNet]);
        assert_eq!((options.rounds, options.is_tls), (7, true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line: &str| parse(line).map(drop).expect_err("refused").to_string();
        assert_eq!(error("--members ours,go"), "--etcd must say which binary to start");
        assert_eq!(error("--members python"), "a member is `ours` or `go`, not \"python\"");
        assert_eq!(error("--faults flood"), "no fault is called \"flood\"");
        assert_eq!(error("--frob"), "--frob is not known; --help lists what is");
        assert_eq!(error("--rounds"), "--rounds wants a value");
        assert!(parse("--help").expect("parses").is_none());
    }

    #[test]
    fn every_fault_has_one_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
    }
}
