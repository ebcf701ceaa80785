//! The events of a run, in the order of their times, and who gets them.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use api::MemberId;
use api::pb::raftpb;
use member::replicate::Input;

use super::chance::Chance;
use super::clients::{Call, Clients};
use super::host::Host;
use super::laws::Laws;
use super::life::{Actor, Out, Stop, Work, wire_len};
use super::network::Network;
use super::options::Options;
use super::requests::{Reply, Request};
use super::trace::Trace;
use super::watchers::Watcher;
use super::{Failure, Micros, Report, SECOND};

/// Between two looks whether all is well again.
const LOOK: Micros = 200_000;

pub(super) enum Event {
    Start(usize),
    Tick(usize, u64),
    Work(usize, u64, Work),
    Message(usize, usize, Box<raftpb::Message>),
    /// A message to this member was lost, and the transport noticed.
    Unreachable(usize, u64, u64),
    SnapshotLost(usize, u64, u64),
    Request(usize, u64, Request),
    Reply(u64, Reply),
    Client(usize),
    GiveUp(u64),
    Poll(usize),
    Fault,
    Mend,
    Calm,
    Look,
}

struct Planned {
    at: Micros,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Planned) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub(super) struct Cluster {
    pub options: Options,
    pub chance: Chance,
    pub now: Micros,
    agenda: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    pub hosts: Vec<Host>,
    /// Which machine a member is on.
    places: BTreeMap<u64, usize>,
    pub network: Network,
    pub clients: Clients,
    pub watchers: Vec<Watcher>,
    pub laws: Laws,
    pub trace: Trace,
    /// The faults are over since then.
    pub calm_since: Option<Micros>,
    /// Members through which a write went after the faults.
    pub probed: Vec<bool>,
    failure: Option<String>,
}

