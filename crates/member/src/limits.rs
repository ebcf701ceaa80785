//! Limits and defaults of a member, from etcd's `defaults.md`. The only place of these numbers.

use std::time::Duration;

/// Proposals are refused while more than this many committed entries wait to be applied.
pub const MAX_UNAPPLIED: u64 = 5_000;
/// The most bytes of entries in one message between members, and of proposals handed to consensus at a time.
pub const MAX_MESSAGE_BYTES: u64 = 1024 * 1024;
/// Messages with entries on their way to one member.
pub const MAX_INFLIGHT_MESSAGES: usize = 512;
/// The most bytes of entries between consensus and the applier: what a slow apply may pile up in memory.
pub const MAX_APPLYING_BYTES: u64 = 64 * 1024 * 1024;
/// After this time without an answer a read index is asked for again.
pub const READ_RETRY: Duration = Duration::from_millis(500);
/// After a snapshot was received by a member, entries behind it are kept in memory for this long, for it to catch up.
pub const SNAPSHOT_GRACE: Duration = Duration::from_secs(30);
/// Entries kept in memory behind a disk snapshot (`--snapshot-catchup-entries`).
pub const CATCH_UP_ENTRIES: u64 = 5_000;
/// Applied entries between two disk snapshots (`--snapshot-count`).
pub const SNAPSHOT_COUNT: u64 = 10_000;
/// Disk snapshots and log segments kept (`--max-snapshots`, `--max-wals`); 0 keeps all.
pub const MAX_SNAPSHOTS: usize = 5;
/// See [`MAX_SNAPSHOTS`].
pub const MAX_WALS: usize = 5;
/// Between two rounds of deleting old snapshots and segments.
pub const PURGE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at the cluster version and the storage version.
pub const VERSION_INTERVAL: Duration = Duration::from_secs(4);
/// Between two scans for expired leases.
pub const LEASE_SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Leases that one scan may hand out for revoking.
pub const LEASE_SCAN_LIMIT: usize = 500;
/// Between two checkpoints of a long lease.
pub const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// Leases in one checkpoint proposal.
pub const LEASE_CHECKPOINT_BATCH: usize = 1_000;
/// Expirations a second that a new leader spreads piles of leases to.
pub const LEASE_SPREAD_PER_SECOND: u32 = 750;
/// Leases up to which a new leader spreads nothing.
pub const LEASE_SPREAD_ABOVE: usize = 1_000;
/// Learners a cluster may have (`--max-learners`).
pub const MAX_LEARNERS: usize = 1;
/// What a put costs of the quota beside its key and value, in bytes.
pub const PUT_OVERHEAD_BYTES: u64 = 256;
/// What a lease costs of the quota, in bytes.
pub const LEASE_COST_BYTES: u64 = 64;
