//! Metrics as they are shown: taken from the values at one moment, in no format yet.

use super::value::{Counter, Family, Gauge, Histogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram {
        bounds: &'static [f64],
        cumulative: Vec<u64>,
        sum: f64,
    },
    Summary {
        quantiles: Vec<(f64, f64)>,
        sum: f64,
        count: u64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// By name.
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

/// One metric with all its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Type,
    /// By label values.
    pub samples: Vec<Sample>,
}

impl Metric {
    pub fn new(name: &'static str, help: &'static str, kind: Type, mut samples: Vec<Sample>) -> Metric {
        for sample in &mut samples {
            sample.labels.sort_by_key(|(name, _)| *name);
        }
        samples.sort_by(|a, b| a.labels.iter().map(|l| &l.1).cmp(b.labels.iter().map(|l| &l.1)));
        Metric { name, help, kind, samples }
    }

    pub fn number(name: &'static str, help: &'static str, kind: Type, value: f64) -> Metric {
        Metric::new(
            name,
            help,
            kind,
            vec![Sample {
                labels: Vec::new(),
                value: Value::Number(value),
            }],
        )
    }
}

/// Something that has a value.
pub(super) trait Read {
    const KIND: Type;
    fn read(&self) -> Value;
}

impl Read for Counter {
    const KIND: Type = Type::Counter;
    fn read(&self) -> Value {
        Value::Number(self.get() as f64)
    }
}

impl Read for Gauge {
    const KIND: Type = Type::Gauge;
    fn read(&self) -> Value {
        Value::Number(self.get() as f64)
    }
}

impl Read for Histogram {
    const KIND: Type = Type::Histogram;
    fn read(&self) -> Value {
        Value::Histogram {
            bounds: self.bounds(),
            cumulative: self.cumulative(),
            sum: self.sum(),
        }
    }
}

/// Something that is a whole metric.
pub(super) trait Collect {
    fn metric(&self, name: &'static str, help: &'static str) -> Metric;

    /// Makes sure that there is a value.
    #[cfg(test)]
    fn touch(&self);
}

impl<T: Read> Collect for T {
    fn metric(&self, name: &'static str, help: &'static str) -> Metric {
        Metric::new(
            name,
            help,
            T::KIND,
            vec![Sample {
                labels: Vec::new(),
                value: self.read(),
            }],
        )
    }

    #[cfg(test)]
    fn touch(&self) {}
}

impl<T: Read> Collect for Family<T> {
    fn metric(&self, name: &'static str, help: &'static str) -> Metric {
        let mut samples = Vec::new();
        self.each(|values, value| {
            let labels = self.labels().iter().copied().zip(values.iter().cloned()).collect();
            samples.push(Sample {
                labels,
                value: value.read(),
            });
        });
        Metric::new(name, help, T::KIND, samples)
    }

    #[cfg(test)]
    fn touch(&self) {
        self.with(&vec!["x"; self.labels().len()]);
    }
}
