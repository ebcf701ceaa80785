//! Go raft's data-driven scripts, and our own in the same form.
//!
//! Go's 41 scripts are the oracle of this crate: the same commands must print the same text. They are not part of this repository; they are read
//! from `$QUORATE_SHARED/raft-testdata` or `../shared/raft-testdata`. Where that folder is absent these tests say so and pass; `.ci/run` fails then.
//! Our own scripts are in `data`. Their texts were printed by Go's raft too. After a wanted change, `RAFT_SCRIPTS_REWRITE=1` writes into them what is
//! printed now.

mod confchange;
mod datadriven;
mod interaction;
mod quorum;

use std::path::{Path, PathBuf};

use datadriven::{Case, run};

/// Go's scripts of one kind, by name; `None` where they are absent.
fn scripts_of_go(kind: &str, count: usize) -> Option<Vec<PathBuf>> {
    let shared = match std::env::var_os("QUORATE_SHARED") {
        Some(shared) => PathBuf::from(shared),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = shared.join("raft-testdata").join(kind);
    if !folder.is_dir() {
        println!("SKIPPED: Go's scripts are absent ({}); set QUORATE_SHARED", folder.display());
        return None;
    }
    let files = scripts_in(&folder);
    assert_eq!(files.len(), count, "scripts in {}", folder.display());
    Some(files)
}

fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

/// Runs every script with a fresh handler and reports all that differ together.
fn run_all<H: FnMut(&Case) -> String>(files: &[PathBuf], mut fresh: impl FnMut() -> H) {
    let only = std::env::var("RAFT_SCRIPT").ok();
    let mut faults = Vec::new();
    for file in files
        .iter()
        .filter(|file| only.as_deref().is_none_or(|only| file.to_string_lossy().contains(only)))
    {
        faults.extend(run(file, fresh()));
    }
    assert!(faults.is_empty(), "{} cases differ\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn quorum_scripts_of_go() {
    if let Some(files) = scripts_of_go("quorum", 4) {
        run_all(&files, || quorum::handle);
    }
}

#[test]
fn confchange_scripts_of_go() {
    if let Some(files) = scripts_of_go("confchange", 9) {
        run_all(&files, || {
            let mut env = confchange::Environment::new();
            move |case: &Case| env.handle(case)
        });
    }
}

#[test]
fn interaction_scripts_of_go() {
    if let Some(files) = scripts_of_go("interaction", 28) {
        run_all(&files, interact);
    }
}

#[test]
fn interaction_scripts_of_ours() {
    let files = scripts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/data"));
    assert!(!files.is_empty(), "no scripts of ours");
    run_all(&files, interact);
}

fn interact() -> impl FnMut(&Case) -> String {
    let mut env = interaction::Environment::default();
    move |case| env.handle(case)
}
