//! Whole groups of nodes in one thread: commands make them tick, campaign, propose, work and talk, and print all that raft says meanwhile.

mod network;
mod nodes;
mod output;
mod work;

use api::pb::raftpb::{ConfChange, ConfChangeTransition, ConfChangeV2, Message};
use bytes::Bytes;
use raft::conf_change::parse_changes;
use raft::{NO_LIMIT, Storage, describe};

use crate::datadriven::Case;
use nodes::Node;
use output::Output;

/// A node's place in the environment: its id less one.
type NodeIndex = usize;

#[derive(Default)]
pub struct Environment {
    nodes: Vec<Node>,
    /// In flight, in the order in which they were sent.
    messages: Vec<Message>,
    output: Output,
}

impl Environment {
    pub fn handle(&mut self, case: &Case) -> String {
        let _ = self.output.take();
        if let Err(error) = self.command(case) {
            // Errors are shown whatever the level is.
            if self.output.is_silent() {
                return error;
            }
            self.output.write(&error);
        }
        let text = self.output.take();
        if text.is_empty() { "ok".to_owned() } else { text }
    }

    fn command(&mut self, case: &Case) -> Result<(), String> {
        match case.command.as_str() {
            "add-nodes" => return self.add_nodes(case),
            "deliver-msgs" => return self.deliver_messages(case),
            "log-level" => return self.output.set_level(&case.key::<String>(0)),
            "process-ready" => return self.for_each_named(case, "handling Ready", Environment::process_ready),
            "process-append-thread" => return self.for_each_named(case, "processing append thread", Environment::process_append_thread),
            "process-apply-thread" => return self.for_each_named(case, "processing apply thread", Environment::process_apply_thread),
            "raft-state" => self.show_states(),
            "send-snapshot" => return self.send_snapshot(case),
            "stabilize" => return self.stabilize_named(case),
            "transfer-leadership" => {
                let [from, to] = ["from", "to"].map(|key| case.arg(key).expect("from= and to=").value::<u64>());
                self.nodes[from as usize - 1].raw.transfer_leader(to);
            }
            _ => return self.command_to_node(case, case.key::<NodeIndex>(0) - 1),
        }
        Ok(())
    }

    /// Commands whose first argument is the node that they are for.
    fn command_to_node(&mut self, case: &Case, at: NodeIndex) -> Result<(), String> {
        let node = &mut self.nodes[at];
        match case.command.as_str() {
            "campaign" => return node.raw.campaign().map_err(|error| error.to_string()),
            "compact" => {
                let index = case.key(1);
                node.raw.storage_mut().memory.compact(index).map_err(|error| error.to_string())?;
                return self.show_log(at);
            }
            "forget-leader" => return node.raw.forget_leader().map_err(|error| error.to_string()),
            "propose" => {
                let data: String = case.key(1);
                return node.raw.propose(Bytes::from(data)).map_err(|error| error.to_string());
            }
            "propose-conf-change" => return self.propose_conf_change(case, at),
            "raft-log" => return self.show_log(at),
            "read-index" => node.raw.read_index(case.key::<String>(1).into()),
            "report-snapshot" => {
                let status: String = case.arg("status").expect("status=").value();
                node.raw.report_snapshot(case.key(1), status == "finish");
            }
            "report-unreachable" => node.raw.report_unreachable(case.key(1)),
            "restart" => return self.restart(at),
            "set-randomized-election-timeout" => {
                let timeout = case.arg("timeout").expect("timeout=").value();
                node.raw.set_election_timeout(timeout);
            }
            "status" => {
                for (id, progress) in &node.raw.status().progress {
                    self.output.line(format_args!("{id}: {progress}"));
                }
            }
            "tick" => self.tick(at, case.key(1)),
            "tick-election" => self.tick(at, self.nodes[at].config.election_ticks),
            "tick-heartbeat" => self.tick(at, self.nodes[at].config.heartbeat_ticks),
            unknown => panic!("unknown command {unknown}"),
        }
        Ok(())
    }

    fn named(&self, case: &Case) -> Vec<NodeIndex> {
        case.keys::<NodeIndex>().into_iter().map(|id| id - 1).collect()
    }

    fn indented<T>(&mut self, work: impl FnOnce(&mut Environment) -> T) -> T {
        let before = self.output.begin_indent();
        let result = work(self);
        self.output.end_indent(before);
        result
    }

    fn tick(&mut self, at: NodeIndex, ticks: u64) {
        for _ in 0..ticks {
            self.nodes[at].raw.tick();
        }
    }

    /// `propose-conf-change 1 v1=true transition=explicit`, with the changes as input.
    fn propose_conf_change(&mut self, case: &Case, at: NodeIndex) -> Result<(), String> {
        let node = &mut self.nodes[at].raw;
        let changes = parse_changes(&case.input).map_err(|error| error.to_string())?;
        let transition = match case.arg("transition").map(|arg| arg.value::<String>()).as_deref() {
            None | Some("auto") => ConfChangeTransition::Auto,
            Some("implicit") => ConfChangeTransition::JointImplicit,
            Some("explicit") => ConfChangeTransition::JointExplicit,
            Some(unknown) => return Err(format!("unknown transition {unknown}")),
        };
        let proposed = if case.arg("v1").is_some_and(|arg| arg.value()) {
            let ([change], ConfChangeTransition::Auto) = (changes.as_slice(), transition) else {
                return Err("v1 conf change can only have one operation and no transition".to_owned());
            };
            node.propose_conf_change(&ConfChange {
                r#type: change.r#type,
                node_id: change.node_id,
                ..ConfChange::default()
            })
        } else {
            node.propose_conf_change_v2(&ConfChangeV2 {
                transition: Some(transition as i32),
                changes,
                context: None,
            })
        };
        proposed.map_err(|error| error.to_string())
    }

    fn show_states(&self) {
        for node in &self.nodes {
            let status = node.raw.status();
            let basic = status.basic;
            let voter = if status.config.voters.contains(basic.id) {
                "(Voter)"
            } else {
                "(Non-Voter)"
            };
            self.output.line(format_args!(
                "{}: {} {voter} Term:{} Lead:{}",
                basic.id,
                basic.soft_state.role,
                basic.hard_state.term(),
                basic.soft_state.lead
            ));
        }
    }

    fn show_log(&self, at: NodeIndex) -> Result<(), String> {
        let log = &self.nodes[at].raw.storage().memory;
        let read = || -> Result<String, raft::StorageError> {
            let (first, last) = (log.first_index()?, log.last_index()?);
            if last < first {
                return Ok(format!("log is empty: first index={first}, last index={last}"));
            }
            Ok(describe::entries(&log.entries(first, last + 1, NO_LIMIT)?))
        };
        self.output.write(&read().map_err(|error| error.to_string())?);
        Ok(())
    }
}
