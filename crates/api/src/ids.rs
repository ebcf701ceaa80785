//! Newtypes for numbers that must not be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                $name(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

number! {
    /// A position in the raft log; the first entry has index 1.
    RaftIndex(u64)
}
number! {
    /// A raft term.
    Term(u64)
}
number! {
    /// A lease. 0 means "no lease".
    LeaseId(i64)
}
number! {
    /// A member. Printed as lower-case hex without padding, as etcd does.
    MemberId(u64)
}
number! {
    /// A cluster. Printed as lower-case hex without padding, as etcd does.
    ClusterId(u64)
}

impl fmt::Display for RaftIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One change of the store: `main` counts transactions, `sub` the changes inside one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub main: i64,
    pub sub: i64,
}

impl Revision {
    /// Length of the database key of a put: main, `_`, sub.
    pub const KEY_LEN: usize = 17;
    /// Length of the database key of a tombstone: as a put, then `t`.
    pub const TOMBSTONE_LEN: usize = 18;

    pub const fn new(main: i64, sub: i64) -> Revision {
        Revision { main, sub }
    }

    /// The key of this revision in the `key` bucket (17 bytes).
    pub fn to_key(self) -> [u8; Revision::KEY_LEN] {
        let mut key = [0; Revision::KEY_LEN];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[8] = b'_';
        key[9..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    /// The key of this revision as a tombstone (18 bytes).
    pub fn to_tombstone_key(self) -> [u8; Revision::TOMBSTONE_LEN] {
        let mut key = [b't'; Revision::TOMBSTONE_LEN];
        key[..Revision::KEY_LEN].copy_from_slice(&self.to_key());
        key
    }

    /// Reads a key of the `key` bucket; the flag says "tombstone". `None` if it has neither form.
    pub fn from_key(key: &[u8]) -> Option<(Revision, bool)> {
        let tombstone = match key.len() {
            Revision::KEY_LEN => false,
            Revision::TOMBSTONE_LEN if key[17] == b't' => true,
            _ => return None,
        };
        if key[8] != b'_' {
            return None;
        }
        let main = i64::from_be_bytes(key[..8].try_into().ok()?);
        let sub = i64::from_be_bytes(key[9..17].try_into().ok()?);
        Some((Revision { main, sub }, tombstone))
    }
}
