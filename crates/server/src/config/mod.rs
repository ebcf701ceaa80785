//! The configuration of a server: flags, `ETCD_*` variables, the configuration file, their defaults and their checks.
//!
//! `load` turns arguments and variables into a checked `Config`, `startup::prepare` looks at disk and certificates on top; both end in
//! a refusal with etcd's own words otherwise. Stands before the life of a Put: nothing here runs once the server serves.

mod cluster;
mod describe;
pub mod feature_gates;
pub mod flags;
pub mod help;
mod listeners;
mod load;
mod settings;
pub mod startup;
pub mod subcommands;
mod validate;
mod variables;
mod yaml;

pub use cluster::{InitialCluster, RESOLVE_DEADLINE};
pub use describe::describe;
pub use listeners::Tls;
pub use load::{Exit, arguments, environment, load};
pub use settings::Config;
pub use yaml::{FileError, parse as parse_file};
