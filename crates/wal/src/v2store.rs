//! The v2 store as JSON: the form in which 3.5 and 3.6 keep the membership in `.snap` files and in MsgSnap (`data-dir.md` 3.1).
//!
//! What is written is, byte for byte, what 3.6 and 3.7 write for the same membership: a fresh store, in which each member, removed
//! member and the cluster version was set once. An incomplete one would destroy the membership on a rollback to 3.5.

use serde_json::Value;

/// A member as the v2 store knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub peer_urls: Vec<String>,
    pub is_learner: bool,
    pub name: String,
    pub client_urls: Vec<String>,
}

/// The membership in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub members: Vec<Member>,
    pub removed: Vec<u64>,
    /// Such as `3.6.0`.
    pub cluster_version: Option<String>,
}

/// Why v2 store JSON was not understood.
#[derive(Debug, thiserror::Error)]
#[error("v2 store: {0}")]
pub struct DecodeError(pub String);

/// How many events the store remembers; the list is always this long.
const HISTORY: usize = 1000;
const PERMANENT: &str = "0001-01-01T00:00:00Z";

/// The JSON that 3.6 and 3.7 write for this membership, members and removed members set in the order given.
pub fn encode(membership: &Membership) -> Vec<u8> {
    let mut store = Store::default();
    for member in &membership.members {
        let dir = format!("/0/members/{:x}", member.id);
        store.set("create", format!("{dir}/raftAttributes"), raft_attributes(member));
        if !member.client_urls.is_empty() || !member.name.is_empty() {
            store.set("set", format!("{dir}/attributes"), attributes(member));
        }
    }
    for id in &membership.removed {
        store.set("create", format!("/0/removed_members/{id:x}"), String::new());
    }
    if let Some(version) = &membership.cluster_version {
        store.set("set", "/0/version".to_owned(), version.clone());
    }
    store.to_json().into_bytes()
}

fn raft_attributes(member: &Member) -> String {
    let mut json = String::from("{\"peerURLs\":");
    quote_list(&mut json, &member.peer_urls);
    json.push_str(if member.is_learner { ",\"isLearner\":true}" } else { "}" });
    json
}

fn attributes(member: &Member) -> String {
    let mut json = String::from("{");
    if !member.name.is_empty() {
        json.push_str("\"name\":");
        quote(&mut json, &member.name);
        json.push(',');
    }
    json.push_str("\"clientURLs\":");
    quote_list(&mut json, &member.client_urls);
    json.push('}');
    json
}

fn quote_list(json: &mut String, list: &[String]) {
    json.push('[');
    for (i, text) in list.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        quote(json, text);
    }
    json.push(']');
}

/// A string as Go's encoder writes it: `<`, `>`, `&` and the line separators are escaped too.
fn quote(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
}

/// One write to the store. Each takes the next index, from 1.
struct Event {
    action: &'static str,
    path: String,
    value: String,
}

#[derive(Default)]
struct Store {
    events: Vec<Event>,
}

/// A node of the tree as it is written: a directory has children, a leaf has a value.
#[derive(Default)]
struct Node {
    index: usize,
    value: Option<String>,
    children: std::collections::BTreeMap<String, Node>,
}

impl Store {
    fn set(&mut self, action: &'static str, path: String, value: String) {
        self.events.push(Event { action, path, value });
    }

    /// New folders carry the index of the write that made them.
    fn tree(&self) -> Node {
        let mut root = Node::default();
        for fixed in ["0", "1"] {
            root.children.insert(fixed.to_owned(), Node::default());
        }
        for (i, event) in self.events.iter().enumerate() {
            let mut node = &mut root;
            for part in event.path.split('/').skip(1) {
                node = node.children.entry(part.to_owned()).or_insert_with(|| Node {
                    index: i + 1,
                    ..Node::default()
                });
            }
            node.index = i + 1;
            node.value = Some(event.value.clone());
        }
        root
    }

