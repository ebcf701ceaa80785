//! A member and its JSON: in the `members` bucket, in membership entries, and on `/members`.

use api::MemberId;
use api::pb::etcdserverpb;
use serde::{Deserialize, Serialize};

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    #[serde(default)]
    pub id: u64,
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_empty")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    pub is_learner: bool,
    /// Empty until the member has started for the first time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Member {
    pub fn id(&self) -> MemberId {
        MemberId(self.id)
    }

    /// Whether it has told its name, which it does at its first start.
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The JSON that Go writes: fields in this order, `<`, `>`, `&` and the two line separators escaped.
    pub fn to_json(&self) -> String {
        // Serialising strings, numbers and flags into memory cannot fail.
        go_json(serde_json::to_string(self).unwrap_or_default())
    }

    /// # Errors
    /// When it is not the JSON of a member.
    pub fn from_json(json: &[u8]) -> Result<Member, serde_json::Error> {
        serde_json::from_slice(json)
    }

    pub fn to_pb(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id,
            name: self.name.clone(),
            peer_ur_ls: self.peer_urls.clone(),
            client_ur_ls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}

/// Go's encoder escapes these five so that its output may stand in a web page.
pub(crate) fn go_json(json: String) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json;
    }
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_as_go_writes_it() {
        let mut member = Member {
            id: 9670281527894873006,
            peer_urls: vec!["http://127.0.0.1:14002".into()],
            name: "m0".into(),
            ..Member::default()
        };
        assert_eq!(
            member.to_json(),
            r#"{"id":9670281527894873006,"peerURLs":["http://127.0.0.1:14002"],"name":"m0"}"#
        );
        member.name = "a<b".into();
        member.is_learner = true;
        member.client_urls = vec!["http://c".into()];
        let json = member.to_json();
        assert!(
            json.contains(r#""isLearner":true,"name":"a\u003cb","clientURLs":["http://c"]"#),
            "{json}"
        );
        assert_eq!(Member::from_json(json.as_bytes()).unwrap(), member);
        let promote = Member::from_json(br#"{"peerURLs":null,"id":7,"isPromote":true}"#).unwrap();
        assert_eq!((promote.id, promote.peer_urls.len()), (7, 0));
    }
}
