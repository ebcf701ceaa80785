//! The one list of metrics.

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    pub fn new() -> std::sync::Arc<Metrics> {
        std::sync::Arc::new(Metrics::default())
    }
}