/// Runs to the end, and makes a panic on the way a failure like any other.
pub(super) fn run(options: Options) -> Result<Report, Box<Failure>> {
    let mut cluster = Cluster::new(options);
    let result = catch_unwind(AssertUnwindSafe(|| {
        cluster.live()?;
        cluster.judge()
    }));
    let result = result.unwrap_or_else(|panic| Err(format!("panic: {}", text_of(panic.as_ref()))));
    result.map_err(|what| {
        Box::new(Failure {
            what,
            log_hash: cluster.trace.hash(),
            trace: cluster.trace.to_string(),
            options: cluster.options.clone(),
        })
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

impl Cluster {
    fn new(options: Options) -> Cluster {
        let mut chance = Chance::new(options.seed);
        let hosts = (0..options.members)
            .map(|number| Host::new(number, &options, &mut chance))
            .collect();
        let mut cluster = Cluster {
            hosts,
            network: Network::new(&options),
            clients: Clients::new(&options),
            watchers: (0..options.watchers).map(|_| Watcher::new()).collect(),
            probed: vec![false; options.members],
            options,
            chance,
            now: 0,
            agenda: BinaryHeap::new(),
            planned: 0,
            places: BTreeMap::new(),
            laws: Laws::default(),
            trace: Trace::default(),
            calm_since: None,
            failure: None,
        };
        for host in 0..cluster.hosts.len() {
            let after = cluster.chance.below(200_000);
            cluster.plan(after, Event::Start(host));
        }
        for client in 0..cluster.options.clients as usize {
            let after = cluster.chance.below(2 * SECOND);
            cluster.plan(after, Event::Client(client));
        }
        for watcher in 0..cluster.watchers.len() {
            cluster.plan(SECOND, Event::Poll(watcher));
        }
        if cluster.options.fault_every > 0 {
            cluster.plan(SECOND, Event::Fault);
        }
        cluster.plan(cluster.options.busy, Event::Calm);
        cluster
    }

    pub fn plan(&mut self, after: Micros, event: Event) {
        self.planned += 1;
        self.agenda.push(Reverse(Planned {
            at: self.now + after,
            number: self.planned,
            event,
        }));
    }

    /// Until all is well again after the faults.
    fn live(&mut self) -> Result<(), String> {
        while let Some(Reverse(planned)) = self.agenda.pop() {
            self.now = planned.at;
            if let Event::Look = planned.event {
                if self.is_well() {
                    return Ok(());
                }
                let since = self.calm_since.unwrap_or(self.now);
                if self.now > since + self.options.recovery() {
                    return Err(self.unwell());
                }
                self.plan(LOOK, Event::Look);
                continue;
            }
            self.handle(planned.event);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
        }
        Err("the run has no events any more".into())
    }

    pub fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    fn handle(&mut self, event: Event) {
        let event = match self.postponed(event) {
            Some(event) => event,
            None => return,
        };
        match event {
            Event::Start(host) => self.start(host),
            Event::Tick(host, life) => self.tick(host, life),
            Event::Work(host, life, work) => self.at(host, Some(life), |l, out| l.work(work, out)),
            Event::Message(from, to, message) => self.arrive(from, to, *message),
            Event::Unreachable(host, life, peer) => {
                self.at(host, Some(life), |l, out| l.step(Input::PeerUnreachable(MemberId(peer)), out));
            }
            Event::SnapshotLost(host, life, peer) => {
                self.at(host, Some(life), |l, out| l.step(Input::SnapshotSent(MemberId(peer), false), out));
            }
            Event::Request(host, id, request) => self.requested(host, id, request),
            Event::Reply(id, reply) => self.replied(id, &reply),
            Event::Client(client) => self.client(client),
            Event::GiveUp(id) => {
                if let Some(client) = self.clients.gave_up(id) {
                    self.trace.line(self.now, 0, "gives up", [id, client as u64, 0, 0]);
                    self.think(client);
                }
            }
            Event::Poll(watcher) => self.poll(watcher),
            Event::Fault => self.fault(),
            Event::Mend => {
                self.trace.mark(self.now, 0, "links mended", [0; 4]);
                self.network.mend();
            }
            Event::Calm => self.calm(),
            Event::Look => {}
        }
    }

    /// What happens to a paused member happens when it goes on.
    fn postponed(&mut self, event: Event) -> Option<Event> {
        let host = match &event {
            Event::Tick(host, _) | Event::Work(host, ..) | Event::Message(_, host, _) | Event::Request(host, ..) => *host,
            _ => return Some(event),
        };
        let until = self.hosts[host].paused_until;
        if until <= self.now {
            return Some(event);
        }
        self.plan(until - self.now, event);
        None
    }

    fn start(&mut self, host: usize) {
        if self.hosts[host].life.is_some() {
            return;
        }
        if self.calm_since.is_none() && self.chance.one_in(8) {
            let fault = self.chance.pick(&[world::sim::Fault::PowerCut, world::sim::Fault::Kill]);
            self.hosts[host].end_within(60, fault, &mut self.chance);
        }
        let started = self.hosts[host].start(self.now, &self.options);
        self.trace
            .mark(self.now, host, "starts", [self.hosts[host].lives, u64::from(started.is_ok()), 0, 0]);
        if let Err(Stop(reason)) = started {
            return self.ended(host, &reason);
        }
        let (life, member) = self.hosts[host].life.as_ref().map_or((0, 0), |life| (life.number, life.member.0));
        self.places.insert(member, host);
        self.plan(1, Event::Tick(host, life));
        self.at(host, None, |l, out| {
            l.begin(out);
            Ok(())
        });
    }

    fn tick(&mut self, host: usize, life: u64) {
        if self.hosts[host].life.as_ref().is_none_or(|l| l.number != life) {
            return;
        }
        let after = self.hosts[host].tick(&self.options);
        self.plan(after, Event::Tick(host, life));
        self.at(host, Some(life), |l, out| l.step(Input::Tick, out));
    }

    fn arrive(&mut self, from: usize, to: usize, message: raftpb::Message) {
        let m = &message;
        let numbers = [
            m.r#type.unwrap_or(0) as u64,
            m.term.unwrap_or(0),
            m.index.unwrap_or(0),
            wire_len(m) << 8 | from as u64,
        ];
        if self.network.is_cut(from, to) || self.hosts[to].life.is_none() {
            self.trace.line(self.now, to, "message lost", numbers);
            return;
        }
        self.trace.line(self.now, to, "message", numbers);
        self.at(to, None, |l, out| l.hear(message, out));
    }

    fn requested(&mut self, host: usize, id: u64, request: Request) {
        self.trace.line(self.now, host, "request", [id, 0, 0, 0]);
        if self.hosts[host].life.is_none() {
            let late = self.chance.between(100, 3_000);
            return self.plan(late, Event::Reply(id, Reply::NotDone));
        }
        self.at(host, None, |l, out| l.request(id, request, out));
    }

    /// Lets a life do something, and carries out what it asks for.
    pub fn at(&mut self, host: usize, number: Option<u64>, act: impl FnOnce(&mut super::life::Life, &mut Out) -> Result<(), Stop>) {
        let clock = self.hosts[host].clock(self.now);
        let Some(life) = &mut self.hosts[host].life else { return };
        if number.is_some_and(|number| number != life.number) {
            return;
        }
        let mut out = Out::default();
        life.now = clock;
        let result = act(life, &mut out);
        let number = life.number;
        let (term, leader) = life.leader();
        if let Err(what) = self.laws.leader(host, term, leader) {
            self.fail(what);
        }
        self.take(host, number, out);
        if let Err(Stop(reason)) = result {
            self.ended(host, &reason);
        }
    }

    fn take(&mut self, host: usize, life: u64, out: Out) {
        for entry in out.committed {
            self.trace
                .line(self.now, host, "committed", [entry.0, entry.1, u64::from(entry.2), 0]);
            self.laws.committed(host, entry).unwrap_or_else(|what| self.fail(what));
        }
        for (index, state) in out.hashes {
            self.trace
                .line(self.now, host, "state", [index, u64::from(state.kv), u64::from(state.database), 0]);
            self.laws.state(host, index, state).unwrap_or_else(|what| self.fail(what));
        }
        for message in out.sends {
            self.send(host, life, message);
        }
        for message in out.snapshots {
            self.plan(1_000, Event::SnapshotLost(host, life, message.to.unwrap_or(0)));
        }
        for (id, reply) in out.replies {
            let late = self.chance.between(50, 3_000);
            self.plan(late, Event::Reply(id, reply));
        }
        for (work, actor) in out.work {
            let after = self.takes(host, actor);
            self.plan(after, Event::Work(host, life, work));
        }
    }

    pub fn send(&mut self, host: usize, life: u64, message: raftpb::Message) {
        let peer = message.to.unwrap_or(0);
        let Some(to) = self.places.get(&peer).copied() else { return };
        // Raft does not mind messages that come twice, but for one: a proposal that is sent on would be proposed twice. The connections
        // between members, and those who send on them, never do that.
        let once = message.r#type == Some(raftpb::MessageType::MsgProp as i32);
        let arrivals = self.network.arrivals(self.now, (host, to), once, &mut self.chance);
        if arrivals.is_empty() && self.chance.one_in(2) {
            self.plan(1_000, Event::Unreachable(host, life, peer));
        }
        for at in arrivals {
            let copy = Box::new(message.clone());
            self.plan(at - self.now, Event::Message(host, to, copy));
        }
    }

    /// How long an actor needs.
    fn takes(&mut self, host: usize, actor: Actor) -> Micros {
        let now = self.now;
        let Host {
            slow_log_until,
            slow_apply_until,
            ..
        } = self.hosts[host];
        let (log, apply) = (self.options.log_delay, self.options.apply_delay);
        match actor {
            Actor::Log if slow_log_until > now => self.chance.between(100_000, 2_500_000),
            Actor::Log => self.chance.between(log.0, log.1),
            Actor::Apply if slow_apply_until > now => self.chance.between(50_000, 1_000_000),
            Actor::Apply => self.chance.between(apply.0, apply.1),
            Actor::Commit => self
                .chance
                .between(self.options.commit_every / 2, self.options.commit_every * 3 / 2),
            Actor::Other(time) => time,
        }
    }

    /// A life has ended by itself.
    fn ended(&mut self, host: usize, reason: &str) {
        if !self.hosts[host].is_dead() {
            return self.fail(format!("m{host} stops: {reason}"));
        }
        self.trace
            .mark(self.now, host, "cut off in a call", [self.hosts[host].disk.calls(), 0, 0, 0]);
        self.hosts[host].bury(&mut self.chance);
        self.start_again(host);
    }

    pub fn start_again(&mut self, host: usize) {
        let (least, most) = self.options.down;
        let after = self.chance.between(least, most);
        self.plan(after, Event::Start(host));
    }

    fn client(&mut self, client: usize) {
        if let Some(host) = client.checked_sub(self.options.clients as usize) {
            let call = self.clients.probe(client, host, self.now);
            return self.ask(client, call);
        }
        if self.calm_since.is_some_and(|since| self.now > since + SECOND) {
            return;
        }
        let call = self.clients.call(client, self.now, &mut self.chance);
        self.ask(client, call);
    }

    fn ask(&mut self, client: usize, call: Call) {
        let Call { id, host, request } = call;
        self.trace.line(self.now, host, "call", [id, client as u64, 0, 0]);
        let late = self.chance.between(50, 3_000);
        self.plan(late, Event::Request(host, id, request));
        self.plan(self.options.give_up, Event::GiveUp(id));
    }

    fn think(&mut self, client: usize) {
        let (least, most) = self.options.think;
        let after = self.chance.between(least, most);
        self.plan(after, Event::Client(client));
    }

    fn replied(&mut self, id: u64, reply: &Reply) {
        let Some((client, well)) = self.clients.replied(id, reply, self.now) else {
            return;
        };
        let revision = super::requests::answer(reply).map_or(0, crate::checkers::Answer::revision);
        self.trace
            .line(self.now, 0, "reply", [id, client as u64, u64::from(well), revision as u64]);
        match client.checked_sub(self.options.clients as usize) {
            Some(host) if well => self.probed[host] = true,
            _ => self.think(client),
        }
    }

    fn poll(&mut self, number: usize) {
        let after = self.chance.between(1_000, 60_000);
        self.plan(after, Event::Poll(number));
        let watcher = &mut self.watchers[number];
        let life = watcher
            .host()
            .and_then(|host| self.hosts[host].life.as_ref().map(|life| (host, life)));
        match life {
            Some((host, life)) if watcher.is_at(host, life.number) => {
                let polled = watcher.poll(life);
                if let Err(what) = polled {
                    return self.fail(format!("m{host}: {what}"));
                }
                if self.chance.one_in(25) {
                    self.watchers[number].detach();
                }
            }
            _ => {
                let host = self.chance.below(self.hosts.len() as u64) as usize;
                if let Some(life) = &self.hosts[host].life {
                    watcher.attach(host, life);
                }
            }
        }
    }
}

impl Report {
    pub(super) fn of(cluster: &Cluster, watched: usize) -> Report {
        let history = &cluster.clients.history;
        Report {
            log_hash: cluster.trace.hash(),
            events: cluster.trace.count(),
            answered: cluster.clients.answered,
            unanswered: history.iter().filter(|operation| operation.done.is_none()).count() as u64,
            watched: watched as u64,
            entries: cluster.laws.last(),
            terms: cluster.laws.terms() as u64,
            restarts: cluster.hosts.iter().map(|host| host.lives.saturating_sub(1)).sum(),
            took: cluster.now,
        }
    }
}
