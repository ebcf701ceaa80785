//! All that the index keeps about one key: its lives and their revisions.
//!
//! A life (etcd's "generation") begins with the put that creates the key and is closed by a tombstone. Most keys have
//! one life with a few revisions between two compactions: those take 40 bytes and no allocation.

use api::Revision;

use super::{Entered, KeyRevision, NoSuchKey};

/// A revision in 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    high: u32,
    low: u32,
    sub: u32,
}

impl Packed {
    fn new(revision: Revision) -> Packed {
        assert!(revision.main >= 0, "negative revision");
        // One transaction cannot hold so many changes: its request is limited and each takes memory.
        let sub = u32::try_from(revision.sub).expect("sub revision exceeds 2^32");
        Packed {
            high: (revision.main >> 32) as u32,
            low: revision.main as u32,
            sub,
        }
    }
    fn main(self) -> i64 {
        (i64::from(self.high) << 32) | i64::from(self.low)
    }
    fn revision(self) -> Revision {
        Revision {
            main: self.main(),
            sub: i64::from(self.sub),
        }
    }
}

/// A revision before the newest one: how far back its main revision lies, and its sub revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Back {
    main: u32,
    sub: u32,
}

/// Revisions of one key. There is always at least one.
#[derive(Debug)]
pub(super) enum Versions {
    /// One life of up to three revisions.
    Inline {
        count: u8,
        closed: bool,
        version: u32,
        created_back: u32,
        newest: Packed,
        older: [Back; 2],
    },
    /// Anything; what is asked for most, the newest state, is at hand here too.
    Many { head: Head, lives: Box<Lives> },
}

/// The newest state of a key, as far as it fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    closed: bool,
    /// 0 if version or creation do not fit: they are in the lives.
    version: u32,
    created_back: u32,
    newest: Packed,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lives {
    /// In order; every one but the last is closed by its last revision, a tombstone.
    lives: Vec<Life>,
    /// Whether the last one is closed too.
    closed: bool,
}

#[derive(Debug)]
struct Life {
    /// Main revision; 0 if unknown (restored from a lone tombstone).
    created: i64,
    /// Changes so far, also those whose revisions are compacted.
    version: i64,
    revisions: Vec<Packed>,
}

/// As in etcd, `created` does not take part: a compacted life restored from disk may not know it.
impl PartialEq for Life {
    fn eq(&self, other: &Life) -> bool {
        self.version == other.version && self.revisions == other.revisions
    }
}
impl Eq for Life {}

impl Versions {
    /// Stands where no key is.
    pub(super) const VACANT: Versions = Versions::Inline {
        count: 1,
        closed: true,
        version: 0,
        created_back: 0,
        newest: Packed { high: 0, low: 0, sub: 0 },
        older: [Back { main: 0, sub: 0 }; 2],
    };

    /// A key's first put.
    pub(super) fn first(revision: Revision) -> Versions {
        let newest = Packed::new(revision);
        Versions::Inline {
            count: 1,
            closed: false,
            version: 1,
            created_back: 0,
            newest,
            older: [Back::default(); 2],
        }
    }

    /// The oldest revision that is left of a key, as the database has it.
    pub(super) fn restored(revision: Revision, created: i64, version: i64, closed: bool) -> Versions {
        let life = Life {
            created,
            version,
            revisions: vec![Packed::new(revision)],
        };
        let lives = Lives { lives: vec![life], closed };
        let mut versions = Versions::Many {
            head: lives.head(),
            lives: Box::new(lives),
        };
        versions.shrink();
        versions
    }

    pub(super) fn live(&self) -> bool {
        match self {
            Versions::Inline { closed, .. } => !closed,
            Versions::Many { head, .. } => !head.closed,
        }
    }

    pub(super) fn newest(&self) -> Revision {
        match self {
            Versions::Inline { newest, .. } => newest.revision(),
            Versions::Many { head, .. } => head.newest.revision(),
        }
    }

    /// The key as of main revision `at`.
    pub(super) fn get(&self, at: i64) -> Option<KeyRevision> {
        match self {
            Versions::Inline {
                count,
                closed,
                version,
                created_back,
                newest,
                older,
            } => {
                let main = newest.main();
                let created = main - i64::from(*created_back);
                if main <= at {
                    return (!closed).then(|| KeyRevision {
                        modified: newest.revision(),
                        created,
                        version: i64::from(*version),
                    });
                }
                let older = older[..usize::from(*count) - 1].iter().enumerate();
                let mut older = older.map(|(i, back)| {
                    (
                        i,
                        Revision {
                            main: main - i64::from(back.main),
                            sub: i64::from(back.sub),
                        },
                    )
                });
                let (i, modified) = older.find(|(_, revision)| revision.main <= at)?;
                Some(KeyRevision {
                    modified,
                    created,
                    version: i64::from(*version) - 1 - i as i64,
                })
            }
            Versions::Many { head, lives } => {
                let main = head.newest.main();
                if main > at || (head.version == 0 && !head.closed) {
                    return lives.get(at);
                }
                let created = main - i64::from(head.created_back);
                (!head.closed).then(|| KeyRevision {
                    modified: head.newest.revision(),
                    created,
                    version: i64::from(head.version),
                })
            }
        }
    }

