//! What is counted for each gRPC method, under the names of go-grpc-middleware.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use api::Code;

use crate::grpc::{Entry, METHODS, Shape};

use super::sample::{Metric, Read, Sample, Type};
use super::value::{Counter, Histogram};

/// Prometheus' default bounds, in seconds.
static HANDLING: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const CODES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Canceled, "Canceled"),
    (Code::Unknown, "Unknown"),
    (Code::InvalidArgument, "InvalidArgument"),
    (Code::DeadlineExceeded, "DeadlineExceeded"),
    (Code::NotFound, "NotFound"),
    (Code::AlreadyExists, "AlreadyExists"),
    (Code::PermissionDenied, "PermissionDenied"),
    (Code::ResourceExhausted, "ResourceExhausted"),
    (Code::FailedPrecondition, "FailedPrecondition"),
    (Code::Aborted, "Aborted"),
    (Code::OutOfRange, "OutOfRange"),
    (Code::Unimplemented, "Unimplemented"),
    (Code::Internal, "Internal"),
    (Code::Unavailable, "Unavailable"),
    (Code::DataLoss, "DataLoss"),
    (Code::Unauthenticated, "Unauthenticated"),
];

/// The counters of one method.
#[derive(Debug)]
pub struct Method {
    service: &'static str,
    name: &'static str,
    shape: Shape,
    shown: AtomicBool,
    started: Counter,
    received: Counter,
    sent: Counter,
    handled: [Counter; 17],
    handling: Option<Histogram>,
}

impl Method {
    /// A call has begun.
    pub fn started(&self) {
        self.started.inc();
        if !self.shown.load(Relaxed) {
            self.shown.store(true, Relaxed);
        }
    }

    /// A message has come from the client.
    pub fn received(&self) {
        self.received.inc();
    }

    /// A message went to the client.
    pub fn sent(&self) {
        self.sent.inc();
    }

    /// A call has ended, after this time.
    pub fn handled(&self, code: Code, took: Duration) {
        self.handled[code as usize].inc();
        if let Some(handling) = &self.handling {
            handling.observe_duration(took);
        }
    }

    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![
            ("grpc_method", self.name.to_owned()),
            ("grpc_service", self.service.to_owned()),
            ("grpc_type", self.shape.label().to_owned()),
        ]
    }

    fn sample(&self, value: &impl Read) -> Sample {
        Sample {
            labels: self.labels(),
            value: value.read(),
        }
    }
}

/// The counters of all methods.
#[derive(Debug)]
pub struct Grpc {
    /// In the order of [`METHODS`].
    methods: Vec<Method>,
    extensive: bool,
}

impl Grpc {
    pub(super) fn new(extensive: bool) -> Grpc {
        Grpc {
            methods: METHODS.iter().map(|entry| method(entry, extensive)).collect(),
            extensive,
        }
    }

    /// The counters of a method, by its number in [`METHODS`].
    pub fn at(&self, number: usize) -> &Method {
        &self.methods[number]
    }

    #[cfg(test)]
    pub(super) fn touch(&self) {
        self.methods.iter().for_each(Method::started);
    }

    pub(super) fn metrics(&self) -> Vec<Metric> {
        let shown = || self.methods.iter().filter(|m| m.shown.load(Relaxed));
        let each = |get: fn(&Method) -> &Counter| shown().map(|m| m.sample(get(m))).collect::<Vec<_>>();
        let mut handled = Vec::new();
        for method in shown() {
            for ((_, code), counter) in CODES.iter().zip(&method.handled) {
                let mut sample = method.sample(counter);
                sample.labels.push(("grpc_code", (*code).to_owned()));
                handled.push(sample);
            }
        }
        let counter = |name, help, samples| Metric::new(name, help, Type::Counter, samples);
        let mut all = vec![
            counter(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                handled,
            ),
            counter(
                "grpc_server_msg_received_total",
                "Total number of RPC stream messages received on the server.",
                each(|m| &m.received),
            ),
            counter(
                "grpc_server_msg_sent_total",
                "Total number of gRPC stream messages sent by the server.",
                each(|m| &m.sent),
            ),
            counter(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                each(|m| &m.started),
            ),
        ];
        if self.extensive {
            let samples = shown().filter_map(|m| m.handling.as_ref().map(|h| m.sample(h))).collect();
            let help = "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.";
            all.push(Metric::new("grpc_server_handling_seconds", help, Type::Histogram, samples));
        }
        all
    }
}

fn method(entry: &Entry, extensive: bool) -> Method {
    Method {
        service: entry.service,
        name: entry.name,
        shape: entry.shape,
        shown: AtomicBool::new(entry.counted_from_start()),
        started: Counter::default(),
        received: Counter::default(),
        sent: Counter::default(),
        handled: Default::default(),
        handling: extensive.then(|| Histogram::new(&HANDLING)),
    }
}
