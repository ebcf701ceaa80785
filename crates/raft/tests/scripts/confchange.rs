//! `simple`, `enter-joint`, `leave-joint`: changes of the configuration one after the other, without a log.

use std::fmt::Write;

use raft::conf_change::{Changer, parse_changes};
use raft::progress::Tracker;

use crate::datadriven::Case;

pub struct Environment {
    tracker: Tracker,
    /// Grows by one with each command, so that `next` tells when a member was added.
    last_index: u64,
}

impl Environment {
    pub fn new() -> Self {
        Environment {
            tracker: Tracker::new(10, 0),
            last_index: 0,
        }
    }

    pub fn handle(&mut self, case: &Case) -> String {
        let changes = parse_changes(&case.input).unwrap_or_else(|error| panic!("line {}: {error}", case.line));
        let changer = Changer {
            tracker: &self.tracker,
            last_index: self.last_index,
        };
        let changed = match case.command.as_str() {
            "simple" => changer.simple(&changes),
            "enter-joint" => changer.enter_joint(case.arg("autoleave").is_some_and(|arg| arg.value()), &changes),
            "leave-joint" => changer.leave_joint(),
            unknown => panic!("unknown command {unknown}"),
        };
        self.last_index += 1;
        match changed {
            Err(refusal) => format!("{refusal}\n"),
            Ok((config, progress)) => {
                (self.tracker.config, self.tracker.progress) = (config, progress);
                let mut text = format!("{}\n", self.tracker.config);
                for (id, progress) in &self.tracker.progress {
                    let _ = writeln!(text, "{id}: {progress}");
                }
                text
            }
        }
    }
}
