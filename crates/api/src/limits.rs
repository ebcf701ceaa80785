//! Limits and defaults of the API, from etcd's `defaults.md`.

/// Largest proposal after encoding, in bytes (`--max-request-bytes`).
pub const MAX_REQUEST_BYTES: u64 = 1_572_864;
/// What a gRPC message may be larger than the largest proposal, in bytes.
pub const GRPC_OVERHEAD_BYTES: u64 = 512 * 1024;
/// Most operations in a transaction (`--max-txn-ops`).
pub const MAX_TXN_OPS: u32 = 128;
/// Database size at which puts are refused, in bytes (`--quota-backend-bytes`).
pub const QUOTA_BACKEND_BYTES: i64 = 2 * 1024 * 1024 * 1024;
/// Largest quota that starts without a warning, in bytes.
pub const MAX_QUOTA_BYTES: i64 = 8 * 1024 * 1024 * 1024;
/// Longest lease, in seconds.
pub const MAX_LEASE_TTL: i64 = 9_000_000_000;
/// Bytes of database a message of a snapshot carries.
pub const SNAPSHOT_CHUNK_BYTES: usize = 32 * 1024;
