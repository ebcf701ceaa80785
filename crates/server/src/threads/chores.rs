//! The thread for what may take its time: the log's next segment, deleting old files.
//!
//! Never touches the log that is written: what it prepares is handed to the log thread.

use crossbeam_channel::Receiver;

use super::Settings;
use super::baton::Baton;
use super::log::{LogCommand, LogMachine};
use crate::log::{self, field};

pub(super) enum Chore {
    PrepareSegment(wal::PrepareJob),
    Purge,
}

/// What may take its time, away from everybody else.
pub(super) fn chores(chores: &Receiver<Chore>, log: &Baton<LogMachine>, settings: &Settings) {
    while let Ok(chore) = chores.recv() {
        match chore {
            Chore::PrepareSegment(job) => log.leave(LogCommand::Prepared(job.run(&settings.disk))),
            Chore::Purge => {
                let (wals, snapshots) = (settings.max_wals, settings.max_snapshots);
                match member::snapshot::purge(&settings.disk, &settings.wal_dir, &settings.snap_dir, wals, snapshots) {
                    Ok(purged) => {
                        for file in purged {
                            log::info("purged", &[field("path", file)]);
                        }
                    }
                    Err(error) => log::warn("failed to purge old files", &[field("error", error.to_string())]),
                }
            }
        }
    }
}
