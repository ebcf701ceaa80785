//! Watchers: each follows all keys from the first revision on, at one member and then at another.

use std::sync::Arc;

use api::pb::etcdserverpb::watch_request::RequestUnion;
use api::pb::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use bytes::Bytes;
use mvcc::watch::{Polled, WatchStream};

use super::life::Life;
use super::requests;
use crate::checkers::Revision;
use crate::checkers::watches::Watch;

#[derive(Default)]
pub struct Watcher {
    /// The member and its life.
    at: Option<(usize, u64)>,
    stream: Option<WatchStream>,
    next: Revision,
    pub watch: Watch,
}

impl Watcher {
    pub fn new() -> Watcher {
        Watcher {
            next: 1,
            watch: Watch {
                first: 1,
                ..Watch::default()
            },
            ..Watcher::default()
        }
    }

    /// Whether its stream is at this life of this member.
    pub fn is_at(&self, host: usize, life: u64) -> bool {
        self.at == Some((host, life))
    }

    pub fn host(&self) -> Option<usize> {
        self.at.map(|(host, _)| host)
    }

    /// Goes on at this member from where it was.
    pub fn attach(&mut self, host: usize, life: &Life) {
        let stream = life.parts.store.watch_hub().open_stream(Arc::new(|| ()));
        let create = WatchCreateRequest {
            key: Bytes::from_static(b"k"),
            range_end: Bytes::from_static(b"l"),
            start_revision: self.next,
            ..Default::default()
        };
        stream.handle(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        });
        self.stream = Some(stream);
        self.at = Some((host, life.number));
    }

    /// The connection is gone.
    pub fn detach(&mut self) {
        self.stream = None;
        self.at = None;
    }

    /// Takes all events that are ready.
    ///
    /// # Errors
    /// What the stream said, if it ended.
    pub fn poll(&mut self, life: &Life) -> Result<(), String> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let mut answers = Vec::new();
        while stream
            .poll(&life.parts.store, &ResponseHeader::default(), &mut answers)
            .map_err(|error| error.to_string())?
            == Polled::More
        {}
        for answer in answers {
            if answer.canceled {
                return Err(format!("a watch was cancelled: {:?}", answer.cancel_reason));
            }
            for event in answer.events.iter() {
                let event = requests::event(event).ok_or("an event that is none")?;
                self.next = self.next.max(event.revision + 1);
                self.watch.events.push(event);
            }
        }
        Ok(())
    }
}
