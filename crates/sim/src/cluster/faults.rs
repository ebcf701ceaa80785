//! What goes wrong, and the end of it.

use member::replicate::Input;
use world::sim::Fault;

use super::SECOND;
use super::life::{Out, Stop};
use super::run::{Cluster, Event};

impl Cluster {
    /// One fault, and the time of the next.
    pub(super) fn fault(&mut self) {
        if self.calm_since.is_some() {
            return;
        }
        let after = 1 + self.chance.below(2 * self.options.fault_every);
        self.plan(after, Event::Fault);
        let host = self.victim();
        let weights = self.options.weights.list();
        let total: u64 = weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.chance.below(total);
        let kind = weights.iter().position(|weight| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        match kind {
            Some(0) => self.cut_off(&[host]),
            Some(1) => self.one_way(host),
            Some(2) => self.split(),
            Some(3) => self.power_cut(host),
            Some(4) => self.end_in_call(host, Fault::PowerCut),
            Some(5) => self.kill(host),
            Some(6) => self.end_in_call(host, Fault::Kill),
            Some(7) => self.pause(host),
            Some(8) => self.slow_log(host),
            Some(9) => self.slow_apply(host),
            Some(10) => self.transfer(host),
            _ => self.leave(host),
        }
    }

    /// Every second time the leader, where somebody knows it.
    fn victim(&mut self) -> usize {
        let host = self.chance.below(self.hosts.len() as u64) as usize;
        let leads = |host: &super::host::Host| host.life.as_ref().is_some_and(|life| life.leader().1 == life.member.0);
        match self.hosts.iter().position(leads) {
            Some(leader) if self.chance.one_in(2) => leader,
            _ => host,
        }
    }

    fn mend_later(&mut self) {
        let after = self.chance.between(200_000, 5 * SECOND);
        self.plan(after, Event::Mend);
    }

    /// Cuts these off from all others, in both directions.
    fn cut_off(&mut self, group: &[usize]) {
        for host in 0..self.hosts.len() {
            for member in group.iter().filter(|_| !group.contains(&host)) {
                self.network.cut(host, *member);
                self.network.cut(*member, host);
            }
            self.trace
                .mark(self.now, host, "cut off", [u64::from(group.contains(&host)), 0, 0, 0]);
        }
        self.mend_later();
    }

    /// Others are not heard here, or do not hear from here.
    fn one_way(&mut self, host: usize) {
        let deaf = self.chance.one_in(2);
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if self.chance.one_in(3) {
                continue;
            }
            let (from, to) = if deaf { (other, host) } else { (host, other) };
            self.network.cut(from, to);
            self.trace.mark(self.now, from, "link cut", [to as u64, 0, 0, 0]);
        }
        self.mend_later();
    }

    fn split(&mut self) {
        let group: Vec<usize> = (0..self.hosts.len()).filter(|_| self.chance.one_in(2)).collect();
        self.cut_off(&group);
    }

    /// Of one machine, or of the room.
    fn power_cut(&mut self, host: usize) {
        let all = self.chance.one_in(4);
        for host in (0..self.hosts.len()).filter(|other| all || *other == host) {
            if self.hosts[host].life.is_some() {
                self.trace
                    .mark(self.now, host, "power cut", [self.hosts[host].disk.calls(), 0, 0, 0]);
                self.hosts[host].power_cut(&mut self.chance);
                self.start_again(host);
            }
        }
    }

    fn kill(&mut self, host: usize) {
        if self.hosts[host].life.is_some() {
            self.trace.mark(self.now, host, "killed", [self.hosts[host].disk.calls(), 0, 0, 0]);
            self.hosts[host].kill(&mut self.chance);
            self.start_again(host);
        }
    }

    fn end_in_call(&mut self, host: usize, fault: Fault) {
        let within = self.chance.pick(&[10, 60, 300]);
        self.hosts[host].end_within(within, fault, &mut self.chance);
        self.trace
            .mark(self.now, host, "end planned", [within, u64::from(fault == Fault::Kill), 0, 0]);
    }

    fn pause(&mut self, host: usize) {
        let time = self.chance.between(100_000, 4 * SECOND);
        self.trace.mark(self.now, host, "paused", [time, 0, 0, 0]);
        self.hosts[host].paused_until = self.now + time;
    }

    fn slow_log(&mut self, host: usize) {
        let time = self.chance.between(SECOND, 4 * SECOND);
        self.trace.mark(self.now, host, "slow log", [time, 0, 0, 0]);
        self.hosts[host].slow_log_until = self.now + time;
    }

    fn slow_apply(&mut self, host: usize) {
        let time = self.chance.between(SECOND, 4 * SECOND);
        self.trace.mark(self.now, host, "slow apply", [time, 0, 0, 0]);
        self.hosts[host].slow_apply_until = self.now + time;
    }

    /// Asks whoever is there to hand leadership over; only the leader can.
    fn transfer(&mut self, host: usize) {
        let Some(member) = self.hosts[host].life.as_ref().map(|life| life.member) else {
            return;
        };
        self.trace.mark(self.now, host, "transfer to", [0; 4]);
        for other in 0..self.hosts.len() {
            self.at(other, None, |life, out| match life.leader().1 == life.member.0 {
                true => life.step(Input::TransferLeader(member), out),
                false => Ok(()),
            });
        }
    }

    /// A clean stop and a start.
    fn leave(&mut self, host: usize) {
        let Some(life) = self.hosts[host].life.take() else { return };
        self.trace.mark(self.now, host, "leaves", [0; 4]);
        let mut out = Out::default();
        let left = life.leave(&mut out);
        for message in out.sends {
            self.send(host, u64::MAX, message);
        }
        match left {
            Err(Stop(reason)) if !self.hosts[host].is_dead() => self.fail(format!("m{host} does not stop: {reason}")),
            Err(_) => self.hosts[host].bury(&mut self.chance),
            Ok(()) => {}
        }
        self.start_again(host);
    }

    /// The faults are over: from here on all has to become well.
    pub(super) fn calm(&mut self) {
        self.trace.mark(self.now, 0, "calm", [0; 4]);
        self.calm_since = Some(self.now);
        self.network.calm();
        for host in &mut self.hosts {
            host.disk.clear_faults();
            host.paused_until = 0;
            host.slow_log_until = 0;
            host.slow_apply_until = 0;
        }
        for host in 0..self.hosts.len() {
            let after = self.chance.between(SECOND, 3 * SECOND);
            self.plan(after, Event::Client(self.options.clients as usize + host));
        }
        self.plan(SECOND, Event::Look);
    }
}
