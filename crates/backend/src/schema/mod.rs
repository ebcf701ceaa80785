//! Names, encodings and checks of what stands in etcd's small buckets (data-dir contract 6.1 and 6.4).
//!
//! Encoders give the bytes that Go etcd gives; decoders take what any etcd may have written (other key orders, unknown keys)
//! and answer damage with an error that names bucket and key. Never decides anything: that is the member's business.

mod cluster;
mod meta;
mod records;
mod version;

pub use cluster::{Downgrade, StoredMember, decode_member_id, member_key};
pub use meta::{conf_state_json, decode_u64, encode_u64};
pub(crate) use meta::{is_local, read_applied};
pub use records::{alarm_key, decode_alarm_key, decode_lease, decode_lease_key, encode_lease, lease_key, read_alarms, read_leases};
pub use version::{StorageVersion, VersionError, check, detect, set_storage_version};

/// Bucket `meta`: u64, big-endian.
pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
/// Bucket `meta`: u64, big-endian; written by 3.5 and newer, only if not 0.
pub const TERM: &[u8] = b"term";
/// Bucket `meta`: JSON, see [`conf_state_json`].
pub const CONF_STATE: &[u8] = b"confState";
/// Bucket `meta`: text such as `3.7.0`; written by 3.6 and newer.
pub const STORAGE_VERSION: &[u8] = b"storageVersion";
/// Bucket `meta`: a revision's 17 bytes.
pub const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
/// Bucket `meta`: a revision's 17 bytes.
pub const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
/// Bucket `cluster`: text such as `3.7.0`.
pub const CLUSTER_VERSION: &[u8] = b"clusterVersion";
/// Bucket `cluster`: JSON, see [`Downgrade`].
pub const DOWNGRADE: &[u8] = b"downgrade";
/// Bucket `auth`: one byte, 1 or 0.
pub const AUTH_ENABLED: &[u8] = b"authEnabled";
/// Bucket `auth`: u64, big-endian.
pub const AUTH_REVISION: &[u8] = b"authRevision";
/// The value of every key of bucket `members_removed`.
pub const REMOVED: &[u8] = b"removed";

/// Go's JSON: as serde's, but what would be special in HTML is escaped. Those characters stand inside strings only.
fn go_json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain structs have JSON");
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}
