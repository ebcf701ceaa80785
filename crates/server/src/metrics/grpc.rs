//! What is counted for each gRPC method, under the names of go-grpc-middleware.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use api::Code;

use super::sample::{Metric, Read, Sample, Type};
use super::value::{Counter, Histogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Unary,
    Server,
    Bidi,
}

impl Shape {
    fn label(self) -> &'static str {
        match self {
            Shape::Unary => "unary",
            Shape::Server => "server_stream",
            Shape::Bidi => "bidi_stream",
        }
    }
}

/// Path, shape, and whether it is shown before its first call: services that are registered late are not.
#[rustfmt::skip]
const METHODS: &[(&str, Shape, bool)] = &[
    ("/etcdserverpb.Auth/AuthDisable", Shape::Unary, true),
    ("/etcdserverpb.Auth/AuthEnable", Shape::Unary, true),
    ("/etcdserverpb.Auth/AuthStatus", Shape::Unary, true),
    ("/etcdserverpb.Auth/Authenticate", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleAdd", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleDelete", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleGet", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleGrantPermission", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleList", Shape::Unary, true),
    ("/etcdserverpb.Auth/RoleRevokePermission", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserAdd", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserChangePassword", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserDelete", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserGet", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserGrantRole", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserList", Shape::Unary, true),
    ("/etcdserverpb.Auth/UserRevokeRole", Shape::Unary, true),
    ("/etcdserverpb.Cluster/MemberAdd", Shape::Unary, true),
    ("/etcdserverpb.Cluster/MemberList", Shape::Unary, true),
    ("/etcdserverpb.Cluster/MemberPromote", Shape::Unary, true),
    ("/etcdserverpb.Cluster/MemberRemove", Shape::Unary, true),
    ("/etcdserverpb.Cluster/MemberUpdate", Shape::Unary, true),
    ("/etcdserverpb.KV/Compact", Shape::Unary, true),
    ("/etcdserverpb.KV/DeleteRange", Shape::Unary, true),
    ("/etcdserverpb.KV/Put", Shape::Unary, true),
    ("/etcdserverpb.KV/Range", Shape::Unary, true),
    ("/etcdserverpb.KV/RangeStream", Shape::Server, true),
    ("/etcdserverpb.KV/Txn", Shape::Unary, true),
    ("/etcdserverpb.Lease/LeaseGrant", Shape::Unary, true),
    ("/etcdserverpb.Lease/LeaseKeepAlive", Shape::Bidi, true),
    ("/etcdserverpb.Lease/LeaseLeases", Shape::Unary, true),
    ("/etcdserverpb.Lease/LeaseRevoke", Shape::Unary, true),
    ("/etcdserverpb.Lease/LeaseTimeToLive", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/Alarm", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/Defragment", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/Downgrade", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/Hash", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/HashKV", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/MoveLeader", Shape::Unary, true),
    ("/etcdserverpb.Maintenance/Snapshot", Shape::Server, true),
    ("/etcdserverpb.Maintenance/Status", Shape::Unary, true),
    ("/etcdserverpb.Watch/Watch", Shape::Bidi, true),
    ("/grpc.health.v1.Health/Check", Shape::Unary, true),
    ("/grpc.health.v1.Health/List", Shape::Unary, true),
    ("/grpc.health.v1.Health/Watch", Shape::Server, true),
    ("/v3electionpb.Election/Campaign", Shape::Unary, false),
    ("/v3electionpb.Election/Leader", Shape::Unary, false),
    ("/v3electionpb.Election/Observe", Shape::Server, false),
    ("/v3electionpb.Election/Proclaim", Shape::Unary, false),
    ("/v3electionpb.Election/Resign", Shape::Unary, false),
    ("/v3lockpb.Lock/Lock", Shape::Unary, false),
    ("/v3lockpb.Lock/Unlock", Shape::Unary, false),
];

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
    methods: Vec<Method>,
    by_path: HashMap<&'static str, usize>,
    extensive: bool,
}

impl Grpc {
    pub(super) fn new(extensive: bool) -> Grpc {
        let methods: Vec<Method> = METHODS
            .iter()
            .map(|(path, shape, shown)| method(path, *shape, *shown, extensive))
            .collect();
        let by_path = METHODS.iter().enumerate().map(|(i, (path, _, _))| (*path, i)).collect();
        Grpc {
            methods,
            by_path,
            extensive,
        }
    }

    /// The place of a method by its path, for [`Grpc::at`].
    pub fn place(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The counters of the method at a place.
    pub fn at(&self, place: usize) -> &Method {
        &self.methods[place]
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

fn method(path: &'static str, shape: Shape, shown: bool, extensive: bool) -> Method {
    let (service, name) = path[1..].split_once('/').expect("a path of two parts");
    Method {
        service,
        name,
        shape,
        shown: AtomicBool::new(shown),
        started: Counter::default(),
        received: Counter::default(),
        sent: Counter::default(),
        handled: Default::default(),
        handling: extensive.then(|| Histogram::new(&HANDLING)),
    }
}

#[cfg(test)]
pub(super) fn methods() -> Vec<(&'static str, &'static str, bool)> {
    METHODS.iter().map(|(path, shape, shown)| (*path, shape.label(), *shown)).collect()
}
