//! The two sizes of entries: encoded (what a message or a batch weighs) and payload (what an application put in).

use api::pb::raftpb::Entry;
use prost::Message;

/// How many leading entries fit into `max_size` encoded bytes; at least one, if there is one.
pub(crate) fn limit_len<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>, max_size: u64) -> usize {
    let all = entries.len();
    if max_size == u64::MAX {
        return all;
    }
    let mut size = 0u64;
    for (count, entry) in entries.enumerate() {
        size = size.saturating_add(entry.encoded_len() as u64);
        if size > max_size && count > 0 {
            return count;
        }
    }
    all
}

/// What the entries weigh in a message.
pub(crate) fn encoded_size(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.encoded_len() as u64).sum()
}

/// What applications put into the entries. Empty entries (a new leader's, the end of a joint configuration) weigh nothing.
pub(crate) fn payload_size(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.data().len() as u64).sum()
}
