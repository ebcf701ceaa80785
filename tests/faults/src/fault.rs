//! The faults: what is done to which member, for how long, and how it is undone.

use std::time::Duration;

use anyhow::bail;
use rustix::process::Signal;

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::{CLIENTS, Link};
use crate::options::{Kind, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    KillLeader,
    KillFollower,
    KillAny,
    /// SIGTERM.
    TermLeader,
    /// One after the other, by chance SIGKILL or SIGTERM, anyone.
    KillEither,
    /// SIGSTOP beyond the election timeout, then SIGCONT.
    PauseLeader,
    PauseAny,
    /// No packet to or from one member.
    CutLeader,
    CutAny,
    /// Two members that can't be reached and don't reach each other.
    CutTwo,
    /// Packets to a member are lost, or those from it.
    CutIncoming,
    CutOutgoing,
    /// 50 ms +- 10 ms and 5 % loss on every link, the clients' too.
    SlowNet,
    /// A member's clock jumps an hour, forth and back.
    Clock,
    /// Every sync of a member's log takes 200 ms longer.
    SlowDisk,
    /// Not a byte left on a member's disk.
    DiskFull,
}

const NAMES: [(Fault, &str); 16] = [
    (Fault::KillLeader, "kill-leader"),
    (Fault::KillFollower, "kill-follower"),
    (Fault::KillAny, "kill-any"),
    (Fault::TermLeader, "term-leader"),
    (Fault::KillEither, "kill-either"),
    (Fault::PauseLeader, "pause-leader"),
    (Fault::PauseAny, "pause-any"),
    (Fault::CutLeader, "cut-leader"),
    (Fault::CutAny, "cut-any"),
    (Fault::CutTwo, "cut-two"),
    (Fault::CutIncoming, "cut-incoming"),
    (Fault::CutOutgoing, "cut-outgoing"),
    (Fault::SlowNet, "slow-net"),
    (Fault::Clock, "clock"),
    (Fault::SlowDisk, "slow-disk"),
    (Fault::DiskFull, "disk-full"),
];

/// Fsyncs of the log pass here, in Go's binary and ours.
const SLOW_POINT: &str = "raftBeforeSave";

/// A fault that was done: the members it was done to.
pub struct Done {
    pub fault: Fault,
    pub members: Vec<usize>,
}

