//! Which failpoints there are and what is armed at them, for the whole process.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::NAMES;
use super::terms::{Action, Terms};
use crate::Rng;
use crate::os::SplitMix;

/// Why a failpoint was not set, read or removed. The texts are gofail's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NoSuchPoint,
    NotArmed,
    BadTerms,
    /// A piece of a list that is not `name=terms`.
    BadList(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoSuchPoint => f.write_str("failpoint: failpoint does not exist"),
            Error::NotArmed => f.write_str("failpoint: failpoint is disabled"),
            Error::BadTerms => f.write_str("failpoint: could not parse terms"),
            Error::BadList(piece) => write!(f, "bad failpoint {piece:?}"),
        }
    }
}

impl std::error::Error for Error {}

/// One failpoint, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub name: String,
    /// The terms armed, as they were given; `None` if it is off.
    pub terms: Option<String>,
    /// How many times an armed term has fired since it was set.
    pub fired: u64,
}

struct Registry {
    points: RwLock<BTreeMap<String, Option<Mutex<Terms>>>>,
    /// How many are armed: with none, passing a point is one load.
    armed: AtomicUsize,
    chance: Mutex<SplitMix>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
    points: RwLock::new(NAMES.iter().map(|name| ((*name).to_owned(), None)).collect()),
    armed: AtomicUsize::new(0),
    chance: Mutex::new(SplitMix::from_os()),
});

