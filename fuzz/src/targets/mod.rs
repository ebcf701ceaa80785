//! The targets: each reads bytes that somebody else may have damaged or made up.

mod database;
mod json;
mod log;
mod texts;
mod transport;

use anyhow::Context;

use crate::mutate::Chance;

/// Plays one iteration.
pub type Play = Box<dyn FnMut(&mut Chance<'_>)>;

pub struct Target {
    pub name: &'static str,
    pub about: &'static str,
    /// Makes the sound inputs, once.
    pub prepare: fn() -> Play,
}

pub const ALL: &[Target] = &[
    Target {
        name: "wal",
        about: "log segments, their bytes damaged",
        prepare: log::bytes,
    },
    Target {
        name: "wal-records",
        about: "log segments whose records are damaged under good checksums",
        prepare: log::records,
    },
    Target {
        name: "snap",
        about: ".snap files, bare and under good checksums",
        prepare: log::snap,
    },
    Target {
        name: "v2store",
        about: "the v2 store's JSON in .snap files",
        prepare: log::v2store,
    },
    Target {
        name: "request",
        about: "the requests in raft entries",
        prepare: log::request,
    },
    Target {
        name: "bolt",
        about: "database files: opened, checked, walked, written",
        prepare: database::pages,
    },
    Target {
        name: "member",
        about: "data directories whose database holds damaged values",
        prepare: database::values,
    },
    Target {
        name: "http2-server",
        about: "bytes to a server: frames, header blocks, gRPC messages",
        prepare: transport::server,
    },
    Target {
        name: "http2-client",
        about: "bytes to a client",
        prepare: transport::client,
    },
    Target {
        name: "protojson",
        about: "the gateway's JSON",
        prepare: json::decode,
    },
    Target {
        name: "proto-to-json",
        about: "messages to be shown as JSON",
        prepare: json::encode,
    },
    Target {
        name: "texts",
        about: "durations, numbers, URLs, flags",
        prepare: texts::values,
    },
    Target {
        name: "yaml",
        about: "configuration files",
        prepare: texts::yaml,
    },
];

pub fn find(name: &str) -> anyhow::Result<&'static Target> {
    let found = ALL.iter().find(|target| target.name == name);
    found.with_context(|| format!("no target {name}; `list` names them"))
}
