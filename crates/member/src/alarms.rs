//! The alarms that are raised: (member, kind) pairs, shared with whoever shows them.
//!
//! Changed only by the applier, through entries; read by the gates of step 2 and by health pages on any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::MemberId;
use api::pb::etcdserverpb::{AlarmMember, AlarmType};
use parking_lot::RwLock;

/// A shared handle to the alarms.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    no_space: AtomicBool,
    corrupt: AtomicBool,
    /// Sorted by kind, then member.
    list: RwLock<Vec<(i32, u64)>>,
}

impl Alarms {
    pub fn new() -> Alarms {
        Alarms::default()
    }

    /// Whether any member has raised `NOSPACE`.
    pub fn no_space(&self) -> bool {
        self.inner.no_space.load(Ordering::Acquire)
    }

    /// Whether any member has raised `CORRUPT`.
    pub fn corrupt(&self) -> bool {
        self.inner.corrupt.load(Ordering::Acquire)
    }

    /// The raised alarms of a kind; `None` for all kinds.
    pub fn list(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let wanted = kind as i32;
        let list = self.inner.list.read();
        list.iter()
            .filter(|(kind, _)| wanted == AlarmType::None as i32 || *kind == wanted)
            .map(|(alarm, member_id)| AlarmMember {
                member_id: *member_id,
                alarm: *alarm,
            })
            .collect()
    }

    /// Whether this very alarm is raised.
    pub fn is_raised(&self, member: MemberId, kind: AlarmType) -> bool {
        self.inner.list.read().binary_search(&(kind as i32, member.0)).is_ok()
    }

    /// Raises an alarm; false if it was raised already.
    pub(crate) fn raise(&self, member: u64, kind: i32) -> bool {
        let mut list = self.inner.list.write();
        let Err(place) = list.binary_search(&(kind, member)) else {
            return false;
        };
        list.insert(place, (kind, member));
        self.publish(&list);
        true
    }

    /// Lowers an alarm; false if it was not raised.
    pub(crate) fn lower(&self, member: u64, kind: i32) -> bool {
        let mut list = self.inner.list.write();
        let Ok(place) = list.binary_search(&(kind, member)) else {
            return false;
        };
        list.remove(place);
        self.publish(&list);
        true
    }

    /// Puts these in the place of all that were raised: those of another database.
    pub(crate) fn replace(&self, alarms: &[AlarmMember]) {
        let mut all: Vec<(i32, u64)> = alarms.iter().map(|alarm| (alarm.alarm, alarm.member_id)).collect();
        all.sort_unstable();
        all.dedup();
        let mut list = self.inner.list.write();
        *list = all;
        self.publish(&list);
    }

    fn publish(&self, list: &[(i32, u64)]) {
        let any = |wanted: AlarmType| list.iter().any(|(kind, _)| *kind == wanted as i32);
        self.inner.no_space.store(any(AlarmType::Nospace), Ordering::Release);
        self.inner.corrupt.store(any(AlarmType::Corrupt), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_pairs() {
        let alarms = Alarms::new();
        assert!(alarms.raise(7, AlarmType::Nospace as i32));
        assert!(!alarms.raise(7, AlarmType::Nospace as i32));
        assert!(alarms.raise(3, AlarmType::Corrupt as i32));
        assert!(alarms.no_space() && alarms.corrupt());
        assert_eq!(alarms.list(AlarmType::None).len(), 2);
        assert_eq!(alarms.list(AlarmType::Corrupt)[0].member_id, 3);
        assert!(!alarms.lower(8, AlarmType::Nospace as i32));
        assert!(alarms.lower(7, AlarmType::Nospace as i32));
        assert!(!alarms.no_space());
        assert!(alarms.is_raised(MemberId(3), AlarmType::Corrupt));
    }
}
