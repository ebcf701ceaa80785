//! Random histories of a log, and what may be left of them after a power cut: all that was synced, and of the rest a prefix.
#![allow(dead_code)] // each test target uses a part

use std::path::Path;

use api::pb::raftpb::{ConfState, Entry, HardState};
use api::pb::walpb;
use bytes::Bytes;
use wal::{LogBatch, Opened, Options, Wal, WalError};
use world::Rng;
use world::os::SplitMix;
use world::sim::SimDisk;

pub const DIR: &str = "/member/wal";
const METADATA: &[u8] = b"node and cluster";

/// One record, as the history wrote it.
#[derive(Clone, Debug)]
pub enum Wrote {
    Entry(Entry),
    State(HardState),
    Snapshot(walpb::Snapshot),
}

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// This many entries (0 to 3), from this far below the end (but above the commit), of this size; then whether a hard state follows.
    Append {
        entries: u8,
        back: u8,
        size: u16,
        zeros: bool,
        state: bool,
    },
    Sync,
    Snapshot,
    Purge {
        keep: u8,
    },
    Prepare,
    Reopen,
}

/// What a log must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    pub start: walpb::Snapshot,
    pub entries: Vec<Entry>,
    pub hard_state: HardState,
}

/// All that was written, and how much of it was synced.
#[derive(Clone, Debug)]
pub struct Model {
    pub options: Options,
    pub created: bool,
    pub records: Vec<Wrote>,
    pub synced: usize,
}

impl Model {
    pub fn new(segment_bytes: u64) -> Model {
        Model {
            options: Options { segment_bytes },
            created: false,
            records: vec![Wrote::Snapshot(walpb::Snapshot {
                index: Some(0),
                term: Some(0),
                conf_state: None,
            })],
            synced: 0,
        }
    }

    /// What the first `count` records come to, read from the last valid snapshot.
    pub fn content(&self, count: usize) -> Content {
        let mut log: Vec<Entry> = Vec::new();
        let mut content = Content::default();
        for record in &self.records[..count] {
            match record {
                Wrote::Entry(entry) => {
                    log.truncate(entry.index() as usize - 1);
                    log.push(entry.clone());
                }
                Wrote::State(state) => content.hard_state = *state,
                Wrote::Snapshot(_) => {}
            }
        }
        for record in &self.records[..count] {
            if let Wrote::Snapshot(snapshot) = record
                && snapshot.index() <= content.hard_state.commit()
            {
                content.start = snapshot.clone();
            }
        }
        content.entries = log.split_off((content.start.index() as usize).min(log.len()));
        content
    }

    fn now(&self) -> Content {
        self.content(self.records.len())
    }

    fn commit(&self) -> u64 {
        self.now().hard_state.commit()
    }

    fn last_index(&self) -> u64 {
        let now = self.now();
        now.start.index() + now.entries.len() as u64
    }

    fn all_synced(&mut self) {
        self.synced = self.records.len();
    }
}

/// Random steps.
pub fn steps(rng: &mut SplitMix, count: usize) -> Vec<Step> {
    let mut below = |n: u64| rng.next_u64() % n;
    let step = |_| match below(20) {
        0..=9 => Step::Append {
            entries: below(4) as u8,
            back: below(8).saturating_sub(5) as u8,
            size: [0, 7, 100, 600, 1500][below(5) as usize],
            zeros: below(6) == 0,
            state: below(2) == 0,
        },
        10..=13 => Step::Sync,
        14 | 15 => Step::Snapshot,
        16 => Step::Purge { keep: below(3) as u8 + 1 },
        17 | 18 => Step::Prepare,
        _ => Step::Reopen,
    };
    (0..count).map(step).collect()
}

/// A log being written by a history.
pub struct Run {
    pub disk: SimDisk,
    pub model: Model,
    pub log: Option<Wal>,
    data: u64,
}

impl Run {
    pub fn new(disk: &SimDisk, model: Model) -> Run {
        Run {
            disk: disk.clone(),
            model,
            log: None,
            data: 0,
        }
    }

    /// Creates the log, or opens what is there.
    pub fn start(&mut self) -> Result<(), WalError> {
        let disk = self.disk.dyn_disk();
        if self.model.created {
            self.log = Some(self.reopen()?.wal);
            return Ok(());
        }
        let parent = Path::new("/member");
        if disk.create_dir_all(parent, 0o700).is_err() || disk.sync_dir(Path::new("/")).is_err() {
            return Err(WalError::Poisoned { dir: parent.to_owned() });
        }
        self.log = Some(Wal::create_with(&disk, Path::new(DIR), METADATA, self.model.options)?);
        self.model.created = true;
        self.model.all_synced();
        Ok(())
    }

    pub fn reopen(&self) -> Result<Opened, WalError> {
        let disk = self.disk.dyn_disk();
        let valid = wal::valid_snapshots(&disk, Path::new(DIR))?;
        let start = valid.last().cloned().unwrap_or_default();
        Wal::open_with(&disk, Path::new(DIR), &start, self.model.options)
    }

