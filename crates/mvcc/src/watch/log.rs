//! The newest events, in memory: what the hub routes from, and what watchers that are a little behind read.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{SharedEvent, TxnEvents};

/// Most transactions kept.
const MOST_TXNS: usize = 8192;
/// Most bytes of events kept (the newest transaction is kept whatever its size).
const MOST_BYTES: usize = 16 << 20;

/// The events of one transaction.
#[derive(Debug)]
pub(super) struct LoggedTxn {
    pub revision: i64,
    pub events: Vec<Arc<SharedEvent>>,
    size: usize,
}

#[derive(Debug)]
pub(super) struct EventLog {
    /// In order of revision; all there were above `begin`.
    txns: VecDeque<Arc<LoggedTxn>>,
    /// Newest revision that is not kept.
    begin: i64,
    head: i64,
    size: usize,
}

impl EventLog {
    pub fn new(revision: i64) -> EventLog {
        EventLog {
            txns: VecDeque::new(),
            begin: revision,
            head: revision,
            size: 0,
        }
    }

    /// The newest revision.
    pub fn head(&self) -> i64 {
        self.head
    }

    /// All events above this revision are here.
    pub fn begin(&self) -> i64 {
        self.begin
    }

    pub fn append(&mut self, txn: TxnEvents) {
        let TxnEvents { revision, events } = txn;
        assert!(revision > self.head, "events of revision {revision} after those of {}", self.head);
        let events: Vec<_> = events
            .into_iter()
            .map(|event| Arc::new(SharedEvent::new(revision, event)))
            .collect();
        let size = events.iter().map(|event| event.size()).sum::<usize>() + 64;
        self.head = revision;
        self.size += size;
        self.txns.push_back(Arc::new(LoggedTxn { revision, events, size }));
        while self.txns.len() > MOST_TXNS || (self.size > MOST_BYTES && self.txns.len() > 1) {
            let Some(oldest) = self.txns.pop_front() else { break };
            self.size -= oldest.size;
            self.begin = oldest.revision;
        }
    }

    /// Transactions with revisions of at least `from`, in order, at most `most` of them and not many more than `bytes` bytes.
    pub fn read(&self, from: i64, most: usize, bytes: usize) -> Vec<Arc<LoggedTxn>> {
        assert!(from > self.begin, "reading what the log has forgotten");
        let start = self.txns.partition_point(|txn| txn.revision < from);
        let mut left = bytes;
        let fits = |txn: &&Arc<LoggedTxn>| {
            let fits = left > 0;
            left = left.saturating_sub(txn.size);
            fits
        };
        self.txns.range(start..).take(most).take_while(fits).cloned().collect()
    }
}
