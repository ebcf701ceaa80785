//! Sound inputs to begin with: the recorded files in tests/data.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(path)
}

/// The content of a `.gz`.
pub fn unpacked(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::open(data(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes
}

/// The files of a recorded data directory, by their paths below it. Zeros at the end of log segments are cut but for some.
pub fn directory(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let file = File::open(data(&format!("fixtures/data-dirs/{name}.tar.gz"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut files = Vec::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().expect("a path").into_owned();
        let path = path.strip_prefix(name).unwrap_or(&path).to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("content");
        if path.extension().is_some_and(|extension| extension == "wal") {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            bytes.truncate((used + 4096).next_multiple_of(8));
        }
        files.push((path, bytes));
    }
    files
}

/// The files of these directories whose names end so.
pub fn files(directories: &[&str], extension: &str) -> Vec<Vec<u8>> {
    let all = directories.iter().flat_map(|name| directory(name));
    let wanted = |path: &Path| path.extension().is_some_and(|found| found == extension);
    let found: Vec<Vec<u8>> = all.filter(|(path, _)| wanted(path)).map(|(_, bytes)| bytes).collect();
    assert!(!found.is_empty(), "no .{extension} in {directories:?}");
    found
}
