//! Linearizable reads on their way to a read index.
//!
//! One request is under way at a time; reads that come meanwhile share the next. A request that is not answered (its message was lost,
//! its leader has gone) is made again under a new id, so that an answer to the old one can never serve a read that came after it was asked.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ReadContext;

#[derive(Debug)]
struct Asked {
    id: u64,
    contexts: Vec<ReadContext>,
    ticks: u32,
}

#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<ReadContext>,
    asked: Option<Asked>,
    /// Answered: the index, and who reads there.
    known: VecDeque<(u64, Vec<ReadContext>)>,
}

impl Reads {
    pub fn push(&mut self, context: ReadContext) {
        self.waiting.push(context);
    }

    /// Whether a request is due.
    pub fn is_due(&self) -> bool {
        self.asked.is_none() && !self.waiting.is_empty()
    }

    /// Begins a request for all that wait; gives its context for raft: the id, big endian.
    pub fn ask(&mut self, id: u64) -> Bytes {
        assert!(self.asked.is_none(), "one request at a time");
        self.asked = Some(Asked {
            id,
            contexts: std::mem::take(&mut self.waiting),
            ticks: 0,
        });
        Bytes::copy_from_slice(&id.to_be_bytes())
    }

    /// Takes the answer to a request: its reads may see what is applied at `index` or later. One that nobody waits for any more is dropped.
    pub fn answered(&mut self, context: &[u8], index: u64) {
        if let Some(asked) = self.asked.take_if(|asked| asked.id.to_be_bytes() == context) {
            self.known.push_back((index, asked.contexts));
        }
    }

    /// The reads whose index the applier was given.
    pub fn reached(&mut self, index: u64) -> impl Iterator<Item = (u64, Vec<ReadContext>)> {
        std::iter::from_fn(move || self.known.pop_front_if(|(at, _)| *at <= index))
    }

    /// Gives up the request under way: its reads wait for the next.
    pub fn again(&mut self) {
        if let Some(asked) = self.asked.take() {
            // Those who came first stay first.
            let later = std::mem::replace(&mut self.waiting, asked.contexts);
            self.waiting.extend(later);
        }
    }

    /// Counts a tick; after `limit` ticks a request is given up.
    pub fn tick(&mut self, limit: u32) {
        if let Some(asked) = &mut self.asked {
            asked.ticks += 1;
            if asked.ticks >= limit {
                self.again();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_answer_serves_nobody() {
        let mut reads = Reads::default();
        reads.push(ReadContext(1));
        let first = reads.ask(7);
        reads.push(ReadContext(2));
        reads.again();
        assert!(reads.is_due());
        let second = reads.ask(8);
        reads.answered(&first, 10);
        assert_eq!(reads.reached(10).next(), None);
        reads.answered(&second, 11);
        reads.answered(&second, 11);
        assert_eq!(reads.reached(10).next(), None, "not there yet");
        assert_eq!(
            reads.reached(11).collect::<Vec<_>>(),
            [(11, vec![ReadContext(1), ReadContext(2)])],
            "once"
        );
    }

    #[test]
    fn what_is_not_answered_is_asked_again() {
        let mut reads = Reads::default();
        reads.push(ReadContext(1));
        reads.ask(7);
        reads.tick(2);
        assert!(!reads.is_due());
        reads.tick(2);
        assert!(reads.is_due());
    }
}