impl Fault {
    pub const ALL: [Fault; 16] = {
        let mut all = [Fault::KillLeader; 16];
        let mut place = 0;
        while place < all.len() {
            all[place] = NAMES[place].0;
            place += 1;
        }
        all
    };
    /// One of each kind that every binary and kernel can play.
    pub const SMOKE: [Fault; 6] = [
        Fault::KillLeader,
        Fault::TermLeader,
        Fault::PauseLeader,
        Fault::CutAny,
        Fault::CutIncoming,
        Fault::SlowNet,
    ];

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(fault, _)| *fault == self).map_or("?", |(_, name)| name)
    }

    pub fn named(name: &str) -> Option<Fault> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(fault, _)| *fault)
    }

    /// Why it can't be played, if it can't.
    pub fn missing(self, options: &Options) -> Option<&'static str> {
        let has_ours = options.members.contains(&Kind::Ours);
        match self {
            Fault::CutTwo if options.members.len() < 5 => Some("needs five members"),
            Fault::SlowDisk if !options.has_failpoints => Some("needs --failpoints, and a binary built with them"),
            Fault::Clock if options.faketime.is_none() => Some("needs --faketime LIB"),
            Fault::Clock | Fault::SlowDisk if !has_ours => {
                Some("needs a member that is `ours`: Go reads its clock without libc and has no failpoints")
            }
            Fault::KillFollower if options.members.len() < 2 => Some("needs a follower"),
            _ => None,
        }
    }

    /// How long it lasts at least.
    pub fn lasts(self, election: Duration) -> Duration {
        match self {
            Fault::KillLeader | Fault::KillFollower | Fault::KillAny | Fault::TermLeader | Fault::KillEither => Duration::ZERO,
            Fault::SlowNet | Fault::DiskFull => 8 * election,
            _ => 3 * election,
        }
    }

    /// A file system of its own for each member.
    pub fn disk_bytes(self) -> Option<u64> {
        (self == Fault::DiskFull).then_some(400 << 20)
    }

    /// Values large enough for the database file to grow all the time.
    pub fn value_bytes(self) -> usize {
        if self == Fault::DiskFull { 8 << 10 } else { 16 }
    }

    fn targets(self, leader: usize, options: &Options, chance: &mut Chance) -> Vec<usize> {
        let all: Vec<usize> = (0..options.members.len()).collect();
        let followers: Vec<usize> = all.iter().copied().filter(|member| *member != leader).collect();
        match self {
            Fault::KillLeader | Fault::TermLeader | Fault::PauseLeader | Fault::CutLeader => vec![leader],
            Fault::KillFollower => vec![*chance.pick(&followers)],
            Fault::CutTwo => {
                let first = *chance.pick(&all);
                let rest: Vec<usize> = all.into_iter().filter(|member| *member != first).collect();
                vec![first, *chance.pick(&rest)]
            }
            Fault::SlowNet => all,
            Fault::Clock | Fault::SlowDisk => {
                let ours: Vec<usize> = all.into_iter().filter(|member| options.members[*member] == Kind::Ours).collect();
                vec![*chance.pick(&ours)]
            }
            _ => vec![*chance.pick(&all)],
        }
    }

    pub fn inject(self, cluster: &mut Cluster, leader: usize, options: &Options, chance: &mut Chance) -> anyhow::Result<Done> {
        let members = self.targets(leader, options, chance);
        let first = members[0];
        let place = cluster.members[first].place;
        let cut = Link {
            is_cut: true,
            ..Link::default()
        };
        let among_members = |from: u8, to: u8| from != CLIENTS && to != CLIENTS;
        match self {
            Fault::KillLeader | Fault::KillFollower | Fault::KillAny => cluster.members[first].signal(Signal::KILL)?,
            Fault::KillEither => cluster.members[first].signal(if chance.below(2) == 0 { Signal::KILL } else { Signal::TERM })?,
            Fault::TermLeader => cluster.members[first].signal(Signal::TERM)?,
            Fault::PauseLeader | Fault::PauseAny => cluster.members[first].signal(Signal::STOP)?,
            Fault::CutLeader | Fault::CutAny | Fault::CutTwo => {
                let places: Vec<u8> = members.iter().map(|member| cluster.members[*member].place).collect();
                let picks = |from, to| among_members(from, to) && (places.contains(&from) || places.contains(&to));
                cluster.network.set(cut, picks);
            }
            Fault::CutIncoming => cluster.network.set(cut, |from, to| among_members(from, to) && to == place),
            Fault::CutOutgoing => cluster.network.set(cut, |from, to| among_members(from, to) && from == place),
            Fault::SlowNet => {
                let slow = Link {
                    is_cut: false,
                    delay: Duration::from_millis(50),
                    spread: Duration::from_millis(10),
                    loss: 50,
                };
                cluster.network.set(slow, |_, _| true);
            }
            Fault::Clock => cluster.members[first].set_clock(if chance.below(2) == 0 { 3600 } else { -3600 })?,
            Fault::SlowDisk => cluster.members[first].set_failpoint(SLOW_POINT, Some("sleep(200)"))?,
            Fault::DiskFull => cluster.members[first].fill_disk()?,
        }
        Ok(Done { fault: self, members })
    }
}

impl Done {
    /// Undoes it. Members that were ended are started again.
    pub async fn heal(&self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let member = &mut cluster.members[self.members[0]];
        match self.fault {
            Fault::KillLeader | Fault::KillFollower | Fault::KillAny | Fault::TermLeader | Fault::KillEither => {
                member.wait_ended(Duration::from_secs(30)).await?;
                member.start()?;
            }
            Fault::PauseLeader | Fault::PauseAny => member.signal(Signal::CONT)?,
            Fault::CutLeader | Fault::CutAny | Fault::CutTwo | Fault::CutIncoming | Fault::CutOutgoing | Fault::SlowNet => {
                cluster.network.heal()
            }
            Fault::Clock => member.set_clock(0)?,
            Fault::SlowDisk => member.set_failpoint(SLOW_POINT, None)?,
            Fault::DiskFull => {
                // It may have ended (Go's and ours do when a write fails) or wait; an operator starts it again either way.
                member.free_disk()?;
                if member.ended()?.is_none() && member.is_running() {
                    member.signal(Signal::TERM)?;
                    if member.wait_ended(Duration::from_secs(10)).await.is_err() {
                        bail!("m{} neither ended on a full disk nor on SIGTERM", member.place);
                    }
                }
                member.start()?;
            }
        }
        Ok(())
    }
}
