//! A node's own work: what its `Ready` asks for, at once or on the threads that append and apply.

use api::pb::raftpb::{HardState, Message, MessageType};
use raft::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, describe};

use super::{Environment, NodeIndex};
use crate::datadriven::Case;

type Work = fn(&mut Environment, NodeIndex) -> Result<(), String>;

impl Environment {
    /// `process-ready 1 2`, `process-append-thread 1`, `process-apply-thread 1`: with more than one node each has a heading.
    pub fn for_each_named(&mut self, case: &Case, heading: &str, work: Work) -> Result<(), String> {
        let named = self.named(case);
        if let [only] = named.as_slice() {
            return work(self, *only);
        }
        for node in named {
            self.output.line(format_args!("> {} {heading}", node + 1));
            self.indented(|env| work(env, node))?;
        }
        Ok(())
    }

    pub fn process_ready(&mut self, at: NodeIndex) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let ready = node.raw.ready();
        self.output.write(&describe::ready(&ready));
        let asynchronous = node.config.async_storage_writes;
        if !asynchronous {
            node.raw.storage_mut().append(ready.hard_state, ready.snapshot, &ready.entries)?;
            node.apply(&ready.committed_entries)?;
        }
        for message in ready.messages {
            match message.to() {
                LOCAL_APPEND_THREAD | LOCAL_APPLY_THREAD => {
                    assert!(asynchronous, "unexpected local msg target");
                    match message.r#type() {
                        MessageType::MsgStorageAppend => node.append_work.push_back(message),
                        MessageType::MsgStorageApply => node.apply_work.push_back(message),
                        other => panic!("unexpected message type {}", other.as_str_name()),
                    }
                }
                _ => self.messages.push(message),
            }
        }
        if !asynchronous {
            node.raw.advance();
        }
        Ok(())
    }

    pub fn process_append_thread(&mut self, at: NodeIndex) -> Result<(), String> {
        let Some(mut work) = self.nodes[at].append_work.pop_front() else {
            self.output.write("no append work to perform");
            return Ok(());
        };
        let responses = self.begin_work(&mut work);
        let state = HardState {
            term: Some(work.term()),
            vote: Some(work.vote()),
            commit: Some(work.commit()),
        };
        let set = (state.term(), state.vote(), state.commit()) != (0, 0, 0);
        let stored = self.nodes[at].raw.storage_mut();
        stored.append(set.then_some(state), work.snapshot, &work.entries)?;
        self.end_work(responses);
        Ok(())
    }

    pub fn process_apply_thread(&mut self, at: NodeIndex) -> Result<(), String> {
        let Some(mut work) = self.nodes[at].apply_work.pop_front() else {
            self.output.write("no apply work to perform");
            return Ok(());
        };
        let responses = self.begin_work(&mut work);
        self.nodes[at].apply(&work.entries)?;
        self.end_work(responses);
        Ok(())
    }

    fn begin_work(&self, work: &mut Message) -> Vec<Message> {
        let responses = std::mem::take(&mut work.responses);
        self.output.line("Processing:");
        self.output.line(describe::message(work));
        responses
    }

    fn end_work(&mut self, responses: Vec<Message>) {
        self.output.line("Responses:");
        for response in &responses {
            self.output.line(describe::message(response));
        }
        self.messages.extend(responses);
    }
}
