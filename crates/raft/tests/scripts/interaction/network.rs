//! Messages between the nodes: delivered, dropped, or until nothing is left to do.

use api::pb::raftpb::{Message, MessageType};
use raft::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, Storage, describe};

use super::{Environment, NodeIndex};
use crate::datadriven::Case;

/// Messages to `id` are delivered, or lost. What a node sends to itself is never lost.
#[derive(Clone, Copy)]
pub struct Recipient {
    pub id: u64,
    pub drop: bool,
}

impl Recipient {
    fn takes(&self, message: &Message, kind: Option<MessageType>) -> bool {
        message.to() == self.id && !(self.drop && is_local(message)) && kind.is_none_or(|kind| message.r#type() == kind)
    }
}

fn is_local(message: &Message) -> bool {
    let thread = |id| id == LOCAL_APPEND_THREAD || id == LOCAL_APPLY_THREAD;
    message.from() == message.to() || thread(message.from()) || thread(message.to())
}

impl Environment {
    /// `deliver-msgs 1 2 drop=(3,4) type=MsgApp`
    pub fn deliver_messages(&mut self, case: &Case) -> Result<(), String> {
        let mut recipients: Vec<Recipient> = case.keys().into_iter().map(|id| Recipient { id, drop: false }).collect();
        if let Some(dropped) = case.arg("drop") {
            for id in dropped.list() {
                assert!(
                    recipients.iter().all(|other| other.id != id),
                    "can't both deliver and drop msgs to {id}"
                );
                recipients.push(Recipient { id, drop: true });
            }
        }
        let kind = case.arg("type").map(|arg| {
            let name: String = arg.value();
            MessageType::from_str_name(&name).unwrap_or_else(|| panic!("unknown message type {name}"))
        });
        let handled: usize = recipients.into_iter().map(|recipient| self.deliver(kind, recipient)).sum();
        if handled == 0 {
            self.output.line("no messages");
        }
        Ok(())
    }

    /// Handles what is in flight to one node and gives back how many messages that were.
    fn deliver(&mut self, kind: Option<MessageType>, recipient: Recipient) -> usize {
        let (taken, left) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition::<Vec<_>, _>(|message| recipient.takes(message, kind));
        self.messages = left;
        let count = taken.len();
        for message in taken {
            if recipient.drop {
                self.output.write("dropped: ");
            }
            self.output.line(describe::message(&message));
            if recipient.drop {
                continue;
            }
            let at = recipient.id as usize - 1;
            if let Err(refusal) = self.nodes[at].raw.step(message) {
                self.output.line(refusal);
            }
        }
        count
    }

    /// `stabilize 1 2 log-level=none`: handles Ready, messages and the threads' work of the nodes named, or of all, until nothing is left to do.
    pub fn stabilize_named(&mut self, case: &Case) -> Result<(), String> {
        let before = self.output.threshold();
        if let Some(level) = case.arg("log-level") {
            self.output.set_level(&level.value::<String>())?;
        }
        let mut named = self.named(case);
        if named.is_empty() {
            named = (0..self.nodes.len()).collect();
        }
        let result = self.stabilize(&named);
        self.output.set_threshold(before);
        result
    }

    fn stabilize(&mut self, nodes: &[NodeIndex]) -> Result<(), String> {
        loop {
            let mut done = true;
            for &at in nodes {
                if self.nodes[at].raw.has_ready() {
                    self.output.line(format_args!("> {} handling Ready", at + 1));
                    self.indented(|env| env.process_ready(at))?;
                    done = false;
                }
            }
            for &at in nodes {
                let recipient = Recipient {
                    id: at as u64 + 1,
                    drop: false,
                };
                if self.messages.iter().any(|message| recipient.takes(message, None)) {
                    self.output.line(format_args!("> {} receiving messages", at + 1));
                    self.indented(|env| env.deliver(None, recipient));
                    done = false;
                }
            }
            for &at in nodes {
                if !self.nodes[at].append_work.is_empty() {
                    self.output.line(format_args!("> {} processing append thread", at + 1));
                    while !self.nodes[at].append_work.is_empty() {
                        self.indented(|env| env.process_append_thread(at))?;
                    }
                    done = false;
                }
            }
            for &at in nodes {
                if !self.nodes[at].apply_work.is_empty() {
                    self.output.line(format_args!("> {} processing apply thread", at + 1));
                    while !self.nodes[at].apply_work.is_empty() {
                        self.indented(|env| env.process_apply_thread(at))?;
                    }
                    done = false;
                }
            }
            if done {
                return Ok(());
            }
        }
    }

    /// `send-snapshot 1 3`: puts a snapshot from the first to the second into flight.
    pub fn send_snapshot(&mut self, case: &Case) -> Result<(), String> {
        let (from, to): (usize, u64) = (case.key(0), case.key(1));
        let sender = &self.nodes[from - 1].raw;
        let message = Message {
            r#type: Some(MessageType::MsgSnap as i32),
            to: Some(to),
            from: Some(from as u64),
            term: Some(sender.basic_status().hard_state.term()),
            snapshot: Some(sender.storage().snapshot().map_err(|error| error.to_string())?),
            ..Message::default()
        };
        self.output.write(&describe::message(&message));
        self.messages.push(message);
        Ok(())
    }
}
