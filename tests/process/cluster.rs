//! Three members as the high-availability handbook starts them, plain and with mutual TLS: used, killed, and changed while they run.

use std::path::Path;
use std::time::{Duration, Instant};

use api::pb::etcdserverpb as pb;
use bytes::Bytes;
use http2::Status;
use http2::client::Client;
use prost::Message;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use crate::authority::Authority;
use crate::harness::{Member, Plan, call, connect, connect_over};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";
const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
const MEMBER_ADD: &str = "/etcdserverpb.Cluster/MemberAdd";
const MEMBER_REMOVE: &str = "/etcdserverpb.Cluster/MemberRemove";
const MEMBER_PROMOTE: &str = "/etcdserverpb.Cluster/MemberPromote";
const MOVE_LEADER: &str = "/etcdserverpb.Maintenance/MoveLeader";

/// Longer than any wait of these tests takes, on the busiest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How a member is told its settings.
#[derive(Clone, Copy)]
enum Way {
    /// `--flag=value`
    Equals,
    /// `--flag value`
    Apart,
    /// `ETCD_FLAG=value`
    Environment,
    /// A file of YAML.
    File,
}

/// Members that belong together.
struct Cluster {
    plans: Vec<Plan>,
    members: Vec<Option<Member>>,
    tls: Option<Authority>,
}

impl Cluster {
    /// Three members of a new cluster, each told in another way.
    fn start(folder: &Path, tls: Option<Authority>) -> Cluster {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut plans: Vec<Plan> = (0..3).map(|place| named_plan(folder, place)).collect();
        let initial: Vec<String> = plans
            .iter()
            .enumerate()
            .map(|(place, plan)| format!("m{place}={scheme}://127.0.0.1:{}", plan.peer_port))
            .collect();
        let ways = if tls.is_some() {
            [Way::Apart, Way::Equals, Way::File]
        } else {
            [Way::Equals, Way::Apart, Way::Environment]
        };
        for (place, way) in ways.into_iter().enumerate() {
            let mut flags = flags(place, &plans[place], scheme, &initial.join(","), "new");
            if let Some(authority) = &tls {
                flags.extend(tls_flags(authority));
            }
            tell(&mut plans[place], folder, place, &flags, way);
        }
        let members = plans.iter().map(|plan| Some(plan.spawn())).collect();
        Cluster { plans, members, tls }
    }

    async fn client(&self, place: usize) -> std::io::Result<Client> {
        let endpoint = format!("127.0.0.1:{}", self.plans[place].client_port);
        let Some(authority) = &self.tls else {
            return connect(&endpoint).await;
        };
        let socket = tokio::net::TcpStream::connect(&endpoint).await?;
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
        let config = std::sync::Arc::new(authority.client(Some("member")));
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await?;
        Ok(connect_over(&endpoint, stream))
    }

