//! The transport against recorded traffic of real members, against itself, and against bytes nobody sane would send.

mod captures;
mod garbage;
mod loopback;
mod recorded;
mod refusals;
mod replayed;
mod snapshots;
mod support;
