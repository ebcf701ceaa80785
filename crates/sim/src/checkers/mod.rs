//! Checkers of what a cluster did, from what its clients saw. None of them believes a member.
//!
//! - `linearizable`: each key's operations have an order that explains every answer (`search` finds it, `register` is the model of a key,
//!   `settle` makes the history smaller without changing the verdict).
//! - `revisions`: the revisions in answers follow real time, over all keys.
//! - `watches`: every stream of events is the history: complete, ordered, each event once.
//! - `durable`: every acknowledged write is there in the end, or a later one is.

pub mod durable;
pub mod history;
pub mod linearizable;
pub mod register;
pub mod revisions;
pub mod search;
mod settle;
pub mod watches;

pub use history::{Action, Answer, Done, Expect, Key, Nanos, Operation, Revision, Seen, Value};