    /// Asks a member until it answers.
    async fn ask<A: Message + Default>(&self, place: usize, path: &'static str, request: &impl Message) -> A {
        let begun = Instant::now();
        loop {
            let failure = match self.try_ask(place, path, request).await {
                Ok(answer) => return answer,
                Err(failure) => failure,
            };
            if begun.elapsed() > LIMIT {
                panic!("{path} of m{place}: {failure}\n{}", self.log(place));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_ask<A: Message + Default>(&self, place: usize, path: &'static str, request: &impl Message) -> Result<A, String> {
        let client = self.client(place).await.map_err(|error| error.to_string())?;
        call(&client, path, request).await.map_err(|status: Status| format!("{status:?}"))
    }

    fn log(&self, place: usize) -> String {
        std::fs::read_to_string(&self.plans[place].log).unwrap_or_default()
    }

    async fn put(&self, place: usize, key: &str, value: &str) {
        let request = pb::PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            ..Default::default()
        };
        let _: pb::PutResponse = self.ask(place, PUT, &request).await;
    }

    async fn get(&self, place: usize, key: &str, serializable: bool) -> Option<String> {
        let request = pb::RangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            serializable,
            ..Default::default()
        };
        let answer: pb::RangeResponse = self.ask(place, RANGE, &request).await;
        answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
    }

    async fn status(&self, place: usize) -> pb::StatusResponse {
        self.ask(place, STATUS, &pb::StatusRequest::default()).await
    }

    /// Where the leader is, once all running members agree on it.
    async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let mut seen = Vec::new();
            for place in self.running() {
                let status = self.status(place).await;
                seen.push((place, status.header.map_or(0, |header| header.member_id), status.leader));
            }
            let leader = seen[0].2;
            let own = seen.iter().find(|(_, id, _)| *id == leader);
            if let Some((place, ..)) = own.filter(|_| seen.iter().all(|(.., led_by)| *led_by == leader)) {
                return *place;
            }
            assert!(begun.elapsed() < LIMIT, "no agreement on a leader: {seen:?}\n{}", self.log(0));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|place| self.members[*place].is_some()).collect()
    }

    fn kill(&mut self, place: usize) {
        self.members[place].take().expect("it runs").kill();
    }

    fn restart(&mut self, place: usize) {
        self.members[place] = Some(self.plans[place].spawn());
    }

    /// Waits until all running members hold the same data.
    async fn agree(&self) {
        let begun = Instant::now();
        loop {
            let mut hashes = Vec::new();
            for place in self.running() {
                let hash: pb::HashKvResponse = self.ask(place, HASH_KV, &pb::HashKvRequest::default()).await;
                hashes.push((hash.header.map_or(0, |header| header.revision), hash.hash));
            }
            if hashes.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "the members differ: {hashes:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn named_plan(folder: &Path, place: usize) -> Plan {
    let mut plan = Plan::new(folder);
    plan.data = folder.join(format!("m{place}"));
    plan.log = folder.join(format!("m{place}.log"));
    plan
}

/// The handbook's flags, with names as on the command line.
fn flags(place: usize, plan: &Plan, scheme: &str, initial: &str, state: &str) -> Vec<(&'static str, String)> {
    let client = format!("{scheme}://127.0.0.1:{}", plan.client_port);
    let peer = format!("{scheme}://127.0.0.1:{}", plan.peer_port);
    vec![
        ("name", format!("m{place}")),
        ("data-dir", plan.data.display().to_string()),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", initial.to_owned()),
        ("initial-cluster-token", "handbook".to_owned()),
        ("initial-cluster-state", state.to_owned()),
    ]
}

fn tls_flags(authority: &Authority) -> Vec<(&'static str, String)> {
    let file = |name: &str| authority.path(name);
    vec![
        ("client-cert-auth", "true".to_owned()),
        ("trusted-ca-file", file("ca.pem")),
        ("cert-file", file("member.pem")),
        ("key-file", file("member.key")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-trusted-ca-file", file("ca.pem")),
        ("peer-cert-file", file("member.pem")),
        ("peer-key-file", file("member.key")),
    ]
}

fn tell(plan: &mut Plan, folder: &Path, place: usize, flags: &[(&str, String)], way: Way) {
    let mut arguments = Vec::new();
    match way {
        Way::Equals => arguments.extend(flags.iter().map(|(name, value)| format!("--{name}={value}"))),
        Way::Apart => {
            for (name, value) in flags {
                // A flag of two values may stand alone, but takes none apart from it.
                match value.as_str() {
                    "true" => arguments.push(format!("--{name}")),
                    value => arguments.extend([format!("--{name}"), value.to_owned()]),
                }
            }
        }
        Way::Environment => {
            let variable = |name: &str| format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
            plan.environment
                .extend(flags.iter().map(|(name, value)| (variable(name), value.clone())));
        }
        Way::File => {
            let path = folder.join(format!("m{place}.yaml"));
            std::fs::write(&path, yaml(flags)).expect("the file is written");
            arguments.push(format!("--config-file={}", path.display()));
        }
    }
    plan.arguments = Some(arguments);
}

/// The flags of certificates stand under keys of their own there.
fn yaml(flags: &[(&str, String)]) -> String {
    let (mut top, mut client, mut peer) = (String::new(), String::new(), String::new());
    for (name, value) in flags {
        let secure = name.contains("cert") || name.contains("key-file") || name.contains("ca-file");
        let (section, key) = match name.strip_prefix("peer-").filter(|_| secure) {
            Some(key) => (&mut peer, key),
            None if secure => (&mut client, *name),
            None => (&mut top, *name),
        };
        let indent = if secure { "  " } else { "" };
        section.push_str(&format!("{indent}{key}: {value}\n"));
    }
    format!("{top}client-transport-security:\n{client}peer-transport-security:\n{peer}")
}

/// What is true of every cluster of three: written through one, read through the others, whoever dies.
async fn exercise(mut cluster: Cluster) {
    cluster.put(0, "first", "1").await;
    for place in [1, 2] {
        assert_eq!(
            cluster.get(place, "first", false).await.as_deref(),
            Some("1"),
            "read through m{place}"
        );
    }
    let list: pb::MemberListResponse = cluster.ask(2, MEMBER_LIST, &pb::MemberListRequest { linearizable: true }).await;
    let mut names: Vec<&str> = list.members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["m0", "m1", "m2"]);
    assert!(
        list.members
            .iter()
            .all(|member| member.client_ur_ls.len() == 1 && !member.is_learner)
    );

    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let third = (leader + 2) % 3;
    cluster.kill(follower);
    for number in 0..20 {
        cluster.put(third, &format!("without a follower {number}"), "x").await;
    }
    cluster.restart(follower);
    assert_eq!(cluster.get(follower, "without a follower 19", false).await.as_deref(), Some("x"));

    cluster.kill(leader);
    cluster.put(follower, "without the leader", "y").await;
    assert_eq!(cluster.get(third, "without the leader", false).await.as_deref(), Some("y"));
    cluster.restart(leader);
    assert_eq!(cluster.get(leader, "without the leader", false).await.as_deref(), Some("y"));

    let leader = cluster.leader().await;
    let stopped = cluster.members[leader].take().expect("it runs").terminate();
    assert!(stopped.success(), "{stopped}");
    let next = cluster.leader().await;
    assert_ne!(next, leader, "leadership was handed over");
    assert!(
        cluster.log(leader).contains("leadership transfer finished"),
        "{}",
        cluster.log(leader)
    );
    cluster.put(next, "after the hand-over", "z").await;
    cluster.restart(leader);
    assert_eq!(cluster.get(leader, "after the hand-over", false).await.as_deref(), Some("z"));
    cluster.agree().await;
    // Only when all of them run again can the version be agreed on.
    let begun = Instant::now();
    for place in 0..3 {
        while cluster.status(place).await.storage_version != "3.7.0" {
            assert!(begun.elapsed() < LIMIT, "no agreement on the version:\n{}", cluster.log(place));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn three_members() {
    let folder = tempfile::tempdir().unwrap();
    exercise(Cluster::start(folder.path(), None)).await;
}

#[tokio::test]
async fn three_members_with_mutual_tls() {
    let authority = Authority::new();
    authority.issue_for("member", &["localhost", "127.0.0.1"], vec![ServerAuth, ClientAuth], 1);
    let folder = tempfile::tempdir().unwrap();
    exercise(Cluster::start(folder.path(), Some(authority))).await;
}

/// A member that is added, learns, votes, leads and is removed again.
#[tokio::test]
async fn members_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = named_plan(folder.path(), 0);
    let url = |plan: &Plan| format!("http://127.0.0.1:{}", plan.peer_port);
    let first_flags = flags(0, &first, "http", &format!("m0={}", url(&first)), "new");
    tell(&mut first, folder.path(), 0, &first_flags, Way::Equals);
    let mut second = named_plan(folder.path(), 1);
    let initial = format!("m0={},m1={}", url(&first), url(&second));
    let second_flags = flags(1, &second, "http", &initial, "existing");
    tell(&mut second, folder.path(), 1, &second_flags, Way::Apart);
    let mut cluster = Cluster {
        members: vec![Some(first.spawn()), None],
        plans: vec![first, second],
        tls: None,
    };
    cluster.put(0, "before", "1").await;

    let add = |url: String| pb::MemberAddRequest {
        peer_ur_ls: vec![url],
        is_learner: true,
    };
    let refused = cluster
        .try_ask::<pb::MemberAddResponse>(0, MEMBER_ADD, &add("nonsense".to_owned()))
        .await;
    assert!(refused.unwrap_err().contains("given member URLs are invalid"));
    let added: pb::MemberAddResponse = cluster.ask(0, MEMBER_ADD, &add(url(&cluster.plans[1]))).await;
    let id = added.member.expect("the member").id;
    assert_eq!(added.members.len(), 2);
    let again = cluster
        .try_ask::<pb::MemberAddResponse>(0, MEMBER_ADD, &add(url(&cluster.plans[1])))
        .await;
    let again = again.unwrap_err();
    // A member's id comes from its URLs and the second of its addition: asked in the same one, it is the same member.
    assert!(
        again.contains("Peer URLs already exists") || again.contains("member ID already exist"),
        "{again}"
    );
    let promote = pb::MemberPromoteRequest { id };
    let early = cluster.try_ask::<pb::MemberPromoteResponse>(0, MEMBER_PROMOTE, &promote).await;
    assert!(
        early
            .unwrap_err()
            .contains("can only promote a learner member which is in sync with leader")
    );

    cluster.restart(1);
    assert!(cluster.status(1).await.is_learner);
    assert_eq!(cluster.get(1, "before", true).await.as_deref(), Some("1"));
    let refused = cluster.try_ask::<pb::PutResponse>(1, PUT, &pb::PutRequest::default()).await;
    assert!(refused.unwrap_err().contains("rpc not supported for learner"));
    // Through the follower, which has the leader do it once the learner has caught up.
    let promoted: pb::MemberPromoteResponse = cluster.ask(0, MEMBER_PROMOTE, &promote).await;
    assert!(promoted.members.iter().all(|member| !member.is_learner));
    assert_eq!(cluster.get(1, "before", false).await.as_deref(), Some("1"));

    let moved: pb::MoveLeaderResponse = cluster.ask(0, MOVE_LEADER, &pb::MoveLeaderRequest { target_id: id }).await;
    assert!(moved.header.is_some());
    assert_eq!(cluster.leader().await, 1);
    cluster.put(0, "under the second", "2").await;
    let back = cluster.status(0).await.header.expect("a header").member_id;
    let _: pb::MoveLeaderResponse = cluster.ask(1, MOVE_LEADER, &pb::MoveLeaderRequest { target_id: back }).await;

    let begun = Instant::now();
    let remove = pb::MemberRemoveRequest { id };
    // For five seconds after it came it does not count as connected.
    let removed: pb::MemberRemoveResponse = cluster.ask(0, MEMBER_REMOVE, &remove).await;
    assert_eq!(removed.members.len(), 1);
    let mut gone = cluster.members[1].take().expect("it runs");
    assert!(gone.ended(LIMIT).success(), "{}", cluster.log(1));
    assert!(begun.elapsed() < LIMIT);
    cluster.put(0, "alone again", "3").await;
    let unknown = cluster.try_ask::<pb::MemberRemoveResponse>(0, MEMBER_REMOVE, &remove).await;
    assert!(unknown.unwrap_err().contains("member not found"));
}

/// Whoever begins a cluster that runs already is told so.
#[tokio::test]
async fn a_cluster_is_begun_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), None);
    cluster.put(0, "k", "v").await;
    cluster.leader().await;
    cluster.kill(2);
    std::fs::remove_dir_all(&cluster.plans[2].data).expect("the directory goes");
    let mut again = cluster.plans[2].spawn();
    assert_eq!(again.ended(LIMIT).code(), Some(1));
    let log = cluster.log(2);
    assert!(log.contains("has already been bootstrapped"), "{log}");
}

