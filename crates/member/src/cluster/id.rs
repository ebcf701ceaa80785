//! Ids of members and clusters: digests of what they are called at birth.

use api::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

/// A member's id from its peer URLs (as Go prints them) and the cluster's token; `unix_seconds` for members added later.
pub fn member_id(peer_urls: &[String], token: &str, unix_seconds: Option<u64>) -> MemberId {
    let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = unix_seconds {
        hash.update(seconds.to_string());
    }
    MemberId(first_eight(&hash.finalize()))
}

/// A cluster's id from its first members' ids.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for member in sorted {
        hash.update(member.0.to_be_bytes());
    }
    ClusterId(first_eight(&hash.finalize()))
}

fn first_eight(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_reference() {
        let one = member_id(&["http://127.0.0.1:23801".into()], "tok", None);
        let two = member_id(&["http://127.0.0.1:23802".into()], "tok", None);
        assert_eq!((one.0, two.0), (0x4036b1db24775ea0, 0x2737ecedbf2a9065));
        assert_eq!(cluster_id(&[one, two]).0, 0xa70b7b723c713c11);
        let fixture = member_id(&["http://127.0.0.1:14002".into()], "fx", None);
        assert_eq!((fixture.0, cluster_id(&[fixture]).0), (0x8633bdd0743213ae, 0x19b226e891c9b846));
        let e2e = member_id(&["https://localhost:20001".into()], "new", None);
        assert_eq!(
            (e2e.to_string(), cluster_id(&[e2e]).to_string()),
            ("a8f3458387986d".into(), "34c21a2d427db393".into())
        );
    }
}
