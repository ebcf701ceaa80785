//! The clients: workers that put, get, delete and swap on a few hot keys, and a probe that begins a write every few milliseconds,
//! whatever the writes before it wait for, so that the moment of recovery is seen when it happens and not when a time-out ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use client::Client;
use sim::checkers::{Action, Answer, Expect, Key, Seen};
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::member::Plan;
use crate::record::Record;

/// A call without an answer after so long has an unknown outcome.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Hot keys at one time. They change with every round, so that each key's history stays short.
const HOT_KEYS: u64 = 8;
const PROBE_KEYS: u32 = 64;
const FIRST_HOT_KEY: u32 = 1000;

/// The clients at work.
pub struct Load {
    pub record: Arc<Record>,
    stop: Arc<AtomicBool>,
    round: Arc<AtomicU32>,
    tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Worker {
    number: u32,
    /// One a member.
    clients: Vec<Client>,
    record: Arc<Record>,
    stop: Arc<AtomicBool>,
    round: Arc<AtomicU32>,
    pause: Duration,
    chance: Chance,
}

impl Load {
    pub fn start(plan: &Plan, record: Arc<Record>, seed: u64) -> anyhow::Result<Load> {
        let mut load = Load {
            record,
            stop: Arc::default(),
            round: Arc::default(),
            tasks: JoinSet::new(),
        };
        let places = 1..=plan.options.members.len() as u8;
        for number in 0..=plan.options.workers {
            let clients = places
                .clone()
                .map(|place| plan.client(place, CALL_TIMEOUT))
                .collect::<anyhow::Result<Vec<Client>>>()?;
            let worker = Worker {
                number,
                clients,
                record: load.record.clone(),
                stop: load.stop.clone(),
                round: load.round.clone(),
                pause: if number == 0 { plan.options.probe } else { plan.options.pause },
                chance: Chance::new(seed ^ (u64::from(number) << 32)),
            };
            if number == 0 {
                load.tasks.spawn(worker.probe());
            } else {
                load.tasks.spawn(worker.work());
            }
        }
        Ok(load)
    }

    /// From now on other keys are hot.
    pub fn next_round(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops and waits until every call has an outcome.
    pub async fn stop(mut self) -> Arc<Record> {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.record
    }
}

impl Worker {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn probe(self) {
        let mut calls = JoinSet::new();
        let mut tick = tokio::time::interval(self.pause);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count: u32 = 0;
        while !self.is_over() {
            tick.tick().await;
            count += 1;
            let on = self.clients[count as usize % self.clients.len()].clone();
            let (record, key) = (self.record.clone(), Key(count % PROBE_KEYS));
            let value = record.new_value();
            calls.spawn(async move {
                record.perform(&on, 0, key, Action::Put(value)).await;
            });
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }

    async fn work(mut self) {
        let mut known: HashMap<Key, Option<Seen>> = HashMap::new();
        while !self.is_over() {
            let round = self.round.load(Ordering::Relaxed);
            let key = Key(FIRST_HOT_KEY + round * HOT_KEYS as u32 + self.chance.below(HOT_KEYS) as u32);
            let action = self.choose(known.get(&key));
            let on = self.chance.pick(&self.clients.clone()).clone();
            let operation = self.record.perform(&on, self.number, key, action).await;
            match operation.and_then(|operation| operation.answer()) {
                Some(Answer::Got { seen, .. } | Answer::NotSwapped { seen, .. }) => drop(known.insert(key, seen)),
                Some(Answer::Put { revision } | Answer::Swapped { revision }) => {
                    let seen = action.written().map(|value| Seen {
                        value,
                        mod_revision: revision,
                    });
                    known.insert(key, seen);
                }
                Some(Answer::Deleted { .. }) => drop(known.insert(key, None)),
                None => drop(known.remove(&key)),
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    fn choose(&mut self, known: Option<&Option<Seen>>) -> Action {
        let value = self.record.new_value();
        match (self.chance.below(100), known) {
            (0..30, _) => Action::Put(value),
            (30..35, _) => Action::Delete,
            (35..65, Some(None)) => Action::Swap {
                expect: Expect::ModRevision(0),
                value,
            },
            (35..50, Some(Some(seen))) => Action::Swap {
                expect: Expect::ModRevision(seen.mod_revision),
                value,
            },
            (50..65, Some(Some(seen))) => Action::Swap {
                expect: Expect::Value(seen.value),
                value,
            },
            _ => Action::Get,
        }
    }
}
