//! What a run is like: all of it drawn from the seed, but what the caller fixes.

use super::chance::Chance;
use super::{Micros, SECOND};

/// A fault built into the driver, never into the product, to show that the simulator would notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The log's batches are acknowledged when they are written, before they are synced.
    AckBeforeSync,
    /// After a crash the last request that the database holds is given its effect once more.
    ApplyTwice,
    /// A member that believes to lead answers linearizable reads at its own commit index without asking anybody.
    ReadOfTheDeposed,
}

/// What the caller decides.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub members: Option<usize>,
    /// How long clients and faults are at work, in virtual seconds.
    pub seconds: Option<u64>,
    pub planted: Option<Planted>,
}

/// How likely each kind of fault is, as weights; 0: never in this run.
#[derive(Clone, Debug)]
pub struct Weights {
    pub cut_off: u64,
    pub one_way: u64,
    pub split: u64,
    pub power_cut: u64,
    pub power_cut_in_call: u64,
    pub kill: u64,
    pub kill_in_call: u64,
    pub pause: u64,
    pub slow_log: u64,
    pub slow_apply: u64,
    pub transfer: u64,
    pub leave: u64,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub planted: Option<Planted>,
    pub members: usize,
    pub busy: Micros,
    pub clients: u32,
    pub keys: u32,
    pub watchers: usize,
    /// Between two calls of a client.
    pub think: (Micros, Micros),
    pub give_up: Micros,
    /// Of 100 calls, those that make leases or puts with them.
    pub lease_percent: u64,
    pub tick: Micros,
    pub election_ticks: u32,
    pub pre_vote: bool,
    /// Each clock runs fast or slow by up to so many millionths.
    pub drift: u64,
    pub delay: (Micros, Micros),
    pub loss_percent: u64,
    pub twice_percent: u64,
    /// Messages of one link keep their order, as on a stream.
    pub in_order: bool,
    pub log_delay: (Micros, Micros),
    pub apply_delay: (Micros, Micros),
    pub commit_every: Micros,
    pub snapshot_count: u64,
    pub catch_up_entries: u64,
    pub segment_bytes: u64,
    /// Between two faults, at most; 0: none.
    pub fault_every: Micros,
    pub weights: Weights,
    /// How long a member stays down.
    pub down: (Micros, Micros),
}

impl Options {
    /// The options of a seed.
    pub fn of(seed: u64, settings: &Settings) -> Options {
        let mut chance = Chance::new(seed ^ 0x6f70_7469_6f6e_7321);
        let c = &mut chance;
        let drawn = c.pick(&[1, 3, 3, 3, 3, 3, 3, 5, 5]);
        let members = settings.members.unwrap_or(drawn);
        let delay = c.pick(&[(50, 800), (500, 5_000), (1_000, 30_000), (1_000, 120_000)]);
        let drawn = c.between(8, 16) * SECOND;
        Options {
            seed,
            planted: settings.planted,
            members,
            busy: settings.seconds.map_or(drawn, |seconds| seconds * SECOND),
            clients: c.between(2, 6) as u32,
            keys: c.between(1, 4) as u32,
            watchers: c.between(1, 3) as usize,
            think: c.pick(&[(1_000, 20_000), (5_000, 200_000), (50_000, 400_000)]),
            give_up: c.between(1, 4) * SECOND,
            lease_percent: c.pick(&[0, 5, 15]),
            tick: c.pick(&[50_000, 100_000, 100_000]),
            election_ticks: c.between(5, 12) as u32,
            pre_vote: !c.one_in(6),
            drift: c.pick(&[0, 1_000, 50_000, 200_000]),
            delay,
            loss_percent: c.pick(&[0, 0, 1, 5, 15]),
            twice_percent: c.pick(&[0, 0, 2, 10]),
            in_order: c.one_in(3),
            log_delay: c.pick(&[(50, 300), (200, 5_000), (1_000, 60_000)]),
            apply_delay: c.pick(&[(10, 200), (100, 4_000), (1_000, 30_000)]),
            commit_every: c.pick(&[20_000, 100_000, 100_000, 1_000_000]),
            snapshot_count: if members == 1 { c.pick(&[15, 100]) } else { 1_000_000 },
            catch_up_entries: c.pick(&[5, 50, 5_000]),
            segment_bytes: c.pick(&[16 << 10, 64 << 10]),
            fault_every: c.pick(&[0, 500_000, 1_000_000, 2_000_000, 4_000_000]),
            weights: Weights::drawn(c),
            down: c.pick(&[(10_000, 300_000), (100_000, 3_000_000), (2_000_000, 6_000_000)]),
        }
    }

    /// How long after the last fault everything has to be well again.
    pub fn recovery(&self) -> Micros {
        90 * SECOND
    }
}

impl Weights {
    /// Some kinds are left out, so that others are seen alone.
    fn drawn(c: &mut Chance) -> Weights {
        let mut weight = || c.pick(&[0, 1, 1, 4]);
        Weights {
            cut_off: weight(),
            one_way: weight(),
            split: weight(),
            power_cut: weight(),
            power_cut_in_call: weight(),
            kill: weight(),
            kill_in_call: weight(),
            pause: weight(),
            slow_log: weight(),
            slow_apply: weight(),
            transfer: weight(),
            leave: weight(),
        }
    }

    pub fn list(&self) -> [u64; 12] {
        [
            self.cut_off,
            self.one_way,
            self.split,
            self.power_cut,
            self.power_cut_in_call,
            self.kill,
            self.kill_in_call,
            self.pause,
            self.slow_log,
            self.slow_apply,
            self.transfer,
            self.leave,
        ]
    }
}
