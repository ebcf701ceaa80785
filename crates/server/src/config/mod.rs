//! The configuration of a server: flags, `ETCD_*` variables, the configuration file, their defaults and their checks.
//!
//! `load` turns arguments and variables into a checked `Config`, or into a refusal with etcd's own words. Stands before the life
//! of a Put: nothing here runs once the server serves.

pub mod feature_gates;
pub mod flags;
mod settings;

pub use settings::Config;