    pub(super) fn put(&mut self, revision: Revision) -> Entered {
        let before = self.newest();
        assert!(revision > before, "put at {revision:?}, which is not above {before:?}");
        if self.live() {
            let (created, version) = self.push(revision);
            return Entered {
                created,
                version,
                previous: Some(before),
            };
        }
        self.widely(|lives| lives.rise(revision));
        Entered {
            created: revision.main,
            version: 1,
            previous: None,
        }
    }

    pub(super) fn tombstone(&mut self, revision: Revision) -> Result<Revision, NoSuchKey> {
        if !self.live() {
            return Err(NoSuchKey);
        }
        let before = self.newest();
        assert!(revision > before, "tombstone at {revision:?}, which is not above {before:?}");
        self.push(revision);
        match self {
            Versions::Inline { closed, .. } => *closed = true,
            Versions::Many { .. } => self.widely(|lives| lives.closed = true),
        }
        Ok(before)
    }

    /// Adds a revision to the open life and gives its creation and version.
    fn push(&mut self, revision: Revision) -> (i64, i64) {
        if let Versions::Inline {
            count,
            version,
            created_back,
            newest,
            older,
            ..
        } = self
        {
            let step = revision.main - newest.main();
            let further = |back: u32| u32::try_from(i64::from(back) + step).ok();
            if let (true, Some(next_version), Some(first), Some(second), Some(created)) = (
                *count < 3,
                version.checked_add(1),
                further(0),
                further(older[0].main),
                further(*created_back),
            ) {
                *older = [
                    Back {
                        main: first,
                        sub: newest.sub,
                    },
                    Back {
                        main: second,
                        sub: older[0].sub,
                    },
                ];
                *newest = Packed::new(revision);
                (*count, *version, *created_back) = (*count + 1, next_version, created);
                return (revision.main - i64::from(created), i64::from(next_version));
            }
        }
        self.widely(|lives| {
            let life = lives.lives.last_mut().expect("a key has a life");
            life.revisions.push(Packed::new(revision));
            life.version += 1;
            (life.created, life.version)
        })
    }

    /// Takes away what nobody can ask for when `at` is the compact revision; `kept` hears of the revision that must stay
    /// because of it. False if nothing is left of the key.
    pub(super) fn compact(&mut self, at: i64, kept: &mut dyn FnMut(Revision)) -> bool {
        match self {
            Versions::Inline {
                count,
                closed,
                newest,
                older,
                ..
            } => {
                let main = newest.main();
                if main <= at {
                    if *closed && main < at {
                        return false;
                    }
                    *count = 1;
                    kept(newest.revision());
                    return true;
                }
                for (i, back) in older[..usize::from(*count) - 1].iter().enumerate() {
                    let revision = Revision {
                        main: main - i64::from(back.main),
                        sub: i64::from(back.sub),
                    };
                    if revision.main <= at {
                        *count = i as u8 + 2;
                        kept(revision);
                        break;
                    }
                }
                true
            }
            Versions::Many { .. } => {
                let left = self.widely(|lives| lives.compact(at, kept));
                if left {
                    self.shrink();
                }
                left
            }
        }
    }

    /// The revision that HashKV at `at` keeps: the one a compaction keeps, unless it closes a life.
    pub(super) fn keep(&self, at: i64) -> Option<Revision> {
        match self {
            // A closed life that ends at or below `at` has nothing to keep: get() says so too.
            Versions::Inline { .. } => self.get(at).map(|found| found.modified),
            Versions::Many { lives, .. } => lives.keep(at),
        }
    }

    /// Revisions from main revision `from` on; of several in one main revision the last.
    pub(super) fn since(&self, from: i64) -> Vec<Revision> {
        let mut found: Vec<Revision> = Vec::new();
        for revision in self.decoded().lives.iter().flat_map(|life| &life.revisions).map(|r| r.revision()) {
            if revision.main < from {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.main == revision.main => *last = revision,
                _ => found.push(revision),
            }
        }
        found
    }

    pub(super) fn equal(&self, other: &Versions) -> bool {
        self.decoded() == other.decoded()
    }

    /// The same as lives, whatever the form.
    fn decoded(&self) -> Lives {
        match self {
            Versions::Inline {
                count,
                closed,
                version,
                created_back,
                newest,
                older,
            } => {
                let main = newest.main();
                let mut revisions = vec![*newest];
                for back in &older[..usize::from(*count) - 1] {
                    revisions.push(Packed::new(Revision {
                        main: main - i64::from(back.main),
                        sub: i64::from(back.sub),
                    }));
                }
                revisions.reverse();
                let life = Life {
                    created: main - i64::from(*created_back),
                    version: i64::from(*version),
                    revisions,
                };
                Lives {
                    lives: vec![life],
                    closed: *closed,
                }
            }
            Versions::Many { lives, .. } => Lives {
                lives: lives
                    .lives
                    .iter()
                    .map(|l| Life {
                        created: l.created,
                        version: l.version,
                        revisions: l.revisions.clone(),
                    })
                    .collect(),
                closed: lives.closed,
            },
        }
    }

