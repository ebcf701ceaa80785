//! Writes raft messages with every scalar field present, zero or not.
//!
//! Members up to 3.6 were compiled by a generator that writes and expects it so; 3.7 reads both forms. What prost would write leaves
//! zeros out, hence this encoder. `vote` and `responses` never travel between members and are not written. A payload is copied
//! exactly once, into the buffer that goes to the socket.

use api::pb::raftpb::{ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::{BufMut, BytesMut};

const VARINT: u8 = 0;
const LENGTH: u8 = 2;

/// Bytes that [`put_message`] will write.
pub fn message_len(message: &Message) -> usize {
    let scalars = [
        enum_value(message.r#type()),
        message.to(),
        message.from(),
        message.term(),
        message.log_term(),
        message.index(),
        message.commit(),
        u64::from(message.reject()),
        message.reject_hint(),
    ];
    let entries: usize = message.entries.iter().map(|entry| field_len(entry_len(entry))).sum();
    let snapshot = snapshot_to_write(message).map_or(0, |snapshot| field_len(snapshot_len(snapshot)));
    let context = message.context.as_ref().map_or(0, |context| field_len(context.len()));
    scalars.iter().map(|value| 1 + varint_len(*value)).sum::<usize>() + entries + snapshot + context
}

/// Appends the message.
pub fn put_message(message: &Message, out: &mut BytesMut) {
    put_scalar(out, 1, enum_value(message.r#type()));
    put_scalar(out, 2, message.to());
    put_scalar(out, 3, message.from());
    put_scalar(out, 4, message.term());
    put_scalar(out, 5, message.log_term());
    put_scalar(out, 6, message.index());
    for entry in &message.entries {
        put_head(out, 7, entry_len(entry));
        put_entry(entry, out);
    }
    put_scalar(out, 8, message.commit());
    if let Some(snapshot) = snapshot_to_write(message) {
        put_head(out, 9, snapshot_len(snapshot));
        put_snapshot(snapshot, out);
    }
    put_scalar(out, 10, u64::from(message.reject()));
    put_scalar(out, 11, message.reject_hint());
    if let Some(context) = &message.context {
        put_head(out, 12, context.len());
        out.put_slice(context);
    }
}

/// Bytes that [`put_entry`] will write.
pub fn entry_len(entry: &Entry) -> usize {
    3 + varint_len(int_value(entry.r#type.unwrap_or_default()))
        + varint_len(entry.term())
        + varint_len(entry.index())
        + entry.data.as_ref().map_or(0, |data| field_len(data.len()))
}

/// Appends a log entry.
pub fn put_entry(entry: &Entry, out: &mut BytesMut) {
    put_scalar(out, 1, int_value(entry.r#type.unwrap_or_default()));
    put_scalar(out, 2, entry.term());
    put_scalar(out, 3, entry.index());
    if let Some(data) = &entry.data {
        put_head(out, 4, data.len());
        out.put_slice(data);
    }
}

/// An empty snapshot means none, except where the message is about one.
fn snapshot_to_write(message: &Message) -> Option<&Snapshot> {
    let snapshot = message.snapshot.as_ref()?;
    (message.r#type() == MessageType::MsgSnap || !super::is_empty_snapshot(snapshot)).then_some(snapshot)
}

fn snapshot_len(snapshot: &Snapshot) -> usize {
    let data = snapshot.data.as_ref().map_or(0, |data| field_len(data.len()));
    data + field_len(metadata_len(&snapshot.metadata.clone().unwrap_or_default()))
}

fn put_snapshot(snapshot: &Snapshot, out: &mut BytesMut) {
    if let Some(data) = &snapshot.data {
        put_head(out, 1, data.len());
        out.put_slice(data);
    }
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let conf_state = metadata.conf_state.clone().unwrap_or_default();
    put_head(out, 2, metadata_len(&metadata));
    put_head(out, 1, conf_state_len(&conf_state));
    put_conf_state(&conf_state, out);
    put_scalar(out, 2, metadata.index());
    put_scalar(out, 3, metadata.term());
}

fn metadata_len(metadata: &SnapshotMetadata) -> usize {
    let conf_state = conf_state_len(&metadata.conf_state.clone().unwrap_or_default());
    field_len(conf_state) + 2 + varint_len(metadata.index()) + varint_len(metadata.term())
}

/// The four id lists of a ConfState under their field numbers; written one id a field, as etcd's schema has them.
fn id_lists(conf_state: &ConfState) -> [(u8, &[u64]); 4] {
    [
        (1, &conf_state.voters),
        (2, &conf_state.learners),
        (3, &conf_state.voters_outgoing),
        (4, &conf_state.learners_next),
    ]
}

fn conf_state_len(conf_state: &ConfState) -> usize {
    let ids = id_lists(conf_state).into_iter().flat_map(|(_, ids)| ids);
    ids.map(|id| 1 + varint_len(*id)).sum::<usize>() + 2
}

fn put_conf_state(conf_state: &ConfState, out: &mut BytesMut) {
    for (field, ids) in id_lists(conf_state) {
        for id in ids {
            put_scalar(out, field, *id);
        }
    }
    put_scalar(out, 5, u64::from(conf_state.auto_leave()));
}

/// A protobuf enum on the wire: sign-extended, though no value here is negative.
fn int_value(value: i32) -> u64 {
    i64::from(value) as u64
}

fn enum_value(kind: MessageType) -> u64 {
    int_value(kind as i32)
}

/// One byte of key, the length, the content. All field numbers here are below 16.
fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_scalar(out: &mut BytesMut, field: u8, value: u64) {
    out.put_u8(field << 3 | VARINT);
    put_varint(out, value);
}

fn put_head(out: &mut BytesMut, field: u8, length: usize) {
    out.put_u8(field << 3 | LENGTH);
    put_varint(out, length as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use prost::Message as _;

    #[test]
    fn lengths_of_varints() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::MAX >> 1, u64::MAX] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }

    #[test]
    fn a_snapshot_with_every_field_comes_back() {
        let message = Message {
            r#type: Some(MessageType::MsgSnap as i32),
            to: Some(u64::MAX),
            from: Some(1),
            term: Some(300),
            log_term: Some(0),
            index: Some(0),
            commit: Some(0),
            reject: Some(true),
            reject_hint: Some(128),
            context: Some(Bytes::from_static(b"context")),
            snapshot: Some(Snapshot {
                data: Some(Bytes::from_static(b"{}")),
                metadata: Some(SnapshotMetadata {
                    conf_state: Some(ConfState {
                        voters: vec![1, u64::MAX],
                        learners: vec![3],
                        voters_outgoing: vec![4, 500],
                        learners_next: vec![5],
                        auto_leave: Some(true),
                    }),
                    index: Some(1 << 40),
                    term: Some(7),
                }),
            }),
            ..Message::default()
        };
        let mut out = BytesMut::new();
        put_message(&message, &mut out);
        assert_eq!(out.len(), message_len(&message));
        assert_eq!(Message::decode(out.freeze()).unwrap(), message);
    }
}
