//! Failpoints: named places where a test makes the product sleep, fail or die, with gofail's names and terms.
//!
//! `fail::point("walBeforeSync")` does nothing and costs nothing unless the feature `failpoints` is on. The terms come from
//! `GOFAIL_FAILPOINTS` or over HTTP (`GOFAIL_HTTP`, in `compat`). Not for the product's own decisions, ever.

#[cfg(any(test, feature = "failpoints"))]
mod registry;
#[cfg(any(test, feature = "failpoints"))]
mod terms;

#[cfg(any(test, feature = "failpoints"))]
pub use registry::{Error, Point, arm_from_env, arm_list, list, point, register, remove, set, set_and_then, status};

/// All failpoints of etcd 3.7.1 (`contract/failpoints.tsv`). The product passes each of them where Go etcd does, as far as the
/// place exists here.
pub const NAMES: &[&str] = &[
    "afterCommit",
    "afterIsMemberExist",
    "afterStartDBTxn",
    "afterWritebackBuf",
    "applyAfterOpenSnapshot",
    "applyBeforeOpenSnapshot",
    "beforeApplyOneConfChange",
    "beforeApplyOneEntryNormal",
    "beforeCheckpointInLeaseRenew",
    "beforeCommit",
    "beforeLookupWhenForwardLeaseTimeToLive",
    "beforeLookupWhenLeaseTimeToLive",
    "beforePublishing",
    "beforeRangeStreamChunk",
    "beforeSendWatchResponse",
    "beforeServeHTTPLeaseRenew",
    "beforeStartDBTxn",
    "beforeWritebackBuf",
    "commitAfterPreCommitHook",
    "commitBeforePreCommitHook",
    "compactAfterAcquiredBatchTxLock",
    "compactAfterCommitBatch",
    "compactAfterCommitScheduledCompact",
    "compactAfterSetFinishedCompact",
    "compactBeforeCommitBatch",
    "compactBeforeCommitScheduledCompact",
    "compactBeforeSetFinishedCompact",
    "defragBeforeCopy",
    "defragBeforeRename",
    "defragOpenFileError",
    "defragdbFail",
    "raftAfterApplySnap",
    "raftAfterSave",
    "raftAfterSaveSnap",
    "raftAfterWALRelease",
    "raftBeforeAdvance",
    "raftBeforeApplySnap",
    "raftBeforeFollowerSend",
    "raftBeforeLeaderSend",
    "raftBeforeSave",
    "raftBeforeSaveSnap",
    "raftBeforeWALSaveSnaphot",
    "raftDropHeartbeat",
    "walAfterSync",
    "walBeforeSync",
];

#[cfg(not(any(test, feature = "failpoints")))]
#[inline(always)]
/// Passes a failpoint. What comes back is the text of a `return("...")` term, if one is armed here.
pub fn point(_name: &'static str) -> Option<String> {
    None
}
