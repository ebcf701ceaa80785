//! Every method of etcd 3.7.1, in one list, for routes and counters; a test checks it against the contract.

/// A method that has a handler, or the name of one that has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Range,
    RangeStream,
    Put,
    DeleteRange,
    Txn,
    Compact,
    Watch,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseLeases,
    MemberList,
    MemberAdd,
    MemberPromote,
    MemberRemove,
    MemberUpdate,
    MoveLeader,
    Status,
    Alarm,
    Defragment,
    Hash,
    HashKv,
    Snapshot,
    HealthCheck,
    HealthList,
    HealthWatch,
    NotBuilt(&'static str),
}

/// Who sends how many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Unary,
    ServerStream,
    BidiStream,
}

impl Shape {
    /// As go-grpc-middleware names it.
    pub fn label(self) -> &'static str {
        match self {
            Shape::Unary => "unary",
            Shape::ServerStream => "server_stream",
            Shape::BidiStream => "bidi_stream",
        }
    }

    pub fn streaming(self) -> bool {
        self != Shape::Unary
    }
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub service: &'static str,
    pub name: &'static str,
    pub method: Method,
    pub shape: Shape,
}

impl Entry {
    /// Whether its counters are shown before its first call: services that Go registers late are not.
    pub fn counted_from_start(&self) -> bool {
        self.service != ELECTION && self.service != LOCK
    }
}

const fn unary(service: &'static str, name: &'static str, method: Method) -> Entry {
    Entry {
        service,
        name,
        method,
        shape: Shape::Unary,
    }
}

const fn server(service: &'static str, name: &'static str, method: Method) -> Entry {
    Entry {
        service,
        name,
        method,
        shape: Shape::ServerStream,
    }
}

const fn bidi(service: &'static str, name: &'static str, method: Method) -> Entry {
    Entry {
        service,
        name,
        method,
        shape: Shape::BidiStream,
    }
}

const fn absent(service: &'static str, name: &'static str) -> Entry {
    unary(service, name, Method::NotBuilt(name))
}

const KV: &str = "etcdserverpb.KV";
const WATCH: &str = "etcdserverpb.Watch";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const AUTH: &str = "etcdserverpb.Auth";
const HEALTH: &str = "grpc.health.v1.Health";
const ELECTION: &str = "v3electionpb.Election";
const LOCK: &str = "v3lockpb.Lock";

/// The list. A method's place in it is its number.
pub const METHODS: &[Entry] = &[
    // The hot ones first: the look-up goes from front to back.
    unary(KV, "Range", Method::Range),
    unary(KV, "Put", Method::Put),
    unary(KV, "Txn", Method::Txn),
    unary(KV, "DeleteRange", Method::DeleteRange),
    unary(KV, "Compact", Method::Compact),
    server(KV, "RangeStream", Method::RangeStream),
    bidi(WATCH, "Watch", Method::Watch),
    unary(LEASE, "LeaseGrant", Method::LeaseGrant),
    bidi(LEASE, "LeaseKeepAlive", Method::LeaseKeepAlive),
    unary(LEASE, "LeaseRevoke", Method::LeaseRevoke),
    unary(LEASE, "LeaseTimeToLive", Method::LeaseTimeToLive),
    unary(LEASE, "LeaseLeases", Method::LeaseLeases),
    unary(CLUSTER, "MemberList", Method::MemberList),
    unary(CLUSTER, "MemberAdd", Method::MemberAdd),
    unary(CLUSTER, "MemberPromote", Method::MemberPromote),
    unary(CLUSTER, "MemberRemove", Method::MemberRemove),
    unary(CLUSTER, "MemberUpdate", Method::MemberUpdate),
    unary(MAINTENANCE, "Status", Method::Status),
    unary(MAINTENANCE, "Alarm", Method::Alarm),
    unary(MAINTENANCE, "Defragment", Method::Defragment),
    unary(MAINTENANCE, "Hash", Method::Hash),
    unary(MAINTENANCE, "HashKV", Method::HashKv),
    server(MAINTENANCE, "Snapshot", Method::Snapshot),
    absent(MAINTENANCE, "Downgrade"),
    unary(MAINTENANCE, "MoveLeader", Method::MoveLeader),
    unary(HEALTH, "Check", Method::HealthCheck),
    unary(HEALTH, "List", Method::HealthList),
    server(HEALTH, "Watch", Method::HealthWatch),
    absent(AUTH, "AuthDisable"),
    absent(AUTH, "AuthEnable"),
    absent(AUTH, "AuthStatus"),
    absent(AUTH, "Authenticate"),
    absent(AUTH, "RoleAdd"),
    absent(AUTH, "RoleDelete"),
    absent(AUTH, "RoleGet"),
    absent(AUTH, "RoleGrantPermission"),
    absent(AUTH, "RoleList"),
    absent(AUTH, "RoleRevokePermission"),
    absent(AUTH, "UserAdd"),
    absent(AUTH, "UserChangePassword"),
    absent(AUTH, "UserDelete"),
    absent(AUTH, "UserGet"),
    absent(AUTH, "UserGrantRole"),
    absent(AUTH, "UserList"),
    absent(AUTH, "UserRevokeRole"),
    absent(ELECTION, "Campaign"),
    absent(ELECTION, "Leader"),
    server(ELECTION, "Observe", Method::NotBuilt("Observe")),
    absent(ELECTION, "Proclaim"),
    absent(ELECTION, "Resign"),
    absent(LOCK, "Lock"),
    absent(LOCK, "Unlock"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_the_contracts() {
        let table = include_str!("../../../../tests/data/contract/grpc-services.tsv");
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().expect("a head").split('\t').collect();
        let column = |name: &str| head.iter().position(|cell| *cell == name).expect("a column");
        let (path, shape, shown) = (
            column("grpc_path"),
            column("streaming"),
            column("zero_initialised_in_grpc_server_metrics"),
        );
        let expected: BTreeSet<(String, String, bool)> = lines
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                (cells[path].to_owned(), cells[shape].to_owned(), cells[shown] == "yes")
            })
            .collect();
        let ours: BTreeSet<(String, String, bool)> = METHODS
            .iter()
            .map(|m| {
                let path = format!("/{}/{}", m.service, m.name);
                (path, m.shape.label().to_owned(), m.counted_from_start())
            })
            .collect();
        assert_eq!(expected, ours);
        assert_eq!(ours.len(), METHODS.len(), "a method stands twice in the list");
    }
}
