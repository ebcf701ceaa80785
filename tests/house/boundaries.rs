//! Which crate may use which. The table is the one in ARCHITECTURE.md; an edge that is not in it is an error.

use std::collections::{BTreeMap, BTreeSet};

use crate::{read, root};

/// Reads the "May use" block of ARCHITECTURE.md: lines `crate -> crate, crate`, several in a line apart by two or more spaces.
fn may_use() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let block = text
        .split("<!-- may-use -->")
        .nth(1)
        .expect("ARCHITECTURE.md has a block between <!-- may-use --> marks");
    let mut table = BTreeMap::new();
    for rule in block
        .lines()
        .flat_map(|line| line.trim().split("    "))
        .filter(|rule| rule.contains("->"))
    {
        let (from, to) = rule.split_once("->").expect("just checked");
        let uses = to
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty() && name != "nothing")
            .collect();
        table.insert(from.trim().to_owned(), uses);
    }
    table
}

#[derive(serde::Deserialize)]
struct Manifest {
    package: Package,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
}

fn manifests() -> Vec<Manifest> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("crates"))
        .expect("crates/")
        .map(|entry| entry.expect("an entry").path().join("Cargo.toml"))
        .filter(|file| file.exists())
        .collect();
    files.push(root().join("bench/Cargo.toml"));
    files
        .iter()
        .map(|file| toml::from_str(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        .collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let table = may_use();
    let manifests = manifests();
    let ours: BTreeSet<&str> = manifests.iter().map(|m| m.package.name.as_str()).collect();
    let mut faults = Vec::new();
    for manifest in &manifests {
        let name = &manifest.package.name;
        let Some(allowed) = table.get(name) else {
            faults.push(format!("{name} has no line in ARCHITECTURE.md's table"));
            continue;
        };
        for used in manifest
            .dependencies
            .keys()
            .filter(|used| ours.contains(used.as_str()) && !allowed.contains(*used))
        {
            faults.push(format!("{name} uses {used}, which the table does not allow"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The core must run in one thread from one seed: no clocks, threads, sockets, files or runtimes of its own.
#[test]
fn the_core_touches_no_operating_system() {
    const CORE: [&str; 6] = ["raft", "wal", "bolt", "backend", "mvcc", "member"];
    const FORBIDDEN: [&str; 9] = [
        "std::fs",
        "std::net",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "tokio",
        "rustix",
        "libc",
        "thread::spawn",
    ];
    let mut faults = Vec::new();
    for name in CORE {
        let mut folders = vec![root().join("crates").join(name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a source folder") {
                let path = entry.expect("an entry").path();
                // What stands in test modules may use anything.
                if path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("test")) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = read(&path);
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                    for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                        faults.push(format!("{}:{}: {word}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