    pub fn step(&mut self, step: &Step) -> Result<(), WalError> {
        match step {
            Step::Append { .. } => self.append(step),
            Step::Sync => self.sync(),
            Step::Snapshot => self.snapshot(),
            Step::Purge { keep } => {
                let index = self.model.now().start.index();
                self.log.as_mut().unwrap().release_locks_to(index);
                wal::purge(&self.disk.dyn_disk(), Path::new(DIR), usize::from(*keep)).map(|_| ())
            }
            Step::Prepare => {
                let log = self.log.as_mut().unwrap();
                if let Some(job) = log.segment_to_prepare() {
                    log.prepared(job.run(&self.disk.dyn_disk()));
                }
                Ok(())
            }
            Step::Reopen => {
                self.log = None;
                let opened = self.reopen()?;
                assert_eq!(content_of(&opened, &self.model), self.model.now());
                self.model.all_synced();
                self.log = Some(opened.wal);
                Ok(())
            }
        }
    }

    fn append(&mut self, step: &Step) -> Result<(), WalError> {
        let Step::Append {
            entries: count,
            back,
            size,
            zeros,
            state,
        } = step
        else {
            unreachable!()
        };
        let (last, before) = (self.model.last_index(), self.model.now().hard_state);
        // raft overwrites only what is not committed, and in a new term.
        let from = last.saturating_sub(u64::from(*back)).max(self.model.commit()) + 1;
        let term = before.term().max(1) + u64::from(from <= last);
        let mut entries = Vec::new();
        for index in from..from + u64::from(*count) {
            self.data += 1;
            let fill = if *zeros { 0 } else { self.data as u8 | 1 };
            let mut data = self.data.to_le_bytes().to_vec();
            data.resize(data.len() + usize::from(*size), fill);
            entries.push(Entry {
                r#type: Some(0),
                term: Some(term),
                index: Some(index),
                data: Some(Bytes::from(data)),
            });
        }
        let end = entries.last().map_or(last, Entry::index);
        let state = (*state || term > before.term()).then(|| HardState {
            term: Some(term),
            vote: Some(7),
            commit: Some(end.saturating_sub(1).max(before.commit())),
        });
        self.model.records.extend(entries.iter().cloned().map(Wrote::Entry));
        self.model.records.extend(state.map(Wrote::State));
        self.log.as_mut().unwrap().append(&LogBatch {
            entries: &entries,
            hard_state: state.as_ref(),
        })
    }

    fn sync(&mut self) -> Result<(), WalError> {
        let log = self.log.as_mut().unwrap();
        log.sync()?;
        assert!(!log.needs_sync());
        self.model.all_synced();
        Ok(())
    }

    /// A disk snapshot at the commit index, whose entries are synced first.
    fn snapshot(&mut self) -> Result<(), WalError> {
        self.sync()?;
        let now = self.model.now();
        let index = now.hard_state.commit();
        if index <= now.start.index() {
            return Ok(());
        }
        let snapshot = walpb::Snapshot {
            index: Some(index),
            term: now.entries[(index - now.start.index()) as usize - 1].term,
            conf_state: Some(ConfState {
                voters: vec![1, 2, 3],
                auto_leave: Some(false),
                ..ConfState::default()
            }),
        };
        self.model.records.push(Wrote::Snapshot(snapshot.clone()));
        self.log.as_mut().unwrap().save_snapshot(&snapshot)?;
        self.model.all_synced();
        Ok(())
    }
}

fn content_of(opened: &Opened, model: &Model) -> Content {
    assert_eq!(opened.metadata, METADATA);
    let start = (0..=model.records.len()).rev().map(|count| model.content(count).start);
    // The start is not part of what opening gives; it is the snapshot whose index precedes the first entry.
    let start = start
        .into_iter()
        .find(|start| opened.entries.first().is_none_or(|entry| entry.index() == start.index() + 1));
    Content {
        start: start.unwrap_or_default(),
        entries: opened.entries.clone(),
        hard_state: opened.hard_state,
    }
}

/// Opens what a power cut left and compares it with the model, which then is set back to it. Gives the run that goes on from there.
pub fn recover(disk: &SimDisk, before: &Model) -> Run {
    let mut run = Run::new(disk, before.clone());
    run.data = 1 << 32;
    let dyn_disk = disk.dyn_disk();
    if !wal::exists(&dyn_disk, Path::new(DIR)).unwrap() {
        assert!(!before.created, "the log is gone");
        run.model = Model::new(before.options.segment_bytes);
        return run;
    }
    let valid = wal::valid_snapshots(&dyn_disk, Path::new(DIR)).unwrap();
    let start = valid.last().cloned().unwrap_or_default();
    let opened = run.reopen().unwrap();
    assert_eq!(opened.metadata, METADATA);
    let found = Content {
        start: start.clone(),
        entries: opened.entries.clone(),
        hard_state: opened.hard_state,
    };
    let fits = |count: &usize| {
        let mut content = before.content(*count);
        if content.start.conf_state.is_none() {
            content.start = start.clone(); // index 0: with or without its fields
        }
        content == found
    };
    let kept = (before.synced..=before.records.len()).rev().find(fits);
    let Some(kept) = kept else {
        panic!(
            "what was found is no prefix: of {} records {} synced; found start {:?}, {} entries to {:?}, {:?}",
            before.records.len(),
            before.synced,
            found.start,
            found.entries.len(),
            found.entries.last().map(|entry| (entry.term, entry.index)),
            found.hard_state,
        );
    };
    run.model.records.truncate(kept.max(1));
    run.model.created = true;
    run.model.all_synced();
    run.log = Some(opened.wal);
    run
}
