//! Watchers of everything, one a member at first: when a stream ends, the next one goes on at another member after the last event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api::pb::etcdserverpb as pb;
use api::pb::mvccpb::event::EventType;
use client::Client;
use sim::checkers::watches::{Event, Watch};
use tokio::task::JoinHandle;

use crate::member::Plan;
use crate::record::{RANGE, number, value};

type Task = JoinHandle<anyhow::Result<Vec<Event>>>;

pub struct Watchers {
    /// Each with the revision that it has reached.
    tasks: Vec<(Task, Arc<AtomicI64>)>,
    stop: Arc<AtomicBool>,
}

struct Watcher {
    clients: Vec<Client>,
    /// Of `clients`, the one in use.
    at: usize,
    events: Vec<Event>,
    /// The revision of the last event, for the others to see.
    reached: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
}

impl Watchers {
    pub fn start(plan: &Plan) -> anyhow::Result<Watchers> {
        let stop = Arc::<AtomicBool>::default();
        let mut tasks = Vec::new();
        let count = plan.options.members.len();
        for at in 0..count {
            let clients = (1..=count as u8)
                .map(|place| plan.client(place, Duration::from_secs(3)))
                .collect::<anyhow::Result<_>>()?;
            let reached = Arc::<AtomicI64>::default();
            let watcher = Watcher {
                clients,
                at,
                events: Vec::new(),
                reached: reached.clone(),
                stop: stop.clone(),
            };
            tasks.push((tokio::spawn(watcher.run()), reached));
        }
        Ok(Watchers { tasks, stop })
    }

    /// Waits until all have seen the event of this revision, which is the last, and gives what each saw.
    pub async fn finish(self, last: i64, limit: Duration) -> anyhow::Result<Vec<Watch>> {
        let begun = Instant::now();
        let is_done = |reached: &AtomicI64| reached.load(Ordering::Relaxed) >= last;
        while !self.tasks.iter().all(|(task, reached)| task.is_finished() || is_done(reached)) && begun.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.stop.store(true, Ordering::Relaxed);
        let mut watches = Vec::new();
        for (task, _) in self.tasks {
            watches.push(Watch {
                first: 1,
                last,
                events: task.await.context("a watcher")??,
            });
        }
        Ok(watches)
    }
}

impl Watcher {
    async fn run(mut self) -> anyhow::Result<Vec<Event>> {
        while !self.stop.load(Ordering::Relaxed) {
            self.follow().await?;
            self.at = (self.at + 1) % self.clients.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.events)
    }

    /// One stream, until it ends. Errors are answers that no server may give.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let Ok((requests, mut answers)) = self.clients[self.at].watch().await else {
            return Ok(());
        };
        let create = pb::WatchCreateRequest {
            key: RANGE.0.into(),
            range_end: RANGE.1.into(),
            start_revision: self.reached.load(Ordering::Relaxed) + 1,
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        if requests.send(&request).await.is_err() {
            return Ok(());
        }
        while !self.stop.load(Ordering::Relaxed) {
            // A short wait, so that the end is noticed when nothing comes.
            let answer = match tokio::time::timeout(Duration::from_millis(100), answers.message()).await {
                Err(_) => continue,
                Ok(Ok(Some(answer))) => answer,
                Ok(_) => return Ok(()),
            };
            if answer.canceled && answer.compact_revision != 0 {
                bail!(
                    "a watch was refused as compacted, and nothing was compacted: {}",
                    answer.cancel_reason
                );
            }
            if answer.canceled {
                return Ok(());
            }
            for event in &answer.events {
                self.take(event)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &api::pb::mvccpb::Event) -> anyhow::Result<()> {
        let kv = event.kv.as_ref().context("an event without a key")?;
        let readable = |status: api::Status| anyhow::anyhow!("an event with {}", status.message);
        let is_put = event.r#type == EventType::Put as i32;
        self.events.push(Event {
            key: number(kv).map_err(readable)?,
            revision: kv.mod_revision,
            value: is_put.then(|| value(kv)).transpose().map_err(readable)?,
            version: if is_put { kv.version } else { 0 },
            create_revision: if is_put { kv.create_revision } else { 0 },
        });
        // Never back: an event that comes late is for the checker to find, not for the next stream to ask for again.
        self.reached.fetch_max(kv.mod_revision, Ordering::Relaxed);
        Ok(())
    }
}