/// Leases are the leader's; whoever asks another member does not notice.
#[tokio::test]
async fn leases_through_any_member() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path(), None);
    let leader = cluster.leader().await;
    for place in 0..3 {
        let id = 100 + place as i64;
        let grant = pb::LeaseGrantRequest { ttl: 600, id };
        let _: pb::LeaseGrantResponse = cluster.ask(place, "/etcdserverpb.Lease/LeaseGrant", &grant).await;
        let ask = pb::LeaseTimeToLiveRequest { id, keys: true };
        let left: pb::LeaseTimeToLiveResponse = cluster.ask(place, "/etcdserverpb.Lease/LeaseTimeToLive", &ask).await;
        assert!((500..=600).contains(&left.ttl), "through m{place} of leader m{leader}: {left:?}");
        let none: pb::LeaseTimeToLiveResponse = cluster
            .ask(
                place,
                "/etcdserverpb.Lease/LeaseTimeToLive",
                &pb::LeaseTimeToLiveRequest { id: 9, keys: false },
            )
            .await;
        assert_eq!(none.ttl, -1);
        let kept = crate::harness::http_post(
            &format!("127.0.0.1:{}", cluster.plans[place].client_port),
            "/v3/lease/keepalive",
            &format!("{{\"ID\":\"{id}\"}}"),
        );
        assert!(kept.as_deref().is_some_and(|answer| answer.contains("\"TTL\":\"600\"")), "{kept:?}");
    }
}
