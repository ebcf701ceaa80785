//! (being built)
pub mod protojson;
