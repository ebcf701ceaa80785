//! Making messages, and telling apart what a peer may send from what it may not.

use api::pb::raftpb::{Entry, Message, MessageType};

use crate::log::EntryId;
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE, StepError};

/// No cluster counts this far: terms and indexes beyond it come from a broken sender, and below it nothing overflows.
const FARTHEST: u64 = 1 << 62;

pub(crate) fn message(kind: MessageType, to: u64) -> Message {
    Message {
        r#type: Some(kind as i32),
        to: Some(to),
        ..Message::default()
    }
}

/// The message's type; none if it is one that this version does not know. (The generated accessor would answer `MsgHup`.)
pub(crate) fn kind_of(message: &Message) -> Option<MessageType> {
    MessageType::try_from(message.r#type.unwrap_or_default()).ok()
}

pub(crate) fn is_local_target(id: u64) -> bool {
    id == LOCAL_APPEND_THREAD || id == LOCAL_APPLY_THREAD
}

/// Types that only the own application and storage use.
pub(crate) fn is_local(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgHup
            | MsgBeat
            | MsgUnreachable
            | MsgSnapStatus
            | MsgCheckQuorum
            | MsgStorageAppend
            | MsgStorageAppendResp
            | MsgStorageApply
            | MsgStorageApplyResp
    )
}

/// Types that answer something; they are taken from members only.
pub(crate) fn is_response(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgAppResp
            | MsgVoteResp
            | MsgHeartbeatResp
            | MsgUnreachable
            | MsgReadIndexResp
            | MsgPreVoteResp
            | MsgStorageAppendResp
            | MsgStorageApplyResp
    )
}

/// Checks what a peer sends before it can reach anything: whatever passes can not make the core panic or overflow.
///
/// # Errors
/// `Malformed`. Go raft panics on some of these and does nonsense with others; no raft sends any of them.
pub(crate) fn check(message: &Message, kind: MessageType, own_id: u64) -> Result<(), StepError> {
    use MessageType::*;
    let from = message.from();
    let snapshot = message.snapshot.as_ref().map_or(EntryId::default(), EntryId::of_snapshot);
    let numbers = [
        message.term(),
        message.log_term(),
        message.index(),
        message.commit(),
        message.reject_hint(),
        snapshot.term,
        snapshot.index,
    ];
    let sane = numbers.iter().all(|number| *number < FARTHEST)
        && !is_local_target(from)
        && match kind {
            MsgApp => asks(message, own_id) && is_slice(message),
            MsgVote | MsgPreVote | MsgHeartbeat | MsgSnap => asks(message, own_id),
            MsgAppResp | MsgVoteResp | MsgPreVoteResp | MsgHeartbeatResp => from != NONE && message.term() != 0,
            MsgProp => !message.entries.is_empty(),
            MsgReadIndex => message.entries.len() == 1,
            _ => true,
        };
    if sane { Ok(()) } else { Err(StepError::Malformed) }
}

/// What is answered comes from somebody else, who is in a term.
fn asks(message: &Message, own_id: u64) -> bool {
    let from = message.from();
    from != NONE && from != own_id && message.term() != 0
}

/// The entries of a `MsgApp` follow each other and its previous entry, with terms that never fall and do not exceed the sender's.
fn is_slice(message: &Message) -> bool {
    let mut before = EntryId {
        term: message.log_term(),
        index: message.index(),
    };
    message.entries.iter().all(|entry| {
        let follows = entry.index() == before.index + 1 && entry.term() >= before.term.max(1);
        before = EntryId {
            term: entry.term(),
            index: entry.index(),
        };
        follows
    }) && before.term <= message.term()
}

/// The index of the last entry.
pub(crate) fn last_index(entries: &[Entry]) -> Option<u64> {
    entries.last().map(Entry::index)
}
