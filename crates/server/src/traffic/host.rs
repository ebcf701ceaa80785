//! The member as the transport sees it: where messages, failures and snapshots of peers go.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use api::MemberId;
use api::pb::raftpb::Message;
use bytes::Bytes;
use member::database::DatabaseFile;
use member::replicate::Input;
use member::snapshot::Incoming;
use peer::{BoxFuture, Host, ImageReader, RECEIVE_QUEUE, Refusal};
use tokio::sync::mpsc;
use world::DynDisk;

use crate::log::{self, field};
use crate::node::Node;
use crate::threads::RaftCommand;

/// What the transport is given of the member.
pub struct MemberHost {
    pub node: Arc<Node>,
    pub disk: DynDisk,
    pub snap_dir: PathBuf,
}

impl MemberHost {
    fn hand_over(&self, message: Message) -> Result<(), Refusal> {
        if self.node.raft.waiting() >= RECEIVE_QUEUE {
            return Err(Refusal::Full);
        }
        // Driven in place, if the replicator rests: this thread is awake.
        self.node.raft.bring(RaftCommand::Input(Input::FromPeer(Box::new(message))));
        Ok(())
    }
}

impl Host for MemberHost {
    fn process(&self, message: Message) -> Result<(), Refusal> {
        self.hand_over(message)
    }

    /// The replicator never waits, for a leader neither: one queue is enough.
    fn propose(&self, message: Message) -> Result<(), Refusal> {
        self.hand_over(message)
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.node.cluster.is_removed(id)
    }

    fn report_unreachable(&self, id: MemberId) {
        self.node.raft.leave(RaftCommand::Input(Input::PeerUnreachable(id)));
    }

    fn report_snapshot(&self, id: MemberId, arrived: bool) {
        self.node.raft.leave(RaftCommand::Input(Input::SnapshotSent(id, arrived)));
    }

    fn removed(&self, by: MemberId) {
        log::error(
            "this member was removed from the cluster: stopping",
            &[field("told-by", by.to_string())],
        );
        self.node.removed.notify_one();
    }

    fn receive_snapshot<'a>(&'a self, message: &'a Message, image: ImageReader) -> BoxFuture<'a, io::Result<u64>> {
        let incoming = Incoming::new(message.snapshot.clone().unwrap_or_default());
        Box::pin(async move {
            let size = self.store(incoming.index().0, image).await?;
            self.check(incoming).await?;
            Ok(size)
        })
    }
}

/// Chunks of an image that wait for the disk.
const IMAGE_QUEUE: usize = 8;

impl MemberHost {
    /// Whether the image is what the message says, before raft hears of it. What is not goes away.
    async fn check(&self, incoming: Incoming) -> io::Result<()> {
        let file = DatabaseFile {
            disk: self.disk.clone(),
            snap_dir: self.snap_dir.clone(),
            options: backend::Options::default(),
        };
        let checking = tokio::task::spawn_blocking(move || {
            incoming.check(&file).map_err(|error| {
                // If this fails, it is passed over at the next start, and overtaken by a later disk snapshot.
                let _ = file.disk.remove_file(&file.received(incoming.index().0));
                io::Error::other(error)
            })
        });
        checking.await.map_err(io::Error::other)?
    }

    /// Writes an image beside the database, under the name by which its installation finds it.
    async fn store(&self, index: u64, mut image: ImageReader) -> io::Result<u64> {
        let (sender, mut chunks) = mpsc::channel::<Option<Bytes>>(IMAGE_QUEUE);
        let (disk, snap_dir) = (self.disk.clone(), self.snap_dir.clone());
        let number = self.node.ids.next();
        let writing = tokio::task::spawn_blocking(move || -> io::Result<u64> {
            let mut file = wal::ReceivedDatabase::begin(&disk, snap_dir, index, number).map_err(io::Error::other)?;
            loop {
                match chunks.blocking_recv() {
                    Some(Some(chunk)) => file.write(&chunk).map_err(io::Error::other)?,
                    Some(None) => return file.finish().map_err(io::Error::other),
                    // The sender broke off: what is there is not the image.
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        });
        let mut broken = None;
        while let Some(chunk) = image.chunk().await {
            match chunk {
                Ok(chunk) => {
                    if sender.send(Some(chunk)).await.is_err() {
                        // The writer has failed, and says so below.
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        if broken.is_none() {
            let _ = sender.send(None).await;
        }
        drop(sender);
        let written = writing.await.map_err(io::Error::other)?;
        broken.map_or(written, Err)
    }
}
