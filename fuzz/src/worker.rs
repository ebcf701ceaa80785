//! The loop of one target, in a process of its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use world::os::SplitMix;

use crate::Plan;
use crate::mutate::Chance;
use crate::targets::Target;

/// Runs the iterations of a plan. A finding ends the process.
pub fn run(target: &Target, plan: &Plan, progress: &Path) -> anyhow::Result<()> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let progress = File::options().write(true).open(progress)?;
    let mut play = (target.prepare)();
    let begun = Instant::now();
    for iteration in plan.from..plan.from.saturating_add(plan.iterations) {
        if begun.elapsed() > plan.time {
            break;
        }
        progress.write_all_at(&iteration.to_le_bytes(), 0)?;
        let mut seed = SplitMix(plan.seed ^ iteration.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        play(&mut Chance::new(&mut seed));
    }
    Ok(())
}

/// The iteration that a worker is at, if it has begun.
pub fn iteration(progress: &Path) -> Option<u64> {
    let bytes = std::fs::read(progress).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Bytes of memory that a worker holds.
pub fn memory_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
