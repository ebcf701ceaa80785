//! One member of a cluster as deterministic machines: propose, replicate, apply, lease, cluster, alarm, snapshot.
//!
//! Stands at steps 3, 5, 8 and 12 of the life of a Put. Two machines joined by a bounded queue do the work: [`replicate::Replicator`]
//! orders proposals and says what the log has to write, [`apply::Applier`] gives each committed entry its effect, exactly once.
//! The shell's threads and the simulator drive the same two. Nothing here reads a clock, sleeps, spawns a thread or opens a file
//! by itself: time is passed in as a [`std::time::Duration`] since the process started, files go through [`world::Disk`].
//!
//! How a shell drives it:
//!
//! 1. [`bootstrap::open`] gives the machines, the write-ahead log, the committer and the shared handles.
//! 2. One thread owns the `Replicator`: it feeds [`replicate::Input`]s and carries out the [`replicate::Effect`]s. `Append` and
//!    `RecordSnapshot` go, in order, to the thread that owns the log ([`replicate::LogBatch`] says when a sync is due); its
//!    acknowledgement comes back as `LogSynced`.
//! 3. One thread owns the `Applier`: it takes what `Effect::Apply` hands over, answers the waiters with [`apply::ApplyOutcome`]'s
//!    answers, and reports `Applied`. About every 500 ms it also asks [`duties::Duties`] what the member itself has to propose.
//! 4. Any thread reads: [`stats::Progress`], the store's views, [`lessor::Lessor::renew`], [`cluster::Cluster`].

pub mod alarms;
pub mod apply;
pub mod bootstrap;
pub mod cluster;
pub mod database;
pub mod duties;
pub mod lessor;
pub mod limits;
pub mod propose;
pub mod quota;
pub mod replicate;
pub mod request;
pub mod snapshot;
pub mod stats;
