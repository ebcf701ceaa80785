//! ARCHITECTURE.md and README.md say only what is so: every path they name exists.

use crate::{read, root};

/// Words in backquotes that look like a path of this repository.
fn paths(text: &str) -> Vec<&str> {
    const FOLDERS: [&str; 9] = [
        "crates/",
        "tests/",
        "proto/",
        "bench/",
        "xtask/",
        "fuzz/",
        ".ci/",
        "monitoring/",
        "proto/",
    ];
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(' '))
        .collect()
}

#[test]
fn every_named_path_exists() {
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text = read(document);
        let missing: Vec<_> = paths(&text).into_iter().filter(|path| !root().join(path).exists()).collect();
        assert!(missing.is_empty(), "{document} names what is not there: {missing:?}");
    }
}

#[test]
fn the_life_of_a_put_names_a_path_at_each_step() {
    let text = read("ARCHITECTURE.md");
    let steps: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    assert!(steps.len() >= 10, "the life of a Put has lost its table");
    for step in steps {
        assert!(!paths(step).is_empty(), "no path in: {step}");
    }
}