    /// Changes to the form without limits, and that form as told.
    fn widely<T>(&mut self, change: impl FnOnce(&mut Lives) -> T) -> T {
        if let Versions::Inline { .. } = self {
            let lives = self.decoded();
            *self = Versions::Many {
                head: lives.head(),
                lives: Box::new(lives),
            };
        }
        let Versions::Many { head, lives } = self else {
            unreachable!("widened above")
        };
        let result = change(lives);
        if !lives.lives.is_empty() {
            *head = lives.head();
        }
        result
    }

    /// Changes to the inline form if that can hold it.
    fn shrink(&mut self) {
        let Versions::Many { lives, .. } = self else { return };
        let ([life], closed) = (lives.lives.as_slice(), lives.closed) else {
            return;
        };
        let Some((newest, rest)) = life.revisions.split_last() else {
            return;
        };
        if rest.len() > 2 {
            return;
        }
        let back = |main: i64| u32::try_from(newest.main() - main).ok();
        let mut older = [Back::default(); 2];
        for (slot, revision) in older.iter_mut().zip(rest.iter().rev()) {
            let Some(main) = back(revision.main()) else { return };
            *slot = Back { main, sub: revision.sub };
        }
        let (Ok(version), Some(created_back)) = (u32::try_from(life.version), back(life.created)) else {
            return;
        };
        *self = Versions::Inline {
            count: life.revisions.len() as u8,
            closed,
            version,
            created_back,
            newest: *newest,
            older,
        };
    }
}

impl Lives {
    fn head(&self) -> Head {
        let life = self.lives.last().expect("a key has a life");
        let newest = *life.revisions.last().expect("a life has a revision");
        let fits = (u32::try_from(life.version), u32::try_from(newest.main() - life.created));
        let (version, created_back) = if let (Ok(version), Ok(back)) = fits {
            (version, back)
        } else {
            (0, 0)
        };
        Head {
            closed: self.closed,
            version,
            created_back,
            newest,
        }
    }

    /// A life after a closed one.
    fn rise(&mut self, revision: Revision) {
        assert!(self.closed, "a life begins before the last one ended");
        self.lives.push(Life {
            created: revision.main,
            version: 1,
            revisions: vec![Packed::new(revision)],
        });
        self.closed = false;
    }

    fn get(&self, at: i64) -> Option<KeyRevision> {
        let last = self.lives.len() - 1;
        for (i, life) in self.lives.iter().enumerate().rev() {
            if (i < last || self.closed) && life.end() <= at {
                return None;
            }
            let below = life.at_or_below(at);
            if let Some(index) = below.checked_sub(1) {
                let later = (life.revisions.len() - below) as i64;
                return Some(KeyRevision {
                    modified: life.revisions[index].revision(),
                    created: life.created,
                    version: life.version - later,
                });
            }
        }
        None
    }

    /// The first life that compaction at `at` does not take away (if none, one past the last), and how many of its revisions
    /// are at or below `at`.
    ///
    /// A tombstone at exactly `at` stays, but not if the same transaction put the key again: then that put is the newest state.
    /// (etcd keeps the tombstone and deletes the put from its database, which stops the member at the next read of the key.
    /// A delete from a key on, `range_end` 0x00, and a put in one transaction get past its check of overlaps.)
    fn cut(&self, at: i64) -> (usize, usize) {
        let over = |i: usize| match self.lives.get(i + 1) {
            Some(next) => self.lives[i].end() < at || next.revisions[0].main() <= at,
            None => self.closed && self.lives[i].end() < at,
        };
        let first = (0..self.lives.len()).take_while(|i| over(*i)).count();
        (first, self.lives.get(first).map_or(0, |life| life.at_or_below(at)))
    }

    fn compact(&mut self, at: i64, kept: &mut dyn FnMut(Revision)) -> bool {
        let (first, below) = self.cut(at);
        self.lives.drain(..first);
        let Some(life) = self.lives.first_mut() else { return false };
        if let Some(index) = below.checked_sub(1) {
            kept(life.revisions[index].revision());
            life.revisions.drain(..index);
            if life.revisions.capacity() > 4 * life.revisions.len() {
                life.revisions.shrink_to_fit();
            }
        }
        true
    }

    fn keep(&self, at: i64) -> Option<Revision> {
        let (first, below) = self.cut(at);
        let life = self.lives.get(first)?;
        let index = below.checked_sub(1)?;
        let closing = below == life.revisions.len() && (first + 1 < self.lives.len() || self.closed);
        (!closing).then(|| life.revisions[index].revision())
    }
}

impl Life {
    /// Main revision of its last change: the tombstone, if it is closed.
    fn end(&self) -> i64 {
        self.revisions.last().expect("a life has a revision").main()
    }

    /// How many of its revisions have a main revision of at most `at`.
    fn at_or_below(&self, at: i64) -> usize {
        self.revisions.partition_point(|revision| revision.main() <= at)
    }
}
