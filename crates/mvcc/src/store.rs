//! Reads.

#![allow(clippy::unimplemented)]

use api::LeaseId;
use api::pb::etcdserverpb::{RangeRequest, ResponseHeader, TxnRequest, TxnResponse};
use backend::Backend;
use bytes::Bytes;

use crate::{MvccError, Writer};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Revisions a compaction looks at in one slice (`--compaction-batch-limit`).
    pub compaction_batch: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { compaction_batch: 1000 }
    }
}

/// What a range found.
#[derive(Clone, Debug, Default)]
pub struct RangeAnswer {
    /// The store's revision: goes into the header.
    pub revision: i64,
    /// `mvccpb.KeyValue` messages as they are stored.
    pub kvs: Vec<Bytes>,
    pub more: bool,
    pub count: i64,
}

impl RangeAnswer {
    /// The whole `RangeResponse`, encoded; `header.revision` is set from the answer.
    pub fn encode(&self, header: ResponseHeader) -> Bytes {
        let _ = header;
        unimplemented!()
    }
}

/// One message of a range stream. Header, `more` and `count` belong to the last one only.
#[derive(Clone, Debug)]
pub struct RangeChunk {
    pub kvs: Vec<Bytes>,
    pub end: Option<RangeAnswer>,
}

/// A range handed out in chunks, all of one revision.
pub struct RangeStream {}

impl Iterator for RangeStream {
    type Item = Result<RangeChunk, MvccError>;
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

/// An answer of HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    /// The revision it was computed at (`hash_revision`).
    pub revision: i64,
    /// The compact revision that it was computed under: -1 before any.
    pub compact_revision: i64,
}

/// The key-value store as readers see it; cheap to clone, usable on any thread.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Builds the index from the database. `attach` hears of every live key that has a lease.
    pub fn open(backend: Backend, options: StoreOptions, attach: &mut dyn FnMut(LeaseId, Bytes)) -> Result<(Store, Writer), MvccError> {
        let _ = (backend, options, attach);
        unimplemented!()
    }
    /// The newest revision whose effects can be read.
    pub fn revision(&self) -> i64 {
        unimplemented!()
    }
    /// The revision of the newest compaction; -1 before any.
    pub fn compact_revision(&self) -> i64 {
        unimplemented!()
    }
    /// Answers a Range (checked by [`crate::check::range`]) at one moment. `serializable` is for the caller.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeAnswer, MvccError> {
        let _ = request;
        unimplemented!()
    }
    /// The same in chunks (RangeStream); `max_request_bytes` steers their size.
    pub fn range_stream(&self, request: &RangeRequest, max_request_bytes: usize) -> Result<RangeStream, MvccError> {
        let _ = (request, max_request_bytes);
        unimplemented!()
    }
    /// Answers a Txn that only reads ([`Writer::txn`] does the others).
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, MvccError> {
        let _ = request;
        unimplemented!()
    }
    /// HashKV; revision 0 asks for the newest.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, MvccError> {
        let _ = revision;
        unimplemented!()
    }
    /// The remembered hashes of finished compactions, newest first.
    pub fn compaction_hashes(&self) -> Vec<HashKv> {
        unimplemented!()
    }
    /// Whether a Txn changes nothing whatever branch it takes.
    pub fn is_read_only(request: &TxnRequest) -> bool {
        let _ = request;
        unimplemented!()
    }
}
