//! Which members (watchers, by number) a key concerns.
//!
//! Members that watch the same key or the same range form a group: an event is matched with groups, and whatever is made for
//! a group serves all its members. A member is in one group only.

use std::collections::HashMap;

use bytes::Bytes;

use super::intervals::{Intervals, Upper};
use super::slots::Slots;

/// What a watcher watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub key: Bytes,
    /// `None`: the key alone.
    pub until: Option<Upper>,
}

#[derive(Debug)]
struct Group {
    target: Target,
    members: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Router {
    groups: Slots<Group>,
    // Never walked through: the order of a hash map would make runs of a simulation differ.
    keys: HashMap<Bytes, u32>,
    ranges: Intervals,
}

impl Router {
    pub fn insert(&mut self, target: &Target, member: u32) {
        if let Some(group) = self.find(target) {
            self.groups.at_mut(group).members.push(member);
            return;
        }
        let group = self.groups.insert(Group {
            target: target.clone(),
            members: vec![member],
        });
        match &target.until {
            None => {
                self.keys.insert(target.key.clone(), group);
            }
            Some(until) => self.ranges.insert(target.key.clone(), until.clone(), group),
        }
    }

    pub fn remove(&mut self, target: &Target, member: u32) {
        let group = self.find(target).expect("target of a routed watcher");
        let members = &mut self.groups.at_mut(group).members;
        let place = members.iter().position(|m| *m == member).expect("a routed watcher");
        members.swap_remove(place);
        self.drop_if_empty(group);
    }

    /// Removes those members of a group for which `gone` says so.
    pub fn remove_from(&mut self, group: u32, gone: impl Fn(u32) -> bool) {
        self.groups.at_mut(group).members.retain(|member| !gone(*member));
        self.drop_if_empty(group);
    }

    fn drop_if_empty(&mut self, group: u32) {
        if !self.groups.at(group).members.is_empty() {
            return;
        }
        let target = self.groups.remove(group).target;
        match &target.until {
            None => {
                self.keys.remove(&target.key);
            }
            Some(until) => self.ranges.remove(&target.key, until),
        }
    }

    fn find(&self, target: &Target) -> Option<u32> {
        match &target.until {
            None => self.keys.get(&target.key).copied(),
            Some(until) => self.ranges.get(&target.key, until),
        }
    }

    /// Calls `visit` with every group that a key concerns.
    pub fn groups_of(&self, key: &[u8], visit: &mut dyn FnMut(u32)) {
        if let Some(group) = self.keys.get(key) {
            visit(*group);
        }
        self.ranges.stab(key, visit);
    }

    pub fn members(&self, group: u32) -> &[u32] {
        &self.groups.at(group).members
    }
}
