//! Checks of the repository itself: crate boundaries, the paths that ARCHITECTURE.md names, and the wire contract.

mod boundaries;
mod contract;
mod documents;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("crates/api lies two below the root").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a contract table, each as the values of the named columns.
fn table<const N: usize>(name: &str, columns: [&str; N]) -> Vec<[String; N]> {
    let text = read(Path::new("tests/data/contract").join(name));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split('\t').collect();
    let places = columns.map(|column| {
        header
            .iter()
            .position(|h| *h == column)
            .unwrap_or_else(|| panic!("no column {column} in {name}"))
    });
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            places.map(|place| cells.get(place).copied().unwrap_or_default().to_owned())
        })
        .collect()
}
