//! A member driven in one thread: recorded histories, recorded data directories, power cuts.

mod clusters;
mod crash;
mod data_dirs;
mod histories;
mod json;
mod lifecycle;
mod node;
mod sets;
mod snapshots;
