//! The real binary, started, used, killed and started again.

mod harness;
mod kill;
mod lifecycle;
mod limits;
