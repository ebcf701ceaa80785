//! Whether there is a leader, since when, and what its loss means to those who want to be served by a member that has one.
//!
//! Told by the thread of the replicator; asked by handlers. Never decides who leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::MemberId;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::node::Node;

/// Streams are cut only when there has been no leader for so many elections: to open them again costs more than to refuse a request.
const PATIENCE_ELECTIONS: u32 = 3;

/// What this member knows of its leader, beyond who it is.
pub struct Leadership {
    /// When the newest leader was heard of.
    elected: Mutex<Option<Instant>>,
    /// Leads somebody, or has nobody for a long time?
    lost: watch::Sender<bool>,
    /// This member has begun to lead.
    begun: Notify,
}

impl Default for Leadership {
    fn default() -> Leadership {
        Leadership {
            elected: Mutex::new(None),
            lost: watch::Sender::new(false),
            begun: Notify::new(),
        }
    }
}

impl Leadership {
    /// Another leader is known, or none.
    pub fn changed(&self, leader: MemberId) {
        if leader.0 != 0 {
            *self.elected.lock() = Some(Instant::now());
        }
    }

    /// This member leads, and knows what is committed.
    pub fn begun(&self) {
        self.begun.notify_one();
    }

    /// Ends when this member has begun to lead, once for each time.
    pub async fn wait_begun(&self) {
        self.begun.notified().await;
    }

    /// When the newest leader was heard of.
    pub fn elected(&self) -> Option<Instant> {
        *self.elected.lock()
    }

    /// Ends when there has been no leader for a long time.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives in this very structure.
        let _ = lost.wait_for(|lost| *lost).await;
    }
}

/// Looks once an election whether there is a leader. Runs as long as the process.
pub async fn watch_for_loss(node: Arc<Node>, election: Duration) {
    let mut without = 0;
    let mut looks = tokio::time::interval(election);
    loop {
        looks.tick().await;
        without = if node.progress.leader() == 0 { without + 1 } else { 0 };
        let lost = without >= PATIENCE_ELECTIONS;
        node.leadership.lost.send_if_modified(|was| std::mem::replace(was, lost) != lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_of_loss_and_of_beginning() {
        let leadership = Leadership::default();
        assert_eq!(leadership.elected(), None);
        leadership.changed(MemberId(0));
        assert_eq!(leadership.elected(), None, "nobody was elected");
        leadership.changed(MemberId(3));
        assert!(leadership.elected().is_some());
        leadership.begun();
        leadership.wait_begun().await;
        leadership.lost.send_replace(true);
        leadership.lost().await;
    }
}
