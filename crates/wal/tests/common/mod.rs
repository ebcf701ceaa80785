//! Fixtures made by real Go etcd, unpacked onto a disk in memory.
#![allow(dead_code)] // each test target uses a part

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use world::sim::SimDisk;
use world::{Disk, DynDisk, OpenMode};

pub fn fixture_dir(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/fixtures").join(kind)
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    GzDecoder::new(file).read_to_end(&mut content).unwrap();
    content
}

/// A recorded data directory: the folders of its one member, or of each.
pub struct Fixture {
    pub disk: SimDisk,
    pub dyn_disk: DynDisk,
}

/// Unpacks `<name>.tar.gz`; paths begin at `/member` or `/m1/member`.
pub fn unpack(name: &str) -> Fixture {
    let disk = SimDisk::new();
    let content = gunzip(&fixture_dir("wal").join(format!("{name}.tar.gz")));
    for entry in tar::Archive::new(&content[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let (path, size) = match path.split_once('@') {
            Some((path, size)) => (path.to_owned(), Some(size.parse::<u64>().unwrap())),
            None => (path, None),
        };
        let path = Path::new("/").join(path);
        disk.install_file(&path, &content).unwrap();
        if let Some(size) = size {
            let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
            file.set_len(size).unwrap();
            file.sync_data().unwrap();
        }
    }
    let dyn_disk = disk.dyn_disk();
    Fixture { disk, dyn_disk }
}

/// The fixture unpacked last: the members of a set come one after the other.
#[derive(Default)]
pub struct Unpacked(Option<(String, Fixture)>);

impl Unpacked {
    /// Not for tests that change the disk.
    pub fn get(&mut self, name: &str) -> &Fixture {
        if self.0.as_ref().is_none_or(|(last, _)| last != name) {
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (name.to_owned(), unpack(name))).1
    }
}

/// A recording: `name` of the fixture, the member's folder, and the lines.
pub struct Recording {
    pub label: String,
    pub name: String,
    pub member: PathBuf,
    pub lines: Vec<Value>,
}

/// All `<fixture>[.mN].jsonl.gz` of `wal` or `snap`.
pub fn recordings(kind: &str) -> Vec<Recording> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(fixture_dir(kind)).unwrap() {
        let path = entry.unwrap().path();
        let Some(label) = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .strip_suffix(".jsonl.gz")
            .map(str::to_owned)
        else {
            continue;
        };
        let (name, member) = match label.rsplit_once('.') {
            Some((name, member)) if member.starts_with('m') => (name.to_owned(), Path::new("/").join(member).join("member")),
            _ => (label.clone(), PathBuf::from("/member")),
        };
        let text = String::from_utf8(gunzip(&path)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        all.push(Recording {
            label,
            name,
            member,
            lines,
        });
    }
    all.sort_by(|a, b| a.label.cmp(&b.label));
    assert!(all.len() > 40, "only {} recordings", all.len());
    all
}

/// `expect.json`.
pub fn expectations() -> serde_json::Map<String, Value> {
    let text = std::fs::read(fixture_dir("wal").join("expect.json")).unwrap();
    let Value::Object(map) = serde_json::from_slice(&text).unwrap() else {
        panic!("expect.json is an object");
    };
    map
}

pub fn hex(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

/// Numbers are JSON numbers here, big ones may be texts.
pub fn num(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
