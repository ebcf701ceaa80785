//! One fault on one cluster: rounds under load, then the verdicts.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sim::checkers::watches::Watch;
use sim::checkers::{Operation, durable, linearizable, revisions, watches};

use crate::chance::Chance;
use crate::cluster::{Cluster, certificates};
use crate::fault::Fault;
use crate::load::Load;
use crate::member::Plan;
use crate::network::Network;
use crate::options::Options;
use crate::record::Record;
use crate::report::Row;
use crate::watching::Watchers;

/// How long a cluster may take to be whole again, and to acknowledge a write during a fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// The client's number of the last reads.
const LAST_READER: u32 = 1_000_000;

/// Plays one fault and judges what the clients saw.
pub async fn run(fault: Fault, options: &Options, network: &Network, folder: &Path) -> anyhow::Result<Row> {
    std::fs::create_dir_all(folder)?;
    let tls = certificates(options, folder)?;
    let plan = Plan {
        options,
        tls: tls.as_ref(),
        folder,
        disk_bytes: fault.disk_bytes(),
    };
    network.heal();
    let mut cluster = Cluster::start(&plan, network.clone())?;
    cluster.settled(0, PATIENCE).await?;
    let record = Arc::new(Record::new(fault.value_bytes(), options.stale_reads));
    let watchers = Watchers::start(&plan)?;
    let load = Load::start(&plan, record.clone(), options.seed)?;
    let mut row = Row::new(fault, options);
    let played = play(fault, options, &mut cluster, &load, &mut row).await;
    load.stop().await;
    if let Err(error) = played {
        row.violations.push(format!("{error:#}"));
        return Ok(row);
    }
    match gather(&plan, &mut cluster, &record, watchers, &mut row).await {
        Err(error) => row.violations.push(format!("{error:#}")),
        Ok(seen) => judge(&record.operations(), &seen, &mut row),
    }
    if !row.violations.is_empty() {
        let lines: Vec<String> = record.operations().iter().map(|operation| format!("{operation}\n")).collect();
        std::fs::write(folder.join("history.txt"), lines.concat())?;
    }
    Ok(row)
}

async fn play(fault: Fault, options: &Options, cluster: &mut Cluster, load: &Load, row: &mut Row) -> anyhow::Result<()> {
    let mut chance = Chance::new(options.seed);
    let (begun, record) = (Instant::now(), &load.record);
    let is_enough = |rounds: usize| rounds >= options.rounds as usize && record.acknowledged() >= options.writes;
    while !is_enough(row.gaps.len()) && begun.elapsed() < options.limit {
        let mut leader = cluster.settled(record.highest_revision(), PATIENCE).await?;
        if options.rotate_leader {
            let to = row.gaps.len() % options.members.len();
            leader = cluster.move_leader(leader, to, PATIENCE).await?;
        }
        load.next_round();
        // Some traffic before the fault, so that it meets writes on their way.
        let before = record.acknowledged();
        wait("a write before the fault", PATIENCE, || record.acknowledged() >= before + 20).await?;
        record.mark_fault();
        let injected = Instant::now();
        let done = fault.inject(cluster, leader, options, &mut chance)?;
        // One or two members can't do without one.
        if options.members.len() > 2 {
            wait("a write during the fault", PATIENCE, || record.gap().is_some()).await?;
        }
        tokio::time::sleep(fault.lasts(options.election).saturating_sub(injected.elapsed())).await;
        done.heal(cluster).await?;
        wait("a write after the fault", PATIENCE, || record.gap().is_some()).await?;
        row.gaps.extend(record.gap());
    }
    row.round_time = begun.elapsed();
    Ok(())
}

async fn wait(what: &str, limit: Duration, is_done: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_done() {
        if begun.elapsed() > limit {
            bail!("{what}: none was acknowledged for {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// What the cluster shows in the end.
struct Seen {
    watches: Vec<Watch>,
    /// Watches from the first revision on, begun after all was over: the history as each member has it.
    histories: Vec<Watch>,
    last: HashMap<sim::checkers::Key, sim::checkers::Seen>,
}

async fn gather(plan: &Plan<'_>, cluster: &mut Cluster, record: &Record, watchers: Watchers, row: &mut Row) -> anyhow::Result<Seen> {
    cluster.settled(record.highest_revision(), PATIENCE).await?;
    let reader = plan.client(1, PATIENCE)?;
    let (revision, found) = record
        .read_all(&reader, LAST_READER)
        .await
        .map_err(|status| anyhow::anyhow!("the last read: {}", status.message))?;
    let histories = Watchers::start(plan)?;
    let watches = watchers.finish(revision, PATIENCE).await?;
    let histories = histories.finish(revision, PATIENCE).await?;
    cluster.settled(revision, PATIENCE).await?;
    let hashes = cluster.hashes(plan, revision).await?;
    row.revision = revision;
    row.are_hashes_equal = hashes.windows(2).all(|pair| pair[0] == pair[1]);
    if !row.are_hashes_equal {
        row.violations.push(format!("HashKV at revision {revision} differs: {hashes:x?}"));
    }
    Ok(Seen {
        watches,
        histories,
        last: found.into_iter().collect(),
    })
}

fn judge(operations: &[Operation], seen: &Seen, row: &mut Row) {
    row.operations = operations.len();
    row.unanswered = operations.iter().filter(|operation| operation.done.is_none()).count();
    let acknowledged: Vec<i64> = operations.iter().filter_map(Operation::acknowledged).collect();
    row.acknowledged = acknowledged.len();
    let lost = durable::lost(operations, &seen.last);
    let history: HashSet<i64> = seen
        .histories
        .iter()
        .take(1)
        .flat_map(|watch| watch.events.iter().map(|event| event.revision))
        .collect();
    let gone = acknowledged.iter().filter(|revision| !history.contains(revision)).count();
    row.lost = gone.max(lost.len());
    row.violations.extend(lost.iter().take(3).map(ToString::to_string));
    if gone > 0 {
        row.violations.push(format!("{gone} acknowledged writes are not in the history"));
    }
    match linearizable::check(operations) {
        Ok(counts) => row.keys = Some(counts.keys),
        Err(fault) => row.violations.push(fault.to_string()),
    }
    if let Err(fault) = revisions::check(operations) {
        row.violations.push(fault.to_string());
    }
    let all: Vec<Watch> = seen.watches.iter().chain(&seen.histories).cloned().collect();
    match watches::check(operations, &all) {
        Ok(events) => row.events = Some(events),
        Err((number, fault)) => row.violations.push(format!("watch {number}: {fault}")),
    }
}

/// Plays all faults that were asked for, each on a fresh cluster.
pub async fn run_all(options: &Options, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let network = Network::new(options.members.len() as u8).context("the network")?;
    let mut rows = Vec::new();
    for fault in &options.faults {
        if let Some(why) = fault.missing(options) {
            println!("{:<14} not played: {why}", fault.name());
            continue;
        }
        let row = run(*fault, options, &network, &folder.join(fault.name())).await?;
        println!("{row}");
        rows.push(row);
    }
    Ok(rows)
}
