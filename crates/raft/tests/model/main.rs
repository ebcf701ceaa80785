//! Whole groups under bad luck: messages lost, repeated, held back and out of order, nodes that stop and lose what was not stored, snapshots,
//! members that come and go. What raft promises is checked at every step; when the bad luck ends, everything must get done.
//!
//! A failing seed prints itself; `RAFT_MODEL_SEED=n` runs that one alone, `RAFT_MODEL_RUNS=n` runs more of them.

mod node;
mod world;

use world::{Options, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn promises_hold_under_bad_luck() {
    let seeds = match number("RAFT_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RAFT_MODEL_RUNS").unwrap_or(80),
    };
    let mut done = world::Counts::default();
    for seed in seeds.clone() {
        let options = Options::derive(seed);
        let told = format!("seed {seed}: {options:?}");
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(options);
            for _ in 0..3000 {
                world.mishap();
            }
            world.recover();
            world.counts
        });
        match result {
            Ok(counts) => done += counts,
            Err(panic) => {
                println!("{told}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds.end - seeds.start >= 80 {
        // A model in which nothing happens proves nothing.
        assert!(done.all_happened(), "{done:?}");
    }
}
