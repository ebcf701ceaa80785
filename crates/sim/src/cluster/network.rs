//! The links between members: late, lossy, out of order, cut in one direction or in both.

use super::Micros;
use super::chance::Chance;
use super::options::Options;

/// Every link is one way.
#[derive(Debug)]
pub struct Network {
    members: usize,
    cut: Vec<bool>,
    /// Until when the last message of a link is under way, where links keep their order.
    last: Vec<Micros>,
    delay: (Micros, Micros),
    loss_percent: u64,
    twice_percent: u64,
    in_order: bool,
}

impl Network {
    pub fn new(options: &Options) -> Network {
        let links = options.members * options.members;
        Network {
            members: options.members,
            cut: vec![false; links],
            last: vec![0; links],
            delay: options.delay,
            loss_percent: options.loss_percent,
            twice_percent: options.twice_percent,
            in_order: options.in_order,
        }
    }

    /// When copies of a message sent now arrive; none if it is lost. `once`: there is at most one copy.
    pub fn arrivals(&mut self, now: Micros, (from, to): (usize, usize), once: bool, chance: &mut Chance) -> Vec<Micros> {
        let link = from * self.members + to;
        if self.cut[link] || chance.percent(self.loss_percent) {
            return Vec::new();
        }
        let copies = 1 + usize::from(chance.percent(self.twice_percent) && !once);
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut at = now + chance.between(self.delay.0, self.delay.1);
            if self.in_order {
                at = at.max(self.last[link]);
                self.last[link] = at;
            }
            arrivals.push(at);
        }
        arrivals
    }

    /// Whether a message that is under way still gets through.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from * self.members + to]
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from * self.members + to] = true;
    }

    /// Mends all links; messages already lost stay so.
    pub fn mend(&mut self) {
        self.cut.fill(false);
    }

    /// The faults are over: nothing is lost any more.
    pub fn calm(&mut self) {
        self.mend();
        self.loss_percent = 0;
        self.twice_percent = 0;
        self.delay = (100, 2_000);
    }
}
