//! What judges a cluster: checkers of recorded histories. The simulated cluster itself will stand beside them.
//!
//! Never does I/O, reads no clock: times are numbers that the recorder took. Stands outside the life of a Put and looks at its two
//! ends, what clients sent and what they were told.
//!
//! Code map: `checkers` (linearizability, revision order, watches, durability), the same for simulated and for real clusters.

pub mod checkers;
