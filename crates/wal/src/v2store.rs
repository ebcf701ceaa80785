//! The v2 store as JSON: the form in which 3.5 and 3.6 keep the membership in `.snap` files and in MsgSnap.

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

/// The JSON that 3.6 and 3.7 write for this membership, members in the order given.
pub fn encode(_membership: &Membership) -> Vec<u8> {
    unimplemented!()
}

/// Reads what 3.5, 3.6 or 3.7 wrote.
pub fn decode(_json: &[u8]) -> Result<Membership, DecodeError> {
    unimplemented!()
}
