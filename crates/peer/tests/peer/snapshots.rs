//! Snapshots from one member to another.

use std::io;

use api::MemberId;
use api::pb::raftpb::{ConfState, Message, MessageType, Snapshot, SnapshotMetadata};
use bytes::Bytes;
use peer::image;

use crate::support::{Member, cluster, message, run, until};

fn snapshot_message(from: MemberId, to: MemberId) -> Message {
    let metadata = SnapshotMetadata {
        conf_state: Some(ConfState {
            voters: vec![1, 2],
            auto_leave: Some(false),
            ..ConfState::default()
        }),
        index: Some(268),
        term: Some(2),
    };
    Message {
        snapshot: Some(Snapshot {
            data: Some(Bytes::from_static(b"{}")),
            metadata: Some(metadata),
        }),
        ..message(MessageType::MsgSnap, from, to)
    }
}

/// Bytes that differ from chunk to chunk.
fn chunk(number: u32) -> Bytes {
    let pattern = (0..32 * 1024_u32).map(|place| (place.wrapping_mul(31) ^ number) as u8);
    pattern.collect::<Vec<u8>>().into()
}

#[test]
fn an_image_of_some_megabytes_arrives_whole() {
    run(async {
        let members = cluster(2).await;
        let (sender, receiver) = (&members[0], &members[1]);
        let chunks = 256;
        let (writer, image) = image(chunks * 32 * 1024);
        sender.transport.send_snapshot(snapshot_message(sender.id, receiver.id), image);
        // The image comes from a thread, as it does from a database file.
        let written = tokio::task::spawn_blocking(move || (0..chunks as u32).try_for_each(|number| writer.blocking_write(chunk(number))));
        written.await.unwrap().unwrap();
        until("raft is told", || !sender.notes.snapshot_reports.lock().is_empty()).await;
        assert_eq!(*sender.notes.snapshot_reports.lock(), [(receiver.id, true)]);
        let images = receiver.notes.images.lock();
        let (message, bytes) = &images[0];
        assert_eq!(message.snapshot, snapshot_message(sender.id, receiver.id).snapshot);
        let expected: Vec<u8> = (0..chunks as u32).flat_map(chunk).collect();
        assert!(*bytes == expected, "{} bytes came", bytes.len());
        assert_eq!(receiver.notes.count(MessageType::MsgSnap), 1);
    });
}

#[test]
fn a_broken_image_is_no_image() {
    run(async {
        let members = cluster(2).await;
        let (sender, receiver) = (&members[0], &members[1]);
        let message = || snapshot_message(sender.id, receiver.id);
        let failures = || sender.notes.snapshot_reports.lock().iter().filter(|report| !report.1).count();
        // Its writer dies half way.
        let (writer, short) = image(2 * 32 * 1024);
        sender.transport.send_snapshot(message(), short);
        writer.write(chunk(0)).await.unwrap();
        drop(writer);
        until("the short one is reported", || failures() == 1).await;
        let (writer, long) = image(5);
        sender.transport.send_snapshot(message(), long);
        writer.write(chunk(0)).await.unwrap();
        until("the long one is reported", || failures() == 2).await;
        assert!(receiver.notes.images.lock().is_empty());
        assert_eq!(receiver.notes.count(MessageType::MsgSnap), 0);
    });
}

#[test]
fn a_seventeenth_snapshot_and_one_for_a_stranger_fail_at_once() {
    run(async {
        let members = cluster(2).await;
        let (sender, receiver) = (&members[0], &members[1]);
        let mut writers = Vec::new();
        for _ in 0..16 {
            let (writer, image) = image(1);
            writers.push(writer);
            sender.transport.send_snapshot(snapshot_message(sender.id, receiver.id), image);
        }
        assert!(sender.notes.snapshot_reports.lock().is_empty());
        sender.transport.send_snapshot(snapshot_message(sender.id, receiver.id), image(1).1);
        assert_eq!(*sender.notes.snapshot_reports.lock(), [(receiver.id, false)]);
        for writer in writers {
            writer.write(Bytes::from_static(b"x")).await.unwrap();
        }
        until("the sixteen arrive", || {
            sender.notes.snapshot_reports.lock().iter().filter(|report| report.1).count() == 16
        })
        .await;
        sender.transport.send_snapshot(snapshot_message(sender.id, MemberId(9)), image(1).1);
        assert_eq!(sender.notes.snapshot_reports.lock().last(), Some(&(MemberId(9), false)));
    });
}

#[test]
fn removing_the_peer_ends_its_snapshot() {
    run(async {
        let members = cluster(2).await;
        let (sender, receiver) = (&members[0], &members[1]);
        let (writer, image) = image(1 << 30);
        sender.transport.send_snapshot(snapshot_message(sender.id, receiver.id), image);
        writer.write(chunk(0)).await.unwrap();
        sender.transport.remove_peer(receiver.id);
        until("raft is told", || *sender.notes.snapshot_reports.lock() == [(receiver.id, false)]).await;
        let refused = async {
            loop {
                if let Err(error) = writer.write(chunk(1)).await {
                    return error;
                }
            }
        };
        assert_eq!(refused.await.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_bare_snapshot_message_goes_by_post() {
    run(async {
        let members: Vec<Member> = cluster(2).await;
        let (sender, receiver) = (&members[0], &members[1]);
        sender.transport.send(vec![snapshot_message(sender.id, receiver.id)]);
        until("it arrives and is reported", || {
            *sender.notes.snapshot_reports.lock() == [(receiver.id, true)]
        })
        .await;
        assert_eq!(receiver.notes.count(MessageType::MsgSnap), 1);
    });
}
