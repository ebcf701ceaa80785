//! Clients: what they ask for, what they are told, what they remember of it. Their memory is all that the checkers go by.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::options::Options;
use super::requests::{self, Reply, Request};
use super::{Micros, nanos};
use crate::checkers::{Action, Answer, Done, Expect, Key, Operation, Revision, Seen, Value};

/// A call on its way to a member.
#[derive(Debug)]
pub struct Call {
    pub id: u64,
    pub host: usize,
    pub request: Request,
}

/// A read that may show the past, but nothing that never was.
#[derive(Clone, Copy, Debug)]
pub struct StaleRead {
    pub host: usize,
    pub key: Key,
    pub seen: Option<Seen>,
    pub revision: Revision,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Key(Key, Action),
    Stale(Key),
    /// Something about leases, of which only the end is checked: all of them run out.
    Lease,
}

#[derive(Debug)]
struct Pending {
    client: usize,
    host: usize,
    call: Micros,
    asked: Asked,
}

#[derive(Debug, Default)]
struct Client {
    /// It stays with a member for a while.
    host: usize,
    seen: BTreeMap<Key, Option<Seen>>,
}

#[derive(Debug)]
pub struct Clients {
    list: Vec<Client>,
    keys: u32,
    members: u64,
    lease_percent: u64,
    pending: BTreeMap<u64, Pending>,
    calls: u64,
    leases: i64,
    pub history: Vec<Operation>,
    pub stale: Vec<StaleRead>,
    /// Answered calls.
    pub answered: u64,
}

impl Clients {
    /// Beside the clients of the options there is one for each member, who writes through it in the end.
    pub fn new(options: &Options) -> Clients {
        let count = options.clients as usize + options.members;
        Clients {
            list: (0..count).map(|_| Client::default()).collect(),
            keys: options.keys,
            members: options.members as u64,
            lease_percent: options.lease_percent,
            pending: BTreeMap::new(),
            calls: 0,
            leases: 0,
            history: Vec::new(),
            stale: Vec::new(),
            answered: 0,
        }
    }

    /// What a client asks for next, and whom.
    pub fn call(&mut self, client: usize, now: Micros, chance: &mut Chance) -> Call {
        if chance.one_in(12) {
            self.list[client].host = chance.below(self.members) as usize;
        }
        let host = self.list[client].host;
        if chance.percent(self.lease_percent) {
            let request = self.about_leases(chance);
            return self.begin(client, host, now, Asked::Lease, request);
        }
        let key = Key(chance.below(u64::from(self.keys)) as u32);
        if chance.one_in(10) {
            let request = Request::Read { key, linearizable: false };
            return self.begin(client, host, now, Asked::Stale(key), request);
        }
        let value = Value(self.calls + 1);
        let action = match chance.below(12) {
            0..5 => Action::Put(value),
            5..9 => Action::Get,
            9 => Action::Delete,
            _ => self.swap(client, key, value, chance),
        };
        self.begin(client, host, now, Asked::Key(key, action), requests::of_action(key, action))
    }

    /// The write that shows that a member is well again.
    pub fn probe(&mut self, client: usize, host: usize, now: Micros) -> Call {
        let (key, action) = (Key(0), Action::Put(Value(self.calls + 1)));
        self.begin(client, host, now, Asked::Key(key, action), requests::of_action(key, action))
    }

    fn swap(&mut self, client: usize, key: Key, value: Value, chance: &mut Chance) -> Action {
        let seen = self.list[client].seen.get(&key).copied().flatten();
        let expect = match seen {
            Some(seen) if chance.one_in(2) => Expect::Value(seen.value),
            Some(seen) => Expect::ModRevision(seen.mod_revision),
            None => Expect::ModRevision(0),
        };
        Action::Swap { expect, value }
    }

    fn about_leases(&mut self, chance: &mut Chance) -> Request {
        match chance.below(5) {
            0 | 1 => {
                self.leases += 1;
                requests::grant(self.leases, chance.between(2, 4) as i64)
            }
            2 | 3 => requests::put_with_lease(1 + chance.below(self.leases.max(1) as u64) as i64),
            _ => requests::revoke(1 + chance.below(self.leases.max(1) as u64) as i64),
        }
    }

    fn begin(&mut self, client: usize, host: usize, call: Micros, asked: Asked, request: Request) -> Call {
        self.calls += 1;
        let id = self.calls;
        let pending = Pending { client, host, call, asked };
        self.pending.insert(id, pending);
        Call { id, host, request }
    }

    /// A reply has come. Gives the client, who is free again, and whether it got what it wanted; `None` if it waits no longer.
    pub fn replied(&mut self, id: u64, reply: &Reply, now: Micros) -> Option<(usize, bool)> {
        let pending = self.pending.remove(&id)?;
        let answer = requests::answer(reply);
        match (pending.asked, answer) {
            (Asked::Key(key, action), Some(answer)) => {
                self.remember(pending.client, key, action, answer);
                self.record(&pending, key, action, Some(Done { at: nanos(now), answer }));
            }
            (Asked::Stale(key), Some(Answer::Got { seen, revision })) => {
                self.stale.push(StaleRead {
                    host: pending.host,
                    key,
                    seen,
                    revision,
                });
            }
            _ => {}
        }
        self.answered += u64::from(answer.is_some());
        Some((pending.client, answer.is_some()))
    }

    /// The client waits no longer: whether its call has had or will have an effect, nobody knows.
    pub fn gave_up(&mut self, id: u64) -> Option<usize> {
        let pending = self.pending.remove(&id)?;
        if let Asked::Key(key, action) = pending.asked {
            self.record(&pending, key, action, None);
        }
        Some(pending.client)
    }

    fn record(&mut self, pending: &Pending, key: Key, action: Action, done: Option<Done>) {
        self.history.push(Operation {
            client: pending.client as u32,
            key,
            call: nanos(pending.call),
            action,
            done,
        });
    }

    fn remember(&mut self, client: usize, key: Key, action: Action, answer: Answer) {
        let seen = match (action.written(), answer) {
            (Some(value), Answer::Put { revision } | Answer::Swapped { revision }) => Some(Seen {
                value,
                mod_revision: revision,
            }),
            (_, Answer::Got { seen, .. } | Answer::NotSwapped { seen, .. }) => seen,
            _ => None,
        };
        self.list[client].seen.insert(key, seen);
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }
}
