//! Whether a peer can be talked to, and since when.

use std::sync::Arc;
use std::time::Instant;

use api::MemberId;
use parking_lot::Mutex;

use crate::seam::{Level, Value};
use crate::shared::Shared;

/// One peer's state, told by whatever part last spoke with it.
pub(crate) struct Status {
    shared: Arc<Shared>,
    peer: MemberId,
    since: Mutex<Option<Instant>>,
}

impl Status {
    pub fn new(shared: Arc<Shared>, peer: MemberId) -> Status {
        Status {
            shared,
            peer,
            since: Mutex::new(None),
        }
    }

    pub fn active_since(&self) -> Option<Instant> {
        *self.since.lock()
    }

    /// Something has worked.
    pub fn activate(&self) {
        let mut since = self.since.lock();
        if since.is_some() {
            return;
        }
        *since = Some(Instant::now());
        self.shared.metrics.peer_active(self.peer, true);
        self.shared
            .log
            .write(Level::Info, "peer became active", &[("peer-id", self.peer.into())]);
    }

    /// Something has failed: `source` did `action`. Told in the log only when it is news.
    pub fn deactivate(&self, source: &str, action: &str, reason: &str) {
        let text = || format!("failed to {action} {} on {source} ({reason})", self.peer);
        let mut since = self.since.lock();
        if since.take().is_none() {
            if self.shared.log.is_on(Level::Debug) {
                let fields = [("peer-id", self.peer.into()), ("error", Value::from(text()))];
                self.shared.log.write(Level::Debug, "peer deactivated again", &fields);
            }
            return;
        }
        self.shared.metrics.peer_active(self.peer, false);
        let fields = [("peer-id", self.peer.into()), ("error", Value::from(text()))];
        self.shared
            .log
            .write(Level::Warn, "peer became inactive (message send to peer failed)", &fields);
    }
}

impl Drop for Status {
    /// A peer that is dropped is active no more.
    fn drop(&mut self) {
        if self.since.lock().take().is_some() {
            self.shared.metrics.peer_active(self.peer, false);
        }
    }
}