    fn to_json(&self) -> String {
        let count = self.events.len();
        let mut json = String::from("{\"Root\":");
        write_node(&mut json, "/", "", &self.tree());
        json.push_str(",\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
        for slot in 0..HISTORY {
            if slot > 0 {
                json.push(',');
            }
            // The list is a ring: of the events that share a slot, the last one counts.
            match (slot..count).step_by(HISTORY).next_back() {
                Some(i) => self.write_event(&mut json, i),
                None => json.push_str("null"),
            }
        }
        let front = if count > HISTORY { count % HISTORY } else { 0 };
        let start_index = if count > HISTORY { count - HISTORY + 1 } else { count.min(1) };
        let (size, back) = (count.min(HISTORY), count % HISTORY);
        json.push_str(&format!(
            "],\"Size\":{size},\"Front\":{front},\"Back\":{back},\"Capacity\":{HISTORY}}},\"StartIndex\":{start_index},\"LastIndex\":{count}}}}},\
             \"CurrentIndex\":{count},\"Stats\":{{\"getsSuccess\":0,\"getsFail\":1,\"setsSuccess\":{},\"setsFail\":0,\"deleteSuccess\":0,\
             \"deleteFail\":0,\"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":{},\"createFail\":0,\"compareAndSwapSuccess\":0,\
             \"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0}},\
             \"CurrentVersion\":2}}",
            self.count("set"),
            self.count("create"),
        ));
        json
    }

    fn count(&self, action: &str) -> usize {
        self.events.iter().filter(|event| event.action == action).count()
    }

    fn write_event(&self, json: &mut String, i: usize) {
        let event = &self.events[i];
        json.push_str(&format!("{{\"action\":\"{}\",\"node\":{{\"key\":", event.action));
        quote(json, &event.path);
        json.push_str(",\"value\":");
        quote(json, &event.value);
        json.push_str(&format!(",\"modifiedIndex\":{0},\"createdIndex\":{0}}}}}", i + 1));
    }
}

fn write_node(json: &mut String, path: &str, prefix: &str, node: &Node) {
    json.push_str("{\"Path\":");
    quote(json, path);
    json.push_str(&format!(
        ",\"CreatedIndex\":{0},\"ModifiedIndex\":{0},\"ExpireTime\":\"{PERMANENT}\",\"Value\":",
        node.index
    ));
    quote(json, node.value.as_deref().unwrap_or(""));
    json.push_str(",\"Children\":");
    if node.value.is_some() {
        json.push_str("null}");
        return;
    }
    json.push('{');
    for (i, (name, child)) in node.children.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        quote(json, name);
        json.push(':');
        let path = format!("{prefix}/{name}");
        write_node(json, &path, &path, child);
    }
    json.push_str("}}");
}

/// Reads the membership out of what 3.5, 3.6 or 3.7 wrote; members by ascending id text.
///
/// # Errors
/// If it is no JSON of that shape.
pub fn decode(json: &[u8]) -> Result<Membership, DecodeError> {
    let top: Value = serde_json::from_slice(json).map_err(|error| DecodeError(error.to_string()))?;
    let cluster = child(&top["Root"], "0").ok_or_else(|| DecodeError("no directory /0".to_owned()))?;
    let mut membership = Membership::default();
    for (id, node) in children(child(cluster, "members")) {
        membership.members.push(decode_member(id, node)?);
    }
    for (id, _) in children(child(cluster, "removed_members")) {
        membership.removed.push(parse_id(id)?);
    }
    if let Some(version) = child(cluster, "version") {
        membership.cluster_version = Some(value_of(version, "/0/version")?.to_owned());
    }
    Ok(membership)
}

fn decode_member(id: &str, node: &Value) -> Result<Member, DecodeError> {
    let mut member = Member {
        id: parse_id(id)?,
        ..Member::default()
    };
    if let Some(leaf) = child(node, "raftAttributes") {
        let parsed = parse_value(leaf, id)?;
        member.peer_urls = strings(&parsed["peerURLs"], id)?;
        member.is_learner = parsed["isLearner"].as_bool().unwrap_or(false);
    }
    if let Some(leaf) = child(node, "attributes") {
        let parsed = parse_value(leaf, id)?;
        member.name = parsed["name"].as_str().unwrap_or("").to_owned();
        member.client_urls = strings(&parsed["clientURLs"], id)?;
    }
    Ok(member)
}

fn child<'v>(node: &'v Value, name: &str) -> Option<&'v Value> {
    node.get("Children")?.get(name)
}

fn children(node: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    node.and_then(|node| node.get("Children")?.as_object()).into_iter().flatten()
}

fn parse_id(text: &str) -> Result<u64, DecodeError> {
    u64::from_str_radix(text, 16).map_err(|_| DecodeError(format!("{text:?} is no member id")))
}

fn value_of<'v>(node: &'v Value, what: &str) -> Result<&'v str, DecodeError> {
    node["Value"].as_str().ok_or_else(|| DecodeError(format!("{what} has no value")))
}

fn parse_value(node: &Value, what: &str) -> Result<Value, DecodeError> {
    let text = value_of(node, what)?;
    serde_json::from_str(text).map_err(|error| DecodeError(format!("attributes of {what}: {error}")))
}

/// A list of strings; `null` and nothing are an empty one, as in Go.
fn strings(value: &Value, what: &str) -> Result<Vec<String>, DecodeError> {
    let bad = || DecodeError(format!("attributes of {what}: not a list of strings"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(bad)).collect(),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: the name was lost.
    #[test]
    fn a_member_with_a_name_alone_keeps_it() {
        let membership = Membership {
            members: vec![Member {
                id: 7,
                peer_urls: vec!["http://127.0.0.1:1".into()],
                is_learner: false,
                name: "m0".into(),
                client_urls: Vec::new(),
            }],
            ..Membership::default()
        };
        assert_eq!(decode(&encode(&membership)).unwrap(), membership);
    }
}
