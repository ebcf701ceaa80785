//! What the tests share: a reference of nested maps, operations on both sides, and their comparison.
#![allow(dead_code)] // each test target uses its own part

use std::collections::BTreeMap;
use std::path::Path;

use bolt::{Bucket, Db, Options, ReadTx, TxError, WriteTx};
use world::DynDisk;

pub const PATH: &str = "/db";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub sequence: u64,
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Value(Vec<u8>),
    Bucket(Model),
}

impl Model {
    pub fn at(&mut self, path: &[Vec<u8>]) -> Option<&mut Model> {
        path.iter().try_fold(self, |model, name| match model.entries.get_mut(name) {
            Some(Entry::Bucket(bucket)) => Some(bucket),
            _ => None,
        })
    }
}

/// All that a committed state holds.
pub fn read_all(tx: &ReadTx) -> Model {
    read_bucket(&tx.root())
}

fn read_bucket(bucket: &Bucket<'_>) -> Model {
    let mut model = Model {
        sequence: bucket.sequence(),
        ..Model::default()
    };
    let mut cursor = bucket.cursor();
    let mut element = cursor.first().unwrap();
    while let Some((key, value)) = element {
        let entry = if cursor.at_bucket() {
            assert_eq!(bucket.get(key).unwrap(), None);
            Entry::Bucket(read_bucket(&bucket.bucket(key).unwrap().expect("a bucket the cursor shows")))
        } else {
            assert_eq!(bucket.get(key).unwrap(), Some(value));
            Entry::Value(value.to_vec())
        };
        assert!(model.entries.insert(key.to_vec(), entry).is_none(), "a key twice");
        element = cursor.next().unwrap();
    }
    model
}

pub fn open(disk: &DynDisk, page_size: usize, freelist_sync: bool) -> Db {
    let options = Options {
        page_size: Some(page_size),
        freelist_sync,
        ..Options::default()
    };
    Db::open(disk, Path::new(PATH), options).unwrap()
}

/// One operation of a write transaction.
#[derive(Clone, Debug)]
pub enum Op {
    Put(Vec<Vec<u8>>, Vec<u8>, Vec<u8>),
    Delete(Vec<Vec<u8>>, Vec<u8>),
    Create(Vec<Vec<u8>>),
    Drop(Vec<Vec<u8>>),
    Sequence(Vec<Vec<u8>>, u64),
    Fill(Vec<Vec<u8>>, f32),
    /// Keys that only grow: from, count, value length.
    Append(Vec<Vec<u8>>, u32, u32, usize),
    /// Deletes keys of `Append`.
    Trim(Vec<Vec<u8>>, u32, u32),
}

pub fn append_key(n: u32) -> Vec<u8> {
    format!("n{n:010}").into_bytes()
}

/// Does the operation on both sides; they must agree on whether it can be done.
pub fn apply(tx: &mut WriteTx<'_>, model: &mut Model, op: &Op) {
    fn names(path: &[Vec<u8>]) -> Vec<&[u8]> {
        path.iter().map(Vec::as_slice).collect()
    }
    match op {
        Op::Put(path, key, value) => {
            let Some(bucket) = tx.bucket(&names(path)).unwrap() else {
                assert!(model.at(path).is_none());
                return;
            };
            let model = model.at(path).expect("the bucket is in the model");
            match (tx.put(bucket, key, value), model.entries.get(key)) {
                (Err(TxError::IncompatibleValue), Some(Entry::Bucket(_))) => {}
                (Ok(()), Some(Entry::Value(_)) | None) => {
                    model.entries.insert(key.clone(), Entry::Value(value.clone()));
                    assert_eq!(tx.get(bucket, key).unwrap(), Some(&value[..]));
                }
                (result, entry) => panic!("{result:?} with {entry:?}"),
            }
        }
        Op::Delete(path, key) => {
            let Some(bucket) = tx.bucket(&names(path)).unwrap() else { return };
            let model = model.at(path).expect("the bucket is in the model");
            match (tx.delete(bucket, key), model.entries.get(key)) {
                (Err(TxError::IncompatibleValue), Some(Entry::Bucket(_))) => {}
                (Ok(true), Some(Entry::Value(_))) => {
                    model.entries.remove(key);
                    assert_eq!(tx.get(bucket, key).unwrap(), None);
                }
                (Ok(false), None) => {}
                (result, entry) => panic!("{result:?} with {entry:?}"),
            }
        }
        Op::Create(path) => {
            let result = tx.create_bucket(&names(path));
            let (name, above) = path.split_last().expect("a path");
            match (result, model.at(above)) {
                (Err(TxError::BucketNotFound), None) => {}
                (Err(TxError::BucketExists), Some(above)) => assert!(matches!(above.entries.get(name), Some(Entry::Bucket(_)))),
                (Err(TxError::IncompatibleValue), Some(above)) => assert!(matches!(above.entries.get(name), Some(Entry::Value(_)))),
                (Ok(_), Some(above)) => {
                    assert!(above.entries.insert(name.clone(), Entry::Bucket(Model::default())).is_none());
                }
                (result, _) => panic!("{result:?}"),
            }
        }
        Op::Drop(path) => {
            let result = tx.delete_bucket(&names(path));
            let (name, above) = path.split_last().expect("a path");
            match (result, model.at(above)) {
                (Err(TxError::BucketNotFound), None) => {}
                (Err(TxError::BucketNotFound), Some(above)) => assert!(!above.entries.contains_key(name)),
                (Err(TxError::IncompatibleValue), Some(above)) => assert!(matches!(above.entries.get(name), Some(Entry::Value(_)))),
                (Ok(()), Some(above)) => assert!(matches!(above.entries.remove(name), Some(Entry::Bucket(_)))),
                (result, _) => panic!("{result:?}"),
            }
        }
        Op::Sequence(path, sequence) => {
            if let Some(bucket) = tx.bucket(&names(path)).unwrap() {
                tx.set_sequence(bucket, *sequence);
                model.at(path).expect("the bucket is in the model").sequence = *sequence;
            }
        }
        Op::Fill(path, fill) => {
            if let Some(bucket) = tx.bucket(&names(path)).unwrap() {
                tx.set_fill_percent(bucket, *fill);
            }
        }
        Op::Append(path, from, count, len) => {
            for n in *from..from + count {
                let value = vec![n as u8; *len];
                apply(tx, model, &Op::Put(path.clone(), append_key(n), value));
            }
        }
        Op::Trim(path, from, count) => {
            for n in *from..from + count {
                apply(tx, model, &Op::Delete(path.clone(), append_key(n)));
            }
        }
    }
}

/// The check must be clean and the content the model's.
pub fn assert_same(db: &Db, model: &Model) {
    let tx = db.begin_read();
    let report = tx.check();
    assert!(report.is_clean(), "{:?}", report.faults);
    assert!(read_all(&tx) == *model, "the content differs from the model");
}

/// Reclaims until there is nothing left to do, which must come.
pub fn reclaim_all(db: &Db, max_pages: usize) {
    let steps = db.size() / db.page_size() as u64 / max_pages as u64 * 2 + 100;
    for _ in 0..steps {
        if db.reclaim(max_pages).unwrap().done {
            return;
        }
    }
    panic!("reclaim comes to no end: {} bytes with {} free", db.size(), db.free_bytes());
}
