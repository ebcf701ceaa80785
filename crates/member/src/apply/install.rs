//! The change to a leader's snapshot: everything that this member holds, in one go, for another database.
//!
//! All handles go on: readers find the new store, the committer writes to the new file, watchers go on from where they were, out of the new
//! history. Only what waits for an entry that the snapshot has swallowed is not answered; it runs into its timeout, as in Go.

use std::time::Duration;

use api::RaftIndex;
use backend::schema;
use mvcc::LeaseSink;

use super::{Applier, ApplyError, ApplyOutcome, Compaction};
use crate::snapshot::{Incoming, ReceiveError};

impl Applier {
    /// Changes over to a received snapshot that the log has recorded. The next entry is the one behind it. The transport has to let go of
    /// all peers then, and to take those of the new membership.
    ///
    /// # Errors
    /// `ApplyError`: the process has to end. The next start finishes what was begun, or says what is wrong with the database.
    ///
    /// # Panics
    /// If it is not ahead of what is applied: raft never hands out such a snapshot.
    pub fn install(&mut self, incoming: &Incoming, done: &mut ApplyOutcome) -> Result<(), ApplyError> {
        let (index, term) = (incoming.index(), incoming.term());
        assert!(
            index > self.last.0,
            "a snapshot of index {index} behind applied entry {}",
            self.last.0
        );
        self.change_over(incoming)
            .map_err(|error| ApplyError::Snapshot { index: index.0, error })?;
        self.parts.consistent_index = self.parts.backend.consistent_index();
        self.last = (index, term);
        self.snapshot_at = index;
        self.snapshot_forced = false;
        self.newest_of_3_6 = RaftIndex(0);
        self.version_look = Duration::ZERO;
        done.compactions.extend(self.parts.writer.resume_compaction().map(|job| Compaction {
            job,
            answer_when_done: None,
        }));
        let cluster = &self.parts.cluster;
        done.removed_self |= cluster.is_removed(cluster.local_id());
        done.applied = index;
        self.parts.progress.set_applied(index, term);
        Ok(())
    }

    fn change_over(&mut self, incoming: &Incoming) -> Result<(), ReceiveError> {
        let parts = &mut self.parts;
        let path = parts.file.path();
        parts
            .file
            .take_received(incoming.index().0)
            .map_err(|error| ReceiveError::Swap { path: path.clone(), error })?;
        // Its committer is not needed: the one that there is follows the handle.
        let (received, _) = parts.file.open()?;
        let state = incoming.fits(&received, &path)?;
        let alarms = schema::read_alarms(&received.view())?;
        parts.leases.clear();
        for lease in schema::read_leases(&received.view())? {
            parts.leases.restore(lease);
        }
        let leases = &mut parts.leases;
        parts
            .writer
            .restore(received.clone(), &mut |lease, key| leases.attach(lease, &key))?;
        parts.backend.replace(&received);
        parts.alarms.replace(&alarms);
        parts.cluster.change(|now| *now = state);
        Ok(())
    }
}
