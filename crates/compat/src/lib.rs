//! What is only there because Go was there first: the texts of `strconv`, `flag` and `net/url`, zap's log lines, gofail's pages.
//!
//! Users' scripts, dashboards and tests read these texts, so they are part of the contract although nothing here is etcd's own
//! business. Knows nothing of members, logs or keys, and stands outside the life of a Put.

pub mod duration;
pub mod errno;
#[cfg(any(test, feature = "failpoints"))]
pub mod gofail;
pub mod goflag;
pub mod pflag;
pub mod protojson;
pub mod strconv;
pub mod url;
pub mod zap;
