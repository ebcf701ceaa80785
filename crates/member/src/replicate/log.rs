//! Batches on their way to the log, and what may be said once they are durable.
//!
//! Raft asks for writes and names the answers that depend on them. This keeps both in order, leaves out writes that nobody waits for
//! (a commit index alone goes along with the next batch), and never reports a batch before the log has acknowledged it.

use std::collections::VecDeque;

use api::pb::raftpb::{self, Message};

use super::{LogAck, LogBatch};

/// What was handed to the log and is not durable yet.
#[derive(Debug)]
struct InFlight {
    ack: LogAck,
    snapshot: Option<raftpb::Snapshot>,
    responses: Vec<Message>,
    /// Ticks since it was handed over.
    ticks: u32,
}

/// What became durable.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// Messages that were waiting for it, to other members and to the machine itself.
    pub responses: Vec<Message>,
    /// A received snapshot that the log has now.
    pub snapshot: Option<raftpb::Snapshot>,
}

#[derive(Debug)]
pub(super) struct LogWrites {
    in_flight: VecDeque<InFlight>,
    next_ack: u64,
    /// The hard state as raft has it, and as the log was last told.
    wanted: raftpb::HardState,
    told: raftpb::HardState,
}

impl LogWrites {
    pub fn new(hard_state: raftpb::HardState) -> LogWrites {
        LogWrites {
            in_flight: VecDeque::new(),
            next_ack: 1,
            wanted: hard_state,
            told: hard_state,
        }
    }

    /// Takes raft's request for a write. Gives the batch to be written; or what it asked to be told, where there is nothing to write
    /// and nothing to wait for.
    pub fn take(&mut self, request: Message) -> Result<LogBatch, Vec<Message>> {
        if request.term.unwrap_or(0) != 0 {
            self.wanted = raftpb::HardState {
                term: request.term,
                vote: Some(request.vote.unwrap_or(0)),
                commit: Some(request.commit.unwrap_or(0)),
            };
        }
        let elects = self.wanted.term != self.told.term || self.wanted.vote != self.told.vote;
        if !elects && request.entries.is_empty() && request.snapshot.is_none() {
            return match self.in_flight.back_mut() {
                // An answer must not overtake those to earlier requests.
                Some(last) => {
                    for response in request.responses {
                        // With each change of the commit index raft asks again for what it has asked already.
                        if !last.responses.contains(&response) {
                            last.responses.push(response);
                        }
                    }
                    Err(Vec::new())
                }
                None => Err(request.responses),
            };
        }
        let ack = self.next_ack();
        self.in_flight.push_back(InFlight {
            ack,
            snapshot: request.snapshot.clone(),
            responses: request.responses,
            ticks: 0,
        });
        Ok(LogBatch {
            snapshot: request.snapshot,
            entries: request.entries,
            hard_state: self.tell(),
            must_sync: true,
            ack,
        })
    }

    /// A batch of the hard state alone, if the log does not have it: nobody waits for it.
    pub fn untold(&mut self) -> Option<LogBatch> {
        let hard_state = self.tell()?;
        Some(LogBatch {
            snapshot: None,
            entries: Vec::new(),
            hard_state: Some(hard_state),
            must_sync: false,
            ack: self.next_ack(),
        })
    }

    /// The log is durable up to `ack`.
    pub fn synced(&mut self, ack: LogAck) -> Durable {
        assert!(ack.0 < self.next_ack, "the log acknowledges what it was never given");
        let mut durable = Durable::default();
        while let Some(batch) = self.in_flight.pop_front_if(|batch| batch.ack <= ack) {
            // Of two snapshots the newer one counts: it takes the place of all before it.
            durable.snapshot = batch.snapshot.or(durable.snapshot);
            durable.responses.extend(batch.responses);
        }
        durable
    }

    /// Counts a tick; gives how many the oldest batch has waited.
    pub fn tick(&mut self) -> u32 {
        for batch in &mut self.in_flight {
            batch.ticks += 1;
        }
        self.in_flight.front().map_or(0, |batch| batch.ticks)
    }

    fn next_ack(&mut self) -> LogAck {
        let ack = LogAck(self.next_ack);
        self.next_ack += 1;
        ack
    }

    fn tell(&mut self) -> Option<raftpb::HardState> {
        let untold = self.wanted != self.told;
        self.told = self.wanted;
        untold.then_some(self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_index_alone_rides_along_and_repeats_no_answer() {
        let mut log = LogWrites::new(raftpb::HardState::default());
        let stable = Message {
            index: Some(5),
            ..Message::default()
        };
        let write = |entries: Vec<raftpb::Entry>, commit| Message {
            term: Some(1),
            commit: Some(commit),
            entries,
            responses: vec![stable.clone()],
            ..Message::default()
        };
        let batch = log.take(write(vec![raftpb::Entry::default()], 3)).expect("something to write");
        assert_eq!(log.take(write(Vec::new(), 4)), Err(Vec::new()), "waits for the batch before");
        assert_eq!(log.untold().expect("a commit index").hard_state.expect("it").commit, Some(4));
        assert_eq!(log.untold(), None, "told");
        assert_eq!(log.synced(batch.ack).responses, [stable]);
    }
}
