//! Turns a client's request into a proposal and keeps who waits for its answer.
//!
//! Stands at steps 3 and 12 of the life of a Put. Never looks into the client's bytes: they are framed, not encoded again.

mod ids;
mod waiters;
mod wrap;

pub use ids::RequestIds;
pub use waiters::Waiters;
pub(crate) use wrap::HEADER_TAG;
pub use wrap::{Body, wrap};
