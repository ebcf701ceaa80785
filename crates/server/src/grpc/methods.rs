//! Every method of etcd 3.7.1, in one list; a test checks it against the contract.

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

impl Method {
    /// Whether the handler of this method is a streaming one.
    pub fn streaming(self) -> bool {
        matches!(
            self,
            Method::RangeStream | Method::Watch | Method::LeaseKeepAlive | Method::Snapshot | Method::HealthWatch
        )
    }
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub service: &'static str,
    pub name: &'static str,
    pub method: Method,
    /// Whether the contract says that it streams.
    pub streaming: bool,
}

const fn unary(service: &'static str, name: &'static str, method: Method) -> Entry {
    Entry {
        service,
        name,
        method,
        streaming: false,
    }
}

const fn stream(service: &'static str, name: &'static str, method: Method) -> Entry {
    Entry {
        service,
        name,
        method,
        streaming: true,
    }
}

const fn absent(service: &'static str, name: &'static str) -> Entry {
    Entry {
        service,
        name,
        method: Method::NotBuilt(name),
        streaming: false,
    }
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
    stream(KV, "RangeStream", Method::RangeStream),
    stream(WATCH, "Watch", Method::Watch),
    unary(LEASE, "LeaseGrant", Method::LeaseGrant),
    stream(LEASE, "LeaseKeepAlive", Method::LeaseKeepAlive),
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
    stream(MAINTENANCE, "Snapshot", Method::Snapshot),
    absent(MAINTENANCE, "Downgrade"),
    unary(MAINTENANCE, "MoveLeader", Method::MoveLeader),
    unary(HEALTH, "Check", Method::HealthCheck),
    unary(HEALTH, "List", Method::HealthList),
    stream(HEALTH, "Watch", Method::HealthWatch),
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
    stream(ELECTION, "Observe", Method::NotBuilt("Observe")),
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
        let expected: BTreeSet<(String, bool)> = table
            .lines()
            .skip(1)
            .map(|line| {
                let mut cells = line.split('\t');
                let path = cells.next().expect("a path").to_owned();
                (path, cells.nth(2).expect("streaming") != "unary")
            })
            .collect();
        let ours: BTreeSet<(String, bool)> = METHODS
            .iter()
            .map(|m| (format!("/{}/{}", m.service, m.name), m.streaming))
            .collect();
        assert_eq!(expected, ours);
        assert_eq!(ours.len(), METHODS.len(), "a method stands twice in the list");
    }
}
