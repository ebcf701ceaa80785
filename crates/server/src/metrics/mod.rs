//! The metrics of one process: values, the one list of them, and their text.
//!
//! Values are relaxed atomics: an observation costs a few nanoseconds and takes no lock. Names, labels and buckets are etcd's, checked
//! against the contract by a test. Never reads a clock: whoever observes a duration has measured it.

mod list;
mod value;

pub use list::Metrics;
pub use value::{Counter, Gauge, Histogram};
