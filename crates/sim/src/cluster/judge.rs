//! What must hold in the end: all members well and equal, and a history that an etcd can have made.

use std::collections::{BTreeMap, HashMap};

use super::Report;
use super::life::{Life, Stop};
use super::requests::{self, Reply, Request};
use super::run::Cluster;
use crate::checkers::watches::Event;
use crate::checkers::{Key, Seen, durable, linearizable, revisions, watches};

impl Cluster {
    /// Whether every member is up, has applied the same, and served a write; and nobody waits for anything.
    pub(super) fn is_well(&self) -> bool {
        let lives: Vec<&Life> = self.hosts.iter().filter_map(|host| host.life.as_ref()).collect();
        let applied = lives.first().map_or(0, |life| life.applied());
        let last = self.laws.last();
        lives.len() == self.hosts.len()
            && self.probed.iter().all(|probed| *probed)
            && self.clients.is_idle()
            && lives
                .iter()
                .all(|life| life.is_idle() && life.applied() == applied && life.parts.lessor.is_empty())
            && applied == last
    }

    pub(super) fn unwell(&self) -> String {
        let mut text = format!("not well {} s after the faults:", self.options.recovery() / super::SECOND);
        for (number, host) in self.hosts.iter().enumerate() {
            match &host.life {
                None => text += &format!(" m{number} is down;"),
                Some(life) => {
                    let (term, leader) = life.leader();
                    text += &format!(
                        " m{number}: term {term}, leader {leader:x}, applied {} of {}, published {}, leases {}, served {};",
                        life.applied(),
                        life.parts.progress.committed().0,
                        life.parts.duties.is_published(),
                        life.parts.lessor.len(),
                        self.probed[number],
                    );
                }
            }
        }
        text + &format!(" clients idle: {}", self.clients.is_idle())
    }

    /// Judges a run that has come to its end.
    pub(super) fn judge(&mut self) -> Result<Report, String> {
        let stop = |Stop(reason)| reason;
        let lives: Vec<&Life> = self.hosts.iter().filter_map(|host| host.life.as_ref()).collect();
        let Some(first) = lives.first() else {
            return Err("no member".into());
        };
        let state = first.state_hash().map_err(stop)?;
        for (number, life) in lives.iter().enumerate() {
            let other = life.state_hash().map_err(stop)?;
            if other != state {
                return Err(format!("members differ in the end: {state:?} (m0) and {other:?} (m{number})"));
            }
        }
        for (number, watcher) in self.watchers.iter_mut().enumerate() {
            watcher.attach(number % lives.len(), lives[number % lives.len()]);
            watcher.poll(lives[number % lives.len()])?;
            watcher.watch.last = state.revision;
        }
        let history = &self.clients.history;
        let last = self.content(first)?;
        linearizable::check(history).map_err(|fault| format!("not linearizable: {fault}"))?;
        revisions::check(history).map_err(|fault| fault.to_string())?;
        if let Some(lost) = durable::lost(history, &last).first() {
            return Err(format!("an acknowledged write is {lost}"));
        }
        let seen: Vec<watches::Watch> = self.watchers.iter().map(|watcher| watcher.watch.clone()).collect();
        let watched = watches::check(history, &seen).map_err(|(number, fault)| format!("watch {number}: {fault}"))?;
        self.stale_reads(&seen[0].events)?;
        Ok(Report::of(self, watched))
    }

    /// The keys as they are in the end.
    fn content(&self, life: &Life) -> Result<HashMap<Key, Seen>, String> {
        let mut last = HashMap::new();
        for key in (0..self.options.keys).map(Key) {
            let request = Request::Read { key, linearizable: false };
            if let Reply::Got { seen: Some(seen), .. } = requests::read(&life.parts.store, &request).map_err(|e| e.to_string())? {
                last.insert(key, seen);
            }
        }
        Ok(last)
    }

    /// A serializable read shows its key as it was at the revision that it names.
    fn stale_reads(&self, events: &[Event]) -> Result<(), String> {
        let mut by_key: BTreeMap<Key, BTreeMap<i64, Option<Seen>>> = BTreeMap::new();
        for event in events {
            let seen = event.value.map(|value| Seen {
                value,
                mod_revision: event.revision,
            });
            by_key.entry(event.key).or_default().insert(event.revision, seen);
        }
        for read in &self.clients.stale {
            let was = by_key.get(&read.key).and_then(|events| events.range(..=read.revision).next_back());
            let expected = was.and_then(|(_, seen)| *seen);
            if read.seen != expected {
                return Err(format!(
                    "a serializable read of key {} through m{} at revision {} showed {:?}, it was {expected:?}",
                    read.key.0, read.host, read.revision, read.seen
                ));
            }
        }
        Ok(())
    }
}
