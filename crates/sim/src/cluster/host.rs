//! One machine: its disk, its clock, and the life of the member that runs on it, if any.

use std::path::{Path, PathBuf};
use std::time::Duration;

use member::bootstrap::Config;
use world::sim::{Fault, SimDisk};

use super::Micros;
use super::chance::Chance;
use super::life::{Life, Stop};
use super::options::Options;

/// The wall clock when the run begins.
const BEGAN_UNIX_MS: u64 = 1_700_000_000_000;

pub struct Host {
    pub config: Config,
    pub disk: SimDisk,
    pub life: Option<Life>,
    pub lives: u64,
    began: Micros,
    /// Millionths that its clock runs fast.
    drift: i64,
    /// SIGSTOP until then.
    pub paused_until: Micros,
    pub slow_log_until: Micros,
    pub slow_apply_until: Micros,
    /// The process was killed, the machine was not.
    killed: bool,
}

impl Host {
    pub fn new(number: usize, options: &Options, chance: &mut Chance) -> Host {
        let drift = chance.below(2 * options.drift + 1) as i64 - options.drift as i64;
        Host {
            config: config(number, options),
            disk: SimDisk::new(),
            life: None,
            lives: 0,
            began: 0,
            drift,
            paused_until: 0,
            slow_log_until: 0,
            slow_apply_until: 0,
            killed: false,
        }
    }

    /// The next life begins.
    ///
    /// # Errors
    /// As [`Life::open`].
    pub fn start(&mut self, now: Micros, options: &Options) -> Result<(), Stop> {
        assert!(self.life.is_none(), "one life at a time");
        let number = self.lives;
        self.lives += 1;
        self.began = now;
        let unix_ms = BEGAN_UNIX_MS + now / 1_000;
        let life = Life::open(self.disk.dyn_disk(), &self.config, number, unix_ms, options.planted)?;
        self.life = Some(life);
        Ok(())
    }

    /// Time since the life began, by the machine's clock.
    pub fn clock(&self, now: Micros) -> Duration {
        let passed = (now - self.began) as i64;
        Duration::from_micros((passed + passed / 1_000_000 * self.drift + passed % 1_000_000 * self.drift / 1_000_000) as u64)
    }

    /// How long a tick of its clock takes.
    pub fn tick(&self, options: &Options) -> Micros {
        (options.tick as i64 * 1_000_000 / (1_000_000 + self.drift)) as Micros
    }

    /// Whether the disk answers no more: the end of a life is its doing.
    pub fn is_dead(&self) -> bool {
        use world::Disk;
        self.disk.exists(Path::new("/data")).is_err()
    }

    /// The end of a life by a fault of the disk that has happened already.
    pub fn bury(&mut self, chance: &mut Chance) {
        self.killed = !self.disk.is_off();
        self.end(chance);
    }

    /// The power goes.
    pub fn power_cut(&mut self, chance: &mut Chance) {
        self.disk.power_off();
        self.end(chance);
    }

    /// SIGKILL.
    pub fn kill(&mut self, chance: &mut Chance) {
        self.killed = true;
        self.end(chance);
    }

    fn end(&mut self, chance: &mut Chance) {
        let killed = std::mem::replace(&mut self.killed, false) && !self.disk.is_off();
        // The disk first: what the life still does while it is taken apart reaches it no more.
        self.disk = if killed { self.disk.kill() } else { self.disk.crash(chance.next()) };
        self.life = None;
        self.disk.clear_faults();
        self.paused_until = 0;
    }

    /// Plans the end for one of the next calls of the disk.
    pub fn end_within(&mut self, calls: u64, fault: Fault, chance: &mut Chance) {
        let at = self.disk.calls() + 1 + chance.below(calls);
        self.disk.fault_at(at, fault);
    }
}

fn config(number: usize, options: &Options) -> Config {
    let name = |number: usize| format!("m{number}");
    let url = |number: usize| format!("http://10.0.0.{}:2380", number + 1);
    let client_url = format!("http://10.0.0.{}:2379", number + 1);
    let mut config = Config::single(&name(number), PathBuf::from("/data"), &url(number), &client_url);
    config.initial_cluster = (0..options.members).map(|number| (name(number), url(number))).collect();
    config.tick = Duration::from_micros(options.tick);
    config.election_ticks = options.election_ticks;
    config.pre_vote = options.pre_vote;
    config.catch_up_entries = options.catch_up_entries;
    config.snapshot_count = options.snapshot_count;
    config.max_snapshots = 2;
    config.max_wals = 2;
    config.wal_options.segment_bytes = options.segment_bytes;
    config
}
