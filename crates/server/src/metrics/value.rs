//! Counter, gauge, histogram: what is written on hot paths.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes both ways. All of etcd's are whole numbers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Observations counted by upper bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last counts what is above all of them. Not cumulative.
    counts: Box<[AtomicU64]>,
    sum_bits: AtomicU64,
}

impl Histogram {
    /// # Panics
    /// When the bounds do not grow.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        assert!(bounds.windows(2).all(|w| w[0] < w[1]), "histogram bounds must grow");
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_bits: AtomicU64::new(0f64.to_bits()),
        }
    }

    /// Counts one value (for durations: in the unit of the metric's name).
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        let mut old = self.sum_bits.load(Relaxed);
        loop {
            let new = (f64::from_bits(old) + value).to_bits();
            match self.sum_bits.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => old = seen,
            }
        }
    }

    /// Counts a duration, in seconds.
    pub fn observe_duration(&self, duration: std::time::Duration) {
        self.observe(duration.as_secs_f64());
    }

    pub fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// Counts up to each bound, the last being all of them.
    pub fn cumulative(&self) -> Vec<u64> {
        let mut total = 0;
        self.counts
            .iter()
            .map(|c| {
                total += c.load(Relaxed);
                total
            })
            .collect()
    }

    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum_bits.load(Relaxed))
    }
}

/// A metric with labels: one value for each set of label values. Whoever counts often keeps what [`Family::with`] gives.
#[derive(Debug)]
pub struct Family<T> {
    labels: &'static [&'static str],
    values: RwLock<BTreeMap<Vec<String>, Arc<T>>>,
    make: fn(&'static [f64]) -> T,
    bounds: &'static [f64],
}

impl<T> Family<T> {
    pub(super) fn new(labels: &'static [&'static str], bounds: &'static [f64], make: fn(&'static [f64]) -> T) -> Family<T> {
        Family {
            labels,
            values: RwLock::default(),
            make,
            bounds,
        }
    }

    /// The value for these label values, in the order of the label names; made when it is not there yet.
    ///
    /// # Panics
    /// When there are more or fewer values than labels.
    pub fn with(&self, labels: &[&str]) -> Arc<T> {
        assert_eq!(labels.len(), self.labels.len(), "a value for each of {:?}", self.labels);
        let known = |have: &&Vec<String>| have.iter().zip(labels).all(|(a, b)| a == b);
        if let Some((_, value)) = self.values.read().iter().find(|(have, _)| known(have)) {
            return value.clone();
        }
        let key = labels.iter().map(|l| (*l).to_owned()).collect();
        self.values
            .write()
            .entry(key)
            .or_insert_with(|| Arc::new((self.make)(self.bounds)))
            .clone()
    }

    /// Forgets the value for these label values.
    pub fn remove(&self, labels: &[&str]) {
        let key: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        self.values.write().remove(&key);
    }

    pub fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    pub fn each(&self, mut visit: impl FnMut(&[String], &T)) {
        for (labels, value) in self.values.read().iter() {
            visit(labels, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket() {
        let histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 4.0, 4.1] {
            histogram.observe(value);
        }
        assert_eq!(histogram.cumulative(), [2, 4, 5, 6]);
        assert!((histogram.sum() - 13.1).abs() < 1e-9);
    }

    #[test]
    fn one_value_for_each_set_of_labels() {
        let family: Family<Counter> = Family::new(&["a", "b"], &[], |_| Counter::default());
        family.with(&["1", "2"]).inc();
        family.with(&["1", "2"]).inc();
        family.with(&["2", "1"]).inc();
        let mut seen = Vec::new();
        family.each(|labels, value| seen.push((labels.join(""), value.get())));
        assert_eq!(seen, [("12".to_owned(), 2), ("21".to_owned(), 1)]);
        family.remove(&["1", "2"]);
        assert_eq!(family.with(&["1", "2"]).get(), 0);
    }
}
