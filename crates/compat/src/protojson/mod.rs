//! JSON as grpc-gateway reads and writes it: JSON text to protobuf bytes and back, by descriptors.
//!
//! Never builds a Rust message: names, numbers and kinds come from `api::pb::DESCRIPTORS`, read once. Reading has two layers with texts of
//! their own, as in Go: [`Values`] cuts JSON values out of a byte stream (`encoding/json`), [`decode`] turns one into a message
//! (`protojson`). Stands before step 2 of the life of a Put, for clients that speak JSON.
