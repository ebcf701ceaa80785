//! The metrics of one process: values, the one list of them, and their text.
//!
//! Values are relaxed atomics: an observation costs a few nanoseconds and takes no lock. Names, labels and buckets are etcd's, checked
//! against the contract by a test. Never reads a clock: whoever observes a duration has measured it.

mod grpc;
mod kept;
mod list;
mod process;
mod sample;
mod text;
mod value;

#[cfg(test)]
mod contract;

pub use grpc::{Grpc, Method};
pub use kept::{Kept, RequestType};
pub use list::Metrics;
pub use process::RUNTIME_VERSION;
pub use sample::{Metric, Sample, Type, Value};
pub use text::{Format, render};
pub use value::{Counter, Family, Gauge, Histogram};
