//! What judges a cluster: checkers of recorded histories; and a whole cluster in one thread from one seed, for them to judge.
//!
//! Never does I/O, reads no clock, starts no thread: disks, time and links are simulated, and for a real cluster's history the times are
//! numbers that the recorder took. Stands outside the life of a Put and looks at its two ends, what clients sent and what they were told.
//!
//! Code map: `checkers` (linearizability, revision order, watches, durability), the same for simulated and for real clusters; `cluster`
//! (the simulation).

pub mod checkers;
pub mod cluster;