/// Passes a failpoint. What comes back is the value of a `return` term, if one fires here: the text of `return("...")`, the number or
/// boolean as text, and empty text for a bare `return`.
///
/// # Panics
/// With a `panic` term; that is what it is for.
pub fn point(name: &'static str) -> Option<String> {
    let registry = &*REGISTRY;
    if registry.armed.load(Ordering::Acquire) == 0 {
        return None;
    }
    let action = {
        let points = registry.points.read();
        let terms = points.get(name)?.as_ref()?;
        let mut chance = || (registry.chance.lock().next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        terms.lock().next(&mut chance)?
    };
    // Outside of the lock: a sleeper must not hold up the others, nor the removal of its own terms.
    match action {
        Action::Off => None,
        Action::Return(value) => Some(value),
        Action::Sleep(time) => {
            std::thread::sleep(time);
            None
        }
        Action::Panic(None) => panic!("failpoint panic: {name}"),
        Action::Panic(Some(value)) => panic!("failpoint panic: {value}"),
        Action::Print => {
            println!("failpoint print: {name}");
            None
        }
    }
}

/// Adds a failpoint that etcd does not have.
pub fn register(name: &str) {
    REGISTRY.points.write().entry(name.to_owned()).or_insert(None);
}

/// Arms a failpoint.
///
/// # Errors
/// If there is no such failpoint or the terms cannot be read; then nothing has changed.
pub fn set(name: &str, terms: &str) -> Result<(), Error> {
    set_and_then(&[(name, terms)], || ())
}

/// Arms failpoints, all or none, and calls `respond` before the first of them can fire: a `panic` must not take the process down
/// before the answer to the request has been sent.
///
/// # Errors
/// As [`set`]; `respond` is not called then.
pub fn set_and_then(list: &[(&str, &str)], respond: impl FnOnce()) -> Result<(), Error> {
    let registry = &*REGISTRY;
    let mut points = registry.points.write();
    let mut parsed = Vec::with_capacity(list.len());
    for (name, terms) in list {
        if !points.contains_key(*name) {
            return Err(Error::NoSuchPoint);
        }
        parsed.push((*name, Terms::parse(terms).ok_or(Error::BadTerms)?));
    }
    for (name, terms) in parsed {
        points.insert(name.to_owned(), Some(Mutex::new(terms)));
    }
    let armed = points.values().filter(|terms| terms.is_some()).count();
    registry.armed.store(armed, Ordering::Release);
    respond();
    Ok(())
}

/// Disarms a failpoint.
///
/// # Errors
/// If there is no such failpoint or it is not armed.
pub fn remove(name: &str) -> Result<(), Error> {
    let registry = &*REGISTRY;
    let mut points = registry.points.write();
    let terms = points.get_mut(name).ok_or(Error::NoSuchPoint)?;
    terms.take().ok_or(Error::NotArmed)?;
    registry.armed.fetch_sub(1, Ordering::AcqRel);
    Ok(())
}

/// What is armed at a failpoint.
///
/// # Errors
/// If there is no such failpoint or it is not armed.
pub fn status(name: &str) -> Result<Point, Error> {
    let points = REGISTRY.points.read();
    let terms = points.get(name).ok_or(Error::NoSuchPoint)?;
    let terms = terms.as_ref().ok_or(Error::NotArmed)?.lock();
    Ok(Point {
        name: name.to_owned(),
        terms: Some(terms.text().to_owned()),
        fired: terms.fired(),
    })
}

/// All failpoints, sorted by name.
pub fn list() -> Vec<Point> {
    let points = REGISTRY.points.read();
    let show = |(name, terms): (&String, &Option<Mutex<Terms>>)| {
        let terms = terms.as_ref().map(|terms| terms.lock());
        Point {
            name: name.clone(),
            terms: terms.as_ref().map(|terms| terms.text().to_owned()),
            fired: terms.as_ref().map_or(0, |terms| terms.fired()),
        }
    };
    points.iter().map(show).collect()
}

/// Arms a list `name=terms;name=terms`. As with gofail, names that do not exist and terms that cannot be read are passed over,
/// and only a piece that is not `name=terms` is an error.
///
/// # Errors
/// [`Error::BadList`]; nothing has been armed then.
pub fn arm_list(list: &str) -> Result<(), Error> {
    let mut pairs = Vec::new();
    for piece in list.split(';').filter(|piece| !piece.is_empty()) {
        match piece.split_once('=') {
            Some((name, terms)) if !terms.contains('=') => pairs.push((name, terms)),
            _ => return Err(Error::BadList(piece.to_owned())),
        }
    }
    for (name, terms) in pairs {
        if let Err(error @ Error::BadTerms) = set(name, terms) {
            println!("failed to enable \"{name}={terms}\" ({error})");
        }
    }
    Ok(())
}

/// Arms what `GOFAIL_FAILPOINTS` says; for the start of the process.
///
/// # Errors
/// As [`arm_list`].
pub fn arm_from_env() -> Result<(), Error> {
    match std::env::var("GOFAIL_FAILPOINTS") {
        Ok(list) => arm_list(&list),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fire_as_armed() {
        register("testFires");
        assert_eq!(point("testFires"), None);
        set("testFires", r#"2*return("no")->off"#).unwrap();
        let fired: Vec<_> = (0..4).map(|_| point("testFires")).collect();
        assert_eq!(fired, [Some("no".to_owned()), Some("no".to_owned()), None, None]);
        assert_eq!(status("testFires").unwrap().fired, 4);
        remove("testFires").unwrap();
        assert_eq!(remove("testFires"), Err(Error::NotArmed));
        assert_eq!(status("testFires"), Err(Error::NotArmed));
        assert_eq!(set("testNone", "off"), Err(Error::NoSuchPoint));
        assert_eq!(set("testFires", "jump"), Err(Error::BadTerms));
        assert!(list().iter().any(|point| point.name == "walBeforeSync" && point.terms.is_none()));
    }

    #[test]
    fn lists_are_armed_whole_or_not_at_all() {
        register("testListA");
        register("testListB");
        assert_eq!(arm_list("testListA=return;oops"), Err(Error::BadList("oops".to_owned())));
        assert_eq!(point("testListA"), None);
        arm_list(r#"testListA=return;;testListB=sleep("1ms");unheardOf=panic"#).unwrap();
        assert_eq!(point("testListA"), Some(String::new()));
        assert_eq!(point("testListB"), None);
        assert_eq!(status("testListB").unwrap().terms.as_deref(), Some(r#"sleep("1ms")"#));
    }

    #[test]
    #[should_panic(expected = "failpoint panic: testPanics")]
    fn a_panic_names_the_point() {
        register("testPanics");
        set("testPanics", "panic->off").unwrap();
        point("testPanics");
    }

    #[test]
    fn names_are_the_contracts() {
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/contract/failpoints.tsv");
        let contract = std::fs::read_to_string(contract).unwrap();
        let names: Vec<&str> = contract.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, NAMES);
    }
}
